"""One asset in one process: open, decode, measure, detect; say what was found and what was not."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version

import av

from pipeline import events, facts
from pipeline.decode import Decoder
from pipeline.detectors import DETECTORS
from pipeline.detectors.base import (
    Detector,
    PictureDetector,
    SoundDetector,
    StreamDetector,
)
from pipeline.errors import SourceError
from pipeline.segment import Segmenter
from pipeline.settings import Settings, load
from pipeline.source import open_source
from pipeline.timeline import Timeline
from pipeline.types import (
    Asset,
    AudioTrack,
    Coverage,
    Inspection,
    Note,
    Observation,
    PictureFormat,
    Problem,
    Segment,
    SoundFormat,
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


class Bench:
    """The detectors of one asset at work: makes them, feeds them, gathers what they find."""

    def __init__(self, settings: Settings, asset: Asset) -> None:
        self._settings = settings
        self._names = settings.enabled()
        self.found: list[tuple[str, int | None, Observation]] = []
        self.measurements: dict[str, float] = {}
        self._owners: dict[str, int | None] = {}  # the stream whose figures keep their names
        self.seen: dict[str, float] = dict.fromkeys(self._names, 0.0)
        self._asset = asset
        self._picture: dict[str, PictureDetector] = {}
        self._picture_format: PictureFormat | None = None
        self._sound: dict[int, tuple[SoundFormat, float, dict[str, SoundDetector]]] = {}
        self._stream: dict[str, StreamDetector] = {}
        for name in self._names:
            detector = DETECTORS[name]
            if issubclass(detector, StreamDetector):
                self._stream[name] = detector(settings.of(name), asset)

    def update(self, segment: Segment) -> None:
        """Show a segment to every detector."""
        for name, stream_detector in self._stream.items():
            self._keep(name, None, stream_detector.update(segment))
            self.seen[name] += segment.end - segment.start
        picture = segment.picture
        if picture is not None:
            if picture.format != self._picture_format:
                self._end_picture()
                self._picture_format = picture.format
                for name in self._names:
                    detector = DETECTORS[name]
                    if issubclass(detector, PictureDetector):
                        self._picture[name] = detector(self._settings.of(name), picture.format)
            for name, picture_detector in self._picture.items():
                self._keep(name, picture.format.stream, picture_detector.update(picture, segment))
                self.seen[name] += float(picture.frames["duration"].sum())
        for sound in segment.sound:
            stream = sound.format.stream
            state = self._sound.get(stream)
            if state is None or state[0] != sound.format or abs(state[1] - sound.time) > 1e-3:
                kept = self._end_sound(stream, gap=True)
                made: dict[str, SoundDetector] = {}
                for name in self._names:
                    detector = DETECTORS[name]
                    if issubclass(detector, SoundDetector):
                        again = kept.get(name)
                        made[name] = again or detector(self._settings.of(name), sound.format)
                state = (sound.format, sound.time, made)
            length = sound.samples.shape[1] / sound.format.rate
            self._sound[stream] = (state[0], sound.time + length, state[2])
            for name, sound_detector in state[2].items():
                self._keep(name, stream, sound_detector.update(sound, segment))
                self.seen[name] += length

    def finish(self) -> None:
        """End of the asset."""
        self._end_picture()
        for stream in list(self._sound):
            self._end_sound(stream)
        for name, detector in self._stream.items():
            self._end(name, None, detector)

    def _end_picture(self) -> None:
        if self._picture_format is not None:
            for name, detector in self._picture.items():
                self._end(name, self._picture_format.stream, detector)
        self._picture = {}

    def _end_sound(self, stream: int, gap: bool = False) -> dict[str, SoundDetector]:
        """End the detectors of a stream; at a gap return those that go on, see SoundDetector."""
        state = self._sound.pop(stream, None)
        kept: dict[str, SoundDetector] = {}
        for name, detector in state[2].items() if state else ():
            if gap and detector.whole_stream:
                kept[name] = detector
            else:
                self._end(name, stream, detector)
        return kept

    def _end(self, name: str, stream: int | None, detector: Detector) -> None:
        self._keep(name, stream, detector.finish())
        for figure, value in detector.measurements().items():
            owner = self._owners.setdefault(figure, stream)
            self.measurements[figure if owner == stream else f"{figure}_stream_{stream}"] = value

    def _keep(self, name: str, stream: int | None, seen: Iterable[Observation]) -> None:
        label = f"{name}/{DETECTORS[name].version}"
        self.found += [(label, stream, observation) for observation in seen]


def inspect(
    uri: str, settings: Settings | None = None, progress: ProgressCallback | None = None
) -> Inspection:
    """Inspect one asset from beginning to end.

    Never raises for what is wrong with the asset: a source that cannot be opened, or only in part,
    gives an Inspection whose `coverage` says so. KeyboardInterrupt ends the inspection early; the
    result is then marked partial (problem `interrupted`).
    """
    settings = settings or load()
    started = time.perf_counter()
    cpu = time.process_time()
    result = Inspection(
        uri=uri,
        settings={name: settings.of(name).model_dump() for name in settings.enabled()},
        versions=_versions(),
    )
    try:
        with open_source(uri, settings.limits) as container:
            _examine(container, settings, result, progress, started)
    except SourceError as error:
        result.coverage.problems.append(Problem(reason=error.reason, detail=error.detail))
    result.timings["wall"] = time.perf_counter() - started
    result.timings["cpu"] = time.process_time() - cpu
    return result


def _examine(
    container: av.container.InputContainer,
    settings: Settings,
    result: Inspection,
    progress: ProgressCallback | None,
    started: float,
) -> None:
    decoder = Decoder(container, settings.threads)
    asset = result.asset = decoder.asset()
    result.timings["open"] = time.perf_counter() - started
    bench, timeline, coverage = Bench(settings, asset), Timeline(), result.coverage
    coverage.problems += decoder.problems
    position = 0.0
    try:
        for segment in Segmenter().run(decoder):
            bench.update(segment)
            timeline.update(segment)
            _cover(coverage, segment)
            _count(asset, segment)
            position = max(position, segment.end)
            if progress is not None:
                wall = time.perf_counter() - started
                speed = position / wall if wall > 0 else 0.0
                progress(Progress(position, asset.declared_duration, speed, len(bench.found)))
    except KeyboardInterrupt:
        coverage.problems.append(
            Problem(reason="interrupted", detail="stopped by the user", time=position)
        )
    bench.finish()
    asset.duration = position
    result.defects = events.defects(bench.found)
    result.measurements = bench.measurements
    result.timelines = timeline.result()
    _conclude(coverage, asset, bench)


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


def _conclude(coverage: Coverage, asset: Asset, bench: Bench) -> None:
    decoded = {track.stream: track.frames for track in asset.video}
    decoded |= {track.stream: track.samples for track in asset.audio}
    tracks: list[VideoTrack | AudioTrack] = [*asset.video, *asset.audio]
    for track in tracks:
        if track.examined and not decoded[track.stream]:
            coverage.problems.append(
                Problem(
                    reason="nothing_decoded",
                    detail=f"no frame of the {track.codec} stream could be decoded",
                    stream=track.stream,
                )
            )
    missing = facts.undelivered(asset, asset.duration)
    if missing > 0 and coverage.examined:
        detail = f"the header promises {missing:.2f} s more than could be read and decoded"
        coverage.problems.append(Problem(reason="truncated", detail=detail, time=asset.duration))
    length = max(asset.duration, 1e-9)
    for name, seconds in bench.seen.items():
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


def _versions() -> dict[str, str]:
    return {
        "vidette": version("vidette"),
        "python": platform.python_version(),
        "av": av.__version__,
        "libavcodec": ".".join(str(part) for part in av.library_versions["libavcodec"]),
    }
