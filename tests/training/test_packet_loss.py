"""Training of the net of lost packets: what counts as damage, scenes, fitting, figures, a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from faults.coding import Coder
from models.packet_loss import FIGURES, PacketLoss, inputs
from pipeline.detectors.lost_packets import Loss
from tests import media
from training import sounds
from training.packet_loss import card, dataset
from training.packet_loss.dataset import Scenes, heard
from training.packet_loss.evaluate import LIMITS, events, figures, matches, said_by
from training.packet_loss.train import CELLS, fit, save
from training.run import Recipe

RATE = 48_000


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> sounds.Made:
    folder = tmp_path_factory.mktemp("figures")
    path = media.write(folder / "sound.mkv", sound=0.3 * media.programme(8.0))
    clip = CleanClip(
        id="sound", file=str(path), kind="sound", source="drawn", sound_source="drawn",
        split="dev", duration=8.0, picture=False, frame_rate=0.0, sample_rate=RATE,
        files=("sound.mkv",),
    )  # fmt: skip
    return sounds.make([clip], folder / "made", 1, dataset.write, workers=1, told=lambda *_: None)


def test_a_loss_counts_where_it_is_heard():
    sound = 0.3 * media.programme(4.0)
    coder = Coder(sound, RATE, "aac", 64_000)
    lost = [80, 120]
    starts = np.array(coder.starts())[lost]
    intact, damaged = coder.decode(), coder.decode(lost)
    truth = heard(intact, damaged, starts, coder.size, RATE)
    at = (starts / RATE / 0.005).astype(int)
    assert all((truth[n + 1 : n + 4] == 1).all() for n in at)
    near = np.zeros(len(truth), bool)
    for n in at:
        near[n - 3 : n + 16] = True
    assert (truth[~near] == 0).all()
    assert not heard(intact, intact, starts, coder.size, RATE).any()


def test_scenes_have_losses_where_they_say(made):
    scenes = Scenes(made)
    drawn = [scenes.draw(np.random.default_rng(n), CELLS) for n in range(60)]
    again = scenes.draw(np.random.default_rng(3), CELLS)
    assert np.array_equal(again.figures, drawn[3].figures)
    assert all(one.figures.shape == (CELLS, FIGURES) for one in drawn)
    assert all(np.isfinite(inputs(one.figures)).all() for one in drawn)
    assert 10 < sum((one.truth == 1).any() for one in drawn) < 55
    (clip,) = scenes.of["drawn"]
    assert len(clip.clean) == 2
    assert len(clip.trials) == len(dataset.TRIALS)


def test_events_join_what_is_close_and_need_odds_or_a_hole():
    losses = [Loss(1.0, 1.02, 3), Loss(1.3, 1.34, 6), Loss(3.0, 3.02, 4)]
    assert events([], losses, 5) == [(1.0, 1.34)]
    assert events([(3.4, 3.5)], losses, 5) == [(1.0, 1.34), (3.0, 3.5)]
    assert events([(3.4, 3.5)], losses, 7) == [(3.0, 3.5)]
    assert matches([(1.0, 1.3), (3.0, 3.1)], [(1.2, 1.5), (5.0, 5.1)]) == 1


@pytest.mark.slow
def test_fitting_learns_goes_on_where_it_ended_and_is_told_in_a_card(made, tmp_path):
    told: list[float] = []
    scenes, recipe, device = Scenes(made), Recipe(120, batch=8), torch.device("cpu")

    def keep(_, loss):
        told.append(loss)

    checkpoint = tmp_path / "checkpoint.pt"
    net = fit(scenes, recipe, checkpoint, device, keep)
    again = fit(scenes, recipe, checkpoint, device, keep)  # nothing is left to do
    assert len(told) == 1
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    save(net, tmp_path / "net.safetensors")
    kept = PacketLoss(tmp_path / "net.safetensors")
    taken, truth = scenes.of["drawn"][0].lossy[0]
    said = said_by(net, taken)
    np.testing.assert_allclose(kept.of(inputs(taken))[:, 0], said, atol=1e-2)
    assert said[truth == 1].mean() > said[truth == 0].mean() + 1
    found = figures([(net, scenes)])
    assert [row["limit"] for row in found["rows"]] == [None, *LIMITS]
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 120, "batch": 8, "per_source": 1,
        "parameters": 1234, "fitted": ["a", "b"], "figures": found,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.packet_loss MEDIA... --steps 120" in text
    assert "| fitted on | a, b |" in text
    assert text.count("| rules alone |") == 2
