"""Level jump: a step that stays; crescendos, pauses and hits are none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.detectors.level_jump import CELL, _Inserts
from pipeline.types import Spectra
from tests import media
from tests.detectors.sounds import AAC, RATE, drums, save
from tests.findings import assert_interval, examine, only_one


def stepped(gain_db, *edges):
    sound = media.programme(16.0)
    t = np.arange(sound.shape[1]) / RATE
    changed = np.searchsorted(edges, t, side="right") % 2 == 1
    return (
        sound * np.where(changed, 1, 10 ** (-abs(gain_db) / 20))
        if gain_db > 0
        else (sound * np.where(changed, 10 ** (gain_db / 20), 1))
    )


@pytest.mark.parametrize("gain", [10, -12])
def test_a_step(tmp_path, gain):
    defect = only_one(examine(save(tmp_path, stepped(gain, 7.0), AAC), "level_jump"), "level_jump")
    assert abs(defect.start - 7.0) <= 0.1
    assert defect.evidence["step_lu"] == pytest.approx(gain, abs=2.5)


def test_a_loud_stretch_is_one_defect(tmp_path):
    defect = only_one(examine(save(tmp_path, stepped(12, 5.0, 11.0)), "level_jump"), "level_jump")
    assert_interval(defect, 5.0, 11.0)


@pytest.mark.parametrize("gain", [12, -12])
def test_an_insert_with_little_around_it(tmp_path, gain):
    rng = np.random.default_rng(0)
    t = np.arange(9 * RATE) / RATE
    lively = 10 ** (np.interp(t, np.arange(0, 9.1, 0.1), rng.normal(-30, 4, 91)) / 20)
    changed = np.where((t >= 2.0) & (t < 6.5), 10 ** (gain / 20), 1)
    sound = rng.normal(0, 1, (2, len(t))) * lively * changed
    defect = only_one(examine(save(tmp_path, sound), "level_jump"), "level_jump")
    assert_interval(defect, 2.0, 6.5, within=0.5)


def test_larger_is_worse(tmp_path):
    small, large = (
        only_one(examine(save(tmp_path, stepped(gain, 7.0)), "level_jump"), "level_jump")
        for gain in (9, 16)
    )
    assert large.severity > small.severity


def crescendo():
    sound = media.programme(16.0)
    return sound * 10 ** (np.linspace(-24, 0, sound.shape[1]) / 20)


def paused():
    sound = media.programme(16.0)
    sound[:, 6 * RATE : 9 * RATE] *= 1e-4
    return sound


def action():
    sound = 0.2 * media.programme(16.0)
    t = np.arange(sound.shape[1]) / RATE
    blast = np.random.default_rng(0).normal(0, 0.3, sound.shape) * np.exp(-(t - 7) / 0.6) * (t > 7)
    return np.clip(sound + blast, -1, 1)


@pytest.mark.parametrize(
    "sound", [crescendo, paused, action, lambda: drums(16.0), lambda: media.programme(16.0)]
)
def test_hard_negatives(tmp_path, sound):
    assert examine(save(tmp_path, sound()), "level_jump").defects == []


def test_clean_media():
    assert examine(media.bunny(), "level_jump").defects == []


def test_a_stretch_shorter_than_a_cell_is_borne():
    inserts = _Inserts()
    power = np.full((CELL - 1, 513), 1e-6, np.float32)
    pairs = np.zeros((CELL - 1, 0, 3, 3), np.float32)
    first = Spectra(0.0, 0.0215, 0.043, np.linspace(0, 24_000, 513), power, (), pairs)
    assert inserts.add(first) == []
    assert inserts.finish() == []
