"""How far the lines of coding grids stand out of a look, for grids of three families.

`pipeline.detectors.grid` asks whether there is a grid; this asks how strong one is, however weak,
so that looks can be compared with those beside them. The families are grids as they were coded (4,
8 and 16 samples), scaled by 3/2 (12, 6) and by 4/3 (10.67, 5.33).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline.measurements import Float32, Look

FAMILIES = (
    (Fraction(8), Fraction(4), Fraction(16)),
    (Fraction(12), Fraction(6)),
    (Fraction(32, 3), Fraction(16, 3)),
)
FEWEST_LINES = 6
_RUN = 32  # samples over which the usual deviation is taken
_LEAST = 0.02  # code values: rounding alone deviates by so much
_CLIPPED = 3.0  # deviations: an edge of an object is worth no more than that
_LARGEST = 14.0  # code values, see LARGEST_STEP of the grid


@dataclass(frozen=True)
class Comb:
    """The grids of one look, by family.

    Attributes:
        sureness: deviations from what lines anywhere would do, geometric mean of both directions.
        step: code values by which steps on the lines exceed those beside them, likewise.
        period: across and down, samples.
    """

    sureness: tuple[float, ...]
    step: tuple[float, ...]
    period: tuple[tuple[float, float], ...]


def comb(look: Look) -> Comb:
    """Judge a look."""
    across, down = _axis(look.column_steps), _axis(look.row_steps)
    return Comb(
        tuple(_mean(a[0], b[0]) for a, b in zip(across, down, strict=True)),
        tuple(_mean(a[1], b[1]) for a, b in zip(across, down, strict=True)),
        tuple((a[2], b[2]) for a, b in zip(across, down, strict=True)),
    )


def _mean(one: float, other: float) -> float:
    return float(np.sqrt(max(one, 0.0) * max(other, 0.0)))


def _axis(profile: Float32) -> list[tuple[float, float, float]]:
    """Sureness, step and period of the best grid of each family."""
    best = [(0.0, 0.0, 0.0)] * len(FAMILIES)
    size = len(profile)
    if size < 2 * _RUN:
        return best
    over, weighed = _whitened(profile)
    # every line of a grid of 12 is one of a grid of 4: what that explains is taken off
    apart = weighed.copy()
    apart[4:-4] -= np.maximum(0.0, (weighed[:-8] + weighed[8:]) / 2)
    for family, periods in enumerate(FAMILIES):
        for period in periods:
            at = _lines(size, period)
            if at.shape[1] < FEWEST_LINES:
                continue
            seen = (apart if period == 12 else weighed)[at]
            sureness = seen.mean(axis=1) * np.sqrt(at.shape[1])
            phase = int(sureness.argmax())
            if sureness[phase] > best[family][0]:
                step = float(np.clip(over[at[phase]], -1.0, _LARGEST).mean())
                best[family] = (float(sureness[phase]), step, float(period))
    return best


def _whitened(profile: Float32) -> tuple[Float32, Float32]:
    """Steps over those beside them, in code values and in usual deviations around."""
    over = np.zeros_like(profile)
    over[3:-3] = profile[3:-3] - (profile[:-6] + profile[1:-5] + profile[5:-1] + profile[6:]) / 4
    whole = len(over) // _RUN * _RUN
    usual = np.median(np.abs(over[:whole]).reshape(-1, _RUN), axis=1) * 1.48 + _LEAST
    usual = np.convolve(np.pad(usual, 1, mode="edge"), np.ones(3) / 3, "valid")
    scale = np.full(len(over), usual[-1], np.float32)
    scale[:whole] = np.repeat(usual, _RUN)
    return over, np.clip(over / scale, -_CLIPPED, _CLIPPED)


@cache
def _lines(size: int, period: Fraction) -> npt.NDArray[np.intp]:
    """Where the lines fall in a profile, for each phase [phase, line]."""
    phases = np.arange(-int(-period // 1))[:, None]
    count = max(0, int((size - 8 - float(period)) // float(period)))
    at = np.floor(phases + np.arange(count) * float(period) + 0.5) + 4
    return np.asarray(at.astype(np.intp))
