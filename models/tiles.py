"""Tile maps of pictures: how alike two of them are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FLAT = 1e-9  # of the norms: what is less is rounding


def correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Pearson's correlation of two maps of one shape, -1 to 1; 0 where one of them is flat."""
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > _FLAT else 0.0
