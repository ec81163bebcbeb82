"""What holds for every look-alike: as many frames, at the same times, changed, and repeatable."""

from __future__ import annotations

import pytest

from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike
from faults.span import same

PICTURE = [name for name, one in LOOKALIKES.items() if issubclass(one, PictureLookalike)]


@pytest.mark.parametrize("name", PICTURE)
def test_picture(clean_clip, clean_pictures, name):
    def run(seed):
        return list(LOOKALIKES[name](clean_clip, seed).pictures(iter(clean_pictures)))

    frames = run(1)
    assert [p.time for p in frames] == [p.time for p in clean_pictures]
    assert {p.luma.shape for p in frames} == {clean_pictures[0].luma.shape}
    assert {p.cb.shape for p in frames} == {p.cr.shape for p in frames}
    assert not all(same(a, b) for a, b in zip(clean_pictures, frames, strict=True))
    assert all(same(a, b) for a, b in zip(frames, run(1), strict=True))


@pytest.mark.parametrize("name", LOOKALIKES)
def test_says_what_it_resembles(name):
    one = LOOKALIKES[name]
    assert one.name == name
    assert one.summary
    assert one.resembles
    assert not set(one.resembles) & set(one.excused)
