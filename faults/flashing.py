"""Flashing: flashes beyond the limits of ITU-R BT.1702."""

from __future__ import annotations

import numpy as np

from faults.base import FrameFault
from faults.drawing import code, ycbcr
from faults.media import BLACK, GREY, WHITE, Picture, Plane
from faults.truth import Severity
from pipeline.types import Kind, Region

PEAK = 200.0  # cd/m2 of the display of BT.1702-3 Annex 2, which follows BT.1886
GAMMA = 2.4


class FlashingFault(FrameFault):
    """Dims a rectangle of the picture and lets it flash, white or in saturated red.

    Strobes on stages, alarms, fast titles. Every step is beyond BT.1702-3: more than three flashes
    a second, on more than 25 % of the picture, with changes of more than 20 cd/m2 from below
    160 cd/m2; changes to saturated red count whatever their luminance.
    """

    name = "flashing"
    kind = Kind.FLASHING
    summary = "Flashes beyond ITU-R BT.1702: over three a second on over a quarter of the picture"
    also = (Kind.BRIGHTNESS_PUMPING, Kind.GLITCH)
    lengths = (1.6, 3.0)
    # Proposed: how far beyond the limits (3 flashes a second, area 0.25, 20 cd/m2).
    ladder = {
        Severity.VERY_SUBTLE: {"rate": 4.0, "area": 0.32, "step": 28.0},
        Severity.SUBTLE: {"rate": 5.0, "area": 0.45, "step": 40.0},
        Severity.NOTICEABLE: {"rate": 7.0, "area": 0.7, "step": 60.0},
        Severity.VERY_NOTICEABLE: {"rate": 10.0, "area": 1.0, "step": 110.0},
    }
    _RED = 0.7  # signal level of the red, at least: R/(R+G+B) is 1 where G and B are black

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        height, width = picture.luma.shape
        self._red = bool(self.rng.random() < 0.25)
        # each half period takes a frame at least
        self._rate = min(float(self.parameters["rate"]), float(self.clean.rate) / 2)
        area = float(self.parameters["area"])
        wide = float(self.rng.uniform(max(area, 0.55), 1.0)) if area < 1 else 1.0
        high = area / wide
        top, left = self.rng.uniform(0, 1 - high), self.rng.uniform(0, 1 - wide)
        self._rows = _even(top * height), _even((top + high) * height)
        self._columns = _even(left * width), _even((left + wide) * width)
        self._size = (height, width)
        self._start = picture.time
        self.parameters |= {"red": self._red, "rate": self._rate}
        self._dark, self._light = self._tables(float(self.parameters["step"]))

    def _tables(self, step: float) -> tuple[Plane, Plane]:
        """Luma of the dark and the bright phase for each luma of the clean picture."""
        signal = np.clip((np.arange(256, dtype=np.float32) - BLACK) / (WHITE - BLACK), 0, 1)
        # dimmed so far that white can still become brighter by the step, and stays below 160 cd/m2
        gain = min(((PEAK - step) / PEAK) ** (1 / GAMMA), (150 / PEAK) ** (1 / GAMMA))
        dark = signal * np.float32(gain)
        light = np.minimum(((PEAK * dark**GAMMA + step) / PEAK) ** (1 / GAMMA), 1)
        scale = WHITE - BLACK
        return code(BLACK + dark * scale), code(BLACK + light * scale)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        lit = int((picture.time - self._start) * self._rate * 2 + 1e-6) % 2 == 0
        made = picture.copy()
        rows, columns = slice(*self._rows), slice(*self._columns)
        half = (
            slice(self._rows[0] // 2, self._rows[1] // 2),
            slice(self._columns[0] // 2, self._columns[1] // 2),
        )
        part = picture.luma[rows, columns]
        table = self._light if lit and not self._red else self._dark
        made.luma[rows, columns] = table[part]
        if lit and self._red:
            self._redden(made, part, rows, columns, half)
        return made

    def _redden(
        self,
        made: Picture,
        part: np.ndarray,
        rows: slice,
        columns: slice,
        half: tuple[slice, slice],
    ) -> None:
        """The scene in shades of red, as under a red lamp."""
        y, cb, cr = ycbcr((255, 0, 0), self._size[0])
        shade = np.clip((part.astype(np.float32) - BLACK) / (WHITE - BLACK), self._RED, 1)
        made.luma[rows, columns] = code(BLACK + (y - BLACK) * shade)
        for plane, value in ((made.cb, cb), (made.cr, cr)):
            plane[half] = code(GREY + (value - GREY) * shade[::2, ::2])

    def region(self) -> Region | None:
        """As in FrameFault: the rectangle, where it is not all."""
        height, width = self._size
        if self._rows == (0, height) and self._columns == (0, width):
            return None
        return Region(
            left=self._columns[0] / width,
            top=self._rows[0] / height,
            right=self._columns[1] / width,
            bottom=self._rows[1] / height,
        )


def _even(value: float) -> int:
    return round(value / 2) * 2
