"""Areas that differ from the rest of the picture: slides, other shots, hidden faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from faults.chroma_grid import crop, even
from faults.drawing import code, fitting, inset, mirrored, resized, write_line, ycbcr
from faults.lookalikes.base import Passage, Whole
from faults.media import WHITE, Picture, Plane, plain
from pipeline.types import Kind


class SlideWithSpeaker(Passage):
    """A still slide with a speaker in a corner, as in lectures."""

    name = "slide_with_speaker"
    summary = "A still slide with a moving speaker in a corner"
    resembles = (Kind.PARTIAL_FREEZE, Kind.FREEZE, Kind.SLATE, Kind.SOLID_COLOR)
    seconds = (3.5, 5.0)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        height, width = picture.luma.shape
        slide = plain(0, 0, (height, width), *ycbcr((245, 245, 240), height))
        lines = ("Results of the second year", "Costs fell by 12 %", "Two sites were added")
        for number, line in enumerate(lines):
            size = fitting(line, int(height * (0.09 if not number else 0.06)), int(width * 0.6))
            place = (0.15 + 0.17 * number, 0.36)
            slide = write_line(slide, line, size, ycbcr((20, 30, 70), height), place)
        self._slide = slide

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        height, width = picture.luma.shape
        small = resized(picture, (even(height * 0.25) or 2, even(width * 0.25) or 2))
        corner = even(height * 0.7), even(width * 0.72)
        return inset(picture.showing(self._slide), small, *corner)


class PictureInPicture(Passage):
    """Another shot in a frame in a corner."""

    name = "picture_in_picture"
    summary = "Another shot in a corner"
    resembles = (
        Kind.PARTIAL_FREEZE,
        Kind.LETTERBOX_CHANGE,
        Kind.TEARING,
        Kind.GLITCH,
        Kind.BLOCK_CORRUPTION,
    )
    seconds = (2.5, 4.0)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        self._corner = self.rng.choice([0.06, 0.62], 2)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        height, width = picture.luma.shape
        high, wide = even(height * 0.32) or 2, even(width * 0.32) or 2
        top, left = even(self._corner[0] * height), even(self._corner[1] * width)
        line = max(even(height / 120), 2)
        frame = plain(0, 0, (high + 2 * line, wide + 2 * line), WHITE)
        framed = inset(picture, frame, top, left)
        return inset(framed, resized(mirrored(picture), (high, wide)), top + line, left + line)


class CensoredFace(Whole):
    """A face made unrecognisable by large squares, which follow it."""

    name = "censored_face"
    summary = "A pixelated area that moves about"
    resembles = (Kind.BLOCKINESS, Kind.BLOCK_CORRUPTION, Kind.GLITCH, Kind.BLUR)

    _phase = 0.0

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        if not index:
            self._phase = float(self.rng.uniform(0, 2 * np.pi))
        height, width = picture.luma.shape
        square = max(even(height / 30), 2)
        count = max(int(0.25 * height / square), 1)
        side = square * count
        sway = self._phase + index / 40
        top = even((height - side) * (0.45 + 0.15 * np.sin(0.7 * sway)))
        left = even((width - side) * (0.5 + 0.2 * np.sin(sway)))
        face = crop(picture, (top, left), (side, side))
        hidden = replace(
            face,
            luma=_squares(face.luma, square),
            cb=_squares(face.cb, square // 2),
            cr=_squares(face.cr, square // 2),
        )
        return inset(picture, hidden, top, left)


def _squares(plane: Plane, size: int) -> Plane:
    count = plane.shape[0] // size
    means = plane.reshape(count, size, count, size).mean(axis=(1, 3))
    return code(means).repeat(size, 0).repeat(size, 1)
