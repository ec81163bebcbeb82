"""Training of the distortion net: stretches of real sound, what is asked for, fitting, a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from models.distortion import FAULTS, INPUTS, REACH, Distortion
from tests import media
from training import sounds
from training.distortion import card, dataset
from training.distortion.dataset import CLIPPED, FINE, OVERDRIVEN, STARVED, Examples
from training.distortion.evaluate import BINS, figures
from training.distortion.net import save
from training.distortion.train import Recipe, fit, wanted


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> CleanClip:
    path = media.write(
        tmp_path_factory.mktemp("clip") / "sound.mkv", sound=0.3 * media.programme(8.0)
    )
    return CleanClip(
        id="sound", file=str(path), kind="sound", source="drawn", sound_source="drawn",
        split="dev", duration=8.0, picture=False, frame_rate=0.0, sample_rate=48_000,
        files=("sound.mkv",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(clip, tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("data")
    return sounds.make([clip], folder, 1, dataset.write, workers=1, told=lambda *_: None)


@pytest.mark.slow
def test_stretches_have_a_part_in_which_something_was_done(made, clip):
    assert [source for source, _ in made] == [clip.sound_source]
    held = Examples.read(made)
    assert len(held.source) > 8
    for windows, faults, strength, treatment in zip(
        held.stretches, held.faults, held.strengths, held.treatments, strict=True
    ):
        assert windows.shape == (len(faults), INPUTS)
        assert np.isfinite(windows).all()
        kinds = {"drive": OVERDRIVEN, "codec": STARVED, "clip": CLIPPED}
        assert set(faults) == {FINE, kinds.get(treatment, FINE)}
        assert (strength != 0) == (treatment in kinds)
        if treatment in kinds:
            assert faults[0] == faults[-1] == FINE
    before = [path.stat().st_mtime_ns for _, path in made]
    again = sounds.make(
        [clip], made[0][1].parent, 1, dataset.write, workers=1, told=lambda *_: None
    )
    assert [path.stat().st_mtime_ns for _, path in again] == before


def test_what_is_asked_for_is_the_fault_where_it_can_be_heard():
    faults = np.array([0] * 10 + [OVERDRIVEN] * 20 + [0] * 10, np.int8)
    right, weight = wanted(faults, 12.0, slice(0, 40))
    assert right[0].tolist() == (faults == OVERDRIVEN).tolist()
    assert not right[1:].any()
    assert weight[0, 20] == weight[0, 2] == 1
    assert weight[:, 10].tolist() == weight[:, 29].tolist() == [0, 0, 0]  # some of both
    assert weight[:, 20].tolist() == [1, 1, 0]  # whether it counts as clipped as well is left open
    _, weak = wanted(faults, 0.5, slice(0, 40))
    assert weak[0, 20] == 0
    assert weak[0, 2] == 1


@pytest.mark.slow
def test_fitting_learns_goes_on_where_it_ended_and_is_told_in_a_card(made, tmp_path):
    held = Examples.read(made)
    told: list[float] = []
    recipe, device = Recipe(150, batch=16), torch.device("cpu")

    def keep(_, loss):
        told.append(loss)

    checkpoint = tmp_path / "checkpoint.pt"
    net = fit(held, recipe, checkpoint, device, keep)
    again = fit(held, recipe, checkpoint, device, keep)  # nothing is left to do
    assert len(told) == 1
    assert told[0] < np.log(2) / 2  # of what says nothing
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    save(net, tmp_path / "net.safetensors")
    kept, whole = Distortion(tmp_path / "net.safetensors"), held.stretches[0]
    with torch.inference_mode():
        said = net(torch.from_numpy(whole.T.copy())[None])[0].T.numpy()
    np.testing.assert_allclose(kept.of(whole), said, atol=1e-3)
    # a part says the same of all that has REACH windows beside it
    part = kept.of(whole[20 : 60 + 2 * REACH])
    np.testing.assert_allclose(part[REACH:-REACH], said[20 + REACH : 60 + REACH], atol=1e-3)
    found = figures(net, held)
    assert len(found) == sum(len(bins) for bins in BINS.values())
    assert sum(row["parts"] for row in found) > 2
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 150, "batch": 16, "per_source": 1,
        "parameters": 1234, "stretches": len(held.source), "fitted": ["a"], "unseen": ["b"],
        "figures": found, "figures_fitted": found,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.distortion MEDIA... --steps 150" in text
    assert text.count(f"| {FAULTS[0]} |") >= 2
