"""Figures of the wave against what is known of waves by calculation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measure.wave import wave_figures
from pipeline.measurements import WAVE_BINS, SoundFormat

SIZE = 4800
TIME = np.arange(SIZE) / 48_000
SINE = 0.5 * np.sin(2 * np.pi * 1000 * TIME + np.pi / 48)  # no sample is zero


def figures(*channels):
    (made,) = wave_figures(np.array(channels, np.float32)[:, None, :])
    return made


@pytest.mark.parametrize(
    ("wave", "crest", "kurtosis"),
    [
        (SINE, np.log10(np.sqrt(2)), np.log(1.5)),
        (0.5 * np.sign(SINE), 0.0, 0.0),
        (np.linspace(-0.5, 0.5, SIZE), np.log10(np.sqrt(3)), np.log(1.8)),
    ],
)
def test_crest_factor_and_kurtosis_are_those_of_the_shape(wave, crest, kurtosis):
    found = figures(wave)
    assert found[1] == pytest.approx(crest, abs=0.01)
    assert found[2] == pytest.approx(kurtosis, abs=0.01)
    assert found[3] == pytest.approx(0.0, abs=0.01)
    # how loud it is changes nothing but the level
    quiet = figures(0.1 * wave)
    assert quiet[0] == pytest.approx(found[0] - 1.0, abs=1e-3)
    np.testing.assert_allclose(quiet[1:], found[1:], atol=2e-3)


def test_shares_are_of_the_samples_between_the_peaks():
    even = figures(np.linspace(-0.3, 0.3, SIZE))[4:]
    np.testing.assert_allclose(even, 1 / WAVE_BINS, atol=1e-3)
    square = figures(0.3 * np.sign(SINE))[4:]
    assert square[0] == pytest.approx(0.5, abs=0.01)
    assert square[-1] == pytest.approx(0.5, abs=0.01)
    cut = figures(np.clip(SINE, -0.5, 0.1))
    assert cut[3] < -0.3  # skewed
    assert cut[4:].sum() == pytest.approx(1.0)


def test_the_loudest_channel_counts_and_silence_has_finite_figures():
    np.testing.assert_array_equal(figures(SINE, 0.01 * TIME), figures(SINE))
    np.testing.assert_array_equal(figures(0.01 * TIME, SINE), figures(SINE))
    assert np.isfinite(figures(0 * SINE)).all()


def test_windows_are_those_of_the_spectra_however_the_sound_comes():
    sound = np.random.default_rng(1).normal(0, 0.1, (2, 48_000)).astype(np.float32)
    form = SoundFormat(0, 48_000, 2, "stereo")
    whole = SpectrumMeter(form).measure(sound, 0.0)
    assert whole.wave.shape == (len(whole.power), 4 + WAVE_BINS)
    first, second = sound[:, 2048:4096], sound[:, 1024:3072]
    np.testing.assert_array_equal(whole.wave[2], wave_figures(first[:, None])[0])
    np.testing.assert_array_equal(whole.wave[1], wave_figures(second[:, None])[0])
    meter = SpectrumMeter(form)
    parts = [meter.measure(part, 0.0).wave for part in np.array_split(sound, 7, axis=1)]
    np.testing.assert_array_equal(np.concatenate(parts), whole.wave)
