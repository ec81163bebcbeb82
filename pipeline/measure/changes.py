"""Turning points of many values over time: where each has risen or fallen by a whole step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.measurements import Float32


@njit(cache=True, nogil=True)
def find_changes(
    values: Float32,
    step: float,
    darker_below: float,
    low: Float32,
    high: Float32,
    turn: Float32,
    way: npt.NDArray[np.int8],
    size: Float32,
    changes: npt.NDArray[np.int8],
    sizes: Float32,
) -> None:
    """Find the changes of each of N values over T frames.

    After a rise only a fall is looked for, from the highest value since, and the other way round.
    A change counts only where its darker end is below `darker_below`.

    Args:
        values: [T, N].
        step: least change.
        darker_below: limit of the darker end of a change.
        low: [N] lowest value since the last change; updated, like those up to `size`.
        high: [N] highest value since.
        turn: [N] value at the last turning point.
        way: [N] direction of the last change: -1, 1, or 0 where there was none.
        size: [N] size of the last whole change.
        changes: [T, N] out: 1 where a rise completed, -1 where a fall did.
        sizes: [T, N] out: size of the last whole change as of each frame.
    """
    for t in range(values.shape[0]):
        for n in range(values.shape[1]):
            value = values[t, n]
            high[n] = max(high[n], value)
            low[n] = min(low[n], value)
            changes[t, n] = 0
            if way[n] <= 0 and value - low[n] >= step and low[n] < darker_below:
                size[n] = (turn[n] if way[n] < 0 else value) - low[n]
                turn[n] = low[n]
                high[n] = value
                way[n] = 1
                changes[t, n] = 1
            elif way[n] >= 0 and high[n] - value >= step and value < darker_below:
                size[n] = high[n] - (turn[n] if way[n] > 0 else value)
                turn[n] = high[n]
                low[n] = value
                way[n] = -1
                changes[t, n] = -1
            sizes[t, n] = size[n]
