"""The net that tells what one of two frames has corrupt and the other has not."""

from __future__ import annotations

import numpy as np
import pytest

from models.mends import shared


def _planes(rng, height=180, width=250, hole=None):
    """Smooth content, and flat blocks on a grid where there is a hole."""
    y, x = np.mgrid[:height, :width]
    luma = (120 + 50 * np.sin(x / 23) + 40 * np.cos(y / 17 + x / 40)).astype(np.float32)
    luma += rng.normal(0, 1.5, luma.shape)
    if hole is not None:
        values = rng.uniform(30, 220, (height // 16 + 1, width // 16 + 1))
        blocks = values.repeat(16, 0).repeat(16, 1)[:height, :width]
        luma[hole] = blocks[hole]
    half = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    return luma.clip(16, 235).astype(np.uint8), half, half


HOLE = np.s_[64:112, 96:192]


def test_blocks_that_come_and_go():
    rng = np.random.default_rng(1)
    intact, damaged = _planes(rng), _planes(rng, hole=HOLE)
    begun, mended = shared().of(intact, damaged)
    inside = np.s_[4:7, 6:12]
    assert begun.shape == (12, 16)
    assert np.median(begun[inside]) > 0 > begun[9:].max()
    assert mended.max() < 0
    turned = shared().of(damaged, intact)
    assert turned[1] == pytest.approx(begun, abs=1e-3)
    assert turned[0] == pytest.approx(mended, abs=1e-3)


def test_what_stays_is_no_change():
    rng = np.random.default_rng(2)
    assert shared().of(_planes(rng), _planes(rng)).max() < 0


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (320, 320)])
def test_any_size(size):
    rng = np.random.default_rng(3)
    found = shared().of(_planes(rng, *size), _planes(rng, *size))
    assert found.shape == (2, -(-size[0] // 16), -(-size[1] // 16))
    assert np.isfinite(found).all()
