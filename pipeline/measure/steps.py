"""Where a part of the picture changes at once, a net looks at both frames: see models/mends.py.

It is asked of frames at which tiles change much more than in the frames before and after, as often
as a budget allows, and of one window of the picture, where they change most. What it says of a
frame is known with the next one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from models.mends import Mends, Planes, shared
from pipeline.measure.cuts import is_cut
from pipeline.measurements import UNASKED, Float32, PictureFormat

WINDOW = 20  # tiles a side
# All proposed, and looked at on damaged files of development sources
TILES, LEAST = 6, 6.0  # code values by which so many tiles change more than
USUAL = 1.2  # times what they do in the frame before or after
RECENT, LESS = 0.5, 0.5  # seconds, in which another change of twice the size says more
ASKED, AT_ONCE = 1.5, 60.0  # questions a second on average, and of a sudden


@dataclass(frozen=True)
class _Frame:
    time: float
    planes: Planes
    motion: Float32


class StepMeter:
    """Follows the frames of one format; `renew` makes it forget what came before.

    Args:
        picture_format: of the frames.
        net: another one than that of this process.
    """

    def __init__(self, picture_format: PictureFormat, net: Mends | None = None) -> None:
        self._format = picture_format
        self._net = net or shared()
        self._frames: deque[_Frame] = deque(maxlen=3)
        self.renew()

    def renew(self) -> None:
        """The next frame is compared with none before it."""
        self._frames.clear()
        self._changes: deque[tuple[float, float]] = deque()  # times and sizes
        self._budget = AT_ONCE
        self._first = True

    def add(self, time: float, planes: Planes, motion: Float32, out: Float32) -> None:
        """Take the next frame.

        Args:
            time: seconds.
            planes: luma and chroma; not copied, so they must stay as they are.
            motion: mean change of each tile since the frame before, as stored.
            out: [2, tile rows, tile columns], is given the log odds that damage began at the frame
                before this one, and that it was mended there.
        """
        out[:] = UNASKED
        if self._first:  # how it differs from what was before depends on that
            self._first = False
            return
        passed = time - self._frames[-1].time if self._frames else 0.0
        self._budget = min(self._budget + ASKED * max(passed, 0.0), AT_ONCE)
        self._frames.append(_Frame(time, planes, motion.copy()))
        if len(self._frames) < 3:
            return
        before, frame, after = self._frames
        if is_cut(before.motion, frame.motion, after.motion):
            return
        risen = frame.motion - USUAL * np.maximum(before.motion, after.motion)
        if not self._is_due(frame.time, risen):
            return
        self._budget -= 1
        rows, columns = risen.shape
        top, left = _place(risen)
        bottom, right = min(top + WINDOW, rows), min(left + WINDOW, columns)
        windows = (self._window(one.planes, top, left) for one in (before, frame))
        out[:, top:bottom, left:right] = self._net.of(*windows)

    def _is_due(self, time: float, risen: Float32) -> bool:
        """Whether the net is asked."""
        count = min(TILES, risen.size)
        size = float(np.partition(risen.ravel(), -count)[-count:].mean())
        while self._changes and self._changes[0][0] <= time - RECENT:
            self._changes.popleft()
        largest = max((size for _, size in self._changes), default=0.0)
        self._changes.append((time, size))
        return size >= max(LEAST, LESS * largest) and self._budget >= 1

    def _window(self, planes: Planes, top: int, left: int) -> Planes:
        tile = PictureFormat.TILE
        size = WINDOW * tile
        y, x = top * tile, left * tile
        height, width = planes[0].shape
        luma = planes[0][y : y + size, x : x + size]
        colors = []
        for plane in planes[1:]:
            down = 1 + (plane.shape[0] > (height + 1) // 2)
            across = 1 + (plane.shape[1] > (width + 1) // 2)
            half = plane[::down, ::across]
            colors.append(half[y // 2 : (y + size) // 2, x // 2 : (x + size) // 2])
        if self._format.full_range:
            luma = np.rint(luma * np.float32(219 / 255) + 16).astype(np.uint8)
            colors = [
                np.rint((one - np.float32(128)) * np.float32(224 / 255) + 128).astype(np.uint8)
                for one in colors
            ]
        return luma, colors[0], colors[1]


def _place(risen: Float32) -> tuple[int, int]:
    """Top and left tile of the window where most changes."""
    rows, columns = risen.shape
    size = min(WINDOW, rows), min(WINDOW, columns)
    near = uniform_filter(
        risen.clip(0, 60), (max(size[0] // 2, 1), max(size[1] // 2, 1)), mode="constant"
    )
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    top = int(np.clip(row - size[0] // 2, 0, rows - size[0]))
    left = int(np.clip(column - size[1] // 2, 0, columns - size[1]))
    return top, left
