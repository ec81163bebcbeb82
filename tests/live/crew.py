"""Workers that are made up, on a clock that is made up: what the coordinator does with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.live.crew import Gone, Ready, Said
from pipeline.live.watcher import Status
from pipeline.live.worker import REPORT, Batch


@dataclass
class _Hand:
    ready: float  # when it is there
    told: bool = False
    streams: dict = field(default_factory=dict)  # name -> CPUs
    resumed: dict = field(default_factory=dict)
    asked: int | None = None
    number: int = 0
    reported: float = 0.0


class FakeCrew:
    """A Crew whose workers start after a while, answer at once, and die when a test says so.

    Attributes:
        now: the clock, which a test moves.
        cost: CPUs of a stream, by name.
        events: what a worker will tell next, by its name.
    """

    def __init__(self, starts_in: float = 4.0, room: int | None = None) -> None:
        self.now = 1_000_000.0
        self._room = room  # workers that there can be at a time; others wait
        self.starts_in = starts_in
        self.hands: dict[str, _Hand] = {}
        self.cost: dict[str, float] = {}
        self.events: dict[str, list] = {}
        self.broken = False  # workers die while they start
        self.hired: list[float] = []  # when each was
        self._gone: list[Gone] = []

    def clock(self) -> float:
        return self.now

    def hire(self, worker, pool) -> None:
        self.hired.append(self.now)
        self.hands[worker] = _Hand(self.now + self.starts_in)

    def watch(self, worker, stream, resumed) -> None:
        hand = self.hands[worker]
        hand.streams[stream.name] = self.cost.get(stream.name, 0.3)
        hand.resumed[stream.name] = list(resumed)

    def leave(self, worker, stream) -> None:
        if worker in self.hands:
            self.hands[worker].streams.pop(stream, None)

    def ask(self, worker, safe) -> None:
        if worker in self.hands:
            self.hands[worker].asked = safe

    def dismiss(self, worker) -> None:
        self.hands.pop(worker, None)

    def kill(self, worker, why="SIGKILL", *, with_machine=False) -> None:
        self.dismiss(worker)
        self._gone.append(Gone(worker, why, with_machine))

    def watching(self) -> dict[str, str]:
        """Stream -> the worker that watches it; one that two watch is an error."""
        found: dict[str, str] = {}
        for name, hand in self.hands.items():
            for stream in hand.streams:
                assert stream not in found, f"{stream} is watched twice"
                found[stream] = name
        return found

    def news(self):
        found, self._gone = list(self._gone), []
        for n, (name, hand) in enumerate(list(self.hands.items())):
            if self._room is not None and n >= self._room:  # it begins once another has gone
                hand.ready = self.now + self.starts_in
            elif not hand.told and self.now >= hand.ready:
                if self.broken:
                    self.kill(name, "it does not start")
                    continue
                hand.told = True
                found.append(Ready(name, f"host/{name}"))
            elif hand.asked is not None:
                hand.asked = None
                hand.number += 1
                full = self.now - hand.reported >= REPORT
                hand.reported = self.now if full else hand.reported
                statuses = [
                    Status(stream=s, since=self.now, state="watching", cost=cost)
                    for s, cost in (hand.streams.items() if full else ())
                ]
                coverage = [(s, self.now - REPORT, self.now) for s in hand.streams if full]
                batch = Batch(
                    hand.number, self.events.pop(name, []), coverage, statuses, place=name
                )
                found.append(Said(name, batch))
        return found
