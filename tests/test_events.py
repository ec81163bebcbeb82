"""Intervals from rows, defects from observations."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.events import Recurring, Runs, defects, ladder
from pipeline.measurements import Observation
from pipeline.types import Kind


def feed(runs: Runs, holds: str, portion: int, step: float = 0.1):
    """Rows of `step` seconds from a string of 0 and 1, in portions."""
    ended = []
    flags = np.array([c == "1" for c in holds])
    times = np.arange(len(flags)) * step
    for i in range(0, len(flags), portion):
        ended += runs.feed(times[i : i + portion], step, flags[i : i + portion])
    return [(round(r.start, 3), round(r.end, 3)) for r in ended + runs.finish()]


@pytest.mark.parametrize("portion", [1, 2, 3, 7, 100])
def test_runs_do_not_depend_on_how_the_rows_are_cut(portion):
    holds = "0011100110000111110101000000011"
    assert feed(Runs(), holds, portion) == [
        (0.2, 0.5),
        (0.7, 0.9),
        (1.3, 1.8),
        (1.9, 2.0),
        (2.1, 2.2),
        (2.9, 3.1),
    ]
    assert feed(Runs(max_gap=0.2), holds, portion) == [(0.2, 0.9), (1.3, 2.2), (2.9, 3.1)]
    assert feed(Runs(min_duration=0.3, max_gap=0.1), holds, portion) == [(0.2, 0.5), (1.3, 2.2)]


def test_run_keeps_its_peak_and_mean_across_portions():
    runs = Runs(max_gap=0.15)
    first = runs.feed([0.0, 0.1], 0.1, [True, True], [1.0, 5.0])
    assert not first
    assert not runs.feed([0.2, 0.3], 0.1, [False, True], [9.0, 3.0])  # 9 does not hold
    (run,) = runs.finish()
    assert (run.rows, run.peak, run.peak_value, run.mean_value) == (3, 0.1, 5.0, 3.0)


def test_a_gap_in_time_ends_a_run():
    runs = Runs()
    assert not runs.feed([0.0, 0.1], 0.1, [True, True])
    (ended,) = runs.feed([5.0], 0.1, [True])
    assert ended.end == pytest.approx(0.2)
    (ended,) = runs.finish()
    assert ended.start == pytest.approx(5.0)


def test_ladder_rises_and_falls():
    assert [ladder(v, 1, 2, 4, 8) for v in (0, 1, 2, 3, 4, 8, 99)] == [
        0.05,
        0.25,
        0.5,
        0.625,
        0.75,
        1.0,
        1.0,
    ]
    assert ladder(10, 40, 30, 20, 10) == 1.0
    assert ladder(35, 40, 30, 20, 10) == pytest.approx(0.375)


def seen(start, end, severity=0.5, kind=Kind.FREEZE):
    return Observation(kind, start, end, severity, 0.9, f"{start} to {end}", {"x": severity})


def test_observations_that_touch_become_one_defect():
    made = defects(
        [
            ("freeze/1", 0, seen(1, 2, 0.4)),
            ("freeze/1", 0, seen(2, 3, 0.8)),
            ("freeze/1", 0, seen(5, 6)),
            ("freeze/1", 1, seen(2, 3)),
            ("black/1", 0, seen(1, 2, kind=Kind.BLACK)),
        ]
    )
    spans = [(d.kind, d.stream, d.start, d.end, d.severity) for d in made]
    assert spans == [
        ("black", 0, 1, 2, 0.5),
        ("freeze", 0, 1, 3, 0.8),
        ("freeze", 1, 2, 3, 0.5),
        ("freeze", 0, 5, 6, 0.5),
    ]
    assert made[1].summary == "2 to 3"
    assert made[1].start <= made[1].peak <= made[1].end


def test_ids_are_stable_and_distinct():
    once = defects([("a/1", 0, seen(1, 2)), ("a/1", 0, seen(4, 5))])
    again = defects([("a/1", 0, seen(4, 5)), ("a/1", 0, seen(1, 2))])
    assert [d.id for d in once] == [d.id for d in again]
    assert len({d.id for d in once}) == 2


def test_what_keeps_coming_is_of_the_programme():
    recurring = Recurring(2, 60.0)
    assert [recurring.again(time) for time in (0, 10, 20, 30)] == [False, False, True, True]
    assert not recurring.again(100)  # the one before the last was long ago
    assert not recurring.again(155)
    assert recurring.again(159)
