"""Training of the sync net: mouths are prepared in step, fitting resumes and finds offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.sources import scan
from faults.media import Clean
from models.mouths import SIDE
from tests import media
from training.sync import card, dataset
from training.sync.__main__ import folds
from training.sync.dataset import Take
from training.sync.evaluate import Trials, evaluate
from training.sync.train import Recipe, cut, fit


def talking(seed: int, group: str, pictures: int = 60) -> Take:
    """A drawn mouth that opens as its sound gets louder."""
    rng = np.random.default_rng(seed)
    rate = 16_000
    slow = np.convolve(rng.normal(0, 1, pictures + 8), np.ones(3) / 3, "same")[4:-4]
    wide = np.clip(slow * 1.2, 0, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    skin = 150 + 20 * rng.normal(0, 0.3, (SIDE, SIDE))
    mouth = []
    for opening in wide:
        inside = ((columns - 40) / 22) ** 2 + ((rows - 40) / (2 + 9 * opening)) ** 2 < 1
        mouth.append(np.where(inside, 40, skin).clip(0, 255).astype(np.uint8))
    times = np.arange(pictures * rate // 25) / rate
    loud = np.interp(times, np.arange(pictures) / 25, wide)
    sound = loud * rng.normal(0, 0.1, len(times)) + rng.normal(0, 0.001, len(times))
    return Take(f"{group}-{seed}", group, group, np.stack(mouth),
                (sound.clip(-1, 1) * 32767).astype(np.int16), 60.0)  # fmt: skip


def test_a_take_has_the_mouth_and_its_sound(tmp_path):
    folder = tmp_path / "media"
    (folder / "faces").mkdir(parents=True)
    pictures = [p.frame().to_ndarray(format="rgb24") for p in Clean(media.speaker()).pictures()]
    sound = 0.05 * media.programme(4.0, 1, seed=3)
    sound[:, 96_000:97_920] = 0.5 * np.sin(np.arange(1920) * 0.3)  # 40 ms at 2 s
    media.write(folder / "faces/man.mkv", pictures[:100], sound, audio_codec="flac")
    media.write(folder / "faces/nobody.mkv", media.scene(2.0, 160, 96), sound)
    lines = ["path\tkind\tsource\tgroup"]
    lines += [f"faces/{name}.mkv\tfaces\tcorpus\tgrid:{name}" for name in ("man", "nobody")]
    (folder / "CATALOG.tsv").write_text("\n".join(lines) + "\n")
    told: list[tuple[int, int]] = []
    paths = dataset.prepare(
        scan([folder]), tmp_path / "work", workers=1, told=lambda *at: told.append(at)
    )
    assert told[-1] == (2, 2)
    assert len(paths) == 1  # nobody is in the other
    take = dataset.read(paths[0])
    assert (take.group, take.source) == ("grid:man", "grid")
    assert take.mouth.shape == (100, SIDE, SIDE)
    loud = np.flatnonzero(np.abs(take.sound.astype(int)) > 12_000) / 16_000
    assert loud.min() == pytest.approx(2.0, abs=0.003)
    assert loud.max() == pytest.approx(2.04, abs=0.003)
    mouth, own = cut(take, 50, 1)  # picture 50 is shown from 2.00 to 2.04 s
    assert mouth.shape[0] == 1
    assert np.abs(own[256:-256].numpy().astype(int)).max() > 12_000
    later = cut(take, 50, 1, 0.2)[1]
    assert np.abs(later.numpy().astype(int)).max() < 12_000
    assert (
        dataset.prepare(scan([folder]), tmp_path / "work", workers=1, told=lambda *_: None) == paths
    )


def test_folds_share_the_groups_and_leave_out_generated_heads():
    takes = [talking(n, group, 30) for n, group in enumerate("aaabbcd")]
    takes.append(talking(9, dataset.GENERATED[0], 30))
    made = folds(takes, 2)
    assert sorted(map(sorted, made)) == [["a", "d"], ["b", "c"]]


@pytest.mark.slow
def test_fitting_resumes_and_finds_offsets_of_mouths_it_never_saw(tmp_path, monkeypatch):
    monkeypatch.setattr("training.sync.train._SAVED_EVERY", 20)
    torch.set_num_threads(1)  # small layers: two threads would wait for each other
    takes = [talking(n, f"group {n % 4}") for n in range(40)]
    recipe, device = Recipe(steps=60, batch=8), torch.device("cpu")
    seen: list[tuple[int, float]] = []

    def cut_off(*at):
        seen.append(at)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(takes, recipe, tmp_path / "cut.pt", device, cut_off)
    assert [step for step, _ in seen] == [20, 40]
    resumed = fit(takes, recipe, tmp_path / "cut.pt", device, lambda *at: seen.append(at))
    assert seen[-1][0] == 60
    assert seen[-1][1] < seen[0][1]
    whole = fit(takes, recipe, tmp_path / "whole.pt", device, lambda *_: None)
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-4)
    found = evaluate(whole, [talking(n, "unseen") for n in range(100, 112)], 1)["unseen"]
    assert found[1.2].right > 0.8
    assert found[5.0].right == 1.0
    assert card.told_apart({"unseen": found}, 1.2) > 0.8


def test_the_card_tells_groups_and_foreign_sound(tmp_path, monkeypatch):
    found = {
        "a": {1.2: Trials([0.0, 0.01, 0.2, -0.04], [9, 8, 2, 7], [1, 3, 2, 2])},
        "b": {1.2: Trials([0.5], [1], [4])},
    }
    assert "| a | – | 75.0% (4) | – | – | – |" in card.table(found)
    assert card.told_apart({"a": found["a"]}, 1.2) == pytest.approx(0.875)
    monkeypatch.setattr(card, "CARD", tmp_path / "card.md")
    note = {
        "steps": 6, "batch": 2, "folds": 2, "device": "a CPU", "minutes": 1.0, "takes": 5,
        "seconds": 9, "generated": ["heads"],
    }  # fmt: skip
    card.write(note, found)
    text = (tmp_path / "card.md").read_text()
    assert "| b | – | 0.0% (1) |" in text
    assert "at 1.2 s" in text
