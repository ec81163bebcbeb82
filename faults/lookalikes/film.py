"""The look of films: no colour, grain, black bars, shallow focus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from faults.chroma_grid import crop, even
from faults.drawing import code, halved, inset
from faults.lookalikes.base import Passage, Whole
from faults.media import BLACK, GREY, Picture, Plane, plain
from pipeline.measurements import Float32
from pipeline.types import Kind


class BlackAndWhite(Whole):
    """A film without colour."""

    name = "black_and_white"
    summary = "Black-and-white film"
    resembles = (Kind.DECODER_SMEAR, Kind.SOLID_COLOR, Kind.BLACK, Kind.BLOCK_CORRUPTION)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        grey = np.full_like(picture.cb, GREY)
        return replace(picture, cb=grey, cr=grey)


class FilmGrain(Whole):
    """Grain of a scanned film: a little coarser than a sample."""

    name = "film_grain"
    summary = "Film grain of sigma 2 to 3"
    resembles = (Kind.NOISE, Kind.BLOCKINESS, Kind.BANDING, Kind.GLITCH, Kind.COMBING)
    _SIZE = 0.6  # sigma of a grain in samples

    _sigma = 0.0

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        if not index:
            self._sigma = float(self.rng.uniform(2, 3))
        grain = self.rng.standard_normal(picture.luma.shape, np.float32)
        grain = ndimage.gaussian_filter(grain, self._SIZE)
        return replace(picture, luma=code(picture.luma + grain * (self._sigma / grain.std())))


class Letterboxed(Whole):
    """A wide film in its black bars, from beginning to end."""

    name = "letterboxed"
    summary = "A wide film between black bars throughout"
    resembles = (Kind.LETTERBOX_CHANGE, Kind.BLACK, Kind.PARTIAL_FREEZE, Kind.FREEZE)
    _BAR = 0.125  # of the height: 2.39:1 in 16:9

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        height, width = picture.luma.shape
        top = even(height * self._BAR)
        bars = plain(picture.time, picture.duration, (height, width), BLACK)
        return inset(bars, crop(picture, (top, 0), (height - 2 * top, width)), top, 0)


class ShallowFocus(Passage):
    """Focus is pulled to a subject; what is around it is soft."""

    name = "shallow_focus"
    summary = "A sharp subject before a defocused background"
    resembles = (Kind.BLUR, Kind.BLOCKINESS, Kind.BANDING)
    seconds = (2.5, 4.0)
    _PULL = 0.5  # seconds

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        height, width = picture.luma.shape
        yy, xx = np.ogrid[:height, :width]
        y, x = self.rng.uniform(0.4, 0.6), self.rng.uniform(0.3, 0.7)
        distance = np.hypot((yy / height - y) / 0.38, (xx - x * width) / height / 0.28)
        self._far: Float32 = np.clip((distance - 0.9) * 5, 0, 1).astype(np.float32)
        self._sigma = height / 120

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        pulled = min(at, self.length - at, self._PULL) / self._PULL
        sigma, far = self._sigma * max(pulled, 0.02), self._far
        small = halved(far)
        return replace(
            picture,
            luma=_softened(picture.luma, sigma, far),
            cb=_softened(picture.cb, sigma / 2, small),
            cr=_softened(picture.cr, sigma / 2, small),
        )


def _softened(plane: Plane, sigma: float, share: Float32) -> Plane:
    soft = ndimage.gaussian_filter(plane.astype(np.float32), sigma)
    return code(plane * (1 - share) + soft * share)
