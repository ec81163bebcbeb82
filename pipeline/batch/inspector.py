"""The worker: a Ray actor that inspects one asset after another and writes what it found.

Nothing that is large leaves it: a result goes straight to the ledger, and what Ray carries is a
dozen numbers. Frames never leave it at all.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil

from pipeline.batch.ledger import FullError, Ledger, Record, Working, piece_name
from pipeline.decode import Decoder
from pipeline.errors import SeamError, SourceError
from pipeline.inspect import Progress, inspect
from pipeline.ranges.join import Replay
from pipeline.ranges.measure import Range, is_long, measure_range, ranges
from pipeline.ranges.piece import Step, Tail, read_piece
from pipeline.scratch import scratch
from pipeline.settings import Settings
from pipeline.source import open_source
from pipeline.types import Inspection

log = logging.getLogger("vidette")
_TOLD_EVERY = 2.0  # seconds between notes of how far an asset is
_WATCHED_EVERY = 0.25  # seconds between looks at the memory
_WAITED = 0.5  # seconds between looks for a piece
# Seconds for a range, chosen: a joiner whose neighbours died must not wait for ever
_PATIENCE = 1800.0
_GIVEN_UP = 17  # exit status of a worker over its limit


@dataclass(frozen=True)
class Job:
    """An asset to inspect.

    Attributes:
        id: see `ledger.identity`.
        uri: of the asset.
        labels: of the asset.
        attempt: counted from 1.
        lost: workers that died with their machines, which says nothing of the asset.
        again: there is a result, which may come out better.
        part: the range of it that is to be measured; None: all of it.
        parts: the ranges that are to be joined; none: it is inspected, or found to be so long that
            it is cut.
        whole: why it is not cut.
    """

    id: str
    uri: str
    labels: dict[str, str]
    attempt: int = 1
    lost: int = 0
    again: bool = False
    part: Range | None = None
    parts: tuple[Range, ...] = ()
    whole: str | None = None

    @property
    def tries(self) -> int:
        """All of them."""
        return self.attempt + self.lost

    @property
    def key(self) -> str:
        """Of what a worker has in work."""
        return self.id if self.part is None else f"{self.id}-{self.part.first}"


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
class Cut:
    """An asset is long: it is to be measured in these ranges."""

    parts: tuple[Range, ...]


@dataclass(frozen=True)
class Measured:
    """A range is measured; else `whole` says why its asset needs one piece."""

    whole: str | None = None


class _LongError(Exception):
    """Ends the inspection of an asset that is to be cut."""


class _LateError(Exception):
    """Ends the measuring of a range."""


@dataclass(frozen=True)
class Bounds:
    """What one asset may cost, or one range of a long one.

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
        reports: give the page of each charts, pictures and sound.
        range_seconds: of presentation; an asset of at least two such ranges is cut. 0: none is.
    """

    def __init__(
        self, out: str, settings: Settings, bounds: Bounds, reports: bool, range_seconds: float
    ) -> None:
        self._ledger = Ledger(out)
        self._settings, self.bounds, self._reports = settings, bounds, reports
        self._range_seconds = range_seconds
        self._now: tuple[Job, float] | None = None  # in work, and seconds of it
        if bounds.megabytes:
            threading.Thread(target=self._watch_memory, daemon=True).start()

    def ready(self) -> None:
        """Answers once this process is there."""

    def work(self, job: Job) -> Done | Cut | Measured:
        """Inspect an asset and write its record, or measure a range of it and write the piece.

        Raises:
            FullError: there is no room for it.
        """
        if job.part is not None:
            return self._measure(job, job.part)
        clock = _Clock(self, job)
        try:
            result, whole = self._inspected(job, clock)
        except _LongError:
            try:
                return Cut(self._parts(job.uri))
            except (SeamError, SourceError) as error:
                return self.work(replace(job, whole=str(error)))
        self._now = None
        if clock.late:
            for problem in result.coverage.problems:
                if problem.reason == "interrupted":
                    problem.reason = "time_limit"
                    problem.detail = f"not done after {self.bounds.seconds:g} s"
        self._ledger.keep(
            Record(
                id=job.id, uri=job.uri, labels=job.labels, state="done", attempts=job.tries,
                ranges=1 if whole or not job.parts else len(job.parts), whole=whole,
                inspection=result,
            )
        )  # fmt: skip
        try:
            self._report(job, result)
        except FullError:
            raise
        except Exception:  # the result is there
            log.exception("the page of %s could not be written", job.uri)
        return Done.of(result)

    def _inspected(self, job: Job, clock: _Clock) -> tuple[Inspection, str | None]:
        """The result, and why it was had in one piece where that was not planned.

        Raises:
            _LongError: it had better be cut.
        """
        new = not job.parts and job.whole is None

        def progress(now: Progress) -> None:
            if new and is_long(now.duration, self._range_seconds):
                raise _LongError
            if clock.tell(now.position, now.duration):
                raise KeyboardInterrupt  # ends an inspection and keeps what it found

        if not job.parts or job.whole is not None:
            return inspect(job.uri, self._settings, progress), job.whole
        pieces = (self._piece(job, part, clock) for part in job.parts)
        try:
            return inspect(job.uri, self._settings, progress, replay=Replay(pieces)), None
        except SeamError as error:
            clock.again()
            return inspect(job.uri, self._settings, progress), str(error)

    def _parts(self, uri: str) -> tuple[Range, ...]:
        with open_source(uri, self._settings.limits) as container:
            return tuple(ranges(Decoder(container).asset(), self._range_seconds))

    def _measure(self, job: Job, part: Range) -> Measured:
        name = piece_name(job.id, part)
        clock = _Clock(self, job)

        def progress(position: float) -> None:
            if clock.tell(position):
                raise _LateError

        whole = None
        if not self._ledger.exists(name):  # an earlier run may have it
            try:
                with self._ledger.writing(name) as file:
                    measure_range(job.uri, self._settings, part, file, progress)
            except (SeamError, SourceError) as error:
                whole = str(error)
            except _LateError:
                whole = f"a range of it was not done after {self.bounds.seconds:g} s"
        self._now = None
        self._ledger.remove(f"working/{job.key}.json")
        return Measured(whole)

    def _piece(self, job: Job, part: Range, clock: _Clock) -> Iterator[Step | Tail]:
        """The steps of a piece, which another worker may still be writing.

        Raises:
            SeamError: it never comes.
            KeyboardInterrupt: the asset takes too long.
        """
        name, begun = piece_name(job.id, part), time.monotonic()
        while not self._ledger.exists(name):
            given_up = self._ledger.read("pieces", f"{job.id}/given-up")
            if given_up is not None:
                raise SeamError(str(given_up["reason"]))
            if time.monotonic() - begun > _PATIENCE:
                raise SeamError("one of its ranges was never measured")
            if clock.tell(None):
                raise KeyboardInterrupt
            time.sleep(_WAITED)
        with self._ledger.open(name) as file:
            yield from read_piece(file)

    def _report(self, job: Job, result: Inspection) -> None:
        from pipeline.report import render, write_report  # noqa: PLC0415 - slow to import

        name = f"reports/{job.id}.html"
        if not self._reports:
            page = render(result, charts=False)
            self._ledger.write(name, page.encode("utf-8", "backslashreplace"))
            return
        with scratch() as folder:
            path = folder / "report.html"
            write_report(result, path, limits=self._settings.limits)
            self._ledger.write(name, path.read_bytes())

    def at(self, job: Job, position: float) -> None:
        """A job is in work, and so far."""
        self._now = (job, position)

    def note(
        self,
        job: Job,
        position: float,
        reason: str | None = None,
        duration: float | None = None,
    ) -> None:
        """Write down what is in work."""
        working = Working(
            uri=job.uri,
            host=socket.gethostname(),
            pid=os.getpid(),
            attempt=job.tries,
            position=position,
            duration=duration,
            reason=reason,
        )
        self._ledger.write(f"working/{job.key}.json", working.model_dump_json().encode())

    def _watch_memory(self) -> None:
        """End this process when it is over its limit: nothing gentler frees a decoder's memory."""
        process = psutil.Process()
        while True:
            time.sleep(_WATCHED_EVERY)
            now = self._now
            if now is not None and process.memory_info().rss > self.bounds.megabytes * 1e6:
                self.note(*now, reason="memory_limit")
                os._exit(_GIVEN_UP)


class _Clock:
    """Tells how far a job is, and when it has taken too long."""

    def __init__(self, inspector: Inspector, job: Job) -> None:
        self._inspector, self._job = inspector, job
        self._started = self._told = time.monotonic()
        self._position = 0.0
        self.late = False
        inspector.at(job, 0.0)
        inspector.note(job, 0.0)

    def again(self) -> None:
        """The job begins anew."""
        self._started, self._position = time.monotonic(), 0.0

    def tell(self, position: float | None, duration: float | None = None) -> bool:
        """Note a position, None for the same as before; returns whether it has taken too long."""
        if position is not None:
            self._position = position
        self._inspector.at(self._job, self._position)
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            try:
                self._inspector.note(self._job, self._position, duration=duration)
            except FullError:
                raise
            except Exception:  # of a store that is away for a moment: it is no more than a note
                log.warning("%s: how far it is could not be written", self._job.uri, exc_info=True)
        limit = self._inspector.bounds.seconds
        self.late = bool(limit) and now - self._started > limit
        return self.late
