"""Training of the net of hiss: scenes of real levels, what is asked for, fitting, a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from models.hiss import COARSE, INPUTS, SILENT, THERE, Hiss, inputs
from tests import media
from training import sounds
from training.hiss import card, dataset
from training.hiss.dataset import Scenes
from training.hiss.evaluate import SNRS, figures, stretches
from training.hiss.train import fit, save
from training.run import Recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> sounds.Made:
    folder = tmp_path_factory.mktemp("levels")
    path = media.write(folder / "sound.mkv", sound=0.3 * media.programme(12.0))
    clip = CleanClip(
        id="sound", file=str(path), kind="sound", source="drawn", sound_source="drawn",
        split="dev", duration=12.0, picture=False, frame_rate=0.0, sample_rate=48_000,
        files=("sound.mkv",),
    )  # fmt: skip
    return sounds.make([clip], folder / "made", 1, dataset.write, workers=1, told=lambda *_: None)


def test_what_was_damaged_has_hiss_where_it_says(made):
    (source, path), *_ = made
    assert source == "drawn"
    with np.load(path) as held:
        damaged = [name for name in held.files if name.startswith("hiss")]
        rate, channels = held["form"]
        assert (rate, channels, len(damaged) > 0) == (48_000, 2, True)
        for name in damaged:
            start, end, level = held["truth" + name.removeprefix("hiss")]
            middle = (np.arange(len(held[name])) + 1) * dataset.hop_of(48_000)
            inside = (middle > start + 0.1) & (middle < end - 0.1)
            clean = held["plain"].astype(np.float64)[: len(held[name])]
            added = np.percentile(held[name][inside], 20) - np.percentile(clean[inside], 20)
            assert held[name].shape[1] == COARSE
            assert added > 0
            assert -80 < level < -20


def test_scenes_have_noise_where_they_say(made):
    scenes = Scenes(made)
    drawn = [scenes.draw(np.random.default_rng(n), 120) for n in range(100)]
    again = scenes.draw(np.random.default_rng(3), 120)
    assert np.array_equal(again.cell, drawn[3].cell)
    assert all(one.cell.shape == (120, 2, COARSE) for one in drawn)
    assert all(np.isfinite(inputs(one.cell)).all() for one in drawn)
    assert 25 < sum((one.there == 1).any() for one in drawn) < 75
    loud = [one for one in drawn if (one.there == 1).sum() > 10 and one.snr < 15]
    assert loud
    for one in loud:  # nothing falls far below the noise in all bands
        quiet = 10 * np.log10((10 ** (one.cell[one.there == 1, 0] / 10)).sum(axis=1))
        assert np.median(quiet) > one.level - 6
    assert min(one.cell.min() for one in drawn) >= SILENT


def test_stretches_bridge_short_doubts_and_leave_out_what_is_short():
    odds = np.full(100, -3.0)
    odds[10:22] = 2
    odds[24:40] = 3
    odds[60:70] = 5
    ((first, last, mean),) = stretches(odds)
    assert (first, last) == (10, 40)
    assert mean == pytest.approx((12 * 2 + 16 * 3 - 2 * 3) / 30)


@pytest.mark.slow
def test_fitting_learns_goes_on_where_it_ended_and_is_told_in_a_card(made, tmp_path):
    told: list[float] = []
    scenes, recipe, device = Scenes(made), Recipe(150, batch=8), torch.device("cpu")

    def keep(_, loss):
        told.append(loss)

    checkpoint = tmp_path / "checkpoint.pt"
    net = fit(scenes, recipe, checkpoint, device, keep)
    again = fit(scenes, recipe, checkpoint, device, keep)  # nothing is left to do
    assert len(told) == 1
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    save(net, tmp_path / "net.safetensors")
    kept = Hiss(tmp_path / "net.safetensors")
    scene = next(
        one
        for one in (scenes.draw(np.random.default_rng(n), 120) for n in range(100))
        if one.snr < 20 and 30 < (one.there == 1).sum() < 90
    )
    taken = inputs(scene.cell)
    assert taken.shape == (120, INPUTS)
    with torch.inference_mode():
        said = net(torch.from_numpy(taken.T.copy())[None])[0].T.numpy()
    np.testing.assert_allclose(kept.of(taken), said, atol=1e-3)
    there = scene.there == 1
    assert said[there, THERE].mean() > said[~there, THERE].mean() + 1
    found = figures([(net, scenes)], count=20)
    assert [row["from"] for row in found["snrs"]] == [low for low, _ in SNRS]
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 150, "batch": 8, "per_source": 1,
        "parameters": 1234, "fitted": ["a", "b"], "figures": found,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.hiss MEDIA... --steps 150" in text
    assert "| fitted on | a, b |" in text
    assert text.count("| 6 to 14 dB |") == 1
