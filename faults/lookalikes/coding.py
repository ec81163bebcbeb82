"""What honest coding leaves of a picture."""

from __future__ import annotations

from collections.abc import Iterator

from faults.lookalikes.base import PictureLookalike
from faults.media import Picture
from faults.recode import recode
from pipeline.types import Kind


class LowBitrate(PictureLookalike):
    """Coded at a low but honest bit rate, as streaming services do on slow lines."""

    name = "low_bitrate"
    summary = "Encoded with x264 at crf 30"
    resembles = (Kind.BLOCKINESS, Kind.BLUR, Kind.BANDING, Kind.BLOCK_CORRUPTION, Kind.FREEZE)

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        return recode(pictures, "libx264", {"preset": "medium", "crf": "30"})
