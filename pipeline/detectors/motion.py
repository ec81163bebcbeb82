"""How far the picture moves from frame to frame: what repeats and jumps are found in.

It is measured on the tile means of luma, where film grain averages out: `change` is the standard
deviation, in code values, of how the tiles changed. In smooth motion it is a smooth curve.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from pipeline.measurements import Float32, Float64, PictureStatistics

AROUND = 12  # frames on each side that make the context of a frame: half a second at 25 fps
NEAR = 4  # frames on each side that a repeat or a jump is compared with
CUT, SPIKE = 10.0, 5.0  # change at a cut: code values, and in units of the frames next to it


class Motion:
    """The curve of change of the latest frames.

    Attributes:
        change: of the tile means since the frame before, code values [T]; 0 for the first of all.
        time: of presentation, seconds [T].
        luma, cb, cr: tile maps of means, code values, T of [th, tw].
        moved: tile maps of the mean absolute difference to the frame before, likewise.
    """

    def __init__(self) -> None:
        self.change = np.empty(0)
        self.time = np.empty(0)
        self.luma: deque[Float32] = deque()
        self.cb: deque[Float32] = deque()
        self.cr: deque[Float32] = deque()
        self.moved: deque[Float32] = deque()
        self._before: Float32 | None = None

    def __len__(self) -> int:
        return len(self.change)

    def add(self, picture: PictureStatistics) -> None:
        """Take the next frames."""
        luma = picture.luma
        step = np.empty_like(luma)
        np.subtract(luma[1:], luma[:-1], out=step[1:])
        if self._before is None:
            step[0] = 0
        else:
            np.subtract(luma[0], self._before, out=step[0])
        self._before = luma[-1].copy()
        energy = np.einsum("tyx,tyx->t", step, step).astype(np.float64) / step[0].size
        # without what the whole picture changed by: a fade has steps of its own
        energy -= step.mean(axis=(1, 2), dtype=np.float64) ** 2
        self.change = np.concatenate((self.change, np.sqrt(np.maximum(energy, 0))))
        self.time = np.concatenate((self.time, picture.frames["time"]))
        self.luma.extend(luma)
        self.cb.extend(picture.cb)
        self.cr.extend(picture.cr)
        self.moved.extend(picture.motion)

    def forget(self, count: int) -> None:
        """Drop the first `count` frames."""
        self.change, self.time = self.change[count:], self.time[count:]
        for maps in (self.luma, self.cb, self.cr, self.moved):
            for _ in range(count):
                maps.popleft()

    def still(self) -> npt.NDArray[np.bool_]:
        """Frames that may be repeats: hardly any change, against the motion around them [T]."""
        padded = np.pad(self.change, AROUND, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1)
        at = round(0.85 * 2 * AROUND)  # even where only one picture in four is new, one that moves
        level = np.partition(windows, at, axis=1)[:, at]
        return self.change < 0.2 * level


def unsteadiness(change: Float64) -> float:
    """How much change [T] varies from frame to frame: median |log ratio| of neighbours."""
    if len(change) < 2:
        return 0.0
    return float(np.median(np.abs(np.diff(np.log(np.maximum(change, 1e-3))))))
