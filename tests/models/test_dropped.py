"""What the net of missing frames is asked, and what it answers."""

from __future__ import annotations

import numpy as np
import pytest

from models.dropped import FAR, FIGURES, NEAR, SHARE, WEIGHTS, Dropped, Tiles, figures, leaping

AT = FAR + 1


def _tiles(rows=9, columns=16, seed=1):
    """Tile maps of a picture that moves by a quarter of a tile a frame, and by three at AT."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 200, (rows, columns + 12))
    x = np.arange(columns)
    luma, motion = [], []
    where = 0.0
    for n in range(2 * FAR + 2):
        step = 3.0 if n == AT else 0.25
        where += step
        luma.append([np.interp(x + where, np.arange(columns + 12), row) for row in coarse])
        motion.append(np.full((rows, columns), 4 + 6 * step) + rng.uniform(0, 1, (rows, columns)))
    grey = np.full((2 * FAR + 2, rows, columns), 128, np.float32)
    return Tiles(np.array(luma, np.float32), grey, grey, np.array(motion, np.float32))


def test_tiles_leap_that_change_more_than_before_and_after():
    motion = np.full((2 * NEAR + 1, 2, 3), 5.0, np.float32)
    motion[NEAR, 0] = 9.0
    motion[NEAR + 2, 0, 1] = 7.0
    assert leaping(motion).tolist() == [[True, False, True], [False] * 3]
    motion[:, 0] /= 4  # too little for anyone to see it
    assert not leaping(motion).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 16), (68, 120)])
def test_figures_of_any_size(size):
    tiles = _tiles(*size)
    assert leaping(tiles.motion[AT - NEAR : AT + NEAR + 1]).mean() >= SHARE
    found = figures(tiles, AT)
    assert found.shape == (FIGURES,)
    assert np.isfinite(found).all()


def test_a_mirrored_picture_has_the_same_figures():
    tiles = _tiles()
    mirrored = Tiles(*(one[:, :, ::-1] for one in (tiles.luma, tiles.cb, tiles.cr, tiles.motion)))
    np.testing.assert_allclose(figures(mirrored, AT), figures(tiles, AT), atol=1e-4)


def test_the_mean_of_the_nets_counts():
    net = Dropped()
    figure = figures(_tiles(), AT)
    centred = ((figure - net._centre) * net._scale).clip(-4, 4)
    said = []
    for n in range(len(net._layers[0][0])):
        x = centred
        for weight, bias in net._layers[:-1]:
            x = np.maximum(x @ weight[n] + bias[n, 0], 0)
        weight, bias = net._layers[-1]
        said.append(float((x @ weight[n] + bias[n, 0])[0]))
    assert net.of(figure) == pytest.approx(np.mean(said), abs=1e-4)
    assert WEIGHTS.stat().st_size < 2**20
