"""Phase: inverted channels and dual mono found; wide stereo, effects and pauses not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, bunny, programme, write


def near_mono(seconds=9, side=0.15, seed=3):
    """A common mix: most of the sound in the middle, some of it only on the sides."""
    middle = programme(seconds, 1, seed=seed)[0]
    sides = programme(seconds, 1, seed=seed + 1)[0]
    return np.stack([middle + side * sides, middle - side * sides]).astype(np.float32)


def inverted(sound, start, end, channel=1):
    sound = sound.copy()
    sound[channel, round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] *= -1
    return sound


@pytest.mark.parametrize("side", [0.0, 0.1, 0.2])
def test_one_channel_inverted(tmp_path, side):
    path = write(tmp_path / "a.mp4", sound=inverted(near_mono(side=side), 2.5, 7))
    defect = only_one(examine(path, "phase"), "phase_inversion")
    assert_interval(defect, 2.5, 7, 0.15)
    assert defect.evidence["correlation"] < -0.7
    assert defect.evidence["mono_loss_db"] > 3


def test_less_in_common_is_less_severe(tmp_path):
    severity = []
    for side in (0.25, 0.12, 0.0):
        path = write(tmp_path / f"{side}.mp4", sound=inverted(near_mono(side=side), 0, 9))
        severity.append(only_one(examine(path, "phase"), "phase_inversion").severity)
    assert severity == sorted(severity)
    assert severity[0] < severity[-1]


def test_pauses_do_not_split(tmp_path):
    sound = inverted(near_mono(), 0, 9)
    sound[:, 3 * SAMPLE_RATE : 5 * SAMPLE_RATE] = 0
    path = write(tmp_path / "a.mp4", sound=sound)
    assert_interval(only_one(examine(path, "phase"), "phase_inversion"), 0, 9, 0.2)


def test_back_pair_of_surround(tmp_path):
    pair = near_mono(8, seed=8)
    sound = np.concatenate([near_mono(8), programme(8, 2, seed=5), inverted(pair, 0, 8)])
    path = write(tmp_path / "a.mp4", sound=sound.astype(np.float32) * 0.7)
    defect = only_one(examine(path, "phase"), "phase_inversion")
    assert defect.summary.startswith("back")


def test_wide_stereo_and_effects_are_in_order(tmp_path):
    left, right = programme(8, 1, seed=1)[0], programme(8, 1, seed=2)[0]
    unrelated = np.stack([left, right])
    rng = np.random.default_rng(1)
    ambience = rng.normal(0, 0.05, (2, 8 * SAMPLE_RATE))
    spectrum = np.fft.rfft(left)
    spectrum[np.fft.rfftfreq(len(left), 1 / SAMPLE_RATE) > 3000] *= -1  # a widener
    widened = np.stack([left, np.fft.irfft(spectrum, len(left))])
    short = inverted(near_mono(8, side=0), 3, 4)
    cases = {"unrelated": unrelated, "ambience": ambience, "widened": widened, "short": short}
    for name, sound in cases.items():
        path = write(tmp_path / f"{name}.mp4", sound=sound.astype(np.float32))
        found = examine(path, "phase").defects
        assert not found, (name, found)


def test_dual_mono(tmp_path):
    mono = programme(8, 1)[0]
    path = write(tmp_path / "a.mka", sound=np.stack([mono, mono]), audio_codec="flac")
    defect = only_one(examine(path, "phase"), "false_stereo")
    assert_interval(defect, 0, 8, 0.2)
    assert defect.severity < 0.25
    assert defect.evidence["level_difference_db"] == pytest.approx(0, abs=0.01)


def test_what_is_not_false_stereo(tmp_path):
    mono = programme(8, 1)[0]
    part = near_mono(8)
    part[:, : 4 * SAMPLE_RATE] = mono[: 4 * SAMPLE_RATE]
    panned = np.stack([mono, 0.7 * mono])
    quiet = np.zeros((2, 8 * SAMPLE_RATE))
    cases = {"mono": mono[None], "part": part, "panned": panned, "silence": quiet}
    for name, sound in cases.items():
        path = write(tmp_path / f"{name}.mp4", sound=sound.astype(np.float32))
        assert not examine(path, "phase").defects, name


def test_clean(tmp_path):
    assert not of_kind(examine(bunny(), "phase"), "phase_inversion")
    assert not examine(write(tmp_path / "a.mp4", sound=programme(8)), "phase").defects
