"""Dead channel: left, right or centre; surrounds and pauses are not."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.detectors.sounds import AAC, PCM, RATE, noise, save
from tests.findings import assert_interval, examine, only_one


@pytest.mark.parametrize("how", [PCM, AAC], ids=["pcm", "aac"])
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(("start", "end"), [(3.0, 6.0), (0.0, 8.0)])
def test_a_channel_of_stereo(tmp_path, channel, start, end, how):
    sound = media.programme(8.0)
    sound[channel, round(start * RATE) : round(end * RATE)] = 0
    defect = only_one(examine(save(tmp_path, sound, how), "dead_channel"), "dead_channel")
    assert_interval(defect, start, end)
    assert defect.evidence["channel"] == channel


def test_longer_is_worse_and_noise_less_certain(tmp_path):
    found = []
    for end, floor in ((5.5, None), (9.0, None), (9.0, -68)):
        sound = media.programme(10.0)
        part = slice(3 * RATE, round(end * RATE))
        sound[1, part] = 0 if floor is None else noise(floor, end - 3)[0]
        found.append(only_one(examine(save(tmp_path, sound), "dead_channel"), "dead_channel"))
    assert found[1].severity > found[0].severity
    assert found[2].confidence < found[1].confidence


def test_silent_lfe_and_surrounds_are_normal(tmp_path):
    sound = media.programme(6.0, channels=6)
    sound[3:] = 0
    path = media.write(tmp_path / "s.mkv", sound=sound, audio_codec="flac", audio_format="s16")
    assert examine(path, "dead_channel").defects == []
    sound[0] = 0
    path = media.write(tmp_path / "s.mkv", sound=sound, audio_codec="flac", audio_format="s16")
    assert only_one(examine(path, "dead_channel"), "dead_channel").evidence["channel"] == 0


def test_clean(tmp_path, clean_programme):
    quiet = clean_programme.copy()
    quiet[:, 2 * RATE : 6 * RATE] = 0  # silence is not one channel's
    for sound in (clean_programme, clean_programme[:1], quiet, np.zeros_like(quiet)):
        assert examine(save(tmp_path, sound), "dead_channel").defects == []
    assert examine(media.bunny(), "dead_channel").defects == []
