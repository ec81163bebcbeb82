"""What scores over shifts of the sound say: how far off it is, how sure that is, where it changes.

Scores come as curves, one for each half second of a mouth: for every lag from -2 to 2 s how well
the sound goes with the lips then (models/sync.py). They add up over time like logarithms of
likelihoods, as the net was fitted to make them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit

if TYPE_CHECKING:
    from models.sync import Calibration

Curves = npt.NDArray[np.float64]  # [B, 2 * MOST + 1]

BIN = 0.5  # seconds of a curve
STEP = 0.04  # seconds from one lag to the next
MOST = 50  # lags either way
_FINE = 8  # parts of a step in which the peak is read
_OWN_ERROR = 0.010  # seconds, standard: the zero of the net is no better known
_AROUND = 3  # lags either way of the peak that are its own, not the noise beside it
_SHORTEST = 4  # curves either side of a change
_PLACES = 5  # at which it is looked for in each curve
_LEAST = 2  # lags from one side to the other: a smaller change nobody detects (BT.1359-1: 45 ms)
_BINS = 64  # into which curves are gathered where a drift is looked for
_STEEPEST = 0.05  # seconds a second: 25 pictures taken for 23.976 make 0.043
# By how much a drift or a change must explain curves better than one lag does, as a logarithm of
# likelihoods, where all that it says is clear; a change for being at one place of many as well.
# In 555 series of 10 to 300 s, shuffled from clips of people of the development sources, a drift
# reaches 2.4 and a change nothing by chance. (The net was fitted on them too.)
_DRIFT, _CHANGE = 4.0, 4.0
_CLEAR = 0.8  # confidence from which a lag is right in 97 of 100 cases (models/weights/sync.md)


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
    curve = _finer(lags, total, fine)
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


def _finer(
    lags: npt.NDArray[np.number], values: npt.NDArray[np.float64], fine: npt.NDArray[np.number]
) -> npt.NDArray[np.float64]:
    """Values [..., F] at finer lags [F], by splines through those [..., L] at lags [L]."""
    from scipy.interpolate import CubicSpline  # noqa: PLC0415 - 0.3 s and 25 MiB, only for mouths

    made: npt.NDArray[np.float64] = CubicSpline(lags, values, axis=-1)(fine)
    return made


@dataclass(frozen=True)
class Stretch:
    """Curves from `first` up to but not including `last` that are off by the same, or by a drift.

    Attributes:
        reading: of the middle of the stretch.
        slope: seconds of lag per second; 0: no drift.
        since: seconds at which its sound begins, where it begins with a change.
    """

    first: int
    last: int
    reading: Reading
    slope: float = 0.0
    since: float | None = None


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
    change, drift = _change(curves), _drift(times, curves)
    return max(drift.gain, change.gain if change is not None else 0.0)


def _divided(
    times: npt.NDArray[np.float64],
    curves: Curves,
    calibration: Calibration,
    first: int,
    last: int,
) -> list[Stretch]:
    if last <= first:
        return []
    own, when = curves[first:last], times[first:last]
    found, change = _change(own), 0.0
    if found is not None:
        parts = [part.sum(axis=0) for part in (own[: found.at], own[found.at :])]
        change = _worth(
            calibration.sharpness * found.gain - np.log(len(own)),
            _CHANGE,
            calibration,
            clear=all(reading(part, calibration).confidence >= _CLEAR for part in parts),
        )
    drift = _drift(when, own)
    drifted = reading(drift.total, calibration)
    drifts = _worth(
        calibration.sharpness * drift.gain,
        _DRIFT,
        calibration,
        clear=drifted.confidence >= _CLEAR,
    )
    if found is not None and change > drifts:
        middle = first + found.at
        after, *more = _divided(times, curves, calibration, middle, last)
        since = _splice(when, own, found, calibration.sharpness)
        before = _divided(times, curves, calibration, first, middle)
        return [*before, replace(after, since=since), *more]
    if drifts:  # a drift is a simpler tale than a change
        return [Stretch(first, last, drifted, drift.slope)]
    return [Stretch(first, last, reading(own.sum(axis=0), calibration))]


def _worth(gain: float, least: float, calibration: Calibration, *, clear: bool) -> float:
    """By how much a tale of a drift or a change is better than that of one lag; 0: it is not.

    What has no clear place anywhere has chance peaks, two of which are higher than one: there a
    gain must be as large as in no series of the kind.
    """
    enough = gain >= (least if clear else calibration.change)
    return max(gain, 0.0) if enough else 0.0


@dataclass(frozen=True)
class _Change:
    """Where to divide curves for the largest sum of two peaks.

    Attributes:
        at: curves before it.
        lags: of the peaks, as columns of the curves.
        gain: by how much that sum is higher than one peak throughout.
    """

    at: int
    lags: tuple[int, int]
    gain: float


def _change(curves: Curves) -> _Change | None:
    """The best change; None where there is too little, or nothing that anyone would detect."""
    if len(curves) < 2 * _SHORTEST:
        return None
    before = np.cumsum(curves, axis=0)
    after = before[-1] - before
    both = before.max(axis=1) + after.max(axis=1)
    row = int(np.argmax(both[_SHORTEST - 1 : -_SHORTEST])) + _SHORTEST - 1
    lags = int(np.argmax(before[row])), int(np.argmax(after[row]))
    if abs(lags[1] - lags[0]) < _LEAST:
        return None
    return _Change(row + 1, lags, float(both[row] - before[-1].max()))


def _splice(
    times: npt.NDArray[np.float64], curves: Curves, change: _Change, sharpness: float
) -> float:
    """Seconds at which the sound of a change was spliced: as likely before as after.

    What a mouth says of a lag, it says of the sound that comes so much later. So a splice divides
    the curves of each lag elsewhere: sound before it is of the lag before, sound after it of the
    other, and of sound that was cut out nothing is said. Where sound was put in instead, it may be
    like the sound before (then that holds) or silent (then it is the mouths that tell before from
    after): both are asked.
    """
    first = times[_SHORTEST : len(times) - _SHORTEST + 1, None] - BIN / 2
    places = (first + np.arange(_PLACES) * BIN / _PLACES).ravel()
    knots = (times[:, None] + np.array([-BIN / 2, BIN / 2])).ravel()
    one, other = change.lags

    def sums(lag: int, until: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Of the curves at one lag, of mouths up to some times."""
        so_far = np.concatenate([[0.0], np.cumsum(curves[:, lag])])
        ends = np.stack([so_far[:-1], so_far[1:]], axis=1).ravel()
        made: npt.NDArray[np.float64] = np.interp(until, knots, ends)
        return made

    def later(lag: int) -> float:
        return (lag - MOST) * STEP

    by_sound = sums(one, places - later(one)) - sums(other, places - later(other))
    by_mouth = sums(one, places) - sums(other, places)
    both = 2 * by_sound if other < one else by_sound + by_mouth
    likely = np.cumsum(np.exp(sharpness * (both - both.max())))
    return float(places[np.searchsorted(likely, likely[-1] / 2)])


@dataclass(frozen=True)
class _Drift:
    """The drift that makes the highest peak.

    Attributes:
        slope: seconds of lag per second; 0: none makes a higher one than no drift.
        total: sum of the curves along it, [2 * MOST + 1], by the lag in the middle of the time.
        gain: by how much its peak is higher than without a drift.
    """

    slope: float
    total: npt.NDArray[np.float64]
    gain: float


def _drift(times: npt.NDArray[np.float64], curves: Curves) -> _Drift:
    span = float(times[-1] - times[0])
    middle = (times[0] + times[-1]) / 2
    most = min(_STEEPEST * span, MOST * STEP) / 2  # seconds at either end
    best = _Drift(0.0, curves.sum(axis=0), 0.0)
    if most < STEP:
        return best
    edges = np.unique(np.linspace(0, len(times), min(_BINS, len(times)) + 1).astype(int))[:-1]
    counts = np.diff([*edges, len(times)])
    away = (np.add.reduceat(times, edges) / counts - middle) / (span / 2)  # -1 to 1
    # lags between those of the curves, so that a drift is not blurred and one lag is not favoured
    coarse = np.arange(-MOST, MOST + 1) * _FINE
    fine = np.arange(-MOST * _FINE, MOST * _FINE + 1)
    binned = _finer(coarse, np.add.reduceat(curves, edges, axis=0), fine)
    reach = MOST * _FINE // 2
    padded = np.pad(binned, ((0, 0), (reach, reach)))
    rows = np.arange(len(edges))[:, None]
    still = float(binned.sum(axis=0).max())
    ends = round(most / STEP * _FINE)
    for end in range(-ends, ends + 1, 2):
        shifts = np.round(end * away).astype(int)[:, None]
        total = padded[rows, reach + np.arange(len(fine)) + shifts].sum(axis=0)
        gain = float(total.max()) - still
        if gain > best.gain:
            best = _Drift(2 * end / _FINE * STEP / span, total[::_FINE], gain)
    return best
