"""Dropped frames move later times; repeats keep them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from faults import FAULTS
from faults.base import Order
from faults.damage import place
from faults.span import same
from faults.truth import Severity


def _run(clip, pictures, name, severity, seed=5):
    fault = FAULTS[name](place(name, severity, clip, seed), clip)
    return fault, list(fault.pictures(iter(pictures)))


@pytest.mark.parametrize(("severity", "count"), list(zip(Severity, (16, 12, 8, 4), strict=True)))
def test_dropped_frames_are_gone_and_later_ones_move_up(
    clean_clip, clean_pictures, severity, count
):
    fault, out = _run(clean_clip, clean_pictures, "dropped_frames", severity)
    assert len(out) == len(clean_pictures) - count
    (truth,) = fault.truths
    (join,) = [n for n, p in enumerate(out) if abs(p.time - truth.start) < 1e-6]
    assert truth.end - truth.start == pytest.approx(1 / 25, abs=1e-3)
    assert truth.parameters["seconds"] == pytest.approx(count / 25, abs=1e-3)
    for n, picture in enumerate(out):
        source = clean_pictures[n if n < join else n + count]
        assert same(picture, source)
        assert picture.time == pytest.approx(source.time - (0 if n < join else count / 25))
    assert np.diff([p.time for p in out]) == pytest.approx(1 / 25, abs=2e-3)


def test_nothing_to_drop_at_the_end(clean_clip, clean_pictures):
    order = Order("dropped_frames", Severity.SUBTLE, 7.9, 7.9, 1)
    fault = FAULTS["dropped_frames"](order, clean_clip)
    list(fault.pictures(iter(clean_pictures)))
    assert fault.truths == []


@pytest.mark.parametrize("severity", list(Severity))
def test_repeats_have_the_share_of_the_ladder(clean_clip, clean_pictures, severity):
    shares = []
    for seed in range(6):
        fault, out = _run(clean_clip, clean_pictures, "repeated_frames", severity, seed)
        repeats = [same(a, b) for a, b in itertools.pairwise(out)]
        (truth,) = fault.truths
        each = truth.parameters["repeats_each"]
        # from the first repeat to the last: posts and fences
        shares.append((sum(repeats) - each) / ((truth.end - truth.start) * 25 - each))
    wanted = FAULTS["repeated_frames"].ladder[severity]["share"]
    assert np.mean(shares) == pytest.approx(wanted, rel=0.3)
