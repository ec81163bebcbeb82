"""Test tone: line-up and interrupted tone found; notes, beeps and hum not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, bunny, programme, write


def sine(frequency, seconds, level, rate=SAMPLE_RATE):
    """A sine at `level` dBFS (full-scale sine: 0)."""
    t = np.arange(round(seconds * rate)) / rate
    return (10 ** (level / 20) * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


def with_tone(frequency=1000.0, start=3.0, seconds=3.0, level=-18.0):
    sound = programme(9)
    first = round(start * SAMPLE_RATE)
    tone = sine(frequency, seconds, level)
    sound[:, first : first + len(tone)] = tone
    return sound


@pytest.mark.parametrize("frequency", [440.0, 997.0, 1000.0])
@pytest.mark.parametrize("level", [-18.0, -40.0])
def test_line_up_tone(tmp_path, frequency, level):
    path = write(tmp_path / "a.mp4", sound=with_tone(frequency, level=level))
    defect = only_one(examine(path, "test_tone"), "test_tone")
    assert_interval(defect, 3, 6)
    assert defect.evidence["frequency_hz"] == pytest.approx(frequency, rel=0.002)
    assert defect.evidence["level_dbfs"] == pytest.approx(level, abs=1)


def test_louder_is_more_severe(tmp_path):
    severity = []
    for level in (-45.0, -30.0, -18.0):
        path = write(tmp_path / f"{-level}.mp4", sound=with_tone(level=level))
        severity.append(only_one(examine(path, "test_tone"), "test_tone").severity)
    assert severity == sorted(severity)
    assert severity[0] < severity[-1]


def test_shortest_tone_and_beep(tmp_path):
    assert_interval(
        only_one(
            examine(write(tmp_path / "a.mp4", sound=with_tone(seconds=1.0)), "test_tone"),
            "test_tone",
        ),
        3,
        4,
    )
    beep = write(tmp_path / "b.mp4", sound=with_tone(seconds=0.8))
    assert not examine(beep, "test_tone").defects


@pytest.mark.parametrize("channels", [1, 2])
def test_interrupted_tone_is_one(tmp_path, channels):
    """EBU stereo ident: the left channel is off for 0.25 s every 3 s; in mono the whole tone."""
    sound = np.stack([sine(1000, 10, -18)] * channels)
    for start in (2.0, 5.25, 8.5):
        sound[0, round(start * SAMPLE_RATE) : round((start + 0.25) * SAMPLE_RATE)] = 0
    path = write(tmp_path / "a.wav", sound=sound, audio_codec="pcm_s16le")
    defect = only_one(examine(path, "test_tone"), "test_tone")
    assert_interval(defect, 0, 10)
    assert defect.evidence["interruptions"] == 3


def test_notes_are_not_tones(tmp_path):
    t = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    flute = np.sin(2 * np.pi * 587.3 * t + 2 * np.sin(2 * np.pi * 5 * t))  # vibrato
    organ = sum(np.sin(2 * np.pi * 220 * n * t) / n**2 for n in (1, 2, 3, 4))  # harmonics
    bell = np.sin(2 * np.pi * 880 * t) * np.exp(-(t % 2) / 0.7)  # decay
    hum = np.sin(2 * np.pi * 50 * t)
    for name, note in (("flute", flute), ("organ", organ), ("bell", bell), ("hum", hum)):
        sound = (0.2 * np.stack([note, note])).astype(np.float32)
        assert not examine(write(tmp_path / f"{name}.mp4", sound=sound), "test_tone").defects, name


def test_clean_programme(tmp_path):
    path = write(tmp_path / "a.mp4", sound=programme(8))
    assert not of_kind(examine(path, "test_tone"), "test_tone")
    assert not of_kind(examine(bunny(), "test_tone"), "test_tone")


def test_low_sample_rate(tmp_path):
    sound = sine(1000, 4, -18, 8000)[None]
    path = write(tmp_path / "a.wav", sound=sound, sample_rate=8000, audio_codec="pcm_s16le")
    assert_interval(only_one(examine(path, "test_tone"), "test_tone"), 0, 4)
