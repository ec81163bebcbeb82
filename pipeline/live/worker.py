"""The worker: a Ray actor that watches many streams, each in a thread of its own.

Frames never leave it. What it has to say waits here until the coordinator has it safe.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil
from threadpoolctl import threadpool_limits

from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.streams import Stream
from pipeline.live.watcher import JOIN, Status, Watcher
from pipeline.memory import give_back_regularly
from pipeline.settings import Settings
from pipeline.warm import warm

log = logging.getLogger("vidette")
TICK = 0.5  # seconds
WAIT = 0.5  # seconds after which it answers although there are no events
REPORT = 2.0  # seconds between reports of all streams; what changes is told at once
_MOST_GLIMPSES = 1000  # that wait to be collected; more are not missed


@dataclass
class Batch:
    """What a worker has to say.

    Attributes:
        number: of the batch; handing it back says that it is safe.
        events: in order.
        coverage: stream, start and end of what was watched, since 1970.
        statuses: of streams whose state has changed, now and then of all.
        glimpses: small pictures, of streams and of events.
        cpu: CPUs that the whole process has used since the last batch.
        memory: bytes that it holds.
        place: host and process.
    """

    number: int = 0
    events: list[Event] = field(default_factory=list)
    coverage: list[tuple[str, float, float]] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    glimpses: list[Glimpse] = field(default_factory=list)
    cpu: float = 0.0
    memory: int = 0
    place: str = ""


class Worker:
    """Made once in each worker process; `ray.remote` makes an actor of it.

    Args:
        settings: of all streams.
    """

    def __init__(self, settings: Settings) -> None:
        warm()
        threadpool_limits(1, "blas")  # streams have threads of their own, and matrices are small
        self._settings = settings
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)  # there are events
        self._changing = threading.Lock()  # whom it watches; taken before the other
        self._orders: dict[str, int] = {}  # the last one of each stream
        self._watchers: dict[str, Watcher] = {}
        self._failed: dict[str, Status] = {}  # streams that cannot be watched
        self._events: list[Event] = []
        self._coverage: dict[str, list[tuple[float, float]]] = {}
        self._glimpses: dict[tuple[str, str], Glimpse] = {}  # by stream and event
        self._handed: Batch | None = None  # and not known to be safe
        self._number = 0
        self._reported = 0.0  # when all was told
        self._known: dict[str, str] = {}  # stream -> state that was told
        self._process = psutil.Process()
        self._spent, self._asked = self._cpu(), time.monotonic()
        threading.Thread(target=self._tick, name="watch tick", daemon=True).start()
        give_back_regularly()

    @property
    def watchers(self) -> list[Watcher]:
        """One for each of its streams."""
        with self._lock:
            return list(self._watchers.values())

    def ready(self) -> str:
        """Answers once this process is warm; says where it is."""
        return f"{socket.gethostname()}/{os.getpid()}"

    def watch(self, order: int, stream: Stream, resumed: Sequence[Event] = ()) -> None:
        """Watch a stream, instead of one of the same name if there is one.

        Args:
            order: number of this order; one that comes after a later one is not followed.
            stream: what.
            resumed: see Tracker.
        """
        with self._changing:
            if not self._follows(order, stream.name):
                return
            try:
                watcher = Watcher(
                    stream, self._settings, self._tell, self._cover, self._show, resumed
                )
            except Exception as error:
                log.exception("%s cannot be watched", stream.name)
                now = time.time()
                detail = f"it cannot be watched: {error}"
                failed = Status(stream=stream.name, state="outage", detail=detail, since=now)
                with self._lock:
                    self._failed[stream.name] = failed
                return
            with self._lock:
                self._watchers[stream.name] = watcher
            watcher.start()

    def leave(self, order: int, name: str) -> None:
        """Watch a stream no more; what `collect` gives afterwards has all that was seen of it.

        Args:
            order: see `watch`.
            name: of the stream.
        """
        with self._changing:
            self._follows(order, name)

    def _follows(self, order: int, name: str) -> bool:
        """Whether an order for a stream is the last one yet; then who watched it has stopped.

        Ray runs several calls at a time, and does not promise that they begin in order.
        """
        if order < self._orders.get(name, order):
            return False
        self._orders[name] = order
        with self._lock:
            watcher = self._watchers.pop(name, None)
            self._failed.pop(name, None)
            self._reported = -math.inf  # all of it is told next
        if watcher is not None:
            watcher.stop()
        return True

    def collect(self, safe: int) -> Batch:
        """All there is to say, as soon as there are events, or after WAIT.

        Args:
            safe: number of the last batch that arrived; what was in an earlier one is forgotten.
        """
        with self._news:
            self._news.wait_for(lambda: self._events, WAIT)
        with self._changing, self._lock:
            watchers, failed = list(self._watchers.values()), list(self._failed.values())
            self._number += 1
            batch = Batch(self._number, place=self.ready())
            if self._handed is not None and self._handed.number > safe:  # it was lost on the way
                batch.events += self._handed.events
                batch.coverage += self._handed.coverage
                batch.glimpses += self._handed.glimpses
            batch.events += self._events
            batch.glimpses += self._glimpses.values()
            self._events, self._glimpses, self._handed = [], {}, batch
            full = time.monotonic() - self._reported >= REPORT
            if full:
                self._reported = time.monotonic()
                batch.coverage += [
                    (name, start, end)
                    for name, parts in self._coverage.items()
                    for start, end in parts
                ]
                self._coverage = {}
        statuses = [watcher.status() for watcher in watchers] + failed
        batch.statuses = [s for s in statuses if full or self._known.get(s.stream) != s.state]
        self._known = {status.stream: status.state for status in statuses}
        spent, now = self._cpu(), time.monotonic()
        batch.cpu = (spent - self._spent) / max(now - self._asked, 1e-3)
        self._spent, self._asked = spent, now
        batch.memory = self._process.memory_info().rss
        return batch

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _tell(self, event: Event) -> None:
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    def _cover(self, name: str, start: float, end: float) -> None:
        with self._lock:
            parts = self._coverage.setdefault(name, [])
            if parts and parts[-1][0] <= start <= parts[-1][1] + JOIN:
                parts[-1] = (parts[-1][0], max(parts[-1][1], end))
            else:
                parts.append((start, end))

    def _show(self, glimpse: Glimpse) -> None:
        with self._lock:
            if len(self._glimpses) < _MOST_GLIMPSES:
                self._glimpses[glimpse.stream, glimpse.event] = glimpse

    def _tick(self) -> None:
        while True:
            time.sleep(TICK)
            for watcher in self.watchers:
                watcher.tick(time.time())
