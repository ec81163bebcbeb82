"""What is frozen stays the same, what lives goes on, and truth says which is which."""

from __future__ import annotations

import numpy as np
import pytest

from faults import FAULTS
from faults.damage import place
from faults.truth import TILE, Severity


def _run(clip, pictures, name, seed):
    fault = FAULTS[name](place(name, Severity.SUBTLE, clip, seed), clip)
    out = list(fault.pictures(iter(pictures)))
    (truth,) = fault.truths
    inside = [n for n, p in enumerate(out) if truth.start - 1e-6 <= p.time < truth.end - 1e-6]
    return fault, truth, out, inside


def test_the_frame_before_is_repeated(clean_clip, clean_pictures):
    _, truth, out, inside = _run(clean_clip, clean_pictures, "freeze", 2)
    last = clean_pictures[inside[0] - 1]
    assert all((out[n].luma == last.luma).all() for n in inside)
    assert truth.parameters["difference"] > 5


@pytest.mark.parametrize("seed", range(8))
def test_a_part_lives(clean_clip, clean_pictures, seed):
    fault, truth, out, inside = _run(clean_clip, clean_pictures, "partial_freeze", seed)
    height, width = clean_clip.size
    moves = np.zeros((height, width), bool)
    for n in inside[1:]:
        moves |= out[n].luma != out[n - 1].luma
    assert 0.002 < moves.mean() < 0.2, truth.parameters
    if truth.region is not None:
        assert not moves[: round(truth.region.bottom * height)].any()
    else:
        frozen = fault.masks[truth.mask].mask[0].repeat(TILE, 0).repeat(TILE, 1)[:height, :width]
        assert moves[~frozen].any() or frozen.all()
        assert frozen.mean() > 0.8
