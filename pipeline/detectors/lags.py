"""What scores over shifts of the sound say: how far off it is, how sure that is, where it changes.

Scores come as curves, one for each half second of a mouth: for every lag from -2 to 2 s how well
the sound goes with the lips then (models/sync.py). They add up over time like logarithms of
likelihoods, as the net was fitted to make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.special import expit

if TYPE_CHECKING:
    from models.sync import Calibration

Curves = npt.NDArray[np.float64]  # [B, 2 * MOST + 1]

STEP = 0.04  # seconds from one lag to the next
MOST = 50  # lags either way
_FINE = 8  # parts of a step in which the peak is read
_OWN_ERROR = 0.010  # seconds, standard: the zero of the net is no better known
_AROUND = 3  # lags either way of the peak that are its own, not the noise beside it
_SHORTEST = 4  # curves either side of a change
_BINS = 64  # into which curves are gathered where a drift is looked for
_STEEPEST = 0.01  # seconds a second


@dataclass(frozen=True)
class Reading:
    """What a sum of curves says.

    Attributes:
        lag: seconds by which sound is late; negative: early.
        low, high: seconds, the interval that holds it in 95 of 100 cases.
        clearness: height of the peak over the median, in deviations of the other lags.
        confidence: 0 to 1, that the lag is right within 80 ms, not a chance peak.
    """

    lag: float
    low: float
    high: float
    clearness: float
    confidence: float


def reading(total: npt.NDArray[np.float64], calibration: Calibration) -> Reading:
    """Read a sum of curves, [2 * MOST + 1] (or of fewer lags, as many either way)."""
    most = len(total) // 2
    lags = np.arange(-most, most + 1) * STEP
    best = int(np.argmax(total))
    others = np.delete(total, range(max(0, best - _AROUND), min(len(total), best + _AROUND + 1)))
    clearness = float(total[best] - np.median(others)) / (float(others.std()) + 1e-9)
    fine = np.linspace(lags[0], lags[-1], 2 * most * _FINE + 1)
    curve = CubicSpline(lags, total)(fine)
    likelihood = np.exp(calibration.sharpness * (curve - curve.max()))
    blur = np.exp(-0.5 * (np.arange(-4 * _FINE, 4 * _FINE + 1) * STEP / _FINE / _OWN_ERROR) ** 2)
    share = np.cumsum(np.convolve(likelihood, blur, "same"))
    share /= share[-1]
    return Reading(
        lag=float(fine[np.argmax(curve)]),
        low=float(np.interp(0.025, share, fine)),
        high=float(np.interp(0.975, share, fine)),
        clearness=clearness,
        confidence=float(expit(calibration.surer * (clearness - calibration.half_sure))),
    )


@dataclass(frozen=True)
class Stretch:
    """Curves from `first` up to but not including `last` that are off by the same, or by a drift.

    Attributes:
        reading: of the middle of the stretch.
        slope: seconds of lag per second; 0: no drift.
    """

    first: int
    last: int
    reading: Reading
    slope: float = 0.0


def stretches(
    times: npt.NDArray[np.float64], curves: Curves, calibration: Calibration
) -> list[Stretch]:
    """Divide an asset where its lag changes.

    Args:
        times: [B] seconds, increasing: the middle of each curve.
        curves: [B, 2 * MOST + 1].
        calibration: what they mean.
    """
    return _divided(times, curves, calibration, 0, len(times))


def gain_of_change(times: npt.NDArray[np.float64], curves: Curves) -> float:
    """By how much the best change or drift has a higher peak than one lag throughout."""
    constant = curves.sum(axis=0).max()
    return float(max(_change(curves)[1], _drift(times, curves)[1].max()) - constant)


def _divided(
    times: npt.NDArray[np.float64],
    curves: Curves,
    calibration: Calibration,
    first: int,
    last: int,
) -> list[Stretch]:
    if last <= first:
        return []
    own = curves[first:last]
    total = own.sum(axis=0)
    slope, drifted = _drift(times[first:last], own)
    at, together = _change(own)
    gain = max(drifted.max(), together) - total.max()
    if calibration.sharpness * gain < calibration.change:
        return [Stretch(first, last, reading(total, calibration))]
    if drifted.max() >= together:  # a drift is a simpler tale than a change
        return [Stretch(first, last, reading(drifted, calibration), slope)]
    return [
        *_divided(times, curves, calibration, first, first + at),
        *_divided(times, curves, calibration, first + at, last),
    ]


def _change(curves: Curves) -> tuple[int, float]:
    """Where to divide curves for the largest sum of two peaks, and that sum."""
    if len(curves) < 2 * _SHORTEST:
        return 0, -np.inf
    before = np.cumsum(curves, axis=0)
    both = before[:-1].max(axis=1) + (before[-1] - before[:-1]).max(axis=1)
    inside = both[_SHORTEST - 1 : len(both) - _SHORTEST + 1]
    at = int(np.argmax(inside)) + _SHORTEST
    return at, float(inside[at - _SHORTEST])


def _drift(times: npt.NDArray[np.float64], curves: Curves) -> tuple[float, npt.NDArray[np.float64]]:
    """The slope that makes the highest peak, and the sum of curves along it."""
    span = float(times[-1] - times[0])
    middle = (times[0] + times[-1]) / 2
    most = min(_STEEPEST * span, MOST * STEP) / 2  # seconds at either end
    best = (0.0, curves.sum(axis=0))
    if most < STEP:
        return best
    edges = np.unique(np.linspace(0, len(times), min(_BINS, len(times)) + 1).astype(int))[:-1]
    counts = np.diff([*edges, len(times)])
    binned = np.add.reduceat(curves, edges, axis=0)
    away = (np.add.reduceat(times, edges) / counts - middle) / (span / 2)  # -1 to 1
    lags = np.arange(-MOST, MOST + 1)
    for end in np.arange(-most, most + STEP / 4, STEP / 2):
        shifts = end / STEP * away
        total = np.zeros(len(lags))
        for curve, shift in zip(binned, shifts, strict=True):
            total += np.interp(lags + shift, lags, curve, 0.0, 0.0)
        if total.max() > best[1].max():
            best = (float(2 * end / span), total)
    return best
