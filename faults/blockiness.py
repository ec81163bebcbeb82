"""Blockiness: the picture coded with far too few bits, so that the grid of its blocks shows."""

from __future__ import annotations

from collections.abc import Iterator

from faults.media import Picture
from faults.recode import recode
from faults.span import SpanFault
from faults.truth import Severity
from pipeline.types import Kind


class BlockinessFault(SpanFault):
    """Really encodes the interval with coarse quantisers and decodes it again.

    As an encoder without bit rate does, a contribution link or an old file. In one case of three
    the picture was coded smaller and scaled up after, so that the grid is not of 8 samples.
    """

    name = "blockiness"
    kind = Kind.BLOCKINESS
    summary = "Over-compressed with H.264, MPEG-2 or Motion JPEG until the blocks show"
    also = (Kind.BLUR, Kind.BANDING, Kind.BLOCK_CORRUPTION)
    # QP: MVAD supplement. The scales of the others are proposed: about as coarse.
    ladder = {
        Severity.VERY_SUBTLE: {"qp": 32, "mpeg_scale": 10},
        Severity.SUBTLE: {"qp": 37, "mpeg_scale": 16},
        Severity.NOTICEABLE: {"qp": 42, "mpeg_scale": 23},
        Severity.VERY_NOTICEABLE: {"qp": 47, "mpeg_scale": 31},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        coder = str(self.rng.choice(["x264", "x264_deblocked", "mpeg2video", "mjpeg"]))
        ratio = 1.0 if self.rng.random() < 2 / 3 else float(self.rng.choice([0.75, 2 / 3, 0.5]))
        self.parameters |= {"coder": coder, "coded_size": ratio}
        height, width = self.clean.size
        # a scale below 1 must stay even, and above what encoders take
        size = (max(round(height * ratio / 2) * 2, 16), max(round(width * ratio / 2) * 2, 16))
        codec = {"x264": "libx264", "x264_deblocked": "libx264"}.get(coder, coder)
        yield from recode(pictures, codec, self._options(coder), scale=None if ratio == 1 else size)

    def _options(self, coder: str) -> dict[str, str]:
        if coder.startswith("x264"):
            options = {"preset": "veryfast", "qp": str(self.parameters["qp"])}
            return (
                options if coder == "x264_deblocked" else {**options, "x264-params": "no-deblock=1"}
            )
        scale = str(self.parameters["mpeg_scale"])
        return {"qmin": scale, "qmax": scale, "g": "12"}
