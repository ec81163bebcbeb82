"""One asset in one process: open, decode, measure, detect; say what was found and what was not."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import av
from threadpoolctl import threadpool_limits

from pipeline import events, facts, measure
from pipeline.decode import Decoder
from pipeline.detectors import DETECTORS
from pipeline.errors import SourceError
from pipeline.hardware import accelerator, note_fallback
from pipeline.measurements import Note, Segment
from pipeline.panel import Panel, judges_coarseness, judges_steps, lips
from pipeline.programme import ProgramTime
from pipeline.ranges.join import JoinedDecoder, Replay
from pipeline.segment import Segmenter
from pipeline.settings import Settings, load
from pipeline.source import open_source
from pipeline.timeline import Timeline
from pipeline.types import (
    Asset,
    AudioTrack,
    Coverage,
    Inspection,
    Problem,
    ProgramMoment,
    VideoTrack,
)


@dataclass(frozen=True)
class Progress:
    """How far an inspection has come."""

    position: float  # seconds of presentation examined
    duration: float | None  # seconds, as declared; None: unknown
    speed: float  # seconds examined per second of wall clock
    defects: int  # observations so far


ProgressCallback = Callable[[Progress], None]
MAX_PROBLEMS = 100  # more of them say nothing new
_INTERRUPTED = Problem(reason="interrupted", detail="stopped by the user")


def inspect(
    uri: str,
    settings: Settings | None = None,
    progress: ProgressCallback | None = None,
    *,
    name: str | None = None,
    replay: Replay | None = None,
) -> Inspection:
    """Inspect one asset from beginning to end.

    Never raises for what is wrong with the asset: a source that cannot be opened, or only in part,
    gives an Inspection whose `coverage` says so. KeyboardInterrupt ends the inspection early; the
    result is then marked partial (problem `interrupted`). The result calls the asset `name` where
    that is not its URI (a temporary copy of standard input).
    """
    settings = settings or load()
    started = time.perf_counter()
    cpu = time.process_time()
    result = _blank(uri if name is None else name, settings)
    try:
        # matrix products here are small: BLAS threads would only spin between them
        hwaccel, obstacle = accelerator("cpu" if replay is not None else settings.device)
        with (
            threadpool_limits(1, "blas"),
            open_source(uri, settings.limits, hwaccel) as container,
        ):
            _examine(container, settings, result, progress, started, replay)
            if settings.device != "cpu":
                for track in result.asset.video:
                    note_fallback(track, obstacle)
    except SourceError as error:
        result.coverage.problems.append(Problem(reason=error.reason, detail=error.detail))
    except KeyboardInterrupt:  # before there was anything to examine, or once more after that
        result.coverage.problems.append(_INTERRUPTED)
    result.timings["wall"] = time.perf_counter() - started
    result.timings["cpu"] = time.process_time() - cpu
    if replay is not None:
        result.timings["ranges"] = replay.cpu
        result.timings["cpu"] += replay.cpu
    return result


def failed(uri: str, settings: Settings, error: SourceError) -> Inspection:
    """The result for an asset that could not even be fetched to be opened."""
    result = _blank(uri, settings)
    result.coverage.problems.append(Problem(reason=error.reason, detail=error.detail))
    return result


def _blank(uri: str, settings: Settings) -> Inspection:
    return Inspection(
        # names of files are bytes; what is not text in them is written as an escape
        uri=uri.encode("utf-8", "backslashreplace").decode(),
        settings={name: settings.of(name).model_dump() for name in settings.enabled()},
        versions=versions(),
    )


def _examine(
    container: av.container.InputContainer,
    settings: Settings,
    result: Inspection,
    progress: ProgressCallback | None,
    started: float,
    replay: Replay | None,
) -> None:
    if replay is None:
        decoder = Decoder(container, settings.threads)
    else:
        decoder = JoinedDecoder(container, settings.threads, replay)
    asset = result.asset = decoder.asset()
    result.timings["open"] = time.perf_counter() - started
    panel, timeline, coverage = Panel(settings, asset), Timeline(), result.coverage
    programme: ProgramTime | None = getattr(container.io_open, "programme", None)
    interrupted = False
    coverage.problems += decoder.problems
    position = 0.0
    decoding = detecting = 0.0
    last = time.perf_counter()
    try:
        # else in the ranges
        followed = lips(settings, asset) if replay is None else None
        judged = replay is None and judges_coarseness(settings)
        stepped = replay is None and judges_steps(settings)
        for segment in Segmenter(followed, judged, steps=stepped).run(decoder):
            given = time.perf_counter()
            decoding += given - last
            panel.update(segment)
            timeline.update(segment)
            _cover(coverage, segment)
            _count(asset, segment)
            position = max(position, segment.end)
            if programme is not None:
                programme.reach(decoder.presentation, segment.end)
            if progress is not None:
                wall = time.perf_counter() - started
                speed = position / wall if wall > 0 else 0.0
                progress(Progress(position, asset.declared_duration, speed, len(panel.found)))
            last = time.perf_counter()
            detecting += last - given
        decoding += time.perf_counter() - last
    except KeyboardInterrupt:
        interrupted = True
        coverage.problems.append(_INTERRUPTED.model_copy(update={"time": position}))
    began = time.perf_counter()
    panel.finish()
    detecting += time.perf_counter() - began
    result.timings |= {"decode": decoding, "detect": detecting}
    asset.duration = position
    if programme is not None:
        asset.program_times = [ProgramMoment(time=t, date=date) for t, date in programme.moments()]
    least = settings.min_confidence
    result.defects = [
        defect
        for defect in events.defects(panel.found)
        if defect.confidence >= least.get(defect.kind, 0.0)
    ]
    result.measurements = panel.measurements
    result.av_sync = panel.av_sync
    result.timelines = timeline.result()
    coverage.problems += panel.problems
    if not interrupted:
        coverage.problems += _shortfalls(asset)
    _conclude(coverage, asset, panel.seconds)


def _cover(coverage: Coverage, segment: Segment) -> None:
    for note in segment.notes:
        if note.what == "read_error":
            coverage.problems.append(_problem(note))
            del coverage.problems[MAX_PROBLEMS:]
    if segment.end <= segment.start:
        return
    if coverage.examined and segment.start <= coverage.examined[-1][1] + 0.1:
        first, last = coverage.examined[-1]
        coverage.examined[-1] = (min(first, segment.start), max(last, segment.end))
    else:
        coverage.examined.append((segment.start, segment.end))


def _problem(note: Note) -> Problem:
    reason = note.reason or note.what
    return Problem(reason=reason, detail=note.detail, time=note.time, stream=note.stream)


def _count(asset: Asset, segment: Segment) -> None:
    if segment.picture is not None:
        for video in asset.video:
            if video.stream == segment.picture.format.stream:
                video.frames += len(segment.picture.frames)
    for sound in segment.sound:
        for audio in asset.audio:
            if audio.stream == sound.format.stream:
                audio.samples += sound.samples.shape[1]


def _shortfalls(asset: Asset) -> list[Problem]:
    """What the header promised and a whole reading did not give."""
    problems = []
    decoded = {track.stream: track.frames for track in asset.video}
    decoded |= {track.stream: track.samples for track in asset.audio}
    tracks: list[VideoTrack | AudioTrack] = [*asset.video, *asset.audio]
    for track in tracks:
        if track.examined and not decoded[track.stream]:
            detail = f"no frame of the {track.codec} stream could be decoded"
            problems.append(Problem(reason="nothing_decoded", detail=detail, stream=track.stream))
    missing = facts.undelivered(asset, asset.duration)
    if missing > 0 and any(decoded.values()):
        detail = f"the header promises {missing:.2f} s more than could be read and decoded"
        problems.append(Problem(reason="truncated", detail=detail, time=asset.duration))
    return problems


def _conclude(coverage: Coverage, asset: Asset, seconds_seen: dict[str, float]) -> None:
    length = max(asset.duration, 1e-9)
    for name, seconds in seconds_seen.items():
        whole = length * (max(len(asset.audio), 1) if DETECTORS[name].reads == "sound" else 1)
        coverage.detectors[name] = round(min(seconds / whole, 1.0), 4)
    if not coverage.examined:
        coverage.state = "none"
        if not coverage.problems:
            coverage.problems.append(
                Problem(reason="no_media", detail="no picture and no sound in it")
            )
    else:
        coverage.state = "partial" if coverage.problems else "complete"


def versions() -> dict[str, str]:
    """What judges, for the result."""
    return {
        "vidette": version("vidette"),
        "measure": measure.VERSION,
        "python": platform.python_version(),
        "av": av.__version__,
        "libavcodec": ".".join(str(part) for part in av.library_versions["libavcodec"]),
    }
