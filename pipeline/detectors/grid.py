"""Finds a coding grid in the profiles of isolated steps: its period, phase and strength.

Block transforms leave their edges on a grid that runs through the whole picture, in both
directions, while the edges of objects stand anywhere. A line of the grid is one whose isolated step
(see `pipeline.measure.look`) exceeds those of the columns two and three samples beside it; chance
alone makes one line in five do so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline.measurements import Float32, Look

# Transform blocks (4, 8) and macroblocks (16); the same after scaling 2/3 (720 to 1080 lines up:
# 12, 1080 to 720 down: 5.33), 3/4 (1440 to 1920 across: 10.67) and 1080 to 810 lines (6)
PERIODS = tuple(
    Fraction(n, d) for n, d in ((4, 1), (8, 1), (16, 1), (16, 3), (6, 1), (32, 3), (12, 1))
)
NATIVE = (4, 8, 16)
BESIDE = np.array([-3, -2, 2, 3])  # samples from a line
FEWEST_LINES = 6  # in each direction
SURE_SHARE = 0.65  # of the lines must stand out; chance is 0.2
SURE_SCALED = 0.85  # likewise of a scaled grid, which more patterns resemble
FINER = 0.3  # of the largest strength and less than the largest share: as good as the best
LESS_SHARE = 0.25
DRAWN = 0.003  # mean step beside the lines of drawn blocks over that on them; coded ones: 0.004 up
LARGEST_STEP = 14.0  # code values: no codec makes larger mean steps; checkerboards and pixels do


@dataclass(frozen=True)
class Line:
    """The grid along one axis."""

    period: float  # samples
    phase: float  # samples, of the first line
    share: float  # of the lines that stand out
    step: float  # code values by which the grid's steps exceed those beside them
    ratio: float  # of the grid's steps to those beside them

    @property
    def strength(self) -> float:
        """Step in code values, weighed by how little texture there is to hide it."""
        return self.step * (1 - 1 / max(self.ratio, 1.0))


@dataclass(frozen=True)
class Grid:
    """The grid of a picture."""

    across: Line
    down: Line

    @property
    def strength(self) -> float:
        """Mean of both axes."""
        return (self.across.strength + self.down.strength) / 2


def find_grid(look: Look) -> Grid | None:
    """The coding grid of a picture, None where there is none in both directions."""
    lines = []
    for profile in (look.column_steps, look.row_steps):
        line = find_line(profile)
        if line is None:
            return None
        lines.append(line)
    across, down = lines
    ratio = across.period / down.period
    if not 0.49 < ratio < 2.01 or max(across.step, down.step) > LARGEST_STEP:
        return None
    return Grid(across, down)


def find_line(profile: Float32) -> Line | None:
    """The grid along one axis, of the isolated steps between neighbours [N]."""
    size = len(profile)
    inner = profile[3:-3]
    if len(inner) < 4 * FEWEST_LINES:
        return None
    near = np.maximum(profile[1:-5], profile[5:-1])
    far = np.maximum(profile[:-6], profile[6:])
    wins = np.zeros(size, np.float32)
    wins[3:-3] = inner > np.maximum(near, far)
    lines = []
    folds: dict[int, Float32] = {}
    for period in PERIODS:
        if size < FEWEST_LINES * period + 6:
            continue
        cycle = 48 if period.denominator == 1 else 32
        if cycle not in folds:
            whole = size // cycle * cycle
            if not whole:
                continue
            folds[cycle] = wins[:whole].reshape(-1, cycle).mean(axis=0)
        shares = folds[cycle][_phases(cycle, period)].mean(axis=1)
        phase = int(np.argmax(shares))
        share = float(shares[phase])
        if share < (SURE_SHARE if period in NATIVE else SURE_SCALED):
            continue
        at = _lines(size, period, phase)
        step = float(np.median(profile[at]))
        around = profile[at[:, None] + BESIDE]
        beside = float(np.median(around.mean(axis=1)))
        if step > beside and around.mean() > DRAWN * profile[at].mean():
            ratio = step / max(beside, 0.02)
            lines.append(Line(float(period), float(phase), share, step - beside, ratio))
    if not lines:
        return None
    # a grid shows at its multiples too, best where both fall on whole samples: the finest is meant
    strongest = max(lines, key=lambda line: line.strength)
    share = max(line.share for line in lines) - LESS_SHARE
    least = FINER * strongest.strength
    good = [line for line in lines if line.share >= share and line.strength >= least]
    finest = min(good or lines, key=lambda line: line.period)
    return replace(finest, step=strongest.step, ratio=strongest.ratio)


@cache
def _lines(size: int, period: Fraction, phase: int) -> npt.NDArray[np.intp]:
    """Where the lines of a grid fall in a profile, away from its ends."""
    at: npt.NDArray[np.intp] = phase + np.floor(
        np.arange(int(size / period) + 1) * float(period) + 0.5
    ).astype(np.intp)
    return np.asarray(at[(at >= 3) & (at < size - 3)])


@cache
def _phases(cycle: int, period: Fraction) -> npt.NDArray[np.intp]:
    """Places in a cycle of the lines of a grid, for each of its phases [phase, line]."""
    at = np.floor(np.arange(int(cycle / period)) * float(period) + 0.5).astype(np.intp)
    return np.asarray((np.arange(-int(-period // 1))[:, None] + at) % cycle)
