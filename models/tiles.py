"""Tile maps of pictures: how alike two of them are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

_FLAT = 1e-9  # of the norms: what is less is rounding


def correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Pearson's correlation of two maps of one shape, -1 to 1; 0 where one of them is flat."""
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > _FLAT else 0.0


@njit(cache=True, nogil=True)
def shifted_correlations(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], down: int, across: int
) -> npt.NDArray[np.float64]:
    """Correlations of what two maps share where one is shifted against the other.

    Args:
        one: a map.
        other: another, of the same shape.
        down: most rows by which they are shifted, fewer than there are.
        across: likewise, columns.

    Returns:
        [2 * down + 1, 2 * across + 1], each as `correlation`. At [down + y, across + x] are those
        of `one` from row y and column x on with `other` from its beginning; below 0 the reverse.
    """
    rows, columns = one.shape
    made = np.zeros((2 * down + 1, 2 * across + 1))
    middle = np.float64(one.mean())  # near it, sums of squares lose nothing
    for y in range(-down, down + 1):
        for x in range(-across, across + 1):
            a = b = aa = bb = ab = 0.0
            for row in range(max(-y, 0), rows - max(y, 0)):
                for column in range(max(-x, 0), columns - max(x, 0)):
                    p = np.float64(one[row + y, column + x]) - middle
                    q = np.float64(other[row, column]) - middle
                    a += p
                    b += q
                    aa += p * p
                    bb += q * q
                    ab += p * q
            count = (rows - abs(y)) * (columns - abs(x))
            varies = (aa - a * a / count) * (bb - b * b / count)
            if varies > _FLAT * _FLAT:
                made[down + y, across + x] = (ab - a * b / count) / np.sqrt(varies)
    return made
