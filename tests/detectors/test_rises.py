"""Stretches that rise above what is beside them: where they end, and what cuts do to them."""

from __future__ import annotations

import numpy as np

from pipeline.detectors.looks import Cuts
from pipeline.detectors.rises import Choice, Rise, rises

TIMES = np.arange(50) * 0.2


def cuts_at(*times: float) -> Cuts:
    """Cuts as they would have been seen."""
    cuts = Cuts()
    cuts._times.extend(sorted(times))
    return cuts


def found(values: np.ndarray, *cuts: float) -> list[Rise]:
    """All that rises, by three times within a shot and by ten where a cut is at one end."""
    return rises(
        TIMES, values, cuts_at(*cuts), least=0.0, shortest=0.8, factor=3.0, factor_at_cut=10.0,
        frame=0.04, end=10.0,
    )  # fmt: skip


def test_both_ends_are_where_half_of_the_rise_is_gone() -> None:
    values = np.ones(50)
    values[20:30] = 8.0
    values[20] = values[29] = 5.0  # a weak look at each end
    best = found(values)[0]
    assert (best.first, best.last, best.sides) == (20, 29, 2)
    assert abs(best.start - 4.0) < 0.1
    assert abs(best.end - 6.0) < 0.1


def test_a_shot_that_is_so_from_cut_to_cut_is_no_rise() -> None:
    values = np.ones(50)
    values[20:30] = 100.0
    assert not found(values, 4.0, 6.0)
    assert found(values, 4.0)[0].sides == 1


def test_the_next_shot_is_not_beside() -> None:
    values = np.ones(50)
    values[20:30] = 8.0
    values[33:] = 8.0  # of another shot, soon after
    assert not [rise for rise in found(values) if rise.last == 29]
    best = found(values, 6.58)[0]
    assert (best.first, best.last, best.sides) == (20, 29, 2)


def test_each_is_told_once_and_the_clearest_of_those_that_overlap() -> None:
    values = np.ones(50)
    values[20:30] = 8.0
    choice = Choice()
    assert not choice.of(found(values), 5.0)  # it may go on
    told = choice.of(found(values), 9.0)
    assert [(rise.first, rise.last) for rise in told] == [(20, 29)]
    assert not choice.of(found(values), 9.0)
