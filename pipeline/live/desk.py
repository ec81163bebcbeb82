"""The desk: a coordinator with its store, its workers and everybody who is told."""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.live.coordinator import Coordinator, Sink, WorkerFacts
from pipeline.live.crew import RayCrew
from pipeline.live.metrics import Metrics
from pipeline.live.sinks import JsonLines, Parquet, Webhooks
from pipeline.live.store import Store
from pipeline.live.streams import Pool
from pipeline.settings import Settings

STEP = 0.2  # seconds between steps
_REFRESH = 1.0  # seconds between looks at messages that wait
FIGURES = 5.0  # seconds between figures for Prometheus
_EXPORT = 600.0  # seconds between Parquet files
_HELD = 20.0  # seconds after which another machine may take over from one that says nothing


class Desk:
    """Needs a session of Ray, and the lock of its folder.

    Args:
        out: the folder of store and events.
        settings: of all streams.
        pools: the kinds of workers.
        sinks: that get events besides files, webhooks and Prometheus.
        webhooks: addresses that get every event.
        standby: see Coordinator.
        most: see Coordinator.
        secret: to sign webhooks with.
        database: see Store.

    Raises:
        UsageError: another machine watches into that database.
        StoreError: it cannot be used.
    """

    def __init__(
        self,
        out: Path,
        settings: Settings,
        pools: Mapping[str, Pool],
        sinks: Sequence[Sink] = (),
        webhooks: Sequence[str] = (),
        *,
        standby: int = 1,
        most: int = 0,
        secret: str | None = None,
        database: str | None = None,
    ) -> None:
        self.store = Store(out, database)
        self._holder = f"{socket.gethostname()}:{out.resolve()}" if database else None
        self._hold()
        self._metrics = Metrics(self.store)
        self._hooks = Webhooks(self.store, secret)
        self._parquet = Parquet(self.store, out / "events")
        self._lines = JsonLines(self.store, out / "events.jsonl")
        self._coordinator = Coordinator(
            self.store,
            RayCrew(settings),
            pools,
            [*sinks, self._lines, self._hooks, self._metrics],
            webhooks,
            standby=standby,
            most=most,
        )
        self._refreshed = self._figured = 0.0
        self._held = self._exported = time.monotonic()

    @staticmethod
    @contextmanager
    def lock(out: Path) -> Iterator[None]:
        """Hold the folder: two coordinators would watch every stream twice.

        Raises:
            UsageError: somebody else has it.
        """
        out.mkdir(parents=True, exist_ok=True)
        with (out / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"{out} is being watched into by another process") from error
            yield

    def _hold(self) -> None:
        """In a database of several machines: be the only one, as the lock is in a folder."""
        if self._holder is None:
            return
        holder = self.store.database.hold(self._holder, _HELD)
        if holder != self._holder:
            self.store.close()
            raise UsageError(f"{self.store.database.name} is being watched into by {holder}")

    @property
    def workers(self) -> list[WorkerFacts]:
        """All that were hired."""
        return self._coordinator.workers

    def step(self) -> None:
        """Do what is to be done now; to be called every STEP seconds.

        Raises:
            WorkersError: workers do not start.
            StoreError: the database does not answer.
            UsageError: another machine took over while this one did not come to it.
        """
        if time.monotonic() - self._held >= _HELD / 4:
            self._held = time.monotonic()
            self._hold()
        self._coordinator.step()
        now = time.monotonic()
        if now - self._refreshed >= _REFRESH:
            self._refreshed = now
            self._hooks.look()
            self._lines.write()
        if now - self._figured >= FIGURES:
            self._figured = now
            self._metrics.refresh()
        if now - self._exported >= _EXPORT:
            self._exported = now
            self._parquet.export()

    def close(self) -> None:
        """End the workers; what has not been passed on is passed on the next time."""
        self._coordinator.close()
        self._hooks.close()
        self._parquet.export()
        if self._holder is not None:
            self.store.database.hold(self._holder, 0.0)
        self.store.close()
