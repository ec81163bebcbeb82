"""Files that faults write: the same bytes for the same pictures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bench.accuracy.plan import ENCODINGS
from faults.media import encode, repeatable


def test_the_tree_of_x264_is_off_unless_it_is_asked_for():
    assert repeatable("libx264", {"crf": "20"}) == {"mbtree": "0", "crf": "20"}
    assert repeatable("libx264", {"mbtree": "1"}) == {"mbtree": "1"}
    assert repeatable("libx265", {"crf": "20"}) == {"crf": "20"}


@pytest.mark.parametrize("name", ["h264-20.mp4", "hevc-26.mp4", "mpeg2-4.ts"])
def test_the_same_bytes_whatever_lies_in_memory(clean_pictures, tmp_path, name):
    suffix, encoding = ENCODINGS[name]
    path = tmp_path / f"file{suffix}"
    made = set()
    for n in range(4):
        junk = [np.random.default_rng(n).bytes(50_000 * k) for k in range(1, 40)]
        del junk
        encode(path, iter(clean_pictures[:100]), None, rate=Fraction(25), encoding=encoding)
        made.add(path.read_bytes())
    assert len(made) == 1
