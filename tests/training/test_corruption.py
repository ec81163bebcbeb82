"""Training of the corruption net: examples with labels that hold, fitting that resumes, a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from corpus.clips import CleanClip
from models.nets.corruption import HEADS, CorruptionNet
from training.corruption import card, dataset
from training.corruption.evaluate import PEERS, Scores, evaluate, figures
from training.corruption.stills import stills
from training.corruption.synthesis import CLEAN, CROP, HIT, IGNORED, examples
from training.corruption.train import Recipe, calibrate, fit

TILES = CROP // 16


@pytest.fixture(scope="module")
def clip(clean_clip) -> CleanClip:
    return clean_clip(3.0, width=384, height=288, cuts=1, speed=2, seed=2)


@pytest.fixture(scope="module")
def made(clip, tmp_path_factory) -> list:
    return dataset.make(
        [clip], tmp_path_factory.mktemp("data"), 1, 3, workers=1, told=lambda *_: None
    )


@pytest.mark.slow
def test_examples_are_the_same_again_and_hold_damage_and_none(clip):
    first, second = (list(examples(clip, 7, 0)) for _ in range(2))
    assert len(first) == len(second) > 10
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.luma, other.luma)
        np.testing.assert_array_equal(one.labels, other.labels)
    for one in first:
        assert one.luma.shape == (2, CROP, CROP)
        assert one.chroma.shape == (2, CROP // 2, CROP // 2)
        assert one.labels.shape == (len(HEADS), TILES, TILES)
        assert set(np.unique(one.labels)) <= {CLEAN, HIT, IGNORED}
    hit = [bool((one.labels[0] == HIT).any()) for one in first]
    assert any(hit)
    assert not all(hit)


@pytest.mark.slow
def test_an_ablation_fits_on_less(made):
    paths = [path for path in made if path.is_file()]
    whole = dataset.Examples(paths)
    unbaked = dataset.Examples(paths, ["baked"])
    assert 0 < len(unbaked) < len(whole)
    assert not any("-baked" in group for group in unbaked.groups)
    assert unbaked.hit.sum() < whole.hit.sum()
    codec = whole.groups[0].removeprefix("beside-").removeprefix("coarse-").partition("-")[0]
    assert not any(codec in group for group in dataset.Examples(paths, [codec]).groups)


@pytest.mark.slow
def test_nets_and_filters_score_the_same_frames(clip):
    torch.manual_seed(1)
    found = evaluate(
        {"a net": CorruptionNet().eval()}, [clip], 10,
        device=torch.device("cpu"), workers=1, told=lambda *_: None,
    )  # fmt: skip
    assert any(one.area for one in found.frames)
    assert any(not one.area for one in found.frames)
    for one in found.frames:
        assert set(one.scores) == {"a net", *PEERS}
    assert len({one.scores["blockdetect"] for one in found.frames}) > 1
    assert len(found.tiles["a net"]) == len(found.frames)


@pytest.mark.slow
def test_fitting_goes_on_where_it_stopped(made, tmp_path, monkeypatch):
    monkeypatch.setattr("training.corruption.train._SAVED_EVERY", 3)
    data = dataset.Examples([path for path in made if path.is_file()])
    assert data.hit.any()
    recipe, device = Recipe(steps=6, batch=2), torch.device("cpu")
    seen: list[tuple[int, float]] = []

    def cut_off(*at):
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(at)

    with pytest.raises(KeyboardInterrupt):
        fit(data, recipe, tmp_path / "cut.pt", device, cut_off)
    resumed = fit(data, recipe, tmp_path / "cut.pt", device, lambda *_: None)
    whole = fit(data, recipe, tmp_path / "whole.pt", device, lambda *_: None)
    assert seen[0][0] == 3
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-5)


@pytest.mark.slow
def test_calibration_makes_probabilities_what_they_say(made):
    data = dataset.Examples([path for path in made if path.is_file()])
    torch.manual_seed(3)
    net = CorruptionNet().eval()
    with torch.no_grad():
        net.head.bias += 3.0  # sure of damage everywhere
    done = calibrate(net, data)
    assert set(done) == set(HEADS)
    assert done["corruption"].after < done["corruption"].before


def test_figures_and_card(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    scores = Scores()
    for n in range(40):
        mask = np.zeros((9, 16), bool)
        mask[2:5, 3:8] = n % 2
        shown = (np.where(mask, 0.9, 0.1) + rng.uniform(-0.05, 0.05, mask.shape)).astype(np.float32)
        # the first filter sees it upside down, the others not at all
        peers = dict.fromkeys(PEERS, 1.0) | {"blockdetect": 1.0 - n % 2}
        group = "h264-baked" if n % 4 < 2 else "hevc"
        scores.add(group, {"full": shown}, peers, mask, np.ones_like(mask))
    found = {name: figures(scores, name) for name in ("full", *PEERS)}
    assert found["full"].frame_auc == found["full"].baked_auc == 1.0
    assert found["full"].tile_iou == found["full"].by_codec["hevc"] == 1.0
    assert found["blockdetect"].frame_auc == 1.0
    assert found["bitplanenoise"].frame_auc == 0.5
    monkeypatch.setattr(card, "CARD", tmp_path / "card.md")
    note = {
        "device": "a CPU", "minutes": 1.0, "steps": 6, "batch": 2, "draws": 3, "per_source": 8,
        "stills": 14, "examples": 10, "with_corrupt_tiles": 4, "with_coarse_tiles": 2,
        "fitted": ["a"], "calibrating": ["b"], "unseen": ["c"], "parameters": 270_786,
        "frames": 40, "damaged": 20, "neither": 3,
        "calibration": {h: {"before": 0.1, "after": 0.01, "temperature": 1.2} for h in HEADS},
        "figures": {name: vars(one) for name, one in found.items()},
    }  # fmt: skip
    card.write(note)
    text = (tmp_path / "card.md").read_text()
    assert "270,786 parameters" in text
    assert "| this net | 1.000 | 1.000 | 1.000 | 1.000 |" in text
    assert "| bitplanenoise | 0.500 | 0.500 | – | – |" in text


def test_stills_are_the_same_again_and_intact(tmp_path):
    rng = np.random.default_rng(2)
    paths = []
    for n, (mode, size) in enumerate([("RGB", (700, 420)), ("RGBA", (400, 512)), ("L", (90, 90))]):
        shape = (*size[::-1], len(mode)) if len(mode) > 1 else size[::-1]
        paths.append(tmp_path / f"{n}.png")
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    first, second = (list(stills([*paths, tmp_path / "broken.png"], 3, 4)) for _ in range(2))
    assert len(first) == 8  # the small one gives none
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.luma, other.luma)
        np.testing.assert_array_equal(one.chroma, other.chroma)
        assert one.luma.min() >= 16
        assert one.luma.max() <= 235
        assert (one.labels[0] == CLEAN).all()
        assert (one.labels[1] == IGNORED).all()
    assert any((one.luma[0] != one.luma[1]).any() for one in first)
    files = dataset.make_stills({"noise": paths}, tmp_path / "made", 1, 2)
    assert len(dataset.Examples(files)) == 4
    assert dataset.make_stills({"noise": paths}, tmp_path / "made", 1, 2) == files
