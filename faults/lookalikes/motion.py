"""Motion that is not smooth or hardly there: cartoons, pulldown, moves over a photograph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from scipy import ndimage

from faults.drawing import code
from faults.lookalikes.base import Passage, PictureLookalike
from faults.media import GREY, Picture, Plane
from pipeline.types import Kind

_HELD = (Kind.REPEATED_FRAMES, Kind.FREEZE, Kind.DROPPED_FRAMES)


class _Drawn(PictureLookalike):
    """A cartoon: flat colours, each drawing shown for several frames."""

    holds: ClassVar[Sequence[int]]
    _STEP = 24  # code values from one flat tone to the next

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        drawing: Picture | None = None
        left, number = 0, 0
        for picture in pictures:
            if drawing is None or left == 0:
                drawing = self.drawn(picture)
                left = self.holds[number % len(self.holds)]
                number += 1
            left -= 1
            yield picture.showing(drawing)

    def drawn(self, picture: Picture) -> Picture:
        """A drawing in place of a frame."""
        return replace(
            picture,
            luma=_flat(picture.luma, 2.0, self._STEP),
            cb=_flat(picture.cb, 1.0, self._STEP // 2),
            cr=_flat(picture.cr, 1.0, self._STEP // 2),
        )


def _flat(plane: Plane, sigma: float, step: int) -> Plane:
    """Smoothed and quantised about mid grey, so that greys stay grey."""
    soft = ndimage.gaussian_filter(plane.astype(np.float32), sigma)
    return code(GREY + np.rint((soft - GREY) / step) * step)


class CartoonOnTwos(_Drawn):
    """Every drawing is shown for two frames."""

    name = "cartoon_on_twos"
    summary = "A cartoon drawn on twos"
    resembles = (*_HELD, Kind.BANDING, Kind.BLOCKINESS, Kind.BLUR)
    holds = (2,)


class CartoonOnThrees(_Drawn):
    """Every drawing is shown for three frames."""

    name = "cartoon_on_threes"
    summary = "A cartoon drawn on threes"
    resembles = (*_HELD, Kind.BANDING, Kind.BLOCKINESS, Kind.BLUR)
    holds = (3,)


class Pulldown(_Drawn):
    """Film pictures shown for three frames and two in turn."""

    name = "pulldown"
    summary = "The 3:2 cadence of film in 60 Hz, or of animation on twos in 30 Hz"
    resembles = (*_HELD, Kind.COMBING, Kind.BRIGHTNESS_PUMPING)
    holds = (3, 2)

    def drawn(self, picture: Picture) -> Picture:
        """As in _Drawn: photographed."""
        return picture


class SlowMoveOverStill(Passage):
    """The camera creeps over a photograph, by less than a sample a frame."""

    name = "slow_move_over_still"
    summary = "A slow pan and zoom over a photograph"
    resembles = (Kind.FREEZE, Kind.PARTIAL_FREEZE, Kind.REPEATED_FRAMES, Kind.BLUR, Kind.SLATE)
    seconds = (3.0, 4.5)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        self._still = picture
        self._zoom = self.rng.permutation([0.9, 0.9 - self.rng.uniform(0.01, 0.05)])
        self._corner = self.rng.uniform(0.0, 0.1, (2, 2))
        # a move of at most 1 % of the picture a second
        self._corner[1] = np.clip(
            self._corner[0] + self.rng.uniform(-0.01, 0.01, 2) * self.length, 0, 0.1
        )

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        share = at / self.length
        zoom = float(self._zoom[0] * (1 - share) + self._zoom[1] * share)
        corner = self._corner[0] * (1 - share) + self._corner[1] * share
        return replace(
            picture,
            luma=_framed(self._still.luma, zoom, corner),
            cb=_framed(self._still.cb, zoom, corner),
            cr=_framed(self._still.cr, zoom, corner),
        )


def _framed(plane: Plane, zoom: float, corner: np.ndarray) -> Plane:
    """A part of a plane, scaled up to its size; the corner in shares of it."""
    offset = corner * plane.shape
    moved = ndimage.affine_transform(
        plane.astype(np.float32), [zoom, zoom], offset, order=1, mode="nearest"
    )
    return code(moved)
