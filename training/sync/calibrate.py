"""What scores mean: fitted on what nets said of groups that they never saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.sync import Calibration
from pipeline.detectors.lags import Reading, gain_of_change, reading
from training.sync.evaluate import RIGHT, GroupTrials

CONFIDENT = (1.2, 2.4, 5.0, 10.0)  # seconds of the windows on which confidence is fitted
NEAR = 0.08  # seconds: a lag that is wrong by more is a chance peak, not an imprecise one
_COVERED = 0.95
_SHARPNESS = tuple(np.geomspace(0.02, 1.0, 14).tolist())
_SERIES = (20, 60, 200)  # curves of 0.5 s among which no change is to be found
_QUIET = 0.995  # share of such series that show none


@dataclass(frozen=True)
class Said:
    """Readings of the windows of one group and length.

    Attributes:
        own, foreign: of own sound and of another part's.
        lag: seconds by which own sound was late.
    """

    own: list[Reading]
    foreign: list[Reading]
    lag: npt.NDArray[np.float64]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which lags were found within one picture."""
        return self._within(RIGHT)

    @property
    def near(self) -> npt.NDArray[np.bool_]:
        """Which lags were found at all: no chance peaks."""
        return self._within(NEAR)

    def _within(self, seconds: float) -> npt.NDArray[np.bool_]:
        found = np.array([one.lag for one in self.own])
        return np.abs(found - self.lag) <= seconds + 1e-6


def read_all(
    found: Mapping[str, GroupTrials], calibration: Calibration, most: int
) -> dict[tuple[str, float], Said]:
    """Readings by group and seconds of the window, among `most` lags either way."""

    def read(curves: Iterable[npt.NDArray[np.float32]]) -> list[Reading]:
        made = []
        for curve in curves:
            middle = len(curve) // 2
            inside = curve[middle - most : middle + most + 1].astype(np.float64)
            made.append(reading(inside, calibration))
        return made

    return {
        (group, seconds): Said(read(trials.own), read(trials.foreign), np.array(trials.lag))
        for group, tested in found.items()
        for seconds, trials in tested.trials.items()
        if trials.lag
    }


def calibrate(found: Mapping[str, GroupTrials], most: int) -> Calibration:
    """The calibration that fits what was found; groups count alike, however large.

    Sharpness: intervals hold 95 % of the lags that were found at all. Confidence: a logistic curve
    of clearness, by maximum likelihood, where own sound found within 80 ms is right and all else,
    foreign sound too, is wrong. Change: what 99.5 % of series with one lag do not reach.
    """
    made = Calibration(sharpness=1.0, half_sure=5.0, surer=1.0, change=10.0)
    made = replace(made, sharpness=min(_SHARPNESS, key=lambda s: _uncovered(found, s, most)))
    half, surer = _confidence(read_all(found, made, most))
    made = replace(made, half_sure=half, surer=surer)
    gains = made.sharpness * np.concatenate([_gains(tested.series) for tested in found.values()])
    return replace(made, change=float(np.quantile(gains, _QUIET)))


def _uncovered(found: Mapping[str, GroupTrials], sharpness: float, most: int) -> float:
    """By how much the share of lags inside their intervals misses what was said."""
    tried = Calibration(sharpness, 5.0, 1.0, 10.0)
    shares = []
    for said in read_all(_fewer(found), tried, most).values():
        inside = [
            one.low <= lag <= one.high
            for one, lag in zip(said.own, said.lag, strict=True)
            if abs(one.lag - lag) <= NEAR
        ]
        if inside:
            shares.append((np.mean(inside), np.sqrt(len(inside))))
    values, weights = np.array(shares).T
    return abs(float(np.average(values, weights=weights)) - _COVERED)


def _fewer(found: Mapping[str, GroupTrials]) -> dict[str, GroupTrials]:
    """Forty windows of each group and length: enough to set a scale."""
    made = {}
    for group, tested in found.items():
        trials = {
            seconds: replace(of, lag=of.lag[:40], own=of.own[:40], foreign=[])
            for seconds, of in tested.trials.items()
            if seconds in CONFIDENT
        }
        made[group] = replace(tested, trials=trials)
    return made


def _confidence(said: Mapping[tuple[str, float], Said]) -> tuple[float, float]:
    clear: list[float] = []
    right: list[float] = []
    weights: list[float] = []
    for (_, seconds), of in said.items():
        if seconds not in CONFIDENT:
            continue
        for readings, truth in ((of.own, of.near), (of.foreign, np.zeros(len(of.foreign)))):
            clear += [one.clearness for one in readings]
            right += list(truth.astype(float))
            weights += [1 / np.sqrt(len(readings))] * len(readings)
    x, y, w = np.array(clear), np.array(right), np.array(weights)

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        half, surer = parameters
        z = surer * (x - half)
        return float((w * (np.logaddexp(0, z) - y * z)).sum() / w.sum())

    half, surer = minimize(loss, np.array([5.0, 1.0]), method="Nelder-Mead").x
    return float(half), float(surer)


def _gains(series: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    gains = []
    for curves in series:
        for length in _SERIES:
            for first in range(0, len(curves) - length + 1, length):
                part = curves[first : first + length].astype(np.float64)
                gains.append(gain_of_change(np.arange(float(length)) * 0.5, part))
    return np.array(gains)


def across(
    found: Mapping[str, GroupTrials], folds: Iterable[set[str]], most: int
) -> dict[tuple[str, float], Said]:
    """Readings of every group, each by a calibration that was fitted without its fold."""
    made: dict[tuple[str, float], Said] = {}
    for fold in folds:
        others = {group: tested for group, tested in found.items() if group not in fold}
        own = {group: tested for group, tested in found.items() if group in fold}
        made |= read_all(own, calibrate(others or own, most), most)
    return made
