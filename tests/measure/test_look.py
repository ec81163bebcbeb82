"""The closer look against the plain definitions, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.measure.look import look


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.normal(0, 1.2, (height, width)), axis=1) + 120
    return np.clip(smooth, 0, 255).astype(np.uint8)


def isolated(profile: np.ndarray) -> np.ndarray:
    """Isolated steps along the first axis of neighbour differences, 0 beyond both ends."""
    s = np.pad(profile, ((1, 1), (0, 0)))
    return np.clip(2 * s[1:-1] - s[:-2] - s[2:], 0, 64).mean(axis=1) / 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 7), (33, 47), (64, 48), (270, 480)])
def test_definitions(shape: tuple[int, int]) -> None:
    height, width = shape
    plane = picture(height, width)
    padded = np.pad(plane, ((0, 0), (0, 9)), constant_values=7)  # a line is longer than the picture
    taken = look(padded, width, height, 1.5, 3)
    y = plane.astype(float)
    assert (taken.time, taken.frame) == (1.5, 3)
    np.testing.assert_array_equal(
        taken.histogram, np.bincount(plane[::5].ravel(), minlength=256)[:256]
    )
    np.testing.assert_allclose(taken.row_mean, y.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(taken.column_mean, y[::2].mean(axis=0), rtol=1e-5)
    across = np.abs(np.diff(y, axis=1))
    down = np.abs(np.diff(y, axis=0))
    if width > 1:
        np.testing.assert_allclose(taken.row_spread, across.mean(axis=1), rtol=1e-5)
    if height > 1:
        np.testing.assert_allclose(taken.column_spread, down[::2].mean(axis=0), rtol=1e-5)
    steps = isolated(np.pad(across, ((0, 0), (1, 0)))[::2].T)
    np.testing.assert_allclose(taken.column_steps, steps, atol=1e-5)
    steps = isolated(np.pad(down, ((1, 0), (0, 0))))
    np.testing.assert_allclose(taken.row_steps, steps, atol=1e-5)


def test_noise_is_its_sigma() -> None:
    rng = np.random.default_rng(2)
    for sigma in (3, 10, 25):
        plane = np.clip(rng.normal(128, sigma, (96, 160)), 0, 255).astype(np.uint8)
        taken = look(plane, 160, 96, 0, 0)
        assert abs(taken.noise.mean() - sigma) < 0.12 * sigma
        assert abs(taken.curve.mean() / taken.fine.mean() - 1.73) < 0.1


def test_softness_of_an_edge_does_not_depend_on_its_height() -> None:
    from scipy.ndimage import gaussian_filter1d

    for sigma in (1.0, 1.5, 2.0):  # rounding to code values adds curvature to flat slopes
        for high in (80, 160):
            line = np.full(256, 40.0)
            line[100:] += high
            line = gaussian_filter1d(line, sigma)
            plane = np.tile(line.round().astype(np.uint8), (32, 1))
            taken = look(plane, 256, 32, 0, 0)
            ratio = taken.curve.sum() / taken.fine.sum()
            assert ratio == pytest.approx(0.8 / sigma, rel=0.3)


def test_contours_cancel_in_texture_and_add_up_in_a_staircase() -> None:
    rng = np.random.default_rng(3)
    ramp = np.tile(np.linspace(60, 100, 320), (64, 1))
    clean = look(ramp.round().astype(np.uint8), 320, 64, 0, 0).contour
    banded = look((ramp // 4 * 4).astype(np.uint8), 320, 64, 0, 0).contour
    upright = look(np.ascontiguousarray((ramp // 4 * 4).T).astype(np.uint8), 64, 320, 0, 0).contour
    texture = np.clip(rng.normal(100, 3, (64, 320)), 0, 255).astype(np.uint8)
    assert clean.max() == 0
    assert banded[:, 1:-1].mean() == pytest.approx(16 * 40 / 320 / 4, abs=0.1)
    assert upright[1:-1].mean() == pytest.approx(16 * 40 / 320 / 4, abs=0.1)
    assert look(texture, 320, 64, 0, 0).contour.mean() < 0.2
