"""Training of the net of mends: pairs with labels that hold, what is drawn onto them, fitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from models.nets.mends import MendsNet, load, save
from training.corruption.synthesis import CLEAN, CROP, HIT, IGNORED
from training.mends.__main__ import write
from training.mends.overlays import lay_over
from training.mends.synthesis import pairs
from training.mends.train import Drawing, Pairs, Recipe, begun_from_corruption, fit, quantised

TILES = CROP // 16


@pytest.fixture(scope="module")
def clip(clean_clip) -> CleanClip:
    return clean_clip(3.0, width=384, height=288, cuts=1, speed=2, seed=2)


@pytest.fixture(scope="module")
def made(clip, tmp_path_factory) -> Pairs:
    folder = tmp_path_factory.mktemp("pairs")
    for draw in range(2):
        write(clip, draw, folder / f"{draw}.npz")
    return Pairs(sorted(folder.glob("*.npz")))


def test_labels_hold(made):
    assert len(made.hit) > 20
    assert 0 < made.hit.sum() < len(made.hit)
    assert made.intact.any()
    assert made.luma.shape[1:] == (2, CROP, CROP)
    assert made.chroma.shape[1:] == (4, CROP // 2, CROP // 2)
    assert made.labels.shape[1:] == (2, TILES, TILES)
    assert set(np.unique(made.labels)) <= {CLEAN, HIT, IGNORED}
    assert not ((made.labels[:, 0] == HIT) & (made.labels[:, 1] == HIT)).any()
    change = np.abs(made.luma[:, 0].astype(int) - made.luma[:, 1])
    tiles = change.reshape(-1, TILES, 16, TILES, 16).mean(axis=(2, 4))
    hit = (made.labels == HIT).any(axis=1)
    assert tiles[hit].mean() > 3 * tiles[made.intact].mean()


@pytest.mark.slow
def test_the_same_again(clip):
    first, second = (list(pairs(clip, 1, 5)) for _ in range(2))
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.luma, other.luma)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("seed", range(12))
def test_overlays_change_a_part_of_the_picture(seed):
    luma = np.full((2, CROP, CROP), 90, np.uint8)
    chroma = np.full((4, CROP // 2, CROP // 2), 128, np.uint8)
    other = np.full((CROP, CROP), 150, np.uint8), np.full((2, CROP // 2, CROP // 2), 110, np.uint8)
    lay_over(luma, chroma, other, np.random.default_rng(seed))
    assert (luma != 90).any(axis=0).mean() < 0.8


def test_draws_are_the_same_again(made):
    draw = Drawing(made, Recipe(steps=1, batch=6))
    for one, other in zip(draw(3), draw(3), strict=True):
        assert torch.equal(one, other)
    *planes, labels = draw(3)
    assert [tuple(x.shape[1:]) for x in planes] == [
        *[(1, CROP, CROP)] * 2,
        *[(2, CROP // 2, CROP // 2)] * 2,
    ]
    assert labels.shape[1:] == (TILES, TILES)


def test_coarse_steps_leave_less():
    planes = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 200
    fine = quantised(planes, torch.full((2,), 0.01), (0, 0))
    assert fine.numpy() == pytest.approx(planes.numpy(), abs=0.2)
    coarse = quantised(planes, torch.full((2,), 400.0), (4, 2))
    assert coarse.std() < 0.3 * planes.std()


def test_it_begins_as_the_corruption_net():
    from models.nets.corruption import load as corruption

    net, other = begun_from_corruption().state_dict(), corruption().state_dict()
    assert torch.equal(net["around.0.first.weight"], other["around.0.first.weight"])
    assert torch.equal(net["head.weight"], other["head.weight"][:1])


def test_fitted_and_kept(made, tmp_path):
    recipe = Recipe(steps=2, batch=3)
    net = fit(made, recipe, tmp_path / "checkpoint.pt", lambda *_: None)
    save(net, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert isinstance(again, MendsNet)
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
