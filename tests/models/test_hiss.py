"""The net of hiss on levels of real signals."""

from __future__ import annotations

import numpy as np

from models.hiss import (
    COARSE,
    INPUTS,
    REACH,
    SILENT,
    THERE,
    Hiss,
    cells,
    inputs,
    levels,
    shared,
    windows_of_a_cell,
)


def test_noise_that_sets_in_and_ends_is_hiss_and_the_rest_is_not():
    rng = np.random.default_rng(1)
    cell = np.full((120, 2, COARSE), -85.0, np.float32)
    notes = -30 - 60 * rng.random((120, 1)) - 1.5 * np.arange(COARSE)
    cell[:, 0], cell[:, 1] = np.maximum(notes - 3, -85), np.maximum(notes, -84)
    hiss = np.linspace(-64, -52, COARSE) + rng.normal(0, 0.8, (120, 2, COARSE)) + [[[-1.5], [0]]]
    with_hiss = cell.copy()
    with_hiss[40:80] = 10 * np.log10(10 ** (cell / 10) + 10 ** (hiss / 10))[40:80]
    odds, none = (Hiss().of(inputs(one))[:, THERE] for one in (with_hiss, cell))
    assert np.median(odds[42:78]) > 1
    assert odds[:35].max() < 0
    assert odds[85:].max() < 0
    assert none.max() < 0


def test_what_is_far_away_and_what_streams_share_change_nothing():
    rng = np.random.default_rng(2)
    cell = rng.normal(-50, 10, (2 * REACH + 20, 2, COARSE)).astype(np.float32)
    other = cell.copy()
    other[: 10 - 1], other[-9:] = -20, -90
    middle = slice(REACH + 9, REACH + 11)
    one, two = (shared().ask(inputs(each)) for each in (cell, other))
    np.testing.assert_allclose(one[middle], two[middle], atol=1e-4)
    taken = rng.normal(0, 1, (9, 40, INPUTS)).astype(np.float32)
    for alone, together in zip(taken, Hiss().together(list(taken)), strict=True):
        assert np.array_equal(Hiss().together([alone])[0], together)


def test_levels_and_cells():
    power = np.zeros((7, 1025), np.float32)
    power[:6] = 1e-6
    level = levels(power, 24_000)
    assert level.shape == (7, COARSE)
    np.testing.assert_allclose(level[6], SILENT, atol=1e-3)
    size = windows_of_a_cell(1024 / 48_000)
    assert size == 5
    made = cells(level, 2)
    assert made.shape == (3, 2, COARSE)
    np.testing.assert_allclose(made[:, 0], made[:, 1], atol=1e-4)
    assert np.isfinite(inputs(np.full((3, 2, COARSE), SILENT, np.float32))).all()
