"""The worker: a Ray actor that inspects one asset after another and writes what it found.

Nothing that is large leaves it: a result goes straight to the ledger, and what Ray carries is a
dozen numbers. Frames never leave it at all.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.batch.ledger import Ledger, Record, Working
from pipeline.inspect import Progress, inspect
from pipeline.settings import Settings
from pipeline.types import Inspection

_TOLD_EVERY = 2.0  # seconds between notes of how far an asset is
_WATCHED_EVERY = 0.25  # seconds between looks at the memory
_GIVEN_UP = 17  # exit status of a worker over its limit


@dataclass(frozen=True)
class Job:
    """An asset to inspect.

    Attributes:
        id: see `ledger.identity`.
        uri: of the asset.
        labels: of the asset.
        attempt: counted from 1.
    """

    id: str
    uri: str
    labels: dict[str, str]
    attempt: int = 1


@dataclass(frozen=True)
class Done:
    """What became of it, in short.

    Attributes:
        seconds: of presentation that were examined.
        defects: how many.
        examined: whether anything could be.
    """

    seconds: float
    defects: int
    examined: bool

    @staticmethod
    def of(inspection: Inspection) -> Done:
        """In short."""
        coverage = inspection.coverage
        seconds = sum(end - start for start, end in coverage.examined)
        return Done(seconds, len(inspection.defects), coverage.state != "none")


@dataclass(frozen=True)
class Bounds:
    """What one asset may cost.

    Attributes:
        seconds: of wall clock; 0: any.
        megabytes: of memory of its worker; 0: any.
    """

    seconds: float = 0.0
    megabytes: float = 0.0


class Inspector:
    """Made once in each worker process; `ray.remote` makes an actor of it.

    Args:
        out: of the ledger.
        settings: of all assets.
        bounds: of each asset.
        reports: write an HTML report of each.
    """

    def __init__(self, out: str, settings: Settings, bounds: Bounds, reports: bool) -> None:
        self._ledger = Ledger(out)
        self._settings, self._bounds, self._reports = settings, bounds, reports
        self._now: tuple[Job, float] | None = None  # in work, and seconds of it
        if bounds.megabytes:
            threading.Thread(target=self._watch_memory, daemon=True).start()

    def ready(self) -> None:
        """Answers once this process is there."""

    def work(self, job: Job) -> Done:
        """Inspect an asset and write its record.

        Raises:
            FullError: there is no room for it.
        """
        started = told = time.monotonic()
        self._now = (job, 0.0)
        self._note(job, 0.0)
        late = False

        def progress(now: Progress) -> None:
            nonlocal told, late
            self._now = (job, now.position)
            clock = time.monotonic()
            if clock - told >= _TOLD_EVERY:
                told = clock
                self._note(job, now.position)
            if self._bounds.seconds and clock - started > self._bounds.seconds:
                late = True
                raise KeyboardInterrupt  # ends an inspection and keeps what it found

        result = inspect(job.uri, self._settings, progress)
        self._now = None
        if late:
            for problem in result.coverage.problems:
                if problem.reason == "interrupted":
                    problem.reason = "time_limit"
                    problem.detail = f"not done after {self._bounds.seconds:g} s"
        if self._reports:
            self._report(job, result)
        self._ledger.keep(
            Record(
                id=job.id, uri=job.uri, labels=job.labels, state="done", attempts=job.attempt,
                inspection=result,
            )
        )  # fmt: skip
        return Done.of(result)

    def _report(self, job: Job, result: Inspection) -> None:
        from pipeline.report import write_report  # noqa: PLC0415 - Plotly, only where wanted

        with tempfile.TemporaryDirectory(prefix="vidette-report-") as folder:
            path = Path(folder) / "report.html"
            write_report(result, path, limits=self._settings.limits)
            self._ledger.write(f"reports/{job.id}.html", path.read_bytes())

    def _note(self, job: Job, position: float, reason: str | None = None) -> None:
        working = Working(
            uri=job.uri,
            host=socket.gethostname(),
            pid=os.getpid(),
            attempt=job.attempt,
            position=position,
            reason=reason,
        )
        self._ledger.write(f"working/{job.id}.json", working.model_dump_json().encode())

    def _watch_memory(self) -> None:
        """End this process when it is over its limit: nothing gentler frees a decoder's memory."""
        process = psutil.Process()
        while True:
            time.sleep(_WATCHED_EVERY)
            now = self._now
            if now is not None and process.memory_info().rss > self._bounds.megabytes * 1e6:
                self._note(*now, reason="memory_limit")
                os._exit(_GIVEN_UP)
