"""Blur: the whole picture soft, from too small a source or a lens out of focus."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from faults.base import FaultError, FrameFault
from faults.drawing import code
from faults.media import Picture, Plane
from faults.span import step_by_tile
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

# Blur shows where so large a share of the tiles loses so much detail, in code values: by eye.
LEAST_STEP, LEAST_SHARE = 2.0, 0.03


class BlurFault(FrameFault):
    """Convolves every frame with a Gaussian (scaling, filters) or a disc (a lens out of focus)."""

    name = "blur"
    kind = Kind.BLUR
    summary = "The whole picture blurred by a Gaussian or a disc"
    # MVAD supplement: Gaussian kernels of 3, 5, 7, 9 samples. A disc of the same variance has a
    # radius of two sigma.
    ladder = {
        Severity.VERY_SUBTLE: {"kernel": 3},
        Severity.SUBTLE: {"kernel": 5},
        Severity.NOTICEABLE: {"kernel": 7},
        Severity.VERY_NOTICEABLE: {"kernel": 9},
    }

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        kernel = int(self.parameters["kernel"])
        sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8  # as OpenCV has it for a kernel of this size
        shape = str(self.rng.choice(["gaussian", "disc"]))
        self.parameters |= {"shape": shape, "sigma": sigma}

        def blur(plane: Plane, sigma: float) -> Plane:
            values = plane.astype(np.float32)
            if shape == "gaussian":
                values = ndimage.gaussian_filter(values, sigma, radius=kernel // 2)
            else:
                values = ndimage.convolve(values, _disc(2 * sigma))
            return code(values)

        self._blur = blur
        self._sigma = sigma
        if (step_by_tile(picture, self.change(picture, 0)) >= LEAST_STEP).mean() < LEAST_SHARE:
            raise FaultError("blur: there is too little detail for anyone to miss it")

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        half = self._sigma / 2
        return Picture(
            picture.time,
            picture.duration,
            self._blur(picture.luma, self._sigma),
            self._blur(picture.cb, half),
            self._blur(picture.cr, half),
        )


def _disc(radius: float) -> Float32:
    """A disc whose edge is smoothed over one sample; its sum is 1."""
    reach = int(np.ceil(radius))
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = np.clip(radius + 0.5 - np.hypot(yy, xx), 0, 1)
    return np.asarray(inside / inside.sum(), np.float32)
