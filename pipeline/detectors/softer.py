"""Steps: from one look to the next nearly every tile of a shot becomes softer, or sharper.

A filter that is switched on takes its share of all tiles at once, however soft or noisy the shot is
by itself, and gives it back at once. Both are found tile by tile in the same picture, so that it
does not matter what lies between them: cuts, other shots, another softness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.detectors.base import Unchanging
from pipeline.detectors.looks import Cuts
from pipeline.measurements import Float64

# Chosen on 48 blurred development files, 41 clean ones and 84 look-alikes: steps of the latter come
# at most one by one, or are undone sooner than a blur lasts
DARKEST, BRIGHTEST = 20.0, 230.0
FAINT = 0.3  # code values of mean difference: less is taken for as much
LEAST_FINE, LEAST_CURVE = 1.0, 1.5  # tiles with less, before and after, say nothing
LEAST_TILES = 12
# Logarithm: median change of curvature. The nearest in a clean film, coded leanly: 0.12 and 0.18,
# but 0.4 s apart
LEAST_CHANGE = 0.1
LEAST_SHARE, STILL = 0.7, 0.03  # of the tiles change the same way, by more than this
LEAST_RATIO = 0.02  # the same of second over first differences: dissolves and fades have none
# A subject that stays in focus is enough: what a fifth of the tiles with the most curvature, and of
# the sharpest, may stay below, in shares of the change
MOST, SHARPEST, A_QUARTER, A_FIFTH = 0.5, 0.1, 75, 20
# Between the looks just before and just after: at most so much, and this share of the change. A
# lens that is pulled for half a second leaves 0.45 or more at one end
REST, REST_SHARE = 0.36, 0.6
# The first look of a shot may be coded better than the rest of it: by up to 0.82 in clean clips
LEAST_AT_CUT = 1.0
# A lens that is focused on something else: the sharpest tiles lose less than this share of the
# change at both ends. That was at most 0.14 in four of seven passages of shallow focus that were
# taken for blur, and at least 0.32 in 33 blurs
SPARED = 0.2
STEADY = 4.0  # code values: where means of tiles change by more, each tile shows something else
# Or more than this share of the change comes just before or after, at both ends: at least 0.33 in
# the other three, at most 0.27 in blurs. In 90 more passages both left 7 alarms of 25
PULLED = 0.3
AT_END = 0.35  # seconds from an end of a stretch
NEXT = 0.45  # seconds from a look to the next
# Of the two ends of a blur: after more seconds, or times, one has nothing to do with the other
LONGEST, AGREES = 10.0, 3.0


@dataclass(frozen=True)
class Step(Unchanging):
    """Where everything changes.

    Attributes:
        before, after: seconds of the looks beside it.
        change: logarithm, of the curvature that goes; below 0 where it comes.
        sharpest: share of it that nearly all of the sharpest tiles do.
        rest: share of it that comes just before or just after.
        steady: every tile goes on showing the same.
        is_filter: it changes nearly everything at once, and nothing just before and after.
    """

    before: float
    after: float
    change: float
    sharpest: float
    rest: float
    steady: bool
    is_filter: bool


@dataclass(frozen=True)
class _Tiles(Unchanging):
    """The tiles of a look; logarithms of their first and second differences."""

    time: float
    fine: Float64
    curve: Float64
    luma: np.ndarray  # means
    usable: np.ndarray  # neither too dark nor too bright


class Steps:
    """Finds steps, one look late.

    Args:
        cuts: of the picture, which their owner watches.
    """

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts
        self._tiles: deque[_Tiles | None] = deque([None] * 4, maxlen=4)
        self._found: deque[Step] = deque()

    def add(self, time: float, fine: Float64, curve: Float64, luma: np.ndarray) -> None:
        """Take the tiles of the look at `time`: differences without noise, and means."""
        usable = (luma > DARKEST) & (luma < BRIGHTEST)
        fine, curve = np.log(np.maximum(fine, FAINT)), np.log(np.maximum(curve, FAINT))
        self._add(_Tiles(time, fine, curve, luma.copy(), usable))

    def finish(self) -> None:
        """There are no more looks."""
        self._add(None)

    def forget(self, before: float) -> None:
        """Drop what lies before a time."""
        while self._found and self._found[0].after < before:
            self._found.popleft()

    def pairs(self, shortest: float) -> Iterable[tuple[Step, Step]]:
        """Where a filter makes everything softer, and where it is gone again."""
        chosen: list[Step] = []
        for step in self._found:
            if not step.is_filter:
                continue
            # each shows in the looks beside it as well: the largest is the one
            last = chosen[-1] if chosen else None
            if last and last.after == step.before and last.change * step.change > 0:
                if abs(last.change) >= abs(step.change):
                    continue
                chosen.pop()
            chosen.append(step)
        for first, last in pairwise(chosen):
            if (
                first.change > 0 > last.change
                and shortest <= last.before - first.before + 1e-6
                and last.before - first.after <= LONGEST
                and 1 / AGREES <= -first.change / last.change <= AGREES
            ):
                yield first, last

    def is_focus(self, start: float, end: float) -> bool:
        """Whether a lens is focused on something else at both ends, as far as they are known."""
        known = []
        for at, sign in ((start, 1), (end, -1)):
            near = [
                step
                for step in self._found
                if sign * step.change > 0 and abs((step.before + step.after) / 2 - at) < AT_END
            ]
            if near:
                known.append(max(near, key=lambda step: abs(step.change)))
        if len(known) == 2 and min(step.rest for step in known) > PULLED:
            return True
        spared = [step.sharpest < SPARED for step in known if step.steady]
        return bool(spared) and all(spared)

    def _add(self, tiles: _Tiles | None) -> None:
        self._tiles.append(tiles)
        earlier, before, after, later = self._tiles
        if before is None or after is None or not self._follows(before, after):
            return
        one = earlier if earlier is not None and self._follows(earlier, before) else None
        two = later if later is not None and self._follows(after, later) else None
        step = _step(one, before, after, two)
        if step is not None:
            self._found.append(step)

    def _follows(self, one: _Tiles, other: _Tiles) -> bool:
        """Whether a look is the next one of the same shot."""
        cut = self._cuts.around(one.time)[1]
        return other.time - one.time < NEXT and cut > other.time + 1e-6


def _step(
    earlier: _Tiles | None, before: _Tiles, after: _Tiles, later: _Tiles | None
) -> Step | None:
    """What changes between two looks of a shot; None where that is little or unknown."""
    curve, fine = _mean(earlier, before)
    next_curve, next_fine = _mean(later, after)
    used = before.usable & (np.maximum(fine, next_fine) > np.log(LEAST_FINE))
    used &= np.maximum(curve, next_curve) > np.log(LEAST_CURVE)
    if used.sum() < LEAST_TILES:
        return None
    gone = (curve - next_curve)[used]
    change = float(np.median(gone))
    sign, size = (1.0 if change > 0 else -1.0), abs(change)
    if size < LEAST_CHANGE:
        return None
    gone *= sign
    ratio, next_ratio = (curve - fine)[used], (next_curve - next_fine)[used]
    most, sharpest = (curve[used], ratio) if sign > 0 else (next_curve[used], next_ratio)
    of_sharpest = _of_top(gone, sharpest) / size
    rest = max(
        sign * float(np.median((one.curve - other.curve)[used])) if one and other else 0.0
        for one, other in ((earlier, before), (after, later))
    )
    is_filter = (
        (earlier is not None or size >= LEAST_AT_CUT or sign < 0)
        and (gone > STILL).mean() >= LEAST_SHARE
        and np.median(sign * (ratio - next_ratio)) >= LEAST_RATIO
        and rest <= min(REST, REST_SHARE * size)
        and _of_top(gone, most) >= MOST * size
        and of_sharpest >= SHARPEST
    )
    steady = bool(np.abs(before.luma - after.luma).mean() <= STEADY)
    return Step(before.time, after.time, change, of_sharpest, rest / size, steady, bool(is_filter))


def _mean(beside: _Tiles | None, tiles: _Tiles) -> tuple[Float64, Float64]:
    """Curvature and first differences of one look, or of two of the same shot."""
    if beside is None:
        return tiles.curve, tiles.fine
    return (beside.curve + tiles.curve) / 2, (beside.fine + tiles.fine) / 2


def _of_top(gone: Float64, values: Float64) -> float:
    """What the quarter of the tiles with the largest values loses, but a fifth of them."""
    return float(np.percentile(gone[values >= np.percentile(values, A_QUARTER)], A_FIFTH))
