"""What is measured of lost packets: that sound repeats itself, steps, and its levels."""

from __future__ import annotations

import numpy as np
import pytest

from models.packet_loss import COARSE, FIGURES, LEVELS, REPEATS
from pipeline.measure.concealment import ConcealmentMeter
from tests import media

PERIOD, LENGTH, AAC, MP3, PACKET, LARGEST, MEAN = range(-REPEATS, 0)


def noise(rate, seconds=1.0, level=0.1):
    return np.random.default_rng(3).normal(0, level, (2, round(seconds * rate))).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_it_does_not_matter_in_what_stretches_the_sound_comes(rate):
    sound = noise(rate)
    whole = ConcealmentMeter(rate).measure(sound, last=True)
    meter = ConcealmentMeter(rate)
    parts = [meter.measure(sound[:, at : at + 3001]) for at in range(0, sound.shape[1], 3001)]
    parts.append(meter.measure(sound[:, :0], last=True))
    assert whole.shape == (sound.shape[1] // meter.cell, FIGURES)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-3)
    assert np.isfinite(whole).all()


def test_a_frame_that_comes_again_is_seen():
    sound = noise(48_000)
    sound[:, 24_000:25_024] = sound[:, 24_000 - 1024 : 24_000]
    figures = ConcealmentMeter(48_000).measure(sound, last=True)
    assert figures[100:104, AAC].min() > 0.99
    assert np.abs(figures[:95, AAC]).max() < 0.5
    assert np.abs(figures[100:104, [MP3, PACKET]]).max() < 0.5


def test_periods_steps_and_levels_are_measured():
    t = np.arange(48_000) / 48_000
    pulses = (t % 0.01 < 0.002).astype(np.float32)[None] - 0.2
    figures = ConcealmentMeter(48_000).measure(0.1 * pulses, last=True)
    assert figures[20:180, PERIOD].min() > 0.99
    np.testing.assert_allclose(figures[20:180, LENGTH] * 0.015, 0.01, atol=3e-4)
    stepped = 0.1 * media.programme(1.0)
    stepped[:, 24_100:] += 0.3
    figures = ConcealmentMeter(48_000).measure(stepped, last=True)
    assert figures[:, LARGEST].argmax() == 100
    assert figures[100, LARGEST] > figures[100, MEAN] + 15
    quiet = ConcealmentMeter(48_000).measure(noise(48_000, level=0.01), last=True)
    loud = ConcealmentMeter(48_000).measure(noise(48_000), last=True)
    others = [n for n in range(COARSE, FIGURES) if n not in LEVELS]
    np.testing.assert_allclose(loud[9:-9, list(LEVELS)], quiet[9:-9, list(LEVELS)] + 20, atol=0.1)
    np.testing.assert_allclose(loud[9:-9, others], quiet[9:-9, others], atol=0.5)
