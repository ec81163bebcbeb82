"""Bandwidth: telephone band and wrong sample rates found; dull sound, codecs and ambience not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, bunny, programme, write


def low_pass(sound, cutoff, order=8):
    sections = signal.ellip(order, 0.5, 60, cutoff, fs=SAMPLE_RATE, output="sos")
    return signal.sosfiltfilt(sections, sound, axis=1).astype(np.float32)


def telephone_rate(sound, factor):
    """Through a third or a sixth of the sample rate and back."""
    taps = signal.firwin(64 * factor + 1, 0.92 / factor)
    down = signal.resample_poly(sound, 1, factor, axis=1, window=taps)
    return signal.resample_poly(down, factor, 1, axis=1, window=taps).astype(np.float32)


def lossy(start, end, change, seconds=11):
    sound = programme(seconds)
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    sound[:, first:last] = change(sound)[:, first:last]
    return sound


@pytest.mark.parametrize(
    ("change", "cutoff"),
    [
        (lambda sound: low_pass(sound, 3400), 3400),
        (lambda sound: telephone_rate(sound, 3), 7700),
        (lambda sound: telephone_rate(sound, 6), 3900),
        (lambda sound: low_pass(sound, 11_000), 11_000),
    ],
    ids=["telephone", "16k", "8k", "mp3"],
)
def test_loss_in_the_middle(tmp_path, change, cutoff):
    path = write(tmp_path / "a.wav", sound=lossy(3, 8, change), audio_codec="pcm_s16le")
    defect = only_one(examine(path, "bandwidth"), "bandwidth_loss")
    assert_interval(defect, 3, 8, 0.15)
    assert defect.evidence["cutoff_hz"] == pytest.approx(cutoff, rel=0.1)
    assert defect.evidence["full_bandwidth_elsewhere"] == 1


def test_loss_through_aac(tmp_path):
    sound = lossy(3, 8, lambda part: low_pass(part, 3400))
    defect = only_one(
        examine(write(tmp_path / "a.mp4", sound=sound), "bandwidth"), "bandwidth_loss"
    )
    assert_interval(defect, 3, 8, 0.5)


def test_loss_in_what_ends_at_13_khz_and_with_images_at_the_top(tmp_path):
    sound = low_pass(programme(11), 13_000)
    lost = low_pass(sound, 5000)
    mirrored = lost * np.resize([1, -1], lost.shape[1])  # what is at 0 Hz lies at 24 kHz
    lost += (0.0003 * mirrored).astype(np.float32)
    sound[:, 3 * SAMPLE_RATE : 8 * SAMPLE_RATE] = lost[:, 3 * SAMPLE_RATE : 8 * SAMPLE_RATE]
    path = write(tmp_path / "a.wav", sound=sound, audio_codec="pcm_s16le")
    defect = only_one(examine(path, "bandwidth"), "bandwidth_loss")
    assert_interval(defect, 3, 8, 0.15)
    assert defect.evidence["full_bandwidth_elsewhere"] == 1


@pytest.mark.slow
def test_whole_asset_is_less_certain_and_lower_is_worse(tmp_path):
    found = []
    for cutoff in (11_000, 8000, 3400):
        path = write(tmp_path / f"{cutoff}.mp4", sound=low_pass(programme(8), cutoff))
        found.append(only_one(examine(path, "bandwidth"), "bandwidth_loss"))
        assert_interval(found[-1], 0, 8, 0.5)
    severity = [defect.severity for defect in found]
    assert severity == sorted(severity)
    path = write(tmp_path / "m.mp4", sound=lossy(3, 8, lambda part: low_pass(part, 3400)))
    middle = only_one(examine(path, "bandwidth"), "bandwidth_loss")
    assert middle.confidence > found[-1].confidence


def test_what_an_encoder_cuts_throughout_is_in_order(tmp_path):
    """FFmpeg's MP2 leaves nothing above 11.9 kHz; sound of 22.05 kHz ends lower."""
    for cutoff, expected in ((11_700, 0), (10_700, 1)):
        sound = low_pass(programme(8), cutoff)
        path = write(tmp_path / f"{cutoff}.wav", sound=sound, audio_codec="pcm_s16le")
        assert len(of_kind(examine(path, "bandwidth"), "bandwidth_loss")) == expected, cutoff


def test_full_or_dull_sound_is_in_order(tmp_path):
    sound = programme(8)
    rng = np.random.default_rng(1)
    t = np.arange(sound.shape[1]) / SAMPLE_RATE
    bass = np.stack([0.2 * np.sin(2 * np.pi * f * t) for f in (82.4, 110.0)])
    old = signal.lfilter(*signal.butter(1, 2500, fs=SAMPLE_RATE), sound, axis=1)  # 6 dB/octave
    ambience = rng.normal(0, 0.003, sound.shape)
    voice = low_pass(programme(8, seed=4), 3400) * 0.5 + ambience  # telephone voice in a room
    sixteen = low_pass(sound, 16_000)
    cases = {"bass": bass, "old": old, "ambience": voice, "16k": sixteen}
    for name, part in cases.items():
        path = write(tmp_path / f"{name}.mp4", sound=part.astype(np.float32))
        assert not examine(path, "bandwidth").defects, name


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_sample_rate_is_no_loss(tmp_path, rate):
    sound = programme(6, rate=rate)
    path = write(tmp_path / "a.wav", sound=sound, sample_rate=rate, audio_codec="pcm_s16le")
    assert not examine(path, "bandwidth").defects


def test_clean(tmp_path):
    path = write(tmp_path / "a.mp4", sound=programme(8))
    assert not of_kind(examine(path, "bandwidth"), "bandwidth_loss")
    assert not of_kind(examine(bunny(), "bandwidth"), "bandwidth_loss")
