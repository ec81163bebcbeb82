"""What the corruption net is given and what it gives: arrays, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TILE = 16  # luma samples a side
BUCKET = 64  # luma samples: the net sees frames padded to a multiple of it
_WORST = 4  # tiles that decide on a frame


@dataclass(frozen=True)
class Frame:
    """A frame to be scored, all uint8 limited-range code values.

    Attributes:
        luma: [H, W].
        before: [H, W], the frame before; the same array where there is none.
        cb, cr: [ceil(H/2), ceil(W/2)].
    """

    luma: npt.NDArray[np.uint8]
    before: npt.NDArray[np.uint8]
    cb: npt.NDArray[np.uint8]
    cr: npt.NDArray[np.uint8]


def padded_shape(height: int, width: int) -> tuple[int, int]:
    """The size of the bucket in which the net takes a frame of a size, luma samples."""
    return -(-height // BUCKET) * BUCKET, -(-width // BUCKET) * BUCKET


def padded_samples(count: int, height: int, width: int) -> int:
    """Luma samples that the net works on for so many frames of a size: what they cost."""
    high, wide = padded_shape(height, width)
    return count * high * wide


@dataclass(frozen=True)
class Maps:
    """Probabilities per tile of 16x16 luma samples, float32 [ceil(H/16), ceil(W/16)]."""

    corruption: npt.NDArray[np.float32]
    blockiness: npt.NDArray[np.float32]


def frame_score(probabilities: npt.NDArray[np.float32]) -> float:
    """One number for a frame: the mean of its most corrupt tiles. 0 to 1.

    Args:
        probabilities: [tile rows, tile columns].
    """
    flat = probabilities.ravel()
    count = min(_WORST, flat.size)
    return float(np.partition(flat, flat.size - count)[flat.size - count :].mean())
