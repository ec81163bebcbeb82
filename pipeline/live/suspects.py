"""Which stream kills its workers: plain bookkeeping, without Ray and without a clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.live.placement import Placement

PARDON = 600.0  # seconds without another death after which a stream is no suspect any more
SUSPECT = 2  # deaths of its workers, and then as many of those that had it alone
APART = 2  # workers of a pool that have suspects and nobody else: half of them each


@dataclass
class Suspects:
    """The streams of a pool that were there twice where workers died; iterates over their names."""

    deaths: dict[str, int] = field(default_factory=dict)  # of each suspect's workers
    alone: Counter[str] = field(default_factory=Counter)  # deaths of workers that had no other
    acquitted: dict[str, float] = field(default_factory=dict)  # of late, and when
    fresh: bool = False  # a worker for suspects has died, just now
    one_by_one: bool = False  # halves do not lead on: there are several that kill

    def __iter__(self) -> Iterator[str]:
        return iter(self.deaths)

    def __len__(self) -> int:
        return len(self.deaths)

    @property
    def share(self) -> int | None:
        """Suspects of a worker: half of them, of which one half dies; None: see `one_by_one`."""
        return None if self.one_by_one else -(-len(self) // APART)

    def guilt(self, name: str) -> tuple[int, ...]:
        """How much speaks against a stream."""
        return self.alone[name], self.deaths.get(name, 0)

    def clear(self, name: str) -> None:
        """A stream is no suspect any more."""
        self.deaths.pop(name, None)
        del self.alone[name]
        self.one_by_one = self.one_by_one and bool(self.deaths)

    def remember(self, name: str, deaths: int) -> None:
        """Workers of a stream died so often of late; it is a suspect where that is enough."""
        if deaths >= SUSPECT:
            self.deaths[name] = deaths

    def died(self, names: Sequence[str], deaths: Mapping[str, int], *, apart: bool) -> set[str]:
        """A worker has died; returns the streams that are found guilty.

        Args:
            names: what it watched.
            deaths: of workers of each of these of late; nothing where the machine died.
            apart: it was one for suspects.
        """
        for name, count in deaths.items():
            if count == 1:  # the first, or the first for long
                self.clear(name)
            if names == [name]:  # nobody else can have done it
                self.alone[name] += 1
            self.remember(name, count)
        suspects = {name for name, count in deaths.items() if count >= SUSPECT}
        self.fresh = self.fresh or (apart and bool(suspects))
        return {name for name in suspects if self.alone[name] >= SUSPECT}

    def survivors(self, placement: Placement, now: float) -> list[str]:
        """Where a worker for suspects has died: who is let go, since it was at another one.

        One that was let go, and is a suspect again, may be another killer: where nobody else can be
        let go, each is watched alone in turn.
        """
        if not self.fresh:
            return []
        self.fresh = False
        self.acquitted = {s: at for s, at in self.acquitted.items() if at > now - PARDON}
        free = []
        for name in self:
            worker = placement.apart(name)
            if worker is None or self.alone[name]:
                continue
            if self.one_by_one:
                fits = len(placement.streams(worker)) == 1
            else:
                fits = self.acquitted.get(name, -math.inf) < now - PARDON
            free += [name] * fits
        self.acquitted |= dict.fromkeys(free, now)
        self.one_by_one = self.one_by_one or (not free and len(self) > APART)
        return free
