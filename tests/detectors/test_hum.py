"""Hum: mains lines found under programme and in pauses; bass, engines and room tone not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, bunny, programme, write

WITHIN = 0.3  # seconds: half a window, where the programme covers the lines


def hum(seconds, mains, level, harmonics=(1.0, 0.7, 0.5, 0.3)):
    """Mains hum at `level` dBFS (RMS)."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    lines = sum(a * np.sin(2 * np.pi * mains * (k + 1) * t + k) for k, a in enumerate(harmonics))
    return lines / np.sqrt((lines**2).mean()) * 10 ** (level / 20)


def with_hum(mains=50.0, level=-40.0, start=3.0, seconds=4.0, **options):
    sound = programme(9)
    first = round(start * SAMPLE_RATE)
    added = hum(seconds, mains, level, **options)
    sound[:, first : first + len(added)] += added.astype(np.float32)
    return sound


@pytest.mark.parametrize("mains", [50.0, 49.8, 60.0, 60.3])
@pytest.mark.parametrize("level", [-30.0, -45.0])
def test_hum_under_programme(tmp_path, mains, level):
    path = write(tmp_path / "a.mp4", sound=with_hum(mains, level))
    defect = only_one(examine(path, "hum"), "hum")
    assert_interval(defect, 3, 7, WITHIN)
    assert defect.evidence["fundamental_hz"] == pytest.approx(mains, abs=0.15)
    assert defect.evidence["level_dbfs"] == pytest.approx(level, abs=3)
    assert defect.evidence["lines"] >= 2


@pytest.mark.slow
def test_louder_is_more_severe(tmp_path):
    severity = []
    for level in (-50.0, -42.0, -34.0):
        path = write(tmp_path / f"{-level}.mp4", sound=with_hum(level=level))
        severity.append(only_one(examine(path, "hum"), "hum").severity)
    assert severity == sorted(severity)
    assert severity[0] < severity[-1]


def test_a_faint_line_of_the_room_does_not_stretch_it(tmp_path):
    sound = with_hum(level=-30)
    room = hum(9, 50.0, -56, harmonics=(0.0, 0.0, 0.0, 1.0))
    sound[:, : len(room)] += room.astype(np.float32)
    sound[:, 8 * SAMPLE_RATE :] += 0.5 * room[8 * SAMPLE_RATE :].astype(np.float32)
    defect = only_one(examine(write(tmp_path / "a.mp4", sound=sound), "hum"), "hum")
    assert_interval(defect, 3, 7, WITHIN)


@pytest.mark.parametrize("harmonics", [(1.0,), (0.0, 1.0)])
def test_a_single_line(tmp_path, harmonics):
    path = write(tmp_path / "a.mp4", sound=with_hum(level=-38, harmonics=harmonics))
    assert_interval(only_one(examine(path, "hum"), "hum"), 3, 7, WITHIN)


def test_one_second(tmp_path):
    path = write(tmp_path / "a.mp4", sound=with_hum(level=-36, seconds=1.0))
    assert_interval(only_one(examine(path, "hum"), "hum"), 3, 4, WITHIN)


def test_whole_asset_on_one_channel(tmp_path):
    sound = programme(8)
    sound[1] += hum(8, 60, -42).astype(np.float32)
    defect = only_one(examine(write(tmp_path / "a.mp4", sound=sound), "hum"), "hum")
    assert_interval(defect, 0, 8, WITHIN)
    assert defect.evidence["channel"] == 1


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ((1, 2), True),
        ((1, 3, 5), True),
        ((2, 4, 6), True),  # a rectifier's
        ((3, 4, 5), True),  # the low ones filtered out
        ((3, 6, 9), False),  # a note of 150 Hz with its overtones
        ((6,), False),
        ((4, 5), False),  # a third of 200 and 250 Hz
    ],
)
def test_tones_on_multiples_of_the_mains_are_hum_by_which_they_are(tmp_path, lines, found):
    weights = [1.0 * (n + 1 in lines) for n in range(max(lines))]
    path = write(tmp_path / "a.mp4", sound=with_hum(level=-34, harmonics=weights))
    assert len(of_kind(examine(path, "hum"), "hum")) == found


def test_bass_and_engines_are_not_hum(tmp_path):
    seconds = 10
    t = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    notes = np.zeros(len(t))
    for beat, note in enumerate([49.0, 61.7, 55.0, 49.0, 46.2, 61.7, 49.0, 58.3, 61.7, 49.0]):
        local = np.maximum(t - beat, 0)
        envelope = np.where(t >= beat, np.minimum(local / 0.02, 1) * np.exp(-local / 0.5), 0)
        notes += envelope * sum(np.sin(2 * np.pi * note * n * t) / n for n in (1, 2, 3, 4))
    pitch = 50 + 8 * np.sin(2 * np.pi * 0.15 * t)
    turns = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    engine = sum(np.sin(turns * n) / n for n in (1, 2, 3, 4, 6))
    pedal = sum(np.sin(2 * np.pi * 49 * n * t) / n for n in (1, 2, 3))  # G1, held
    plucked = np.sin(2 * np.pi * 50 * t) * np.exp(-(t % 1) / 0.35)  # at 50 Hz itself
    for name, low in (("bass", notes), ("engine", engine), ("pedal", pedal), ("pluck", plucked)):
        sound = programme(seconds) + (0.1 * low).astype(np.float32)
        found = examine(write(tmp_path / f"{name}.mp4", sound=sound * 0.7), "hum").defects
        assert not found, (name, found)


def test_clean(tmp_path):
    assert not of_kind(examine(write(tmp_path / "a.mp4", sound=programme(9)), "hum"), "hum")
    assert not of_kind(examine(bunny(), "hum"), "hum")


@pytest.mark.parametrize("rate", [8000, 11_025, 96_000])
def test_other_sample_rates(tmp_path, rate):
    t = np.arange(6 * rate) / rate
    sound = np.random.default_rng(1).normal(0, 0.003, (1, len(t)))
    sound += 0.02 * (np.sin(2 * np.pi * 50 * t) + np.sin(2 * np.pi * 100 * t))
    path = write(
        tmp_path / "a.wav",
        sound=sound.astype(np.float32),
        sample_rate=rate,
        audio_codec="pcm_s16le",
    )
    assert_interval(only_one(examine(path, "hum"), "hum"), 0, 6)


def test_in_one_channel_under_what_both_have(tmp_path):
    """Bass in both channels covers it: their difference does not have the bass."""
    rng = np.random.default_rng(4)
    spectrum = np.fft.rfft(rng.normal(0, 1, 60 * SAMPLE_RATE))
    hertz = np.fft.rfftfreq(60 * SAMPLE_RATE, 1 / SAMPLE_RATE)
    bass = np.fft.irfft(np.where((hertz > 30) & (hertz < 400), spectrum, 0))
    sound = np.repeat(0.1 * bass[None] / bass.std(), 2, axis=0)
    # longer than what is remembered: the fit is gone when it ends
    sound[1, 20 * SAMPLE_RATE : 50 * SAMPLE_RATE] += hum(30, 50, -42)
    path = write(tmp_path / "a.wav", sound=sound.astype(np.float32), audio_codec="pcm_s16le")
    defect = only_one(examine(path, "hum"), "hum")
    assert_interval(defect, 20, 50, WITHIN)
    assert defect.evidence["channel"] == 1
    mono = write(tmp_path / "b.wav", sound=sound[1:].astype(np.float32), audio_codec="pcm_s16le")
    assert not of_kind(examine(mono, "hum"), "hum")


@pytest.mark.slow
@pytest.mark.parametrize(("by", "within"), [(0.05, 20), (0.15, 40)])
def test_the_mains_drift(tmp_path, by, within):
    """Grids keep within 0.2 Hz, and one minute of them is one hum."""
    sound = np.tile(programme(8), 10)
    t = np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE
    turns = 2 * np.pi * np.cumsum(50 + by * np.sin(2 * np.pi * t / within)) / SAMPLE_RATE
    lines = sum(np.sin(k * turns) / k for k in range(1, 9))
    lines *= 10 ** (-40 / 20) / np.sqrt((lines**2).mean())
    sound[:, 10 * SAMPLE_RATE : 70 * SAMPLE_RATE] += lines.astype(np.float32)
    path = write(tmp_path / "a.wav", sound=sound, audio_codec="pcm_s16le")
    assert_interval(only_one(examine(path, "hum"), "hum"), 10, 70, WITHIN)
