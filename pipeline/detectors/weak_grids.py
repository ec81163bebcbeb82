"""Stretches in which a coding grid, however weak, is stronger than beside in the same shot.

`pipeline.detectors.rises` asks the same of statistics that are always there; a grid is there or
not, and how sure that is counts as well.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.comb import FAMILIES, Comb
from pipeline.detectors.looks import CUT_NEAR, Cuts
from pipeline.detectors.rises import BESIDE, STRONG, WEAK, Rise, stretches
from pipeline.measure.frame import LOOK_EVERY
from pipeline.measurements import Float64

LEVELS = tuple(0.12 * 1.35**n for n in range(12))  # code values, at which runs are looked for
UNSURE = 5.0  # deviations: a grid less sure than that counts as ...
NOTHING = 0.05  # ... code values
LEAST_BESIDE = (3.0, 0.06)  # sureness and step that count as nothing, when compared with
SURER = {1: 1.6, 2: 1.25}  # times as sure as beside, by the number of sides that are known
SMOOTHED = 2  # looks by which a stretch may be too long at either end
ONE_SIDE = (1.5, 2.2)  # times the least rise and step that are asked for where one side is known


@dataclass(frozen=True)
class GridRise(Rise):
    """A stretch whose grid is stronger than that of its shot beside it.

    Attributes:
        weak: step of its weak looks, in code values.
        step: of its grid, likewise.
        sureness: of that, in deviations.
        peak: time of the look with the largest step.
        period: of the grid there, across and down.
    """

    weak: float
    step: float
    sureness: float
    peak: float
    period: tuple[float, float]


def grid_rises(
    times: Float64,
    combs: Sequence[Comb],
    cuts: Cuts,
    *,
    min_rise: float,
    min_step: float,
    shortest: float,
    end: float,
) -> list[GridRise]:
    """Every such stretch, the clearest first; they may overlap.

    Args:
        times: [N] seconds of the looks.
        combs: of the looks.
        cuts: of the picture.
        min_rise: times that steps on the grid are as high as beside.
        min_step: code values.
        shortest: seconds.
        end: seconds, of the picture.
    """
    found: list[GridRise] = []
    if len(times) < 3:
        return found
    at = times.tolist()
    for family in range(len(FAMILIES)):
        sharp = np.array([one.step[family] for one in combs])
        sureness = _smooth(np.array([one.sureness[family] for one in combs]))
        step = _smooth(sharp)
        level = np.where(sureness >= UNSURE, step, np.minimum(step, NOTHING))
        periods = [one.period[family] for one in combs]
        for least in LEVELS:
            for first, last in stretches(level >= least, times, shortest):
                rise = _rise(times, at, sharp, step, sureness, first, last, periods, cuts, end)
                if rise is None or rise.end - rise.start < shortest:
                    continue
                more, higher = (1.0, 1.0) if rise.sides == 2 else ONE_SIDE
                if rise.times >= more * min_rise and rise.weak >= higher * min_step:
                    found.append(rise)
    return sorted(found, key=lambda rise: -rise.times)


def _rise(
    times: Float64,
    at: list[float],
    sharp: Float64,
    step: Float64,
    sureness: Float64,
    first: int,
    last: int,
    periods: Sequence[tuple[float, float]],
    cuts: Cuts,
    end: float,
) -> GridRise | None:
    """A stretch of looks with what it is beside; None where nothing is, or that is as sure.

    `at` is `times`, as bisect is fastest with it.
    """
    half = LOOK_EVERY / 2
    start = times[first] - half if first else times[0]
    stop = min(times[last] + half, end)
    inside = slice(first, last + 1)
    sure = float(np.median(sureness[inside]))
    sides, near = [], np.zeros(len(times), bool)
    for edge, earliest, latest in ((start, start - BESIDE, start), (stop, stop, stop + BESIDE)):
        before, after = cuts.around(edge)
        same = slice(
            bisect_left(at, max(earliest, before)),
            min(bisect_right(at, latest), bisect_left(at, after)),
        )
        if same.stop - same.start > 1 and not cuts.within(edge, CUT_NEAR):
            sides.append((np.median(sureness[same]), np.percentile(step[same], STRONG)))
            near[same] = True
    if not sides:
        return None
    beside = np.maximum(np.max(sides, axis=0), LEAST_BESIDE)
    if sure < SURER[len(sides)] * beside[0]:
        return None
    weak, peak = float(np.percentile(step[inside], WEAK)), first + int(step[inside].argmax())
    # smoothing and a low level have made it longer than it is
    edge = (weak + float(beside[1])) / 2
    held = first + np.flatnonzero(sharp[inside] >= edge)
    if len(held) and first and held[0] - first <= SMOOTHED:
        start = times[held[0]] - half
    if len(held) and last < len(times) - 1 and last - held[-1] <= SMOOTHED:
        stop = times[held[-1]] + half
    return GridRise(
        float(start), float(stop), first, last, len(sides), weak / float(beside[1]), near,
        weak, float(np.median(step[inside])), sure, float(times[peak]), periods[peak],
    )  # fmt: skip


def _smooth(values: Float64) -> Float64:
    """Means of three looks: frames that are coded alone have other grids than those between."""
    return np.convolve(np.pad(values, 1, mode="edge"), np.ones(3) / 3, "valid")
