"""The panel: the detectors of one asset at work, made, fed and held apart from each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from pipeline.detectors import DETECTORS
from pipeline.detectors.base import (
    Detector,
    PictureDetector,
    SoundDetector,
    StreamDetector,
)
from pipeline.detectors.blockiness import BlockinessDetector
from pipeline.detectors.corruption import CorruptionDetector, CorruptionSettings
from pipeline.detectors.sync import SyncDetector, SyncSettings
from pipeline.measurements import Observation, PictureFormat, Segment, SoundFormat
from pipeline.settings import Settings
from pipeline.types import Asset, AvSync, Problem

DetectorT = TypeVar("DetectorT", bound=Detector)
Found = tuple[str, int | None, Observation]  # detector name/version, stream, observation
ASKED_EVERY = 0.9  # seconds, of detectors that are slow to ask
log = logging.getLogger("vidette")


class Panel:
    """Makes the enabled detectors, shows them every segment, gathers what they find.

    Picture and sound detectors are made for one format of one stream and made anew when it
    changes. A detector that raises is left out from then on: the others go on, what it had found
    stays, and `problems` says so.

    Attributes:
        found: in the order of finding.
        measurements: figures of the whole asset. The first stream that gives a figure keeps its
            name, a further stream's has `_stream_N` appended.
        av_sync: the verdict on sound and lips, once finished.
        seconds: per detector, how many seconds of its streams it has seen.
        problems: detectors that failed.
    """

    def __init__(self, settings: Settings, asset: Asset) -> None:
        self.found: list[Found] = []
        self.measurements: dict[str, float] = {}
        self.av_sync: AvSync | None = None
        self.problems: list[Problem] = []
        self._settings = settings
        self._names = settings.enabled()
        self.seconds: dict[str, float] = dict.fromkeys(self._names, 0.0)
        self._owners: dict[str, int | None] = {}  # the stream whose figures keep their names
        self._picture: dict[str, PictureDetector] = {}
        self._picture_format: PictureFormat | None = None
        self._sound: dict[int, dict[str, SoundDetector]] = {}
        self._heard: dict[int, tuple[SoundFormat, float]] = {}  # format and end of the last stretch
        self._stream = self._make(StreamDetector, asset)  # type: ignore[type-abstract]
        self._end_seen = 0.0  # of the last segment
        # who was asked for what stands, at which end, and the answer
        self._stood: dict[tuple[str, int | None], tuple[Detector, float, list[Found]]] = {}

    def update(self, segment: Segment) -> None:
        """Show a segment to every detector."""
        self._end_seen = segment.end
        for name, of_asset in list(self._stream.items()):
            self._feed(name, None, partial(of_asset.update, segment))
            self.seconds[name] += segment.end - segment.start
        picture = segment.picture
        if picture is not None:
            if picture.format != self._picture_format:
                self._end_picture()
                self._picture_format = picture.format
                self._picture = self._make(PictureDetector, picture.format)  # type: ignore[type-abstract]
            shown = float(picture.frames["duration"].sum())
            for name, of_picture in list(self._picture.items()):
                stream = picture.format.stream
                self._feed(name, stream, partial(of_picture.update, picture, segment))
                self.seconds[name] += shown
        elif self._picture_format is not None:
            for name, of_picture in list(self._picture.items()):
                self._feed(
                    name, self._picture_format.stream, partial(of_picture.without_picture, segment)
                )
        for sound in segment.sound:
            stream = sound.format.stream
            length = sound.samples.shape[1] / sound.format.rate
            last = self._heard.get(stream)
            if last is None or last[0] != sound.format or abs(last[1] - sound.time) > 1e-3:
                kept = self._end_sound(stream, gap=True)
                made = self._make(SoundDetector, sound.format)  # type: ignore[type-abstract]
                self._sound[stream] = made | kept
            self._heard[stream] = (sound.format, sound.time + length)
            for name, of_sound in list(self._sound[stream].items()):
                self._feed(name, stream, partial(of_sound.update, sound, segment))
                self.seconds[name] += length

    def finish(self) -> None:
        """End of the asset."""
        self._end_picture()
        for stream in list(self._sound):
            self._end_sound(stream)
        for name, detector in self._stream.items():
            self._end(name, None, detector)

    def standing(self) -> list[Found]:
        """What would be found if the asset ended here; nothing changes by asking.

        Detectors that are slow to ask are asked about once a second, and have answered the same
        meanwhile.
        """
        groups: list[tuple[int | None, Mapping[str, Detector]]] = [(None, self._stream)]
        if self._picture_format is not None:
            groups.append((self._picture_format.stream, self._picture))
        groups += self._sound.items()
        return [
            found
            for stream, detectors in groups
            for name, detector in list(detectors.items())
            for found in self._standing(name, stream, detector)
        ]

    def _standing(self, name: str, stream: int | None, detector: Detector) -> list[Found]:
        if not detector.slow_to_ask:
            return self._asked(name, stream, detector.standing)
        known = self._stood.get((name, stream))
        # a clock that goes back is time that passes, too
        old = known is None or abs(self._end_seen - known[1]) > ASKED_EVERY
        if known is None or known[0] is not detector or old:
            known = (detector, self._end_seen, self._asked(name, stream, detector.standing))
            self._stood[name, stream] = known
        return known[2]

    def av_offset_ms(self) -> float | None:
        """How early sound is against lips as `standing` last knew it; None: nobody can tell."""
        known = [detector.av_offset_ms() for detector in self._stream.values()]
        return next((offset for offset in known if offset is not None), None)

    def _make(self, base: type[DetectorT], of: object) -> dict[str, DetectorT]:
        made = {}
        for name in self._names:
            detector = DETECTORS[name]
            if issubclass(detector, base):
                made[name] = detector(self._settings.of(name), of)  # type: ignore[call-arg]
        return made

    def _end_picture(self) -> None:
        if self._picture_format is not None:
            for name, detector in list(self._picture.items()):
                self._end(name, self._picture_format.stream, detector)
        self._picture = {}

    def _end_sound(self, stream: int, gap: bool = False) -> dict[str, SoundDetector]:
        """End the detectors of a stream; at a gap return those that go on, see SoundDetector."""
        kept: dict[str, SoundDetector] = {}
        for name, detector in list(self._sound.pop(stream, {}).items()):
            if gap and detector.whole_stream:
                kept[name] = detector
            else:
                self._end(name, stream, detector)
        return kept

    def _end(self, name: str, stream: int | None, detector: Detector) -> None:
        if name not in self._names:
            return
        self._feed(name, stream, detector.finish)
        self.av_sync = self.av_sync or detector.av_sync()
        for figure, value in detector.measurements().items():
            owner = self._owners.setdefault(figure, stream)
            self.measurements[figure if owner == stream else f"{figure}_stream_{stream}"] = value

    def _feed(
        self, name: str, stream: int | None, ask: Callable[[], Iterable[Observation]]
    ) -> None:
        self.found += self._asked(name, stream, ask)

    def _asked(
        self, name: str, stream: int | None, ask: Callable[[], Iterable[Observation]]
    ) -> list[Found]:
        """What a detector answers; one that raises is left out from here on."""
        label = f"{name}/{DETECTORS[name].version}"
        try:
            return [(label, stream, observation) for observation in ask()]
        except Exception as error:  # one detector's fault must not cost what the others find
            log.exception("detector %s failed and is left out from here on", name)
            self._names.remove(name)
            for group in (self._stream, self._picture, *self._sound.values()):
                group.pop(name, None)  # type: ignore[attr-defined]
            detail = f"the detector {name} failed: {type(error).__name__}: {error}"
            self.problems.append(Problem(reason="detector_failed", detail=detail, stream=stream))
            return []


def lips(settings: Settings, asset: Asset) -> float | None:
    """The share of the time in which lips are to be watched; 0: as much as the budget allows."""
    both = any(v.examined for v in asset.video) and any(a.examined for a in asset.audio)
    if not both or SyncDetector.name not in settings.enabled():
        return None
    return SyncSettings.model_validate(settings.of(SyncDetector.name).model_dump()).share


def judges_coarseness(settings: Settings) -> bool:
    """Whether a net is to judge how coarsely the picture was quantised."""
    return BlockinessDetector.name in settings.enabled()


def judges_steps(settings: Settings) -> bool:
    """Whether a net is to judge what changes at once."""
    name = CorruptionDetector.name
    if name not in settings.enabled():
        return False
    return CorruptionSettings.model_validate(settings.of(name).model_dump()).encoded_again
