"""Borders: letterbox, pillarbox or windowbox bars that come in mid-programme and go again."""

from __future__ import annotations

from faults.base import FrameFault
from faults.drawing import inset, resized
from faults.media import BLACK, Picture, plain
from faults.truth import Severity
from pipeline.types import Kind


class LetterboxChangeFault(FrameFault):
    """Puts black bars around the picture from the start to the end of the interval.

    As when the aspect ratio is set wrong for one clip of a playlist, or a converter switches. The
    picture is scaled into the bars' window, or cropped by them. Bars come at the start and go at
    the end: two changes of one truth.
    """

    name = "letterbox_change"
    kind = Kind.LETTERBOX_CHANGE
    summary = "Letterbox, pillarbox or windowbox bars that come and go in mid-programme"
    lengths = (2.2, 4.0)
    # Proposed: share of the height or width on each side. 1.85:1 in 16:9 has 0.02, 14:9 has 0.0625,
    # 4:3 and nearly 2.39:1 have 0.125.
    ladder = {
        Severity.VERY_SUBTLE: {"bar": 0.025},
        Severity.SUBTLE: {"bar": 0.0625},
        Severity.NOTICEABLE: {"bar": 0.125},
        Severity.VERY_NOTICEABLE: {"bar": 0.2},
    }

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        height, width = picture.luma.shape
        shape = str(self.rng.choice(["letterbox", "pillarbox", "windowbox"]))
        self._scaled = bool(self.rng.random() < 0.6)
        self.parameters |= {"shape": shape, "scaled": self._scaled}
        bar = float(self.parameters["bar"])
        self._top = max(round(bar * height / 2) * 2, 2) if shape != "pillarbox" else 0
        self._left = max(round(bar * width / 2) * 2, 2) if shape != "letterbox" else 0
        self._inner = (height - 2 * self._top, width - 2 * self._left)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        height, width = picture.luma.shape
        high, wide = self._inner
        if self._scaled:
            inner = resized(picture, self._inner)
        else:
            rows, columns = slice(self._top, self._top + high), slice(self._left, self._left + wide)
            half = (
                slice(self._top // 2, (self._top + high) // 2),
                slice(self._left // 2, (self._left + wide) // 2),
            )
            inner = Picture(
                picture.time,
                picture.duration,
                picture.luma[rows, columns],
                picture.cb[half],
                picture.cr[half],
            )
        bars = plain(picture.time, picture.duration, (height, width), BLACK)
        return inset(bars, inner, self._top, self._left)
