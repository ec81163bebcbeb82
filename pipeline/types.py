"""The types that everything speaks: what an inspection says, and what travels inside one.

The upper half is published (pydantic; `vidette schema` prints its JSON Schema). The lower half
never leaves a process (dataclasses over numpy arrays). All times are seconds as floats from the
start of the asset's presentation, taken from PTS, never counted from frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntFlag, StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


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


# ------------------------------------------------------------------------------------- internal


@dataclass(frozen=True)
class Observation:
    """A detector's finding over an interval, before `pipeline.events` makes defects of it."""

    kind: Kind
    start: float
    end: float
    severity: float
    confidence: float
    summary: str
    evidence: dict[str, float] = field(default_factory=dict)
    peak: float | None = None
    region: Region | None = None


class FrameFlag(IntFlag):
    """What the transport and the decoder said about a frame."""

    CORRUPT = 1  # the packet or the decoder flagged damage
    KEY = 2
    INTERLACED = 4
    TOP_FIELD_FIRST = 8


# One row per frame. Levels are 8-bit limited-range code values (black 16, white 235), whatever the
# range and depth of the source; `motion`, `detail` and `comb` are mean absolute code values.
FRAME_ROW = np.dtype(
    [
        ("time", "f8"),
        ("duration", "f8"),
        ("luma", "f4"),
        ("motion", "f4"),
        ("detail", "f4"),
        ("comb", "f4"),
        ("cb", "f4"),
        ("cr", "f4"),
        ("flags", "u1"),
    ]
)


@dataclass(frozen=True)
class PictureFormat:
    """What stays the same for all frames of one run of a video stream."""

    stream: int
    width: int
    height: int
    frame_rate: float  # nominal, frames per second; 25 where the stream does not say
    full_range: bool
    bit_depth: int
    interlaced: bool  # the stream declares interlaced coding
    chroma: bool  # false: a grey picture without chroma planes

    TILE = 16

    @property
    def tiles(self) -> tuple[int, int]:
        """Tile rows and columns: 16x16 luma samples each, the last ones may be smaller."""
        return -(-self.height // self.TILE), -(-self.width // self.TILE)


@dataclass
class Look:
    """A closer look at one frame, taken about five times a second: what changes slowly.

    Levels as in FRAME_ROW. See pipeline/measure/look.py for each definition.
    """

    time: float
    frame: int  # index of the frame in its segment
    histogram: npt.NDArray[np.int64]  # [256] luma code values as stored, of every fifth row
    row_mean: Float32  # [H]
    row_spread: Float32  # [H] mean absolute difference between horizontal neighbours
    column_mean: Float32  # [W]
    column_spread: Float32  # [W] mean absolute difference between vertical neighbours
    column_steps: Float32  # [W] isolated luma steps between columns x-1 and x, mean over rows
    row_steps: Float32  # [H] isolated luma steps between rows y-1 and y, mean over columns
    noise: Float32  # [th, tw] Immerkaer noise sigma
    fine: Float32  # [th, tw] mean |Y[x]-Y[x-1]|
    curve: Float32  # [th, tw] mean |Y[x-1]-2Y[x]+Y[x+1]|
    contour: Float32  # [th, tw] crossings of the tile by contours of 2 to 9 code values
    quantisers: Float32 = field(default_factory=lambda: np.empty((0, 2), np.float32))
    # [C, 2] of crops, see models/coarseness.py: estimates (QP), and the logarithms of what they are
    # worth; none where nobody asked


@dataclass
class PictureStatistics:
    """What the one pass over each frame measured, for the T frames of a segment.

    Tile maps are float32 [T, tile rows, tile columns]: `luma`, `cb`, `cr` the mean code value;
    `motion` the mean absolute difference to the previous frame (0 for a first frame); `detail` the
    sum of the mean absolute differences to the left and to the upper neighbour; `order` how much
    farther even rows of this frame and odd ones of the previous are apart than odd rows of this and
    even ones of the previous (0 for a first frame): at a row y, with P the previous frame and the
    mean M of the rows above and below, |Y-MP| - |P-MY| where y is even, |P-MY| - |Y-MP| where odd.
    Motion, detail and order are means over rows 0, 1, 4, 5, 8, 9... (a last row by itself has no
    order: 0); `comb` is the mean of max(0, |Y[y]-Y[y-1]| - |Y[y]-Y[y-2]| - 4) over rows 0, 4,
    8...; the others are means over all. `rows` [T, H] is the mean |Y[y]-Y[y-1]| of each row.
    """

    format: PictureFormat
    frames: np.ndarray  # FRAME_ROW [T]
    luma: Float32
    motion: Float32
    detail: Float32
    comb: Float32
    order: Float32
    cb: Float32
    cr: Float32
    rows: Float32
    looks: list[Look]


@dataclass(frozen=True)
class SoundFormat:
    """What stays the same for one run of an audio stream."""

    stream: int
    rate: int  # samples per second
    channels: int
    layout: str

    @property
    def block(self) -> int:
        """Samples in one row of statistics: 10 ms, rounded down."""
        return max(1, self.rate // 100)


CROSS_BANDS = (20.0, 250.0, 2000.0)  # Hz, where the bands of Spectra.cross begin


@dataclass
class Spectra:
    """Short-time power spectra of a stretch: F half-overlapping Hann windows of about 43 ms.

    The windows go on across stretches: the first may begin in the stretch before. `power`
    float32 [F, B] is the mean over the channels; its sum over B is the mean square of the window
    (full scale 1.0). `cross` float32 [F, P, 3, 3] holds for each pair of channels the power of the
    left, the power of the right and their cross power (left times right) in three bands, which
    begin at CROSS_BANDS.
    """

    time: float  # start of the first window
    hop: float  # seconds from one window to the next
    window: float  # seconds
    frequencies: Float64  # [B], Hz
    power: Float32
    pairs: tuple[tuple[int, int], ...]  # channels: left and right of the front, back, sides
    cross: Float32

    @property
    def times(self) -> Float64:
        """Start of the slot of one hop in the middle of each window, [F]."""
        slots = np.arange(self.power.shape[0], dtype=np.float64)
        return self.time + (self.window - self.hop) / 2 + slots * self.hop


@dataclass
class SoundStatistics:
    """A contiguous stretch of sound: a whole number M of blocks of about 10 ms.

    `energy`, `peak` and `mean` are float32 [C, M]: mean square, largest magnitude and mean of the
    samples (full scale 1.0) in each block; `weighted` the mean square after K-weighting.
    `momentary` and `short_term` [M] are the loudness in LUFS of the 400 ms and 3 s that end with
    each block, nan where the stream is younger than that; see pipeline/measure/loudness.py.
    """

    format: SoundFormat
    time: float  # of the first sample
    samples: Float32  # [C, N], full scale 1.0
    energy: Float32
    peak: Float32
    mean: Float32
    weighted: Float32
    momentary: Float32
    short_term: Float32
    spectra: Spectra

    @property
    def block_seconds(self) -> float:
        """Duration of one block in seconds."""
        return self.format.block / self.format.rate

    @property
    def times(self) -> Float64:
        """Start time of each block, [M]."""
        blocks = np.arange(self.energy.shape[1], dtype=np.float64)
        return self.time + blocks * self.block_seconds


@dataclass(frozen=True)
class Mouth:
    """A mouth that was followed for a while.

    Attributes:
        time: of the first picture, a whole number of 1/25 s.
        pictures: [T, 80, 80] uint8 luma as stored, 25 a second.
        face: mean size of the face, in samples of the frame.
        place: left, top, right and bottom of its mean place, in shares of the frame.
    """

    time: float
    pictures: npt.NDArray[np.uint8]
    face: float
    place: tuple[float, float, float, float]


@dataclass(frozen=True)
class Note:
    """What the source, the demuxer or a decoder had to say at one instant."""

    what: Literal[
        "decode_error", "corrupt_packet", "gap", "jump", "format_change", "read_error", "end"
    ]
    time: float
    stream: int | None
    detail: str
    value: float = 0.0  # gap and jump: seconds; decode_error: number of errors
    reason: str = ""  # read_error: as Problem.reason; decode_error: log, exception or flag


@dataclass
class Segment:
    """About one second of one asset, as the detectors see it."""

    start: float
    end: float
    picture: PictureStatistics | None
    sound: list[SoundStatistics]  # contiguous stretches, of any examined track, in order
    notes: list[Note]
    mouths: list[Mouth] = field(default_factory=list)  # that ended; where lips are watched
