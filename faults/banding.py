"""Banding: smooth gradients in too few steps, with contours that show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from faults.drawing import code
from faults.media import Picture
from faults.span import SpanFault
from faults.truth import TILE, MaskedFrames, Severity
from pipeline.types import Kind

SMOOTH = 2.5  # code values: mean deviation from the local mean of grain, and less than of texture
SLOPE = 1.0  # code values a sample: a steeper gradient shows no bands
# The same, of what shows bands best, and the share of the tiles that have a contour of so many
# samples there, without which there is nothing to see: chosen by eye.
FLAT, GENTLE = 1.2, 0.5
LEAST_SHARE, CONTOUR = 0.15, 8
WINDOW = 9  # samples in which both are measured


class BandingFault(SpanFault):
    """Quantises luma and chroma where the picture is smooth, without dither.

    As encoders do that smooth the grain away and code what is left in coarse steps, and as any
    process of too few bits does. Texture hides the steps and stays as it is.
    """

    name = "banding"
    kind = Kind.BANDING
    summary = "Smooth gradients quantised into bands"
    # MVAD supplement: quantisation ratio 2, 3, 4, 5.
    ladder = {
        Severity.VERY_SUBTLE: {"ratio": 2},
        Severity.SUBTLE: {"ratio": 3},
        Severity.NOTICEABLE: {"ratio": 4},
        Severity.VERY_NOTICEABLE: {"ratio": 5},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        ratio = int(self.parameters["ratio"])
        chroma = bool(self.rng.random() < 0.5)
        offset = int(self.rng.integers(ratio))
        self.parameters |= {"chroma": chroma}
        self._times: list[float] = []
        self._tiles: list[npt.NDArray[np.bool_]] = []
        for picture in pictures:
            luma = picture.luma.astype(np.float32)
            base = ndimage.uniform_filter(luma, WINDOW)
            rough = ndimage.uniform_filter(np.abs(luma - base), WINDOW)
            steep = np.hypot(ndimage.sobel(base, 0), ndimage.sobel(base, 1)) / 8
            steps = code(np.floor((base + offset) / ratio) * ratio - offset + ratio / 2)
            share = _contours(steps, (rough < FLAT) & (steep < GENTLE)).mean()
            if share < LEAST_SHARE / (2 if self._times else 1):
                yield picture
                continue
            smooth = (rough < SMOOTH) & (steep < SLOPE)
            made = picture.copy()
            made.luma[smooth] = steps[smooth]
            if chroma:
                half = smooth[::2, ::2]
                for plane in (made.cb, made.cr):
                    mean = ndimage.uniform_filter(plane.astype(np.float32), WINDOW // 2)
                    plane[half] = code(np.floor(mean / ratio) * ratio + ratio / 2)[half]
            self._times.append(picture.time)
            self._tiles.append(_tiles(smooth))
            yield made

    def masked(self) -> MaskedFrames | None:
        """As in SpanFault."""
        return MaskedFrames(self._times, self._tiles)


def _contours(luma: npt.NDArray[np.uint8], smooth: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tiles with a contour between samples of the mask."""
    edges = np.zeros_like(smooth)
    edges[:, 1:] = (luma[:, 1:] != luma[:, :-1]) & smooth[:, 1:] & smooth[:, :-1]
    edges[1:] |= (luma[1:] != luma[:-1]) & smooth[1:] & smooth[:-1]
    return np.asarray(_counts(edges) >= CONTOUR)


def _tiles(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tiles with any sample in the mask."""
    return np.asarray(_counts(mask) > 0)


def _counts(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Samples of the mask in each tile."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % TILE), (0, -width % TILE)))
    rows, columns = padded.shape[0] // TILE, padded.shape[1] // TILE
    tiles = padded.reshape(rows, TILE, columns, TILE)
    return np.asarray(np.count_nonzero(tiles, axis=(1, 3)))
