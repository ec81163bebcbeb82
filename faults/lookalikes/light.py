"""Light: night, flashes, strobes, lightning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from faults.drawing import code, dimmed
from faults.lookalikes.base import Passage
from faults.media import BLACK, GREY, WHITE, Picture, Plane
from pipeline.measurements import Float32
from pipeline.types import Kind


class NightScene(Passage):
    """A scene by night: hardly any light, and the noise of a camera that looks for it."""

    name = "night_scene"
    summary = "A night scene of 8 to 20 % of the light, with sensor noise"
    resembles = (Kind.BLACK, Kind.NOISE, Kind.BANDING, Kind.FREEZE, Kind.ILLEGAL_LEVELS, Kind.BLUR)
    seconds = (3.0, 5.0)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        self._gain = float(self.rng.uniform(0.08, 0.2))
        self._sigma = float(self.rng.uniform(0.8, 1.6))

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        return _by_night(picture, self._gain, self._sigma, self.rng)


def _by_night(picture: Picture, gain: float, sigma: float, rng: np.random.Generator) -> Picture:
    """A fraction of the light; the noise comes before the rounding, as in a camera: no bands."""

    def dark(plane: Plane, zero: int, sigma: float) -> Float32:
        noise = rng.standard_normal(plane.shape, np.float32) * np.float32(sigma)
        return np.asarray(zero + (plane.astype(np.float32) - zero) * np.float32(gain) + noise)

    luma = np.maximum(dark(picture.luma, BLACK, sigma), BLACK)  # cameras clip at black
    return replace(
        picture,
        luma=code(np.minimum(luma, WHITE)),
        cb=code(dark(picture.cb, GREY, sigma / 3)),
        cr=code(dark(picture.cr, GREY, sigma / 3)),
    )


class CameraFlashes(Passage):
    """Photographers: flashes at random times, each from its own place."""

    name = "camera_flashes"
    summary = "Flashes of photographers"
    resembles = (Kind.GLITCH, Kind.BRIGHTNESS_PUMPING, Kind.BLOCK_CORRUPTION, Kind.SOLID_COLOR)
    excused = (Kind.FLASHING,)
    seconds = (2.5, 3.5)
    _LIGHT = (1.0, 0.3)  # the flash, and what a camera still has of it in the next frame

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        count = int(self.rng.integers(3, 7))
        last = self.frame(self.length) - len(self._LIGHT)
        self._starts = self.rng.choice(np.arange(1, max(last, count + 1)), count, replace=False)
        self._places = self.rng.uniform(0.1, 0.9, (count, 2))

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        height, width = picture.luma.shape
        yy, xx = np.ogrid[:height, :width]
        luma = picture.luma.astype(np.float32)
        for start, (y, x) in zip(self._starts, self._places, strict=True):
            age = self.frame(at) - int(start)
            if not 0 <= age < len(self._LIGHT):
                continue
            distance = ((yy / height - y) ** 2 + ((xx - x * width) / height) ** 2) / 0.3
            light = self._LIGHT[age] * (0.35 + 0.65 * np.exp(-distance))
            luma = luma + (luma - BLACK) * 1.2 * light + 50 * light
        return replace(picture, luma=code(np.minimum(luma, WHITE)))


class SlowStrobe(Passage):
    """A stage with two flashes a second, which BT.1702 allows."""

    name = "slow_strobe"
    summary = "A stage light that flashes twice a second, within BT.1702"
    resembles = (Kind.FLASHING, Kind.GLITCH, Kind.BRIGHTNESS_PUMPING, Kind.SOLID_COLOR)
    seconds = (3.0, 4.0)  # below the 5 s from which a sequence may be a risk
    _EVERY, _LIT = 0.5, 0.1  # seconds

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        lit = at % self._EVERY < self._LIT
        return dimmed(picture, 1.1 if lit else 0.4)


class Lightning(Passage):
    """Strokes of lightning over a night scene."""

    name = "lightning"
    summary = "Lightning by night"
    resembles = (Kind.GLITCH, Kind.BLACK, Kind.BRIGHTNESS_PUMPING, Kind.BLOCK_CORRUPTION)
    excused = (Kind.FLASHING,)
    seconds = (3.0, 4.0)
    _STROKE = (0.9, 0.35, 0.7, 0.4, 0.25, 0.15)  # gain of successive frames: it flickers, then dies
    _NIGHT = 0.12

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        self._starts = [0.4, float(self.rng.uniform(1.6, 2.4))]

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        gain = self._NIGHT
        for start in self._starts:
            age = self.frame(at - start)
            if at >= start and age < len(self._STROKE):
                gain = max(gain, self._STROKE[age])
        return _by_night(picture, gain, 1.0, self.rng)
