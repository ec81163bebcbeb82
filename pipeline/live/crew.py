"""Workers as the coordinator sees them: hired, told, asked, dismissed. Ray is here alone."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError, RayError

from pipeline.cluster import node_died, why_died
from pipeline.live.event import Event
from pipeline.live.streams import Pool, Stream
from pipeline.live.worker import Batch, Worker
from pipeline.settings import Settings

log = logging.getLogger("vidette")
# Seconds without an answer: a worker that hangs is ended. One that has no CPU for ten is none yet.
SILENT = 30.0


@dataclass(frozen=True)
class Ready:
    """A worker that was hired is there."""

    worker: str
    place: str


@dataclass(frozen=True)
class Said:
    """A worker has answered."""

    worker: str
    batch: Batch


@dataclass(frozen=True)
class Gone:
    """A worker has died; with its machine, no stream is to blame."""

    worker: str
    why: str
    with_machine: bool = False


News = Ready | Said | Gone


class Crew(Protocol):
    """What the coordinator needs of whoever has the workers."""

    def hire(self, worker: str, pool: Pool) -> None:
        """Start a worker; it is `Ready` later."""

    def watch(self, worker: str, stream: Stream, resumed: Sequence[Event]) -> None:
        """Have a worker watch a stream."""

    def leave(self, worker: str, stream: str) -> None:
        """Have it watch a stream no more."""

    def ask(self, worker: str, safe: int) -> None:
        """Ask for all there is to say; it is `Said` later."""

    def news(self) -> list[News]:
        """What has come in."""

    def dismiss(self, worker: str) -> None:
        """End a worker."""


@dataclass
class _Hand:
    actor: Any
    ready: Any  # until it is
    answer: Any = None
    asked: float = 0.0


class RayCrew:
    """Actors of Ray.

    Args:
        settings: of all streams.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hands: dict[str, _Hand] = {}
        self._orders = itertools.count()

    def hire(self, worker: str, pool: Pool) -> None:
        """See Crew."""
        actor: Any = (
            ray.remote(Worker)
            .options(num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=0, max_concurrency=4)
            .remote(pool.chosen(self._settings))
        )
        self._hands[worker] = _Hand(actor, actor.ready.remote())

    def watch(self, worker: str, stream: Stream, resumed: Sequence[Event]) -> None:
        """See Crew."""
        self._hands[worker].actor.watch.remote(next(self._orders), stream, list(resumed))

    def leave(self, worker: str, stream: str) -> None:
        """See Crew; one that was found dead a moment ago has left it."""
        if worker in self._hands:
            self._hands[worker].actor.leave.remote(next(self._orders), stream)

    def ask(self, worker: str, safe: int) -> None:
        """See Crew; a question that waits for its answer is not asked again."""
        hand = self._hands.get(worker)
        if hand is not None and hand.answer is None:
            hand.answer, hand.asked = hand.actor.collect.remote(safe), time.monotonic()

    def news(self) -> list[News]:
        """See Crew."""
        found: list[News] = []
        all_waits = {
            name: hand.answer if hand.ready is None else hand.ready
            for name, hand in self._hands.items()
            if hand.ready is not None or hand.answer is not None
        }
        if not all_waits:
            return found
        done = set(ray.wait(list(all_waits.values()), num_returns=len(all_waits), timeout=0)[0])
        for name, waits in all_waits.items():
            hand = self._hands[name]
            if waits not in done:
                if hand.ready is None and time.monotonic() - hand.asked > SILENT:
                    found.append(self._gone(name, f"it has not answered for {SILENT:g} s"))
                continue
            try:
                answer = ray.get(waits)
            except RayActorError as error:
                found.append(self._gone(name, why_died(error), with_machine=node_died(error)))
                continue
            except RayError as error:
                found.append(self._gone(name, f"{type(error).__name__}: {error}"))
                continue
            if hand.ready is not None:
                hand.ready = None
                found.append(Ready(name, answer))
            else:
                hand.answer = None
                found.append(Said(name, answer))
        return found

    def dismiss(self, worker: str) -> None:
        """See Crew."""
        hand = self._hands.pop(worker, None)
        if hand is not None:
            ray.kill(hand.actor)

    def _gone(self, name: str, why: str, *, with_machine: bool = False) -> Gone:
        self.dismiss(name)
        return Gone(name, why, with_machine)
