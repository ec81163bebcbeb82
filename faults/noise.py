"""Noise: random in every frame anew, up to the snow of a lost signal."""

from __future__ import annotations

import numpy as np

from faults.base import FrameFault
from faults.drawing import code
from faults.media import GREY, Picture, Plane
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind


class NoiseFault(FrameFault):
    """Adds noise to luma and chroma, or puts snow in place of the picture.

    Gain of a camera in the dark (the noise of photons grows with the root of the light), analogue
    lines and tapes; snow is a receiver without signal.
    """

    name = "noise"
    kind = Kind.NOISE
    summary = "Gaussian or photon noise over the picture, or snow in place of it"
    also = (Kind.ILLEGAL_LEVELS,)  # strong noise goes beyond them
    # MVAD supplement (grain): sigma 5, 10, 25, 50 in 8 bits.
    ladder = {
        Severity.VERY_SUBTLE: {"sigma": 5},
        Severity.SUBTLE: {"sigma": 10},
        Severity.NOTICEABLE: {"sigma": 25},
        Severity.VERY_NOTICEABLE: {"sigma": 50},
    }

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        variants = ["gaussian", "gaussian", "photon"]
        if self.order.severity is Severity.VERY_NOTICEABLE:
            variants.append("snow")
        self._variant = str(self.rng.choice(variants))
        # chroma noise relative to that of luma: none on monochrome lines, half from camera sensors
        self._chroma = float(self.rng.choice([0.0, 0.5]))
        self.parameters |= {"variant": self._variant, "chroma": self._chroma}

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        if self._variant == "snow":
            return self._snow(picture)
        sigma = float(self.parameters["sigma"])
        amount: Float32 | float = sigma
        if self._variant == "photon":  # sigma at mid grey
            amount = np.sqrt(picture.luma.astype(np.float32) * np.float32(sigma**2 / GREY))
        noise = self._normal(picture.luma) * amount
        return Picture(
            picture.time,
            picture.duration,
            code(picture.luma + noise),
            self._noisy_chroma(picture.cb, sigma),
            self._noisy_chroma(picture.cr, sigma),
        )

    def _noisy_chroma(self, plane: Plane, sigma: float) -> Plane:
        if not self._chroma:
            return plane
        return code(plane + self._normal(plane) * (sigma * self._chroma))

    def _normal(self, plane: Plane) -> Float32:
        return self.rng.standard_normal(plane.shape, np.float32)

    def _snow(self, picture: Picture) -> Picture:
        """Levels of an analogue receiver without carrier: everything from black to white."""
        snow = picture.copy()
        snow.luma[:] = self.rng.integers(16, 236, snow.luma.shape, np.uint8)
        snow.cb[:], snow.cr[:] = GREY, GREY  # the colour killer is on
        return snow
