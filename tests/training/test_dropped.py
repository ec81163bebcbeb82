"""Training of the net of missing frames: examples of a clip, fitting, a card."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from corpus.clips import CleanClip
from faults.media import Clean
from models.dropped import FIGURES, Dropped
from tests import media
from training.dropped import card, dataset
from training.dropped.dataset import CLEAN, Examples, Job
from training.dropped.evaluate import LIMITS, cross_fitted, figures, said_by
from training.dropped.train import Recipe, fit, save, shares


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> CleanClip:
    path = media.write(
        tmp_path_factory.mktemp("clip") / "clip.mkv", media.scene(4.0, 320, 180, cuts=0, speed=3)
    )
    return CleanClip(
        id="drawn", file=str(path), kind="video", source="drawn", sound_source="", split="dev",
        duration=4.0, picture=True, frame_rate=25.0, sample_rate=0, files=("clip.mkv",),
    )  # fmt: skip


def test_examples_of_a_clip(clip, tmp_path):
    wanted = [Job(clip, CLEAN, 1), Job(clip, "fast_cuts", 2)]
    paths = dataset.make(wanted, tmp_path / "made", workers=1, told=lambda *_: None)
    assert [json.loads(path.with_suffix(".json").read_text())["problem"] for path in paths] == [
        "",
        "",
    ]
    examples = Examples.read(paths)
    assert examples.figure.shape == (len(examples.missing), FIGURES)
    assert np.isfinite(examples.figure).all()
    assert set(examples.missing[examples.name == CLEAN]) > {4, 8}
    assert not examples.missing[examples.name == "fast_cuts"].any()
    assert examples.seconds[CLEAN] == pytest.approx(3.96, abs=0.05)


def test_motion_across_a_join_is_measured_as_that_of_frames_is(clip):
    (tiles, time), = dataset._measured(clip.file)  # fmt: skip
    shown = list(Clean(clip.file).pictures())
    assert len(time) == len(shown)
    made = dataset._motion(shown[19], shown[20])
    np.testing.assert_allclose(made, tiles.motion[20], atol=1e-3)


def test_each_look_alike_and_each_other_fault_is_there(clip):
    wanted = dataset.jobs([clip], 1, 1, 1)
    assert {job.name for job in wanted} == {CLEAN, *dataset.ALIKE, *dataset.OTHERS}
    assert "dropped_frames" not in dataset.OTHERS


def test_fitting_learns_and_is_told_in_a_card(tmp_path):
    rng = np.random.default_rng(1)
    missing = rng.choice([0, 0, 0, 2, 4, 8, 12], 600)
    figure = rng.normal(0, 1, (600, FIGURES)).astype(np.float32)
    figure[:, 3] += 4 * (missing > 0)
    source = np.array(["a", "b", "c"])[rng.integers(3, size=600)]
    examples = Examples(
        figure, missing, source, np.full(600, CLEAN), np.arange(600.0), np.zeros(600, int),
        {CLEAN: 600.0},
    )  # fmt: skip
    share = shares(examples)
    assert share.sum() == pytest.approx(1)
    assert share[missing == 0].sum() == pytest.approx(0.6)
    recipe, device = Recipe(80, 128), torch.device("cpu")
    said = cross_fitted(examples, recipe, tmp_path, device)
    assert said[missing > 0].mean() > said[missing == 0].mean() + 1
    nets = fit(examples, recipe, tmp_path / "all.pt", device, lambda *_: None)
    save(nets, tmp_path / "nets.safetensors")
    kept = Dropped(tmp_path / "nets.safetensors")
    np.testing.assert_allclose(
        [kept.of(one) for one in figure[:9]], said_by(nets, figure[:9]), atol=1e-3
    )
    found = figures(examples, said)
    assert [row["limit"] for row in found["rows"]] == list(LIMITS)
    note = {
        "minutes": 1.0, "device": "a machine", "steps": 80, "batch": 128, "parameters": 1234,
        "alike": 1, "others": 2, "candidates": 360, "joins": 240, "fitted": ["a"],
        "figures": found,
    }  # fmt: skip
    card.write(note, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "python -m training.dropped MEDIA... --steps 80" in text
    assert text.count("\n| ") == len(LIMITS) + 2
