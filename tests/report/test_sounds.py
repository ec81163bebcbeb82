"""Sound of a report: waveforms and spectrograms where the sound was."""

from __future__ import annotations

import math
import re

import av
import numpy as np
import pytest

from pipeline.report import sounds
from pipeline.report.pictures import Deadline
from tests import media


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("m4a", "aac"), ("mkv", "libopus"), ("ts", "aac")]
)
def test_sound_is_where_it_was(tmp_path, suffix, codec):
    rate = 48_000
    sound = np.zeros((2, 8 * rate), np.float32)
    sound[:, 5 * rate : 5 * rate + rate // 10] = 0.5 * np.sin(np.arange(rate // 10) * 0.3)
    path = media.write(tmp_path / f"s.{suffix}", sound=sound, audio_codec=codec)
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        heard = sounds.sound_at(container, 0, 4.8, 5.3, origin, Deadline.after(20))
    assert heard.names == (("1", "2") if suffix == "wav" else ("FL", "FR"))
    assert abs(heard.time - 4.8) < 1e-3
    assert abs(heard.end - 5.3) < 1e-3
    loud = np.flatnonzero(np.abs(heard.samples[0]) > 0.2)
    delay = 0.05 if codec == "aac" else 0.02  # encoder delay, where the container does not tell
    assert abs(heard.time + loud[0] / rate - 5.0) < delay
    assert abs(heard.time + loud[-1] / rate - 5.1) < delay


def test_envelope_keeps_every_peak():
    samples = np.zeros(100_003, np.float32)
    samples[77_777], samples[12] = 0.9, -0.8
    low, high = sounds.envelope(samples, 640)
    assert len(low) == len(high) == 640
    assert (low.min(), high.max()) == (np.float32(-0.8), np.float32(0.9))
    assert [len(part) for part in sounds.envelope(samples[:3], 640)] == [3, 3]


@pytest.mark.parametrize("count", [1, 2, 100, 5000])
def test_waveforms_are_drawn_from_any_number_of_samples(count):
    samples = np.full(count, np.nan, np.float32)
    samples[:: max(count // 2, 1)] = 2.0
    path = sounds.svg_path(samples, 640, 640, 64)
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    assert path.startswith("M")
    assert all(math.isfinite(number) and -1 <= number <= 640 for number in numbers)


def test_spectrogram_shows_a_tone_at_its_height():
    rate = 48_000
    t = np.arange(2 * rate) / rate
    tone = (0.1 * np.sin(2 * np.pi * 6000 * t)).astype(np.float32)[None]
    picture = sounds.spectrogram(sounds.Sound(0.0, rate, tone, ("FC",)), 24_000, (200, 96))
    assert picture.shape == (96, 200, 3)
    brightest = picture[:, 100].astype(int).sum(axis=1).argmax()
    assert 96 - brightest == pytest.approx(24, abs=1.5)  # a quarter of the way up


@pytest.mark.parametrize("count", [1, 30, 500])
def test_spectrogram_of_next_to_nothing(count):
    silence = sounds.Sound(0.0, 8000, np.zeros((1, count), np.float32), ("FC",))
    assert sounds.spectrogram(silence, 4000, (20, 10)).shape == (10, 20, 3)
