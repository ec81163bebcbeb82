"""Linear prediction of short frames: what a frame's own spectrum does not explain."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.linalg import solve_toeplitz

from pipeline.measurements import Float32, Float64

ORDER = 24
FRAME = 512  # samples
HOP = 256
TAPER = 0.2  # share of the samples at either end that weigh less in the predictor
WHITE = 1e-6  # noise, relative to the sound, that keeps the predictor of a pure tone stable


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
def residual(samples: Float32, start: int, stop: int, error: Float64) -> Float64:
    """Prediction error, by a predictor that has not seen what is in [start, stop).

    An impulse that is let into the autocorrelation makes a predictor of its own shape, and hides in
    it. It is bridged by a line (S. J. Godsill and P. J. W. Rayner, Digital Audio Restoration,
    Springer 1998, chapter 5, do so by interpolation); Levinson's recursion then gives the taps.

    Args:
        samples: [N] of one channel.
        start: first sample that the predictor must not see, from 1.
        stop: the one after the last of them, below N.
        error: [N] receives the error of the samples as they are; its first ORDER values are 0.

    Returns:
        Taps of the predictor [ORDER + 1], the first of which is 1.
    """
    length = len(samples)
    seen = samples.astype(np.float64)
    first, last = seen[start - 1], seen[stop]
    for n in range(start, stop):
        seen[n] = first + (last - first) * (n - start + 1) / (stop - start + 1)
    edge = int(TAPER * length)
    for n in range(edge):
        weight = math.sin(0.5 * math.pi * (n + 0.5) / edge) ** 2
        seen[n] *= weight
        seen[length - 1 - n] *= weight
    correlation = np.zeros(ORDER + 1)
    for lag in range(ORDER + 1):
        correlation[lag] = np.dot(seen[lag:], seen[: length - lag])
    power = correlation[0] * (1 + WHITE) + 1e-10
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
            total += taps[k] * samples[n - k]
        error[n] = total
    return taps


def interpolated(samples: Float32, start: int, stop: int, taps: Float64) -> Float64:
    """What a predictor puts in place of [start, stop), with the least error before and after.

    A. J. E. M. Janssen, R. N. J. Veldhuis and L. B. Vries, "Adaptive interpolation of discrete-time
    signals that can be modeled as autoregressive processes", IEEE Trans. ASSP 34(2), 1986.

    Args:
        samples: [N] of one channel.
        start: first sample of the gap, from ORDER.
        stop: the one after its last, up to N - ORDER.
        taps: of `residual`.
    """
    around = samples[start - ORDER : stop + ORDER].astype(np.float64)
    around[ORDER:-ORDER] = 0
    error = np.convolve(around, taps)[ORDER : stop - start + 2 * ORDER]
    column = np.zeros(stop - start)
    own = np.correlate(taps, taps, "full")[ORDER:][: len(column)]
    column[: len(own)] = own
    filled: Float64 = solve_toeplitz(column, -np.correlate(error, taps, "valid"))
    return filled
