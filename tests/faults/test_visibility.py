"""Where damage shows: only where nothing of around that time explains what is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from faults.media import Picture
from faults.truth import TILE
from faults.visibility import around, shown

HEIGHT, WIDTH = 150, 200  # the last row and column of tiles are cut


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """A texture that moves by 2 and 3 samples a frame."""
    rng = np.random.default_rng(1)
    field = gaussian_filter(rng.standard_normal((HEIGHT + 200, WIDTH + 200)), 3)
    field = np.clip(128 + field / field.std() * 40, 16, 235).astype(np.uint8)
    half = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return [
        Picture(
            luma=field[2 * n : 2 * n + HEIGHT, 3 * n : 3 * n + WIDTH].copy(),
            cb=half, cr=half, time=n / 25, duration=1 / 25,
        )
        for n in range(40)
    ]  # fmt: skip


def with_luma(picture: Picture, luma: np.ndarray) -> Picture:
    return replace(picture, luma=np.ascontiguousarray(luma))


def test_an_intact_picture_shows_nothing(pictures):
    assert not shown(pictures[20], around(pictures, 20)).any()


@pytest.mark.parametrize("old", [15, 12])
def test_a_picture_of_a_moment_ago_is_plausible(pictures, old):
    assert not shown(pictures[old], around(pictures, 20)).any()


def test_texture_that_has_moved_by_a_few_samples_is_plausible(pictures):
    moved = np.roll(pictures[20].luma, (4, -5), (0, 1))
    found = shown(with_luma(pictures[20], moved), around(pictures, 20))
    assert not found[1:-1, 1:-1].any()  # at the border it came in from the other side


@pytest.mark.parametrize("garbage", ["grey", "misplaced", "inverted"])
def test_garbage_shows_where_it_is(pictures, garbage):
    luma = pictures[20].luma.copy()
    where = np.s_[2 * TILE : 4 * TILE, 5 * TILE : 8 * TILE]
    luma[where] = {
        "grey": 60,
        "misplaced": luma[5 * TILE : 7 * TILE, TILE : 4 * TILE][::-1],
        "inverted": 251 - luma[where],
    }[garbage]
    found = shown(with_luma(pictures[20], luma), around(pictures, 20))
    expected = np.zeros_like(found)
    expected[2:4, 5:8] = True
    assert not (found & ~expected).any()
    assert found[2:4, 5:8].mean() > 0.6


def test_a_faint_difference_does_not_show(pictures):
    luma = pictures[20].luma.copy()
    luma[32:64, 32:64] += 5
    assert not shown(with_luma(pictures[20], luma), around(pictures, 20)).any()
