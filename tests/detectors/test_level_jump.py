"""Level jump: a step that stays; crescendos, pauses and hits are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faults.lookalikes import LOOKALIKES
from faults.lookalikes.speech import speech
from pipeline.detectors.inserts import Inserts
from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measurements import SoundFormat
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
    assert_interval(defect, 5.0, 11.0, within=0.35)  # a chord sets in just after the step


@pytest.mark.parametrize("gain", [12, -12])
def test_an_insert_with_little_around_it(tmp_path, gain):
    rng = np.random.default_rng(0)
    t = np.arange(9 * RATE) / RATE
    lively = 10 ** (np.interp(t, np.arange(0, 9.1, 0.1), rng.normal(-30, 4, 91)) / 20)
    changed = np.where((t >= 2.0) & (t < 6.5), 10 ** (gain / 20), 1)
    sound = rng.normal(0, 1, (2, len(t))) * lively * changed
    defect = only_one(examine(save(tmp_path, sound), "level_jump"), "level_jump")
    assert_interval(defect, 2.0, 6.5, within=0.5)


@pytest.mark.parametrize("pause", [0.5, 0.8])
def test_an_insert_with_a_pause(tmp_path, pause):
    rng = np.random.default_rng(0)
    t = np.arange(14 * RATE) / RATE
    lively = 10 ** (np.interp(t, np.arange(0, 14.1, 0.1), rng.normal(-32, 4, 141)) / 20)
    changed = np.where((t >= 4.0) & (t < 10.0), 10 ** (11 / 20), 1)
    changed = changed * np.where(np.abs(t - 7) < pause / 2, 10 ** (-30 / 20), 1)
    sound = rng.normal(0, 1, (2, len(t))) * lively * changed
    defect = only_one(examine(save(tmp_path, sound), "level_jump"), "level_jump")
    assert_interval(defect, 4.0, 10.0, within=0.8)


def test_an_insert_over_which_the_programme_changes(tmp_path):
    """Music that grows by as much as the gain goes down: only the instants tell."""
    rng = np.random.default_rng(3)
    t = np.arange(11 * RATE) / RATE
    tilt = np.clip((t - 2.5) / 2.5, 0, 1) * 4  # dB, in the upper half alone
    noise = np.fft.rfft(rng.normal(0, 0.03, (2, len(t))), axis=1)
    split = int(noise.shape[1] * 1000 / (RATE / 2))
    low, high = noise.copy(), noise
    low[:, split:], high[:, :split] = 0, 0
    sound = np.fft.irfft(low, len(t), 1) + np.fft.irfft(high, len(t), 1) * 10 ** (tilt / 20)
    sound *= np.where((t >= 3.1) & (t < 7.4), 10 ** (-11 / 20), 1)
    defect = only_one(examine(save(tmp_path, sound, AAC), "level_jump"), "level_jump")
    assert_interval(defect, 3.1, 7.4, within=0.1)


@pytest.mark.slow
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


def two_speakers():
    """Turns of one who is 10 dB softer, in one room: its noise is the same under both."""
    rng = np.random.default_rng(1)
    t = np.arange(14 * RATE) / RATE
    syllables = 10 ** (np.interp(t, np.arange(0, 14.1, 0.15), rng.normal(-26, 7, 94)) / 20)
    level = np.where((t >= 4.0) & (t < 8.5), 10 ** (-10 / 20), 1) * syllables
    level[(t % 1.1) < 0.25] = 0  # they breathe
    return rng.normal(0, 1, (2, len(t))) * (level + 0.002)


def speakers_in_turn():
    """One is 10 dB softer, and both speak within what would be an insert."""
    made = LOOKALIKES["speakers"](None, 110)
    return made.sound(np.zeros((2, 10 * RATE), np.float32), RATE)


def a_talk_that_fades_in_and_out():
    rng = np.random.default_rng(6)
    voice = speech(9 * RATE, RATE, rng)
    sound = 0.1 * voice / np.sqrt((voice**2).mean()) + rng.normal(0, 3e-4, (2, 9 * RATE))
    t = np.arange(9 * RATE) / RATE
    return np.clip(sound * np.clip(t / 1.5, 0, 1) ** 2 * np.clip((9 - t) / 2, 0, 1) ** 2, -1, 1)


def a_choir_sets_in():
    """High voices join low ones at once and stay: louder, but not by the same everywhere."""
    t = np.arange(16 * RATE) / RATE
    low = sum(np.sin(2 * np.pi * f * t + f) for f in (98, 147, 196, 294))
    high = sum(np.sin(2 * np.pi * f * t + f) for f in (587, 880, 1175, 1760, 2637, 3520))
    sound = 0.03 * low + 0.08 * high * (t >= 7)
    return np.stack([sound, sound]) + np.random.default_rng(2).normal(0, 1e-3, (2, len(t)))


@pytest.mark.parametrize(
    "sound",
    [
        crescendo,
        paused,
        action,
        two_speakers,
        speakers_in_turn,
        a_talk_that_fades_in_and_out,
        a_choir_sets_in,
        lambda: drums(16.0),
        lambda: media.programme(16.0),
    ],
)
def test_hard_negatives(tmp_path, sound):
    assert examine(save(tmp_path, sound()), "level_jump").defects == []


def test_clean_media():
    assert examine(media.bunny(), "level_jump").defects == []


def test_windows_may_come_in_stretches_of_any_length():
    sound = stepped(-12, 5.0, 9.5).astype(np.float32)
    spectra = SpectrumMeter(SoundFormat(0, RATE, 2, "stereo")).measure(sound, 0.0)
    found = []
    for length in (len(spectra.power), 47, 3):
        inserts, got = Inserts(), []
        for first in range(0, len(spectra.power), length):
            part = slice(first, first + length)
            got += inserts.add(
                replace(
                    spectra,
                    time=spectra.time + first * spectra.hop,
                    power=spectra.power[part],
                    cross=spectra.cross[part],
                    wave=spectra.wave[part],
                )
            )
        found.append(got + inserts.finish())
    assert len(found[0]) == 1
    for one in found:
        assert [(it.start, it.end) for it in one] == [(it.start, it.end) for it in found[0]]
        assert one[0].odds == pytest.approx(found[0][0].odds, abs=1e-3)


def test_no_sound_at_all_is_borne():
    inserts = Inserts()
    assert inserts.finish() == []
    assert not inserts.is_gain(1.0, up=True)
    spectra = SpectrumMeter(SoundFormat(0, RATE, 1, "mono")).measure(
        np.zeros((1, 3000), np.float32), 0.0
    )
    assert inserts.add(spectra) == []
    assert inserts.finish() == []
