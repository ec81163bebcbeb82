"""Silence: mutes of all kinds are found, pauses are not."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.detectors.sounds import AAC, PCM, RATE, noise, save
from tests.findings import assert_interval, examine, only_one


def muted(start, end, floor=None, seconds=12.0):
    sound = media.programme(seconds)
    a, b = round(start * RATE), round(end * RATE)
    sound[:, a:b] = 0 if floor is None else noise(floor, end - start)[:, : b - a]
    return sound


@pytest.mark.parametrize("how", [PCM, AAC], ids=["pcm", "aac"])
@pytest.mark.parametrize(
    ("start", "end", "floor"),
    [(4.0, 5.3, None), (4.0, 7.0, None), (4.0, 8.0, -50), (4.0, 8.0, -70), (0.0, 3.0, None)],
)
def test_a_mute_is_found(tmp_path, start, end, floor, how):
    result = examine(save(tmp_path, muted(start, end, floor), how), "silence")
    assert_interval(only_one(result, "silence"), start, end)


def test_longer_and_digital_is_worse(tmp_path):
    short = only_one(examine(save(tmp_path, muted(4, 6.5)), "silence"), "silence")
    long = only_one(examine(save(tmp_path, muted(3, 9)), "silence"), "silence")
    noisy = only_one(examine(save(tmp_path, muted(3, 9, -50)), "silence"), "silence")
    assert long.severity > short.severity
    assert long.confidence > noisy.confidence


@pytest.mark.parametrize("level", [None, -75])
def test_an_asset_that_is_silent_all_through(tmp_path, level):
    sound = np.zeros((2, 5 * RATE)) if level is None else noise(level, 5)
    defect = only_one(examine(save(tmp_path, sound), "silence"), "silence")
    assert_interval(defect, 0, 5)
    assert defect.severity == 1


def test_a_quiet_piece_with_an_artists_pause_is_clean(tmp_path):
    t = np.arange(12 * RATE) / RATE
    strings = 0.02 * np.sin(2 * np.pi * 220 * t) * (1 + 0.5 * np.sin(2 * np.pi * 0.3 * t))
    pause = np.interp(t, [0, 4, 5.2, 7.2, 7.3, 12], [1, 1, 0, 0, 1, 1]) ** 2
    sound = np.stack([strings, 0.8 * strings]) * pause + noise(-68, 12)
    assert examine(save(tmp_path, sound), "silence").defects == []


def test_pauses_of_speech_and_the_beginning_and_end_are_clean(tmp_path):
    sound = media.programme(12.0)
    t = np.arange(sound.shape[1]) / RATE
    talk = np.interp(t, [0, 0.8, 0.9, 4, 4.2, 5.4, 5.5, 11, 11.3], [0, 0, 1, 1, 0, 0, 1, 1, 0])
    sound = sound * talk + noise(-62, 12)
    assert examine(save(tmp_path, sound), "silence").defects == []


def test_clean_media(tmp_path, clean_programme):
    assert examine(save(tmp_path, clean_programme, AAC), "silence").defects == []
    assert examine(media.bunny(), "silence").defects == []
