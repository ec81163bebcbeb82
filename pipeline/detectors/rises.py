"""Stretches in which a statistic of the looks stands above what it is beside, within one shot.

A whole shot may be grainy, soft or banded because it was made so. What comes or goes in the middle
of a shot was not: the same content was better a moment before, or is a moment after. No absolute
threshold can tell these apart; every level that the statistic takes is tried instead.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.looks import Cuts
from pipeline.measure.frame import LOOK_EVERY
from pipeline.measurements import Float64

# Chosen on development files with bands, blur and blocks, and on the clean clips among them.
BESIDE = 1.0  # seconds on each side with which a stretch is compared
GAP = 0.5  # seconds that a stretch may be interrupted for
WEAK, STRONG = 20, 70  # percentiles: of a stretch its weak looks, beside it the strong ones
FINER = 1.2  # from one level to the next
AT_CUT = 0.15  # seconds from a cut within which an end is the cut
JUDGED_EVERY = 10.0  # seconds
SETTLED = 2.0  # seconds after the end of a stretch from which it will not change any more
KEPT, LONGEST = 60.0, 300.0  # seconds of looks: before what is not told yet, and at most


@dataclass(frozen=True)
class Rise:
    """A stretch.

    Attributes:
        start, end: seconds.
        first, last: indices of its looks.
        sides: how many of its ends lie within a shot.
        times: its weak looks over the strong ones beside it.
        beside: bool [N], the looks that it was compared with.
    """

    start: float
    end: float
    first: int
    last: int
    sides: int
    times: float
    beside: np.ndarray


class Choice:
    """Which stretches are told, and when: each once, and none that overlaps a clearer one.

    Attributes:
        open: start of the first that is not told yet, infinite where there is none.
    """

    def __init__(self) -> None:
        self._told = -1.0
        self._due = JUDGED_EVERY
        self.open = np.inf

    def is_due(self, end: float) -> bool:
        """Whether enough has come since the last time, at the end of what is known."""
        if end < self._due:
            return False
        self._due = end + JUDGED_EVERY
        return True

    def of(self, found: Iterable[Rise], known: float) -> list[Rise]:
        """Those to be told now, of all, the clearest first.

        Args:
            found: may overlap.
            known: seconds; what ends later may go on.
        """
        chosen: list[Rise] = []
        for rise in found:
            if rise.start >= self._told and all(
                rise.end <= one.start or rise.start >= one.end for one in chosen
            ):
                chosen.append(rise)
        self.open = min((one.start for one in chosen if one.end > known), default=np.inf)
        told = [rise for rise in chosen if rise.end <= known]
        self._told = max([self._told, *(one.end for one in told)])
        return told

    def needed(self, end: float) -> float:
        """Time from which looks are still needed."""
        return max(min(end, self.open) - KEPT, end - LONGEST)


def rises(
    times: Float64,
    values: Float64,
    cuts: Cuts,
    *,
    least: float,
    shortest: float,
    factor: float,
    factor_at_cut: float,
    frame: float,
    end: float,
) -> list[Rise]:
    """Every stretch that rises, those with both ends within a shot first, then the clearest.

    Args:
        times: [N] seconds of the looks.
        values: [N] the statistic, above 0.
        cuts: of the picture.
        least: smallest level tried.
        shortest: seconds.
        factor: over beside, that makes a rise.
        factor_at_cut: the same where one end is a cut or an end of what is known.
        frame: seconds that one lasts.
        end: seconds, of the picture.

    Returns:
        Stretches may overlap: the caller chooses.
    """
    found: list[Rise] = []
    if len(times) < 3:
        return found
    at = times.tolist()
    level, highest = max(least, FINER * float(values.min())), float(values.max())
    seen: set[tuple[int, int]] = set()
    while level < highest:
        for first, last in stretches(values >= level, times, shortest):
            if (first, last) in seen:
                continue
            seen.add((first, last))
            start, stop = _ends(times, first, last, frame, end)
            sides = _beside(at, cuts, start, stop)
            if not sides:
                continue
            inside, wanted = values[first : last + 1], factor if len(sides) == 2 else factor_at_cut
            # what no percentile can change: most stretches end here
            if inside.max() < wanted * max(values[side].min() for side in sides):
                continue
            strong = max(float(np.percentile(values[side], STRONG)) for side in sides)
            weak = float(np.percentile(inside, WEAK))
            if weak >= wanted * strong:
                near = np.zeros(len(times), np.bool_)
                for side in sides:
                    near[side] = True
                # high levels leave out weak ends: these are where half of the rise is gone
                half = float(np.sqrt(weak * strong))
                a, b = _grown(values >= half, first, last)
                start, stop = _ends(times, a, b, frame, end)
                rise = Rise(start, stop, a, b, len(sides), weak / strong, near)
                found.append(rise)
        level *= FINER
    return sorted(found, key=lambda rise: (-rise.sides, -rise.times))


def _grown(holds: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """A stretch with the looks on either side that hold too."""
    while first and holds[first - 1]:
        first -= 1
    while last < len(holds) - 1 and holds[last + 1]:
        last += 1
    return first, last


def _ends(times: Float64, first: int, last: int, frame: float, end: float) -> tuple[float, float]:
    """Seconds at which a stretch of looks starts and stops."""
    start = _between(times, first, frame) if first else float(times[0])
    stop = end if last == len(times) - 1 else _between(times, last + 1, frame)
    return start, min(stop, float(times[last]) + LOOK_EVERY)


def _between(times: Float64, after: int, frame: float) -> float:
    """Where the picture changed between a look and the one before it: see LookRuns."""
    middle = float(times[after - 1] + times[after] + frame) / 2
    return min(max(middle, float(times[after]) - LOOK_EVERY), float(times[after]))


def stretches(holds: np.ndarray, times: Float64, least: float) -> list[tuple[int, int]]:
    """Runs of looks, with short gaps bridged: first and last look of each."""
    at = np.flatnonzero(holds)
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(times[at]) > GAP + LOOK_EVERY + 0.05)
    firsts, lasts = at[np.r_[0, breaks + 1]], at[np.r_[breaks, len(at) - 1]]
    return [
        (int(a), int(b))
        for a, b in zip(firsts, lasts, strict=True)
        if times[b] - times[a] + LOOK_EVERY >= least - 1e-6
    ]


def _beside(times: list[float], cuts: Cuts, start: float, stop: float) -> list[slice]:
    """The looks before and after, of the same shot; an end that is a cut has none."""
    sides = []
    within = bisect_left(times, start), bisect_right(times, stop)
    for edge, first, last, least, most in (
        (start, start - BESIDE, start, 0, within[0]),
        (stop, stop, stop + BESIDE, within[1], len(times)),
    ):
        before, after = cuts.around(edge)
        a = max(bisect_left(times, max(first, before)), least)
        b = min(bisect_right(times, min(last, after - 0.02)), most)
        if a < b and not cuts.within(edge, AT_CUT):
            sides.append(slice(a, b))
    return sides
