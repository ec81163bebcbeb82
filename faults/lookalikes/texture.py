"""Fine detail all over the picture: patterns that drift, confetti, snow."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from faults.chroma_grid import even
from faults.drawing import code, halved, paint, ycbcr
from faults.lookalikes.base import Passage
from faults.media import GREY, WHITE, Picture, plain
from pipeline.types import Kind

_SNOW = (WHITE, GREY, GREY)


class MovingPattern(Passage):
    """Checks or bricks that drift: a backdrop with hard edges at equal distances."""

    name = "moving_pattern"
    summary = "A checkerboard or brick pattern that moves slowly"
    resembles = (
        Kind.BLOCKINESS,
        Kind.COMBING,
        Kind.BANDING,
        Kind.TEARING,
        Kind.BLOCK_CORRUPTION,
        Kind.COLOR_BARS,
        Kind.BLUR,
    )
    seconds = (2.0, 3.5)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        height = picture.luma.shape[0]
        self._bricks = bool(self.rng.random() < 0.5)
        self._size = max(int(height / self.rng.integers(9, 18)), 4)
        self._colours = [ycbcr(c, height) for c in ((170, 90, 60), (205, 200, 190))]
        if not self._bricks:
            self._colours = [ycbcr(c, height) for c in ((40, 60, 130), (225, 225, 235))]

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        height, width = picture.luma.shape
        moved = self.frame(at)  # a sample a frame
        yy, xx = np.ogrid[:height, :width]
        y, x = yy + moved // 2, xx + moved
        size = self._size
        if self._bricks:
            joint = max(size // 8, 1)
            light = (y % size < joint) | ((x + size * (y // size % 2)) % (2 * size) < joint)
        else:
            light = (x // size + y // size) % 2 == 1
        dark, bright = self._colours
        ground = plain(picture.time, picture.duration, (height, width), *dark)
        return paint(ground, light.astype(np.float32), bright, 0, 0)


class Confetti(Passage):
    """Many small things that fall: paper of all colours, or snow."""

    name = "confetti"
    summary = "Confetti or snowflakes that fall"
    resembles = (
        Kind.NOISE,
        Kind.GLITCH,
        Kind.BLOCK_CORRUPTION,
        Kind.COMBING,
        Kind.BLOCKINESS,
        Kind.TEARING,
    )
    seconds = (2.5, 4.0)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        height, width = picture.luma.shape
        count = int(self.rng.integers(100, 250))
        snow = bool(self.rng.random() < 0.5)
        self._places = self.rng.uniform(0, 1, (count, 2)) * (height, width)
        self._speeds = self.rng.uniform(0.2, 0.5, count) * height  # samples a second
        self._sway = self.rng.uniform(0, 2 * np.pi, count)
        high = max(even(height / 60), 2)
        paper = np.ones((high, even(high * 1.5) or 2), np.float32)
        self._shape = ndimage.gaussian_filter(np.pad(paper, 2), 1) if snow else paper
        colours = self.rng.integers(40, 256, (count, 3)).tolist()
        self._colours = [
            _SNOW if snow else ycbcr((red, green, blue), height) for red, green, blue in colours
        ]

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        height, width = picture.luma.shape
        shape, made = self._shape, picture.copy()
        high, wide = shape.shape
        tops = (self._places[:, 0] + self._speeds * at) % (height - high)
        lefts = self._places[:, 1] + np.sin(self._sway + 3 * at) * height / 40
        half = halved(shape)
        for top, left, colour in zip(tops, lefts % (width - wide), self._colours, strict=True):
            y, x = even(float(top)), even(float(left))
            for plane, weight, value, row, column in (
                (made.luma, shape, colour[0], y, x),
                (made.cb, half, colour[1], y // 2, x // 2),
                (made.cr, half, colour[2], y // 2, x // 2),
            ):
                rows, columns = weight.shape
                part = plane[row : row + rows, column : column + columns]
                part[:] = code(part * (1 - weight) + value * weight)
        return made
