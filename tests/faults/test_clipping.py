"""Clipping is flat, distortion is as loud as before, a step has the stated size."""

from __future__ import annotations

import numpy as np
import pytest

from faults.truth import Severity
from tests.faults.sounds import damaged, seeds

RATE = 48_000


@pytest.mark.parametrize("raised", [True, False])
def test_tops_are_flat(clean_clip, raised):
    made = (damaged(clean_clip, "clipping", seed=seed) for seed in range(20))
    fault, after = next(one for one in made if one[0].truths[0].parameters["raised"] == raised)
    truth = fault.truths[0]
    here = slice(round(truth.start * RATE), round(truth.end * RATE))
    peak = np.abs(after[:, here]).max()
    assert 20 * np.log10(peak) == pytest.approx(truth.parameters["ceiling_dbfs"], abs=0.01)
    flat = (np.abs(after[:, here]) == peak).any(axis=0)
    assert flat.sum() >= truth.parameters["clipped_samples"] * 0.95
    unclipped = np.abs(clean_clip.sound[:, here]).max()
    if not raised:
        assert 20 * np.log10(unclipped / peak) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("wanted", [{"bias": 0.0}, {"bias": 0.2}, {"codec": "mp3"}])
def test_distortion_keeps_the_level(clean_clip, wanted):
    fault, after = seeds(clean_clip, "distortion", wanted)
    truth = fault.truths[0]
    here = slice(round(truth.start * RATE), round(truth.end * RATE))
    before, now = np.square(clean_clip.sound[:, here]).mean(), np.square(after[:, here]).mean()
    assert 10 * np.log10(now / before) == pytest.approx(0, abs=2.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_step(clean_clip, monkeypatch, sign):
    monkeypatch.setitem(clean_clip.__dict__, "sound", clean_clip.sound * np.float32(0.3))
    fault, after = seeds(clean_clip, "level_jump", {"sign": sign}, Severity.VERY_SUBTLE)
    truth = fault.truths[0]
    here = slice(round((truth.start + 0.01) * RATE), round((truth.end - 0.01) * RATE))
    ratio = np.square(after[:, here]).mean() / np.square(clean_clip.sound[:, here]).mean()
    assert 10 * np.log10(ratio) == pytest.approx(6 * sign, abs=0.01)


def test_tone(clean_clip):
    fault, after = seeds(clean_clip, "test_tone", {"frequency_hz": 1000.0, "interrupted": False})
    truth = fault.truths[0]
    start = round((truth.start + 0.01) * RATE)
    part = after[0, start : start + RATE].astype(float)
    spectrum = np.abs(np.fft.rfft(part)) / (RATE / 2)
    assert 20 * np.log10(spectrum[1000]) == pytest.approx(fault.parameters["level_dbfs"], abs=0.01)
    assert np.delete(spectrum, 1000).max() < 1e-4
