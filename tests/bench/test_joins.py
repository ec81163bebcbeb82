"""A join of takes is no false alarm; frames that were taken out are found where they were."""

from __future__ import annotations

import pytest

from bench.accuracy.joins import at_join
from faults.truth import Severity, Truth
from pipeline.types import Kind

JOINS = (2.0, 5.0, 8.0)
TAKEN = Truth(
    kind=Kind.DROPPED_FRAMES,
    start=4.0,
    end=4.04,
    severity=Severity.SUBTLE,
    reads="picture",
    fault="dropped_frames",
    seed=1,
    parameters={"frames": 8, "seconds": 0.32},
)


@pytest.mark.parametrize("start", [1.96, 5.0, 8.04])
def test_a_jump_at_a_join_is_that_join(start):
    assert at_join(Kind.DROPPED_FRAMES, start, JOINS, [])


@pytest.mark.parametrize("start", [0.0, 2.2, 9.0])
def test_a_jump_elsewhere_is_a_false_alarm(start):
    assert not at_join(Kind.DROPPED_FRAMES, start, JOINS, [])
    assert not at_join(Kind.DROPPED_FRAMES, start, (), [])


def test_what_else_is_reported_at_a_join_counts():
    assert not at_join(Kind.FREEZE, 2.0, JOINS, [])


@pytest.mark.parametrize(("start", "join"), [(2.0, True), (4.68, True), (7.68, True), (8.0, False)])
def test_joins_come_earlier_after_frames_that_were_taken_out(start, join):
    assert at_join(Kind.DROPPED_FRAMES, start, JOINS, [TAKEN]) == join


def test_frames_taken_out_beside_a_join_are_no_join():
    near = TAKEN.model_copy(update={"start": 1.95, "end": 1.99})
    assert not at_join(Kind.DROPPED_FRAMES, 1.95, JOINS, [near])
