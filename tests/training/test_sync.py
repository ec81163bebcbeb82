"""Training of the sync net: mouths are prepared in step, fitting resumes and finds offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.sources import GENERATED, scan
from faults.media import Clean
from models.mouths import SIDE
from models.sync import Calibration
from pipeline.detectors.lags import MOST, STEP, Reading
from pipeline.detectors.sync import SyncSettings
from tests import media
from training.sync import card, dataset
from training.sync.__main__ import folds
from training.sync.calibrate import Said, across, calibrate, read_all
from training.sync.dataset import Take
from training.sync.evaluate import GroupTrials, Trials, evaluate
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
    takes.append(talking(9, GENERATED[0], 30))
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
    found = evaluate(whole, [talking(n, "unseen") for n in range(100, 112)], 1)
    said = read_all(found, calibrate(found, MOST), MOST)
    assert said["unseen", 1.2].right.mean() > 0.8
    assert said["unseen", 5.0].right.all()
    assert card.told_apart(said, 1.2) > 0.8


def curves(lags, clear: float, rng) -> list[np.ndarray]:
    """Curves with a peak at each lag (seconds) of a height above noise of 1."""
    at = np.arange(-MOST, MOST + 1) * STEP
    return [
        (clear * np.exp(-0.5 * ((at - lag) / 0.04) ** 2) + rng.normal(0, 1, len(at))).astype("f4")
        for lag in lags
    ]


def group_of(clear: float, seed: int) -> GroupTrials:
    """A group whose windows of 2.4 s show their lag so clearly."""
    rng = np.random.default_rng(seed)
    made = GroupTrials()
    lags = list(rng.uniform(-0.8, 0.8, 200))
    noise = [curve * 0 + rng.normal(0, 1, len(curve)) for curve in curves(lags, 0.0, rng)]
    made.trials[2.4] = Trials(lags, curves(lags, clear, rng), noise)
    made.series = [np.stack(curves([0.1] * 100, 4.0, rng))]
    return made


def test_calibration_makes_intervals_and_confidence_mean_what_they_say():
    found = {"clear": group_of(9.0, 1), "so-so": group_of(4.5, 2), "dark": group_of(2.0, 3)}
    means = calibrate(found, MOST)
    said = read_all(found, means, MOST)
    clear = said["clear", 2.4]
    assert clear.right.mean() > 0.97
    inside = [one.low <= lag <= one.high for one, lag in zip(clear.own, clear.lag, strict=True)]
    assert 0.85 < np.mean(inside) <= 1
    sure = [one.confidence for of in said.values() for one in of.own]
    right = np.concatenate([of.right for of in said.values()])
    foreign = [one.confidence for of in said.values() for one in of.foreign]
    both = np.array([*sure, *foreign])
    truth = np.array([*right, *np.zeros(len(foreign))])
    confident = both > 0.8
    assert truth[confident].mean() > 0.85
    assert truth[both < 0.2].mean() < 0.2
    assert np.mean(np.array(foreign) > 0.8) < 0.02
    apart = across(found, [{"clear"}, {"so-so", "dark"}], MOST)
    assert apart.keys() == said.keys()


def reading_of(lag: float, confidence: float, clearness: float = 5.0) -> Reading:
    return Reading(lag, lag - 0.02, lag + 0.02, clearness, confidence)


def test_the_card_tells_groups_answers_and_alarms(tmp_path, monkeypatch):
    sure = [reading_of(0.3, 0.9, 9), reading_of(0.01, 0.95, 8), reading_of(0.5, 0.1, 2)]
    foreign = [reading_of(0.0, 0.85, 4), reading_of(-0.7, 0.3, 3), reading_of(0.2, 0.1, 1)]
    one = Said(sure, foreign, np.array([0.31, 0.0, 0.3]))
    said = {("a", 10.0): one}
    assert "| a | – | – | – | – | 66.7% (3) |" in card.table(said)
    assert card.told_apart(said, 10.0) == pytest.approx(7 / 9)
    answers = card.answers(said, SyncSettings(confidence=0.8))
    assert "| 10 s | 66.7% | 100.0% | 33.3% | 33.3% |" in answers
    alarms = card.alarms(said, SyncSettings(confidence=0.8))
    assert alarms.startswith("recall 0.500 ")  # two are 200 ms or more, one of them is told
    assert " 0 false alarms" in alarms
    monkeypatch.setattr(card, "CARD", tmp_path / "card.md")
    note = {
        "steps": 6, "batch": 2, "folds": 2, "device": "a CPU", "minutes": 1.0, "takes": 5,
        "seconds": 9, "generated": ["heads"],
    }  # fmt: skip
    found = {"a": GroupTrials(face=77.0)}
    card.write(note, found, said, said, Calibration(0.3, 4.0, 1.5, 9.0))
    text = (tmp_path / "card.md").read_text()
    assert "a 77" in text
    assert "half_sure 4" in text
