"""How alike two maps are, in place and shifted."""

from __future__ import annotations

import numpy as np
import pytest

from models.tiles import correlation, shifted_correlations


def test_maps_are_alike_by_their_pattern_alone():
    rng = np.random.default_rng(1)
    one = rng.normal(90, 20, (9, 16)).astype(np.float32)
    assert correlation(one, 3 * one - 50) == pytest.approx(1, abs=1e-6)
    assert correlation(one, 200 - one) == pytest.approx(-1, abs=1e-6)
    assert abs(correlation(one, rng.normal(90, 20, one.shape).astype(np.float32))) < 0.3
    assert correlation(one, np.full_like(one, 7)) == 0


@pytest.mark.parametrize("shape", [(9, 16), (45, 80), (7, 7)])
def test_each_shift_is_the_correlation_of_what_both_share(shape):
    rng = np.random.default_rng(2)
    one, other = rng.normal(120, 9, (2, *shape)).astype(np.float32)
    made = shifted_correlations(one, other, 2, 3)
    assert made.shape == (5, 7)
    rows, columns = shape
    for y in range(-2, 3):
        for x in range(-3, 4):
            a = one[max(y, 0) : rows + min(y, 0), max(x, 0) : columns + min(x, 0)]
            b = other[max(-y, 0) : rows + min(-y, 0), max(-x, 0) : columns + min(-x, 0)]
            assert made[2 + y, 3 + x] == pytest.approx(correlation(a, b), abs=1e-5)


def test_the_shift_of_a_picture_that_has_moved_is_found():
    wide = np.random.default_rng(3).normal(120, 30, (20, 30)).astype(np.float32)
    made = shifted_correlations(wide[2:18, 3:27], wide[3:19, 1:25], 3, 3)
    assert np.unravel_index(made.argmax(), made.shape) == (3 + 1, 3 - 2)
    assert made.max() == pytest.approx(1, abs=1e-6)


def test_flat_maps_are_like_nothing():
    flat = np.full((8, 8), 235, np.float32)
    varied = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert not shifted_correlations(flat, varied, 2, 2).any()
    assert not shifted_correlations(varied, flat, 2, 2).any()
