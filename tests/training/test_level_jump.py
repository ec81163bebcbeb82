"""Training of the nets of gain steps: scenes of real levels, what is asked for, fitting, a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from models.bands import BANDS
from models.level_jump import DECIBELS, DOWN, FIGURES, INPUTS, UP, LevelJump, inputs
from tests import media
from training import sounds
from training.level_jump import card, dataset
from training.level_jump.dataset import HOP, LONGEST, SHORTEST, Scene, Scenes
from training.level_jump.evaluate import STEPS, figures
from training.level_jump.train import (
    Recipe,
    asked,
    fit_pairs,
    fit_steps,
    gathered,
    pairs_of,
    save,
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Scenes:
    folder = tmp_path_factory.mktemp("levels")
    path = media.write(folder / "sound.mkv", sound=0.3 * media.programme(8.0))
    clip = CleanClip(
        id="sound", file=str(path), kind="sound", source="drawn", sound_source="drawn",
        split="dev", duration=8.0, picture=False, frame_rate=0.0, sample_rate=48_000,
        files=("sound.mkv",),
    )  # fmt: skip
    made = sounds.make([clip], folder / "made", 1, dataset.write, workers=1, told=lambda *_: None)
    assert [source for source, _ in made] == ["drawn"]
    with np.load(made[0][1]) as held:
        assert sorted(held.files) == ["coded", "plain"]
        assert held["plain"].shape[1] == BANDS
    return Scenes(made)


def test_scenes_step_where_they_say(scenes):
    drawn = [scenes.draw(np.random.default_rng(n), 300) for n in range(120)]
    again = scenes.draw(np.random.default_rng(3), 300)
    assert np.array_equal(again.level, drawn[3].level)
    assert all(np.isfinite(one.level).all() for one in drawn)
    assert 30 < sum(bool(one.steps) for one in drawn) < 110
    for one in drawn:
        assert one.level.max() < 3
        for start, end, gain in one.inserts:
            assert SHORTEST <= (end - start) * HOP <= LONGEST
            assert (start, gain) in one.steps
            assert (end, -gain) in one.steps


def test_what_is_asked_for_is_the_step():
    level = np.full((100, BANDS), -40.0, np.float32)
    level[50:] += 10
    windows, right, weight = asked(Scene(level, [(50, 10.0)], []))
    assert windows.shape == (INPUTS, 92)
    assert np.flatnonzero(right[UP]).tolist() == [45, 46, 47]  # four at either end are left out
    assert not right[DOWN].any()
    assert right[DECIBELS, 46] == 1.0
    assert weight[UP, 44] == weight[UP, 48] == 0
    assert weight[UP, 46] == weight[DOWN, 44] == 1


@pytest.mark.slow
def test_fitting_learns_goes_on_where_it_ended_and_is_told_in_a_card(scenes, tmp_path):
    told: list[float] = []
    recipe, device = Recipe(200, batch=8), torch.device("cpu")

    def keep(_, loss):
        told.append(loss)

    checkpoint = tmp_path / "checkpoint.pt"
    net = fit_steps(scenes, recipe, checkpoint, device, keep)
    again = fit_steps(scenes, recipe, checkpoint, device, keep)  # nothing is left to do
    assert len(told) == 1
    assert told[0] < 10 * np.log(2) / 3  # of what says nothing
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    pairs = gathered(scenes, net, 30, 1, lambda *_: None)
    assert pairs.figure.shape == (len(pairs.right), FIGURES)
    assert 0 < pairs.right.sum() < len(pairs.right)
    both = fit_pairs([pairs], recipe)
    save(net, both, tmp_path / "nets.safetensors")
    kept = LevelJump(tmp_path / "nets.safetensors")
    scene = scenes.draw(np.random.default_rng(1), 300)
    taken = inputs(scene.level)
    with torch.inference_mode():
        said = net(torch.from_numpy(taken.T.copy())[None])[0].T.numpy()
        odds = both(torch.from_numpy(pairs.figure)).numpy()
    np.testing.assert_allclose(kept.of(taken), said, atol=1e-3)
    np.testing.assert_allclose(kept.inserts(pairs.figure), odds, atol=1e-2)
    figure, ends = pairs_of(scene, net)
    assert len(figure) == len(ends)
    found = figures(net, both, scenes, count=20)
    assert [row["from"] for row in found["steps"]] == [low for low, _ in STEPS]
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 200, "batch": 8, "per_source": 1,
        "scenes": 30, "parameters": 1234, "fitted": ["a"], "unseen": ["b"],
        "figures": found, "figures_fitted": found,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.level_jump MEDIA... --steps 200" in text
    assert text.count("| 4 to 7 dB |") == 2
