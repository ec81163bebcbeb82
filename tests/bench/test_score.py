"""Scoring, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.accuracy import score
from bench.accuracy.score import Counts, Interval, Outcome, Wanted


def fits(truth, found):
    return score.fits(Wanted(*truth), Interval(*found))


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        ((2, 4), (2, 4), True),
        ((2, 4), (2.5, 4.5), True),  # both at the collar
        ((2, 4), (1.5, 3.5), True),
        ((2, 4), (2.51, 4), False),  # begins too late
        ((2, 4), (2, 4.51), False),  # 20 % of 2 s is less than the collar
        ((2, 12), (2, 14), True),  # 20 % of 10 s
        ((2, 12), (2, 9.9), False),
        ((2, 12), (2.6, 12), False),  # the start has no such slack
        ((3, 3.01), (3.2, 3.4), True),  # a click within the collar
        ((3, 3.01), (3, 9), False),
    ],
)
def test_fits(truth, found, expected):
    assert fits(truth, found) is expected


def test_whole_assets_match_by_presence():
    truth = Wanted(0, 60, whole=True)
    assert score.fits(truth, Interval(10, 20))
    found = score.match([truth], [Interval(10, 20), Interval(30, 40)])
    assert len(found.pairs) == 1
    assert found.extra == []  # parts of the same
    assert score.match([truth], []).missed == [0]


def test_one_to_one_best_first():
    truths = [Wanted(2, 4), Wanted(2.4, 4.4)]
    near, nearer = Interval(2.3, 4.3), Interval(2.4, 4.4)
    found = score.match(truths, [near, nearer])
    assert found.pairs == [(0, 0), (1, 1)]
    assert not found.missed
    assert not found.extra


def test_a_second_report_of_the_same_is_extra():
    found = score.match([Wanted(2, 4)], [Interval(2.1, 4.1, 0.9), Interval(2, 4, 0.5)])
    assert found.pairs == [(0, 1)]
    assert found.extra == [0]


def test_of_equal_fit_the_more_confident_is_taken():
    found = score.match([Wanted(2, 4)], [Interval(2, 4, 0.5), Interval(2, 4, 0.9)])
    assert found.pairs == [(0, 1)]


def test_one_report_over_two_truths_is_one_hit():
    found = score.match([Wanted(2, 2.2), Wanted(2.3, 2.5)], [Interval(2, 2.5)])
    assert len(found.pairs) == 1
    assert len(found.missed) == 1


def test_counts_and_their_ratios():
    files = [
        Outcome("a", [Wanted(1, 2), Wanted(5, 6)], [Interval(1, 2, 0.9), Interval(8, 9, 0.4)]),
        Outcome("b", [], [Interval(0, 1, 0.6)]),
    ]
    total = score.counts(files)
    assert total == Counts(1, 2, 1)
    assert total.precision == pytest.approx(1 / 3)
    assert total.recall == pytest.approx(1 / 2)
    assert total.f1 == pytest.approx(2 / 5)
    assert score.counts(files, 0.5) == Counts(1, 1, 1)
    assert score.counts(files, 0.95) == Counts(0, 0, 2)
    assert Counts().precision is None
    assert Counts().recall is None
    assert Counts().f1 is None


def test_recall_by_severity():
    files = [
        Outcome("a", [Wanted(1, 2, "subtle"), Wanted(5, 6, "noticeable")], [Interval(5, 6)]),
        Outcome("b", [Wanted(1, 2, "subtle")], [Interval(1.1, 2)]),
    ]
    assert score.recall_by_severity(files) == {"subtle": (1, 2), "noticeable": (1, 1)}


def test_onset_errors_leave_out_whole_assets():
    files = [
        Outcome("a", [Wanted(1, 2)], [Interval(1.25, 2)]),
        Outcome("b", [Wanted(0, 9, whole=True)], [Interval(4, 9)]),
        Outcome("c", [Wanted(1, 2)], [Interval(0.9, 2)]),
    ]
    assert score.onset_errors(files) == pytest.approx([0.25, 0.1])


def test_curve_goes_from_all_to_the_most_confident():
    files = [
        Outcome("a", [Wanted(1, 2)], [Interval(1, 2, 0.9)]),
        Outcome("b", [], [Interval(1, 2, 0.3)]),
    ]
    assert score.curve(files) == [(0.3, Counts(1, 1, 0)), (0.9, Counts(1, 0, 0))]


def test_bootstrap_is_by_source():
    hit = Outcome("", [Wanted(1, 2)], [Interval(1, 2)])
    miss = Outcome("", [Wanted(1, 2)], [])
    # ten files of one source that are all alike say as much as one
    files = [Outcome("a", hit.truths, hit.found)] * 10 + [
        Outcome("b", miss.truths, miss.found)
    ] * 10
    spans = score.bootstrap(files, seed=1)
    assert spans["recall"] == (0.0, 1.0)
    assert spans["precision"] == (1.0, 1.0)
    assert score.bootstrap(files, seed=1) == spans
    assert score.bootstrap([Outcome("a", hit.truths, hit.found)], 1)["f1"] is None


def test_bootstrap_holds_the_mean():
    files = [Outcome(f"s{n}", [Wanted(1, 2)], [Interval(1, 2)] if n % 4 else []) for n in range(40)]
    low, high = score.bootstrap(files, seed=3)["recall"]
    assert low < 0.75 < high
    assert high - low < 0.35


def test_poisson_rates():
    """Exact limits as in Garwood's table: 0 events below 3.689, 3 events 0.6187 to 8.7673."""
    none = score.rate(0, 2.0)
    assert none.per_hour == 0
    assert none.low == 0
    assert none.high == pytest.approx(3.6889 / 2, abs=1e-4)
    three = score.rate(3, 1.0)
    assert three.low == pytest.approx(0.6187, abs=1e-4)
    assert three.high == pytest.approx(8.7673, abs=1e-4)
    assert np.isnan(score.rate(0, 0.0).high)


def test_auc():
    assert score.auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == pytest.approx(0.75)
    assert score.auc([1, 1, 1, 1], [False, True, False, True]) == pytest.approx(0.5)
    assert score.auc([0, 0, 1], [False, False, True]) == 1.0
    assert score.auc([1, 2], [True, True]) is None


def test_frames_have_the_largest_confidence_over_them():
    times = np.arange(6) / 5
    scores = score.over_frames(times, [Interval(0.2, 0.6, 0.5), Interval(0.4, 1.0, 0.7)])
    assert scores.tolist() == [0, 0.5, 0.7, 0.7, 0.7, 0]


def test_stray_are_those_that_nothing_explains():
    found = [Interval(0, 1), Interval(4.4, 4.6), Interval(9, 9.5)]
    assert score.stray(found, [Wanted(5, 6)]) == [found[0], found[2]]
    assert score.stray(found, [Wanted(5, 6), Wanted(1.5, 2)]) == [found[2]]
    assert score.stray(found, []) == found


def test_confidence_for_a_rate():
    alarms = [0.3, 0.5, 0.8]
    assert score.confidence_for(alarms, 1.0, 3) == 0.0
    level = score.confidence_for(alarms, 1.0, 1)
    assert 0.5 < level < 0.51
    assert sum(a >= level for a in alarms) == 1
    assert sum(a >= score.confidence_for(alarms, 10.0, 0.05) for a in alarms) == 0
    assert score.confidence_for([1.0, 0.2], 1.0, 0.0) is None
    assert score.confidence_for([], 1.0, 0.0) == 0.0
    assert score.confidence_for([0.29], 1.0, 0.0) == pytest.approx(0.291)
