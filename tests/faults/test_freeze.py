"""What is frozen stays the same, what lives goes on, and truth says which is which."""

from __future__ import annotations

import numpy as np
import pytest

from faults import FAULTS
from faults.base import FaultError, Order
from faults.damage import place
from faults.media import Clean
from faults.truth import TILE, Severity
from tests import media


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


@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 6, 7])
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


@pytest.mark.parametrize("seed", [3, 8, 13])  # clock and speaker: over sky and a slow hill
def test_a_part_that_hardly_moves_is_no_place(clean_clip, clean_pictures, seed):
    with pytest.raises(FaultError, match="hardly moves there: it would be a whole freeze"):
        _run(clean_clip, clean_pictures, "partial_freeze", seed)


def test_a_part_that_moves_for_a_moment_alone_is_no_place(tmp_path):
    frames = media.scene(8, 160, 96, cuts=0, speed=6)
    frames[80:] = [frames[80]] * len(frames[80:])
    clean = Clean(media.write(tmp_path / "a.mkv", frames))
    fault = FAULTS["partial_freeze"](Order("partial_freeze", Severity.SUBTLE, 2.5, 5.5, 0), clean)
    with pytest.raises(FaultError, match="hardly moves"):
        list(fault.pictures(clean.pictures()))
