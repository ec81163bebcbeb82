"""Training of the coarseness net: pairs of crops of real encodes, fitting that resumes, a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from corpus.clips import CleanClip
from models.coarseness import CROP, FINEST
from models.nets.coarseness import CoarsenessNet, load, save
from training.coarseness import card, dataset
from training.coarseness.dataset import UNKNOWN, WAYS, Examples
from training.coarseness.evaluate import BINS, figures
from training.coarseness.train import Recipe, fit, loss_of


@pytest.fixture(scope="module")
def clip(clean_clip) -> CleanClip:
    return clean_clip(1.5, width=192, height=128, cuts=0, seed=2)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("stills") / "a.png"
    rng = np.random.default_rng(3)
    texture = Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8))
    texture.resize((800, 600), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def made(clip, picture, tmp_path_factory) -> list:
    unreadable = picture.with_name("b.png")
    unreadable.write_bytes(b"no picture")
    return dataset.make(
        [clip], {"drawn": [picture, unreadable]}, tmp_path_factory.mktemp("data"), 1,
        workers=1, told=lambda *_: None,
    )  # fmt: skip


@pytest.mark.slow
def test_crops_are_of_the_same_places_and_made_once(made, clip, picture):
    assert [name for name, _ in made] == ["scene", "drawn"]
    held = Examples.read(made)
    assert held.crops.shape == (len(held.qp), CROP, CROP)
    assert set(held.source) == {"scene", "drawn"}
    for window in range(len(held.source)):
        rows = np.flatnonzero(held.window == window)
        fine, *coarse = (held.crops[rows[way::WAYS]].astype(int) for way in range(WAYS))
        assert set(held.qp[rows[::WAYS]]) <= {np.float32(UNKNOWN), np.float32(FINEST)}
        for way, other in enumerate(coarse, 1):
            (qp,) = set(held.qp[rows[way::WAYS]])
            assert 24 <= qp <= 50
            off = np.abs(other - fine).mean()
            assert 0 < off < 25  # the same places
    before = [path.stat().st_mtime_ns for _, path in made]
    again = dataset.make(
        [clip], {"drawn": [picture]}, made[0][1].parent, 1, workers=1, told=lambda *_: None
    )
    assert [path.stat().st_mtime_ns for _, path in again] == before


def test_the_loss_asks_for_the_quantiser_and_an_honest_worth():
    qp = torch.tensor([44.0])
    right, wrong = torch.tensor([[3.0, 2.0]]), torch.tensor([[2.0, 2.0]])
    assert loss_of(right, qp) < loss_of(wrong, qp)
    assert loss_of(torch.tensor([[2.0, -1.0]]), qp) < loss_of(wrong, qp)
    # what came somehow may be finer than that, not coarser
    came = torch.tensor([UNKNOWN])
    assert loss_of(torch.tensor([[0.2, 0.0]]), came) == 0
    assert loss_of(torch.tensor([[2.5, 0.0]]), came) > 0


@pytest.mark.slow
def test_fitting_learns_goes_on_where_it_ended_and_is_told_in_a_card(made, tmp_path):
    held = Examples.read(made)
    told: list[float] = []
    recipe, device = Recipe(60, batch=48), torch.device("cpu")

    def keep(_, loss):
        told.append(loss)

    checkpoint = tmp_path / "checkpoint.pt"
    net = fit(held, recipe, checkpoint, device, keep)
    fresh = CoarsenessNet().eval()
    rows = np.flatnonzero(held.qp > 40)
    crops, qp = torch.from_numpy(held.crops[rows]), torch.from_numpy(held.qp[rows])
    with torch.inference_mode():
        assert loss_of(net(crops), qp) < loss_of(fresh(crops), qp)
    again = fit(held, recipe, checkpoint, device, keep)  # nothing is left to do
    assert len(told) == 1
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    save(net, tmp_path / "net.safetensors")
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "net.safetensors")(crops), net(crops))
        # with its normalisation folded in it says the same
        np.testing.assert_allclose(
            load(tmp_path / "net.safetensors").fused()(crops), net(crops), atol=1e-3
        )
    found = figures(net, held)
    assert [row["from"] for row in found] == [low for low, _ in BINS]
    assert sum(row["windows"] for row in found) == (WAYS - 1) * len(held.source)
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 60, "batch": 48, "per_source": 1,
        "parameters": 1234, "crops": len(held.qp), "windows": len(held.source),
        "fitted": ["drawn"], "unseen": ["scene"], "figures": found, "figures_fitted": found,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.coarseness MEDIA... --steps 60" in text
    assert text.count("| 42 to 46 |") == 2
