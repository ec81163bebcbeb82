"""Damage that was encoded again: what begins and is mended at one place of a shot."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.detectors.recoded import LONGEST, Recodings
from pipeline.measurements import UNASKED

RATE = 25
SHAPE = (12, 20)
HERE, THERE = np.s_[2:5, 3:8], np.s_[8:11, 12:18]


def found(events, seconds=6.0, cut=None):
    """What is told of frames with these (second, 0 for begun or 1 for mended, tiles, log odds)."""
    recodings, told = Recodings(), []
    for n in range(round(seconds * RATE)):
        steps = np.full((2, *SHAPE), UNASKED, np.float32)
        for at, which, tiles, odds in events:
            if n == round(at * RATE) + 1:  # what is said of a frame comes with the next one
                steps[which][tiles] = odds
        motion = np.full(SHAPE, 1.0, np.float32)
        if cut is not None and n == round(cut * RATE):
            motion += 30
        told += recodings.look(n / RATE, motion, steps)
    return [*told, *recodings.finish()]


def test_begun_and_mended_at_one_place():
    (one,) = found([(1, 0, HERE, 6.0), (3, 1, HERE, 5.0)])
    assert one.start == pytest.approx(1)
    assert one.end == pytest.approx(3)
    assert one.odds == pytest.approx(11)
    assert one.tiles[HERE].all()
    assert one.tiles.sum() == 15


def test_more_of_it_on_the_way():
    """What begins and is mended in between is of the same damage."""
    (one,) = found(
        [(1, 0, HERE, 6.0), (1.4, 1, HERE, 3.0), (1.5, 0, THERE, 5.0), (2, 0, HERE, 5.0),
         (3, 1, HERE, 4.0), (3, 1, THERE, 4.0)]
    )  # fmt: skip
    assert (one.start, one.end) == (pytest.approx(1), pytest.approx(3))


@pytest.mark.parametrize(
    "events",
    [
        [(1, 0, HERE, 9.0)],
        [(3, 1, HERE, 9.0)],
        [(1, 0, HERE, 9.0), (3, 1, THERE, 9.0)],
        [(3, 0, HERE, 9.0), (1, 1, HERE, 9.0)],
        [(1, 0, HERE, 1.0), (3, 1, HERE, 9.0)],
        [(1, 0, HERE, 9.0), (3, 1, HERE, 0.5)],
    ],
    ids=["begun", "mended", "elsewhere", "other way round", "hardly begun", "hardly mended"],
)
def test_not_both(events):
    assert not found(events)


def test_not_over_a_cut():
    assert not found([(1, 0, HERE, 9.0), (3, 1, HERE, 9.0)], cut=2)


def test_not_after_long():
    assert not found([(1, 0, HERE, 9.0), (1.5 + LONGEST, 1, HERE, 9.0)], seconds=14)
