"""Hiss: noise under a programme found and graded; room tone, consonants, rain and applause not."""

from __future__ import annotations

import numpy as np
import pytest

from faults.lookalikes import LOOKALIKES
from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, bunny, programme, write

PAUSES = [(2.6, 3.2), (4.4, 4.7), (5.6, 6.0), (7.8, 8.4), (9.4, 9.8)]


def with_pauses(seconds=11, seed=1):
    """Programme that pauses, as speech does, down to its room tone."""
    rng = np.random.default_rng(seed)
    sound = programme(seconds, seed=seed)
    for start, end in PAUSES:
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        sound[:, first:last] = rng.normal(0, 10 ** (-62 / 20), (2, last - first))
    return sound


def voices(seconds=11):
    """Two who speak in turn, which a net that learned from recordings takes for a programme."""
    silence = np.zeros((2, seconds * SAMPLE_RATE), np.float32)
    return LOOKALIKES["speakers"](None, 110).sound(silence, SAMPLE_RATE).astype(np.float32)


def noise(shape, colour):
    rng = np.random.default_rng(9)
    spectrum = np.fft.rfft(rng.normal(0, 1, shape), axis=-1)
    frequency = np.maximum(np.arange(spectrum.shape[-1]), 1)
    made = np.fft.irfft(spectrum / frequency ** (0.5 * (colour == "pink")), shape[-1], axis=-1)
    return made / made.std()


def hissing(snr, start=3.0, end=8.0, colour="white", of=voices):
    sound = of()
    level = np.sqrt((sound**2).mean()) * 10 ** (-snr / 20)
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    sound[:, first:last] += (level * noise((2, last - first), colour)).astype(np.float32)
    return sound


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr", [10, 20])
def test_hiss_in_the_middle(tmp_path, snr, colour):
    path = write(tmp_path / "a.mp4", sound=hissing(snr, colour=colour))
    defect = only_one(examine(path, "hiss"), "hiss")
    assert_interval(defect, 3, 8, 0.25)
    # of the noise, what lies from 1 to 16 kHz: 2 dB less of white, 4 dB less of pink
    assert defect.evidence["snr_db"] == pytest.approx(snr + (2 if colour == "white" else 4), abs=3)


@pytest.mark.slow
def test_severity_by_ratio(tmp_path):
    severity = []
    for snr in (25, 20, 15, 10):
        path = write(tmp_path / f"{snr}.mp4", sound=hissing(snr))
        severity.append(only_one(examine(path, "hiss"), "hiss").severity)
    assert severity == sorted(severity)
    assert severity[-1] > severity[0] + 0.2


def test_whole_asset(tmp_path):
    path = write(tmp_path / "a.mp4", sound=hissing(18, 0, 11, of=with_pauses))
    assert_interval(only_one(examine(path, "hiss"), "hiss"), 0, 11, 0.2)


def test_weak_hiss_is_let_be(tmp_path):
    for of in (voices, with_pauses):
        path = write(tmp_path / f"{of.__name__}.mp4", sound=hissing(42, of=of))
        assert not examine(path, "hiss").defects


def test_natural_noise_is_no_hiss(tmp_path):
    rng = np.random.default_rng(2)
    n = 9 * SAMPLE_RATE
    t = np.arange(n) / SAMPLE_RATE
    white = rng.normal(0, 0.05, (2, n))
    sea = white * (0.25 + 0.75 * np.sin(2 * np.pi * t / 5) ** 2)
    rain = white.copy()
    drops = np.zeros(n)
    drops[rng.integers(0, n, 400)] = rng.exponential(0.3, 400)
    rain += np.convolve(drops, np.exp(-np.arange(500) / 80))[:n] * rng.normal(0, 1, n)
    claps = np.zeros(n)
    claps[rng.integers(0, n, 700)] = rng.exponential(0.4, 700)
    applause = np.convolve(claps, np.exp(-np.arange(2000) / 400))[:n] * rng.normal(0, 0.3, (2, n))
    cymbals = white * 4 * np.exp(-(t % 1.5) / 0.8)
    cases = {"sea": sea, "rain": rain, "applause": applause, "cymbals": cymbals, "white": white}
    for name, sound in cases.items():
        found = examine(write(tmp_path / f"{name}.mp4", sound=sound.astype(np.float32)), "hiss")
        assert not found.defects, (name, found.defects)


def test_clean(tmp_path):
    cases = {"voices": voices(), "pauses": with_pauses(), "programme": programme(8, seed=2)}
    for name, sound in cases.items():
        path = write(tmp_path / f"{name}.mp4", sound=sound)
        assert not of_kind(examine(path, "hiss"), "hiss"), name
    assert not of_kind(examine(bunny(), "hiss"), "hiss")


def test_a_take_begins_with_its_room_over_hum_too(tmp_path):
    """What was digital silence but for a hum is no less the edge of a take."""
    rng = np.random.default_rng(6)
    t = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    voice = with_pauses(11, seed=3)[:, : len(t)] * (t > 3.2)
    room = rng.normal(0, 10 ** (-54 / 20), (2, len(t))) * (t > 2.0)
    mains = 10 ** (-36 / 20) * np.sin(2 * np.pi * 50 * t)
    sound = (0.7 * voice + room + mains).astype(np.float32)
    path = write(tmp_path / "a.wav", sound=sound, audio_codec="pcm_s16le")
    assert not of_kind(examine(path, "hiss"), "hiss")


def test_under_a_programme_that_fills_the_lower_bands(tmp_path):
    """The upper two octaves tell: a bed of sound up to 3 kHz leaves no pause below."""
    sound = hissing(18)
    bed = np.random.default_rng(4).normal(0, 1, sound.shape)
    spectrum = np.fft.rfft(bed, axis=-1)
    spectrum[:, np.arange(spectrum.shape[1]) * SAMPLE_RATE / sound.shape[1] > 3000] = 0
    bed = np.fft.irfft(spectrum, sound.shape[1], axis=-1)
    swell = 1 + 0.9 * np.sin(2 * np.pi * np.arange(sound.shape[1]) / SAMPLE_RATE / 0.7)
    sound = sound + (0.03 * bed / bed.std() * swell).astype(np.float32)
    defect = only_one(examine(write(tmp_path / "a.mp4", sound=sound), "hiss"), "hiss")
    assert_interval(defect, 3, 8, 0.5)
