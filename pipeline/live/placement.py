"""Which worker watches which stream: plain bookkeeping, without Ray and without a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

ROOM = 0.85  # of a worker's CPUs that streams may take: bursts need the rest
OVER = 1.0  # of them: then streams are moved away
SPARE = 0.8  # of what the others have room for: then a worker is cleared
GUESS = 0.3  # CPUs for a stream that was never measured: 720p takes 0.2, slower machines more


@dataclass
class _Worker:
    room: float  # CPUs
    streams: dict[str, float] = field(default_factory=dict)  # name -> CPUs
    alone: bool = False  # for suspect streams, and no others

    @property
    def load(self) -> float:
        return sum(self.streams.values())


class Placement:
    """The workers of one pool and what each of them watches.

    Args:
        cpus: of a worker.
    """

    def __init__(self, cpus: float) -> None:
        self._cpus = cpus
        self._workers: dict[str, _Worker] = {}
        self._where: dict[str, str] = {}
        self._costs: dict[str, float] = {}

    @property
    def workers(self) -> list[str]:
        """All of them."""
        return list(self._workers)

    def streams(self, worker: str) -> list[str]:
        """What a worker watches."""
        return list(self._workers[worker].streams)

    def where(self, stream: str) -> str | None:
        """Who watches a stream."""
        return self._where.get(stream)

    def load(self, worker: str) -> float:
        """CPUs that a worker's streams take."""
        return self._workers[worker].load

    def joined(self, worker: str, *, alone: bool = False) -> None:
        """A worker is there; `alone`: for streams that are suspected to kill."""
        self._workers[worker] = _Worker(self._cpus, alone=alone)

    def left(self, worker: str) -> list[str]:
        """A worker is gone; returns what it watched."""
        gone = self._workers.pop(worker)
        for stream in gone.streams:
            del self._where[stream]
        return list(gone.streams)

    def remove(self, stream: str) -> str | None:
        """A stream is not watched any more; returns who did."""
        worker = self._where.pop(stream, None)
        if worker is not None:
            del self._workers[worker].streams[stream]
        return worker

    def forget(self, stream: str) -> None:
        """A stream will not come back."""
        self._costs.pop(stream, None)

    def measured(self, stream: str, cpus: float) -> None:
        """What a stream takes."""
        self._costs[stream] = cpus
        worker = self._where.get(stream)
        if worker is not None:
            self._workers[worker].streams[stream] = cpus

    def cost(self, stream: str) -> float:
        """What a stream takes, or can be expected to."""
        known = self._costs.get(stream)
        if known is not None:
            return known
        return sum(self._costs.values()) / len(self._costs) if self._costs else GUESS

    @property
    def idle(self) -> list[str]:
        """Workers without a stream."""
        return [name for name, w in self._workers.items() if not w.streams and not w.alone]

    @property
    def secluded(self) -> list[str]:
        """Workers for suspects, those that have the most first."""
        apart = [name for name, worker in self._workers.items() if worker.alone]
        return sorted(apart, key=lambda name: -len(self._workers[name].streams))

    def seclude(self) -> str:
        """Make one that is idle a worker for suspects; returns which."""
        worker = self.idle[0]
        self._workers[worker].alone = True
        return worker

    def apart(self, stream: str) -> str | None:
        """The worker for suspects that has a stream; None where it is not at one."""
        worker = self._where.get(stream)
        return worker if worker is not None and self._workers[worker].alone else None

    def place(self, stream: str, *, crowd: bool = False, avoid: Iterable[str] = ()) -> str | None:
        """Give a stream to the least loaded worker that has any; None where none has room.

        Args:
            stream: its name.
            crowd: also to a worker without room, where there is no other.
            avoid: workers that should not have it, if another has room.
        """
        cost, shunned = self.cost(stream), set(avoid)
        open_ = [(w.load, name) for name, w in self._workers.items() if not w.alone]
        fits = [(load, name) for load, name in open_ if load and load + cost <= ROOM * self._cpus]
        # one that has nothing to do stays free as long as the others have room
        fits = [f for f in fits if f[1] not in shunned] or [f for f in open_ if not f[0]] or fits
        best = min(fits, default=None)
        if best is None and crowd:
            best = min(open_, default=None)
        if best is None:
            return None
        self._put(stream, best[1], cost)
        return best[1]

    def confine(self, stream: str, most: int | None) -> str | None:
        """Give a suspect to a worker for such; None where it has to wait for one.

        Args:
            stream: its name.
            most: suspects of a worker; None: one of the workers has one alone, another all the
                rest.
        """
        apart = self.secluded
        if not apart:
            return None
        fullest, emptiest = apart[0], apart[-1]
        count = len(self.streams(emptiest))
        if most is None:
            worker = emptiest if not count else fullest if len(apart) > 1 else None
        else:
            worker = emptiest if count < most else None
        if worker is not None:
            self._put(stream, worker, self.cost(stream))
        return worker

    def spread(
        self, most: int | None, guilt: Callable[[str], tuple[int, ...]]
    ) -> tuple[str, str, str] | None:
        """The next move between workers for suspects, so that it is as `confine` has it.

        Args:
            most: see `confine`.
            guilt: the stream that has most of it is moved.

        Returns:
            Stream, from, to; already booked.
        """
        apart = self.secluded
        if len(apart) < 2:
            return None
        old, new = apart[0], apart[-1]
        many, few = len(self.streams(old)), len(self.streams(new))
        if many <= (most or 1) or few >= (most or 1):
            return None
        stream = max(self.streams(old), key=guilt)
        self.remove(stream)
        self._put(stream, new, self.cost(stream))
        return stream, old, new

    def _put(self, stream: str, worker: str, cost: float) -> None:
        self._workers[worker].streams[stream] = cost
        self._where[stream] = worker

    def relief(self) -> tuple[str, str, str] | None:
        """The next move away from an overloaded worker: stream, from, to; already booked."""
        for name, worker in self._workers.items():
            if worker.alone or worker.load <= OVER * self._cpus or len(worker.streams) < 2:
                continue
            # the smallest move that is enough, or else the largest that there is
            over = worker.load - ROOM * self._cpus
            by_size = sorted((cost, stream) for stream, cost in worker.streams.items())
            _, stream = next((s for s in by_size if s[0] >= over), by_size[-1])
            del worker.streams[stream], self._where[stream]
            to = self.place(stream, avoid=[name])
            if to is not None and to != name:
                return stream, name, to
            if to is not None:
                del worker.streams[stream]
            self._put(stream, name, self.cost(stream))
        return None

    def lacking(self, waiting: Iterable[str]) -> int:
        """Workers that are needed besides those that there are.

        Args:
            waiting: streams that nobody watches yet.
        """
        need = sum(self.cost(stream) for stream in waiting)
        for worker in self._workers.values():
            if not worker.alone:
                # what is over on one must go to another; what is free can take something
                need += worker.load - ROOM * self._cpus
        return max(0, -int(-need // (ROOM * self._cpus)))

    def spare(self) -> str | None:
        """A worker whose streams the others could take with room to spare."""
        busy = {name: w for name, w in self._workers.items() if w.streams and not w.alone}
        if len(busy) < 2:
            return None
        total = sum(worker.load for worker in busy.values())
        if total > SPARE * ROOM * self._cpus * (len(busy) - 1):
            return None
        return min(busy, key=lambda name: busy[name].load)
