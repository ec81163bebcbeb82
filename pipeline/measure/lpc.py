"""Linear prediction of short frames: what a frame's own spectrum does not explain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.types import Float32, Float64

ORDER = 12
FRAME = 512  # samples
HOP = 256


@njit(cache=True, nogil=True)
def suspects(samples: Float32, ratio: float, floor: float) -> npt.NDArray[np.int64]:
    """Starts of frames in which the second difference has an outlier; cheap, and misses nothing.

    Args:
        samples: [N] of one channel.
        ratio: how far the largest second difference must exceed the mean one.
        floor: smallest second difference that counts.
    """
    frames = max((len(samples) - FRAME) // HOP + 1, 0)
    kept = np.empty(frames, np.int64)
    count = 0
    for frame in range(frames):
        start = frame * HOP
        total = np.float32(0)
        largest = np.float32(0)
        for n in range(start + 2, start + FRAME):
            step = abs(samples[n] - 2 * samples[n - 1] + samples[n - 2])
            total += step
            largest = max(largest, step)
        if largest > floor and largest * (FRAME - 2) > ratio * total:
            kept[count] = start
            count += 1
    return kept[:count]


@njit(cache=True, nogil=True)
def residual(frame: Float32, error: Float64) -> None:
    """Prediction error of a frame, by autocorrelation and Levinson's recursion.

    Args:
        frame: [N].
        error: [N] receives the error; its first ORDER values are 0.
    """
    length = len(frame)
    correlation = np.zeros(ORDER + 1)
    for lag in range(ORDER + 1):
        total = 0.0
        for n in range(lag, length):
            total += frame[n] * frame[n - lag]
        correlation[lag] = total
    power = correlation[0] * (1 + 1e-9) + 1e-12
    taps = np.zeros(ORDER + 1)
    older = np.zeros(ORDER + 1)
    taps[0] = 1.0
    for order in range(1, ORDER + 1):
        total = correlation[order]
        for k in range(1, order):
            total += taps[k] * correlation[order - k]
        reflection = -total / power
        older[:] = taps
        for k in range(1, order):
            taps[k] = older[k] + reflection * older[order - k]
        taps[order] = reflection
        power *= 1 - reflection * reflection
        if power <= 1e-14:
            break
    error[:ORDER] = 0
    for n in range(ORDER, length):
        total = 0.0
        for k in range(ORDER + 1):
            total += taps[k] * frame[n - k]
        error[n] = total
