"""Frames that another process has decoded and measured: what takes a frame's place where they go.

A long asset is cut into ranges that are measured in parallel (pipeline/ranges/). Of each frame this
is left: what the decoder said of it, and the statistics. No picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property

import av

from pipeline.measurements import Float32, Look, Mouth


@dataclass(frozen=True)
class FrameShape:
    """What stays the same from frame to frame, as PyAV gives it.

    Attributes:
        width, height: samples.
        format_name: of the pixels.
        color_range, color_trc, color_primaries: FFmpeg's numbers.
        rotation: degrees.
        aspect: of a pixel, as the decoder had it when it gave the frame.
    """

    width: int
    height: int
    format_name: str
    color_range: int
    color_trc: int
    color_primaries: int
    rotation: float
    aspect: Fraction | None


@cache
def _format(name: str) -> av.VideoFormat:
    return av.VideoFormat(name)


@dataclass
class MeasuredFrame:
    """A frame without its picture; the first attributes are named as av.VideoFrame has them.

    Attributes:
        shape: see FrameShape.
        pts, dts, duration: in ticks of the stream.
        key_frame, interlaced_frame, is_corrupt: said by the decoder.
        time: seconds of presentation that measuring took it to have; it holds only if the clock of
            the whole asset says the same.
        anew: measuring began anew with it, see PictureLine.
        maps: float32 [9, tile rows, tile columns], as PictureMeter holds them.
        profile: float32 [H], likewise.
        look: the closer look, where one was taken.
        mouths: that ended when it came.
        after: mouths that end if following ends after it.
        check: CRC-32 of its picture, of the first frames of a range; else 0.
    """

    shape: FrameShape
    pts: int | None
    dts: int | None
    duration: int
    key_frame: bool
    interlaced_frame: bool
    is_corrupt: bool
    time: float
    anew: bool
    maps: Float32
    profile: Float32
    look: Look | None = None
    mouths: list[Mouth] = field(default_factory=list)
    after: list[Mouth] = field(default_factory=list)
    check: int = 0

    @property
    def sw_format(self) -> None:
        """Of samples on a GPU: it has none."""
        return None

    @property
    def width(self) -> int:
        """Samples."""
        return self.shape.width

    @property
    def height(self) -> int:
        """Samples."""
        return self.shape.height

    @cached_property
    def format(self) -> av.VideoFormat:
        """Of the pixels."""
        return _format(self.shape.format_name)

    @property
    def color_range(self) -> int:
        """FFmpeg's number."""
        return self.shape.color_range

    @property
    def color_trc(self) -> int:
        """FFmpeg's number."""
        return self.shape.color_trc

    @property
    def color_primaries(self) -> int:
        """FFmpeg's number."""
        return self.shape.color_primaries

    @property
    def rotation(self) -> float:
        """Degrees."""
        return self.shape.rotation
