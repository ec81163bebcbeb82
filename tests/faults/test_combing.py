"""Combed frames are woven of two that are really there."""

from __future__ import annotations

import pytest

from faults import FAULTS
from faults.damage import place
from faults.span import same
from faults.truth import Severity


@pytest.mark.parametrize("severity", list(Severity))
def test_fields_are_of_two_times(clean_clip, clean_pictures, severity):
    fault = FAULTS["combing"](place("combing", severity, clean_clip, 3), clean_clip)
    out = list(fault.pictures(iter(clean_pictures)))
    apart = fault.ladder[severity]["apart"]
    later_lines = 1 if fault.parameters["later_field"] == "bottom" else 0
    woven = 0
    for n, (clean, made) in enumerate(zip(clean_pictures, out, strict=True)):
        if same(clean, made):
            continue
        woven += 1
        for plane in ("luma", "cb", "cr"):
            field = getattr(made, plane)
            assert (
                field[1 - later_lines :: 2] == getattr(clean, plane)[1 - later_lines :: 2]
            ).all()
            assert any(
                (field[later_lines::2] == getattr(later, plane)[later_lines::2]).all()
                for later in clean_pictures[n + 1 : n + apart + 1]
            )
    (truth,) = fault.truths
    length = (truth.end - truth.start) * 25
    assert woven == pytest.approx(length * fault.ladder[severity]["share"], abs=2)


def test_a_still_picture_cannot_comb(clean_clip, clean_pictures):
    fault = FAULTS["combing"](place("combing", Severity.SUBTLE, clean_clip, 3), clean_clip)
    still = [p.showing(clean_pictures[0]) for p in clean_pictures]
    assert all(same(a, b) for a, b in zip(still, fault.pictures(iter(still)), strict=True))
    assert fault.truths == []
