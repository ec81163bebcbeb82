"""Clipping: flat tops at full scale and below, coded ones where clipping is heavy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from tests import media
from tests.detectors.sounds import AAC, RATE, chiptune, drums, noise, save, tone
from tests.findings import examine, of_kind


def clipped(gain_db, scale=1.0, start=3.0, end=6.0):
    sound = media.programme(9.0)
    part = slice(round(start * RATE), round(end * RATE))
    loud = sound[:, part] * 2 * 10 ** (gain_db / 20)
    sound[:, part] = np.clip(loud, -1, 1) * scale
    return sound


def within(found):
    return found and found[0].start > 2.8 and found[-1].end < 6.2


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("gain", [9, 15])
def test_flat_tops(tmp_path, gain, scale):
    found = of_kind(examine(save(tmp_path, clipped(gain, scale)), "clipping"), "clipping")
    assert within(found)
    assert found[0].evidence["flat_tops_per_s"] > 3


def test_after_aac(tmp_path):
    """The stated limit: 12 dB and more; lighter clipping often hides in the coding noise."""
    found = of_kind(examine(save(tmp_path, clipped(15, 0.7), AAC), "clipping"), "clipping")
    assert within(found)


def test_what_is_cut_off_for_the_most_part(tmp_path):
    rough = signal.lfilter([0.25], [1, -0.75], noise(-10, 9), axis=1)
    sound = (media.programme(9.0) + rough).astype(np.float32)
    middle = slice(3 * RATE, 6 * RATE)
    sound[:, middle] = np.clip(10 * sound[:, middle], -0.6, 0.6)
    assert within(of_kind(examine(save(tmp_path, sound), "clipping"), "clipping"))
    coded = save(tmp_path, clipped(24, 0.6), AAC)
    assert within(of_kind(examine(coded, "clipping"), "clipping"))


def test_peaks_that_are_as_high_belong_to_it_although_they_are_round(tmp_path):
    """As a codec leaves them at either end: of the height of the flat ones between."""
    sound, block = clipped(15, 0.4), RATE // 10
    sound[:, : 3 * RATE] *= 0.2
    sound[:, 6 * RATE :] *= 0.2
    for first in (*range(round(2.3 * RATE), 3 * RATE, block), 6 * RATE, 6 * RATE + block):
        part = sound[:, first : first + block]
        part *= 0.4 / np.abs(part).max()
    (found,) = of_kind(examine(save(tmp_path, sound), "clipping"), "clipping")
    assert found.start == pytest.approx(2.3, abs=0.11)
    assert found.end == pytest.approx(6.2, abs=0.11)


def test_a_flat_peak_of_louder_sound_just_before_hides_nothing(tmp_path):
    sound = clipped(15, 0.2)
    sound[:, : 3 * RATE] *= 0.3
    first = round(2.85 * RATE)
    sound[:, first : first + 480] = 0.9 * np.clip(2 * np.hanning(480), 0, 1)
    found = of_kind(examine(save(tmp_path, sound), "clipping"), "clipping")
    assert [round(one.start) for one in found] == [3]


def test_more_is_worse(tmp_path):
    light, heavy = (
        max(d.severity for d in examine(save(tmp_path, clipped(gain)), "clipping").defects)
        for gain in (9, 20)
    )
    assert heavy > light


def limited():
    """Loud and limited, not clipped: a slow gain holds the peaks at one height."""
    sound = media.programme(8.0)
    size = 240
    peaks = np.abs(sound).max(axis=0).reshape(-1, size).max(axis=1)
    peaks = np.max([np.roll(peaks, shift) for shift in range(-3, 4)], axis=0)
    peaks = np.convolve(np.pad(peaks, 8, mode="edge"), np.hanning(9) / 4, "same")[8:-8]
    gain = 0.9 / np.maximum(
        np.interp(np.arange(sound.shape[1]) / size, range(len(peaks)), peaks), 0.1
    )
    return np.clip(sound * gain, -0.999, 0.999)


def squared():
    """A bass that a fast limiter has squared: what is played with it goes on at its top."""
    time = np.arange(6 * RATE) / RATE
    bass = 4 * np.sin(2 * np.pi * 45 * time + 0.5 * np.sin(2 * np.pi * 0.7 * time))
    bass += 0.8 * np.sin(2 * np.pi * 600 * time + 3 * np.sin(2 * np.pi * 1.1 * time))
    bass += 0.05 * np.random.default_rng(1).standard_normal(time.size)
    held = ndimage.uniform_filter1d(ndimage.maximum_filter1d(np.abs(bass), 193), 193)
    wave = 0.94 * bass / (1 + held**4) ** 0.25
    return np.stack([wave, wave]).astype(np.float32)


@pytest.mark.parametrize(
    "sound",
    [
        drums,
        chiptune,
        limited,
        squared,
        lambda: tone(-0.1, 5, 50),
        lambda: tone(-0.1, 5, 997),
        lambda: media.programme(8.0) * 0.01,
    ],
    ids=["drums", "chiptune", "limited", "squared bass", "sine50", "sine997", "quiet"],
)
def test_hard_negatives(tmp_path, sound):
    assert examine(save(tmp_path, sound()), "clipping").defects == []


def test_clean_media(tmp_path, clean_programme):
    assert examine(save(tmp_path, clean_programme, AAC), "clipping").defects == []
    assert examine(media.bunny(), "clipping").defects == []
