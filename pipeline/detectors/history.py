"""What is usual in an asset: a histogram of one statistic, in bounded memory."""

from __future__ import annotations

import numpy as np

# Looks are judged this late, so that what comes after a defect counts towards the usual as well
DELAY = 10.0  # seconds
BINS = 400


class History:
    """Counts the values of a statistic between two limits; quantiles are right within 1/400."""

    def __init__(self, lowest: float, highest: float) -> None:
        self._lowest, self._width = lowest, (highest - lowest) / BINS
        self._counts = np.zeros(BINS, np.int64)

    def add(self, value: float) -> None:
        """Count a value; those beyond the limits count as the limit."""
        at = int((value - self._lowest) / self._width)
        self._counts[min(max(at, 0), BINS - 1)] += 1

    @property
    def count(self) -> int:
        """Number of values so far."""
        return int(self._counts.sum())

    def quantile(self, share: float) -> float:
        """The value that `share` of all values stay below; the lowest where there are none."""
        total = np.cumsum(self._counts)
        if not total[-1]:
            return self._lowest
        at = int(np.searchsorted(total, share * total[-1]))
        return self._lowest + (at + 0.5) * self._width
