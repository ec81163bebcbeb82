"""Hum, hiss and DC: what is added has the stated level and the stated spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from faults.sound import programme_level
from faults.truth import Severity
from tests.faults.sounds import damaged, seeds

RATE = 48_000


def added(clean, fault, after):
    """What was added, without its edges."""
    truth = fault.truths[0]
    part = slice(round((truth.start + 0.02) * RATE), round((truth.end - 0.02) * RATE))
    return after[:, part].astype(float) - clean.sound[:, part]


@pytest.mark.parametrize("form", ["hum", "buzz"])
@pytest.mark.parametrize("severity", [Severity.VERY_SUBTLE, Severity.VERY_NOTICEABLE])
def test_hum_has_lines_at_the_mains(clean_clip, form, severity):
    fault, after = seeds(clean_clip, "hum", {"form": form}, severity)
    wave = added(clean_clip, fault, after)
    wave = wave[np.abs(wave).max(axis=1) > 0][0]
    level = 20 * np.log10(np.sqrt(np.square(wave).mean()))
    assert level == pytest.approx(fault.parameters["level_dbfs"], abs=0.5)
    mains = fault.parameters["mains_hz"]
    assert min(abs(mains - 50), abs(mains - 60)) <= 0.1
    spectrum = np.square(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))))
    frequency = np.arange(len(spectrum)) * RATE / len(wave)
    off = np.abs(frequency - np.round(frequency / mains) * mains)
    assert spectrum[off < 2.5].sum() > 0.999 * spectrum.sum()


@pytest.mark.parametrize("colour", ["white", "pink"])
def test_hiss_has_the_stated_ratio(clean_clip, colour):
    fault, after = seeds(clean_clip, "hiss", {"colour": colour})
    truth = fault.truths[0]
    noise = added(clean_clip, fault, after)
    part = clean_clip.sound[:, round(truth.start * RATE) : round(truth.end * RATE)]
    snr = programme_level(part, RATE) - 10 * np.log10(np.square(noise).mean())
    assert snr == pytest.approx(fault.parameters["snr_db"], abs=0.5)
    spectrum = np.square(np.abs(np.fft.rfft(noise, axis=1))).sum(axis=0)
    frequency = np.arange(len(spectrum)) * RATE / noise.shape[1]
    low, high = (
        spectrum[(frequency > edge) & (frequency < 2 * edge)].mean() for edge in (500, 8000)
    )
    assert 10 * np.log10(low / high) == pytest.approx(0 if colour == "white" else 12, abs=1)


def test_offset(clean_clip):
    fault, after = damaged(clean_clip, "dc_offset")
    offset = added(clean_clip, fault, after)
    offset = offset[np.abs(offset).max(axis=1) > 0]
    assert np.allclose(offset, fault.parameters["sign"] * 0.05, atol=1e-6)
