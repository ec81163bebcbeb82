"""What a detector is: a small state per stream that turns statistics into observations."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pipeline.measurements import (
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
    SoundFormat,
    SoundStatistics,
)
from pipeline.types import Asset, AvSync, Kind

FormatT = TypeVar("FormatT")


class Unchanging:
    """Base of what is never changed once it is made: copies of a detector share it.

    A detector that keeps a minute of looks is copied each second while a stream is watched.
    """

    def __deepcopy__(self, _memo: dict[int, object]) -> Self:
        """Itself."""
        return self


class DetectorSettings(BaseModel):
    """Base of all settings: every field has a unit and the source of its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def setting(default: Any, unit: str, description: str, source: str, **bounds: Any) -> Any:
    """A setting: its default, unit ("" for a ratio), meaning and where the default comes from."""
    return Field(
        default=default,
        description=description,
        json_schema_extra={"unit": unit, "source": source},
        **bounds,
    )


class Detector(ABC):
    """Base of all detectors. Subclass PictureDetector, SoundDetector or StreamDetector.

    A detector is made anew whenever the format of its stream changes, and lives in one thread.
    `measurements`, if a detector has any, are figures of the whole stream. Those of the first audio
    track keep their names; of another track they are called `<name>_stream_<index>`.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    kinds: ClassVar[tuple[Kind, ...]]
    reads: ClassVar[Literal["picture", "sound", "stream"]]
    summary: ClassVar[str]
    # `standing` takes milliseconds; live streams are judged twice a second
    slow_to_ask: ClassVar[bool] = False
    Settings: ClassVar[type[DetectorSettings]] = DetectorSettings

    @classmethod
    def facts(cls) -> dict[str, Any]:
        """What it finds and what can be set, with units and sources; as JSON takes it."""
        properties = cls.Settings.model_json_schema().get("properties", {})
        return {
            "name": cls.name,
            "version": cls.version,
            "finds": list(cls.kinds),
            "reads": cls.reads,
            "summary": cls.summary,
            "settings": {
                key: {
                    "default": facts.get("default"),
                    "unit": facts.get("unit", ""),
                    "description": facts.get("description", ""),
                    "source": facts.get("source", ""),
                }
                for key, facts in properties.items()
            },
        }

    @abstractmethod
    def finish(self) -> Iterable[Observation]:
        """End of the stream, or of this format of it: what is still open."""

    def standing(self) -> Iterable[Observation]:
        """What `finish` would say now, for a stream that goes on; the state stays as it is."""
        return list(copy.deepcopy(self).finish())

    def measurements(self) -> dict[str, float]:
        """Figures of the whole stream, after `finish`, for instance loudness_integrated_lufs."""
        return {}

    def av_offset_ms(self) -> float | None:
        """How early sound is against lips as last known, of the detector that can tell."""
        return None

    def av_sync(self) -> AvSync | None:
        """The verdict on sound and lips, after `finish`, of the detector that has one."""
        return None


class PictureDetector(Detector):
    """Sees the frames of one video stream, a segment of about a second at a time."""

    reads = "picture"

    def __init__(self, settings: Any, picture_format: PictureFormat) -> None:
        self.settings = settings
        self.format = picture_format

    @abstractmethod
    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """Take the next frames, in order; returns the observations that ended in them."""

    def without_picture(self, segment: Segment) -> Iterable[Observation]:
        """A segment in which no frame came: the last one stands. Most need not know."""
        return ()


class SoundDetector(Detector):
    """Sees one audio stream, a contiguous stretch of about a second at a time.

    Stretches follow each other without a gap; after a gap the detector is made anew, unless it says
    `whole_stream`: then one detector sees the stream from its beginning to its end, and `update`
    must itself look at `sound.time` and `sound.format` for gaps and changes.
    """

    reads = "sound"
    whole_stream: ClassVar[bool] = False

    def __init__(self, settings: Any, sound_format: SoundFormat) -> None:
        self.settings = settings
        self.format = sound_format

    @abstractmethod
    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """Take the next stretch, in order; returns the observations that ended in it."""


class StreamDetector(Detector):
    """Sees all segments of an asset: notes of the transport, and picture and sound together."""

    reads = "stream"

    def __init__(self, settings: Any, asset: Asset) -> None:
        self.settings = settings
        self.asset = asset

    @abstractmethod
    def update(self, segment: Segment) -> Iterable[Observation]:
        """Take the next segment, in order; returns the observations that ended in it."""
