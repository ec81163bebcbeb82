"""Illegal levels: luma stretched beyond what a limited-range picture may hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from faults.base import FrameFault
from faults.drawing import code
from faults.media import BLACK, GREY, WHITE, Picture
from faults.truth import Severity
from pipeline.types import Kind

LOWEST, HIGHEST = 5, 246  # EBU R 103: -5 % to 105 % of luma, in 8 bits
MOST_GAIN = 3.0  # a picture with so little contrast has no extremes to clip


class IllegalLevelsFault(FrameFault):
    """Stretches luma until a share of the picture lies outside 5..246.

    A full-range picture passed on as limited range does it at both ends; lifted gain or a lowered
    black level at one. The gain is set on the first frame for the share and stays.
    """

    name = "illegal_levels"
    kind = Kind.ILLEGAL_LEVELS
    summary = "Luma beyond the legal range, at black, at white or at both"
    # Proposed: share of the picture outside. EBU R 103 tolerates 1 % of the active picture.
    ladder = {
        Severity.VERY_SUBTLE: {"share": 0.03},
        Severity.SUBTLE: {"share": 0.06},
        Severity.NOTICEABLE: {"share": 0.12},
        Severity.VERY_NOTICEABLE: {"share": 0.25},
    }

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        end = str(self.rng.choice(["both", "white", "black"]))
        share = float(self.parameters["share"])
        ends = 2 if end == "both" else 1
        low, high = np.quantile(picture.luma, [share / ends, 1 - share / ends])
        # the darkest and brightest of the share come to lie just outside
        target = {
            "both": (LOWEST - 1.0, HIGHEST + 1.0),
            "white": (float(BLACK), HIGHEST + 1.0),
            "black": (LOWEST - 1.0, float(WHITE)),
        }[end]
        low = float(BLACK) if end == "white" else float(low)
        high = float(WHITE) if end == "black" else float(high)
        gain = float(np.clip((target[1] - target[0]) / max(high - low, 1.0), 1.0, MOST_GAIN))
        fixed = (target[0], low) if end != "white" else (target[1], high)
        levels = np.arange(256, dtype=np.float32)
        self._luma = code(fixed[0] + (levels - fixed[1]) * np.float32(gain))
        self._chroma = code(GREY + (levels - GREY) * np.float32(gain))
        self._outside = self._frames = 0.0
        self.parameters |= {"end": end, "gain": gain}

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        luma = self._luma[picture.luma]
        self._outside += float(((luma < LOWEST) | (luma > HIGHEST)).mean())
        self._frames += 1
        self.parameters["mean_share"] = self._outside / self._frames
        return replace(picture, luma=luma, cb=self._chroma[picture.cb], cr=self._chroma[picture.cr])
