"""What an inspection says: published, pydantic; `vidette schema` prints its JSON Schema.

All times are seconds as floats from the start of the asset's presentation, taken from PTS, never
counted from frames. What travels inside an inspection is in pipeline/measurements.py.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """Every defect that Vidette can name. Identifiers are added, never renamed."""

    # picture
    BLACK = "black"
    FREEZE = "freeze"
    PARTIAL_FREEZE = "partial_freeze"
    SOLID_COLOR = "solid_color"
    COLOR_BARS = "color_bars"
    SLATE = "slate"
    REPEATED_FRAMES = "repeated_frames"
    DROPPED_FRAMES = "dropped_frames"
    GLITCH = "glitch"
    BLOCK_CORRUPTION = "block_corruption"
    DECODER_SMEAR = "decoder_smear"
    BLOCKINESS = "blockiness"
    BLUR = "blur"
    BANDING = "banding"
    NOISE = "noise"
    COMBING = "combing"
    TEARING = "tearing"
    BRIGHTNESS_PUMPING = "brightness_pumping"
    FLASHING = "flashing"
    LETTERBOX_CHANGE = "letterbox_change"
    ILLEGAL_LEVELS = "illegal_levels"
    # sound
    SILENCE = "silence"
    DROPOUT = "dropout"
    DEAD_CHANNEL = "dead_channel"
    CLIPPING = "clipping"
    CLICK = "click"
    HUM = "hum"
    HISS = "hiss"
    DISTORTION = "distortion"
    DC_OFFSET = "dc_offset"
    PHASE_INVERSION = "phase_inversion"
    FALSE_STEREO = "false_stereo"
    LEVEL_JUMP = "level_jump"
    TEST_TONE = "test_tone"
    BANDWIDTH_LOSS = "bandwidth_loss"
    LOUDNESS = "loudness"
    TRUE_PEAK = "true_peak"
    # picture and sound
    AV_OFFSET = "av_offset"
    AV_DRIFT = "av_drift"
    AV_STEP = "av_step"
    AV_LENGTH_MISMATCH = "av_length_mismatch"
    # stream
    TIMESTAMP_GAP = "timestamp_gap"
    TIMESTAMP_JUMP = "timestamp_jump"
    DECODE_ERROR = "decode_error"
    TRUNCATED = "truncated"
    FORMAT_CHANGE = "format_change"
    MISSING_STREAM = "missing_stream"
    OUTAGE = "outage"
    STALE_PLAYLIST = "stale_playlist"
    SEGMENT_MISSING = "segment_missing"


# ------------------------------------------------------------------------------------ published


class Published(BaseModel):
    """Base of everything that is written out: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Region(Published):
    """A rectangle of the picture as decoded (not rotated), in shares of its width and height."""

    left: float = Field(ge=0, le=1)
    top: float = Field(ge=0, le=1)
    right: float = Field(ge=0, le=1)
    bottom: float = Field(ge=0, le=1)

    @staticmethod
    def around(tiles: npt.NDArray[np.bool_]) -> Region:
        """The box of the tiles that are set, at least one, of [tile rows, tile columns]."""
        rows, columns = tiles.shape
        down, across = np.flatnonzero(tiles.any(axis=1)), np.flatnonzero(tiles.any(axis=0))
        return Region(
            left=across[0] / columns,
            top=down[0] / rows,
            right=(across[-1] + 1) / columns,
            bottom=(down[-1] + 1) / rows,
        )


class Defect(Published):
    """One defect over one interval."""

    id: str = Field(description="stable for the same asset, kind, stream and start")
    kind: Kind
    start: float = Field(description="seconds from the start of the presentation")
    end: float = Field(description="seconds; the first instant that is clean again")
    peak: float = Field(description="seconds; the worst moment, start <= peak <= end")
    severity: float = Field(
        ge=0, le=1, description="0.25 very subtle, 0.5 subtle, 0.75 noticeable, 1 very noticeable"
    )
    confidence: float = Field(ge=0, le=1)
    stream: int | None = Field(description="index of the stream in the container, null: the asset")
    region: Region | None = None
    evidence: dict[str, float] = Field(description="measured numbers that a person can check")
    summary: str = Field(description="the evidence in words")
    detector: str = Field(description="name/version")


class Problem(Published):
    """Something that could not be examined, and why."""

    reason: str = Field(description="a short identifier, for instance read_timeout")
    detail: str
    time: float | None = None
    stream: int | None = None


class Coverage(Published):
    """What was examined. 'No defect found' must never mean 'could not look'."""

    state: Literal["complete", "partial", "none"] = "none"
    examined: list[tuple[float, float]] = Field(default_factory=list)
    detectors: dict[str, float] = Field(
        default_factory=dict, description="per detector: share of its input that it saw, 0 to 1"
    )
    problems: list[Problem] = Field(default_factory=list)


class VideoTrack(Published):
    """Facts about a video stream."""

    stream: int
    codec: str
    profile: str | None = None
    width: int
    height: int
    pixel_format: str | None = None
    bit_depth: int = 8
    frame_rate: float | None = Field(default=None, description="nominal frames per second")
    sample_aspect_ratio: float | None = None
    rotation: float = Field(default=0.0, description="degrees, counter-clockwise, for display")
    color_range: str | None = Field(default=None, description="limited or full")
    color_transfer: str | None = Field(
        default=None, description="bt709, smpte2084 (PQ), arib_std_b67 (HLG), ..."
    )
    color_primaries: str | None = None
    field_order: str | None = Field(
        default=None, description="progressive, top_field_first or bottom_field_first"
    )
    declared_duration: float | None = Field(default=None, description="seconds, from the header")
    declared_frames: int | None = Field(default=None, description="from the header")
    frames: int = Field(default=0, description="frames decoded")
    examined: bool = True
    decoder: Literal["software", "nvdec"] = "software"
    no_hardware: str | None = Field(
        default=None, description="why it was decoded in software although a GPU was asked for"
    )


class AudioTrack(Published):
    """Facts about an audio stream."""

    stream: int
    codec: str
    sample_rate: int
    channels: int
    layout: str | None = None
    language: str | None = None
    declared_duration: float | None = Field(default=None, description="seconds, from the header")
    samples: int = Field(default=0, description="samples decoded, per channel")
    examined: bool = True


class ProgramMoment(Published):
    """When a moment of the presentation was made, as the stream says."""

    time: float = Field(description="seconds; it holds from here to the next such moment")
    date: datetime | None = Field(description="null: the stream does not say")


class Asset(Published):
    """What was opened."""

    container: str | None = None
    size_bytes: int | None = None
    bit_rate: int | None = Field(default=None, description="bits per second, as declared")
    declared_duration: float | None = None
    duration: float = Field(default=0.0, description="seconds of presentation that were decoded")
    start_time: float = Field(default=0.0, description="the container clock at presentation zero")
    video: list[VideoTrack] = Field(default_factory=list)
    audio: list[AudioTrack] = Field(default_factory=list)
    other_streams: list[str] = Field(default_factory=list)
    program_times: list[ProgramMoment] = Field(
        default_factory=list,
        description="of HLS whose playlist gives dates (EXT-X-PROGRAM-DATE-TIME): the first one, "
        "and each that does not follow from the one before",
    )


class Timelines(Published):
    """The main statistics at one fixed rate, for plots."""

    rate: float = Field(default=10.0, description="values per second")
    series: dict[str, list[float | None]] = Field(default_factory=dict)


Interval = tuple[float, float]


class AvSyncMoment(Published):
    """Sound against lips over about five seconds that were watched."""

    start: float = Field(description="seconds")
    end: float
    offset_ms: float = Field(description="positive: sound comes early")
    interval_ms: Interval = Field(description="holds the offset in 95 of 100 cases")
    confidence: float
    answered: bool = Field(description="false: too unclear to count")
    mouth: Region = Field(description="where the mouth is that tells most clearly")


class AvSync(Published):
    """Whether the sound is with the lips; said even when all is well."""

    state: Literal["in_sync", "out_of_sync", "abstained"]
    offset_ms: float | None = Field(
        default=None, description="positive: sound comes early; of the worst stretch"
    )
    interval_ms: Interval | None = Field(
        default=None, description="holds the offset in 95 of 100 cases"
    )
    confidence: float | None = Field(default=None, description="0 to 1, that the offset is right")
    reason: Literal["no_face", "no_sound", "unclear"] | None = Field(
        default=None,
        description="of an abstention; unclear: a voice off screen, music, or too little speech",
    )
    share_answered: float = Field(
        default=0.0, description="share of the asset where lips were watched and the answer holds"
    )
    track: list[AvSyncMoment] = Field(default_factory=list, description="over time")


class Inspection(Published):
    """All that is known about one asset after an inspection."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_: Literal["vidette.inspection/1"] = Field(default="vidette.inspection/1", alias="schema")
    uri: str
    asset: Asset = Field(default_factory=Asset)
    coverage: Coverage = Field(default_factory=Coverage)
    defects: list[Defect] = Field(default_factory=list)
    measurements: dict[str, float] = Field(
        default_factory=dict,
        description="figures of the whole asset, for instance loudness in LUFS",
    )
    av_sync: AvSync | None = Field(
        default=None, description="null where picture or sound is missing, or `sync` did not run"
    )
    timelines: Timelines = Field(default_factory=Timelines)
    settings: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="per detector that ran: the settings used"
    )
    versions: dict[str, str] = Field(default_factory=dict)
    timings: dict[str, float] = Field(default_factory=dict, description="seconds, by part")
