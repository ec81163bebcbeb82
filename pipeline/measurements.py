"""What travels inside an inspection and never leaves a process: dataclasses over numpy arrays.

Formats, what the pass over the frames and the sound measured, what the transport said, segments of
all that, and what detectors find in them. Times are as in pipeline/types.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.types import Kind, Region

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


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


UNASKED = -20.0  # log odds of tiles of which nobody was asked


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
    `steps` [T, 2, tile rows, tile columns] is of the frame BEFORE each: the log odds of a net that
    damage began there, and that it was mended (models/mends.py); UNASKED where it was not asked.
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
    steps: Float32 = field(default_factory=lambda: np.empty((0, 2, 0, 0), np.float32))


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
WAVE_BINS = 16  # of Spectra.wave


@dataclass
class Spectra:
    """Short-time power spectra of a stretch: F half-overlapping Hann windows of about 43 ms.

    The windows go on across stretches: the first may begin in the stretch before. `power`
    float32 [F, B] is the mean over the channels; its sum over B is the mean square of the window
    (full scale 1.0). `cross` float32 [F, P, 3, 3] holds for each pair of channels the power of the
    left, the power of the right and their cross power (left times right) in three bands, which
    begin at CROSS_BANDS. `wave` float32 [F, 4 + WAVE_BINS] says how the samples of each window are
    spread, see pipeline/measure/wave.py.
    """

    time: float  # start of the first window
    hop: float  # seconds from one window to the next
    window: float  # seconds
    frequencies: Float64  # [B], Hz
    power: Float32
    pairs: tuple[tuple[int, int], ...]  # channels: left and right of the front, back, sides
    cross: Float32
    wave: Float32

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
