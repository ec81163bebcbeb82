"""Black: frames without picture, also with a lifted black level or under a logo."""

from __future__ import annotations

from faults.base import FrameFault
from faults.media import BLACK, GREY, Picture
from faults.truth import Severity
from pipeline.types import Kind


class BlackFault(FrameFault):
    """Puts black in place of the picture; half of the time at another level than nominal black."""

    name = "black"
    kind = Kind.BLACK
    summary = "Black in place of the picture, at nominal or lifted black"
    also = (Kind.SOLID_COLOR,)
    # The severity of black is its length: of a flash, of an interruption, of an outage.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.6},
        Severity.SUBTLE: {"seconds": 1.0},
        Severity.NOTICEABLE: {"seconds": 2.0},
        Severity.VERY_NOTICEABLE: {"seconds": 4.0},
    }

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        lifted = self.rng.random() < 0.5
        self._level = int(self.rng.integers(BLACK + 1, BLACK + 14)) if lifted else BLACK
        self.parameters["level"] = self._level

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        black = picture.copy()
        black.luma[:] = self._level
        black.cb[:] = GREY
        black.cr[:] = GREY
        return black
