"""Loudness against the test signals of EBU Tech 3341 and 3342 and against pyloudnorm."""

from __future__ import annotations

import av
import numpy as np
import pyloudnorm
import pytest

from pipeline.types import Kind
from tests import media
from tests.detectors.sounds import AAC, RATE, save, tone
from tests.findings import examine, of_kind, only_one


def steps(*parts):
    return np.concatenate([tone(level, seconds, 1000) for level, seconds in parts], axis=1)


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
    ids=["3341-1", "3341-2", "3341-3", "3341-4", "3341-5"],
)
def test_integrated_loudness_of_tech_3341(tmp_path, sound, expected):
    result = examine(save(tmp_path, steps(*sound)), "loudness")
    assert result.measurements["loudness_integrated_lufs"] == pytest.approx(expected, abs=0.1)


def test_surround_weights_and_lfe_of_tech_3341(tmp_path):
    levels = {"FL": -28, "FR": -28, "FC": -24, "LFE": -10, "BL": -30, "BR": -30}
    names = [channel.name for channel in av.AudioLayout("5.1").channels]
    sound = np.concatenate(
        [tone(levels[name], 20, 1000, channels=1) for name in names if name in levels]
        if set(names) == set(levels)
        else [tone({"SL": -30, "SR": -30, **levels}[name], 20, 1000, channels=1) for name in names]
    )
    path = media.write(tmp_path / "s.mkv", sound=sound, audio_codec="flac", audio_format="s16")
    measured = examine(path, "loudness").measurements["loudness_integrated_lufs"]
    assert measured == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        ([(-20, 20), (-30, 20)], 10),
        ([(-20, 20), (-15, 20)], 5),
        ([(-40, 20), (-20, 20)], 20),
        ([(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15),
    ],
    ids=["3342-1", "3342-2", "3342-3", "3342-4"],
)
def test_loudness_range_of_tech_3342(tmp_path, sound, expected):
    result = examine(save(tmp_path, steps(*sound)), "loudness")
    assert result.measurements["loudness_range_lu"] == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(
    ("frequency", "phase", "level"),
    [
        (RATE / 4, 0, -6),
        (RATE / 4, 45, -6),
        (RATE / 6, 60, -6),
        (RATE / 8, 67.5, -6),
        (RATE / 4, 45, 3),
    ],
    ids=["3341-15", "3341-16", "3341-17", "3341-18", "3341-19"],
)
def test_true_peak_of_tech_3341(tmp_path, frequency, phase, level):
    sound = tone(level, 1.0, frequency, phase=np.radians(phase))
    fade = np.minimum(1, np.minimum(np.arange(RATE), np.arange(RATE)[::-1]) / 2400)
    result = examine(save(tmp_path, sound * fade), "loudness")
    assert level - 0.4 <= result.measurements["true_peak_max_dbtp"] <= level + 0.2


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
def test_agrees_with_pyloudnorm(tmp_path, rate):
    sound = media.programme(12.0, rate=rate)
    path = tmp_path / "s.flac"
    media.write(path, sound=sound, sample_rate=rate, audio_codec="flac", audio_format="s16")
    figures = examine(path, "loudness").measurements
    reference = pyloudnorm.Meter(rate).integrated_loudness(sound.T.astype(np.float64))
    assert figures["loudness_integrated_lufs"] == pytest.approx(reference, abs=0.1)


def test_no_verdict_without_a_target(tmp_path):
    result = examine(save(tmp_path, tone(-3, 5)), "loudness")
    assert result.defects == []
    assert "loudness_integrated_lufs" in result.measurements


def test_too_loud_for_a_target(tmp_path):
    path = save(tmp_path, media.programme(6.0), AAC)
    defects = [
        only_one(examine(path, "loudness", loudness={"target": target}), Kind.LOUDNESS)
        for target in ("r128", "a85")
    ]
    assert defects[0].start == pytest.approx(0, abs=0.05)
    assert defects[0].end == pytest.approx(6.0, abs=0.1)
    assert defects[0].evidence["deviation_lu"] > 0
    louder = save(tmp_path, np.clip(media.programme(6.0) * 2, -1, 1))
    worse = only_one(examine(louder, "loudness", loudness={"target": "r128"}), Kind.LOUDNESS)
    assert worse.severity > defects[0].severity


def test_on_target(tmp_path):
    path = save(tmp_path, tone(-23, 6.0, 1000))
    assert examine(path, "loudness", loudness={"target": "r128"}).defects == []


def test_true_peaks_over_the_limit(tmp_path):
    sound = media.programme(6.0)
    sound[:, 3 * RATE : 3 * RATE + 4800] = tone(-0.2, 0.1, RATE / 4, phase=np.pi / 4)
    result = examine(save(tmp_path, sound), "loudness", loudness={"target": "r128"})
    defect = only_one(result, Kind.TRUE_PEAK)
    assert abs(defect.start - 3) < 0.05
    assert abs(defect.end - 3.1) < 0.05


def test_silence_and_too_little_sound_have_no_loudness(tmp_path):
    path = save(tmp_path, np.zeros((2, 5 * RATE)))
    result = examine(path, "loudness", loudness={"target": "r128"})
    assert result.measurements == {}
    assert result.defects == []
    path = save(tmp_path, tone(-20, 0.2))
    assert "loudness_integrated_lufs" not in examine(path, "loudness").measurements
    path = save(tmp_path, tone(-3, 1.0))
    result = examine(path, "loudness", loudness={"target": "r128"})
    assert "loudness_short_term_max_lufs" not in result.measurements
    assert of_kind(result, Kind.LOUDNESS) == []


def test_loudness_goes_on_over_a_gap(tmp_path):
    whole = steps((-40, 4), (-20, 4))
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="stereo")
        stream.format = "s16"
        for n in range(0, whole.shape[1] - 4096, 4096):
            samples = (whole[:, n : n + 4096] * 32767).astype(np.int16).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "s16", "stereo")
            frame.sample_rate = RATE
            frame.pts = n + (2 * RATE if n > 4 * RATE else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    figures = examine(path, "loudness").measurements
    assert figures["loudness_integrated_lufs"] == pytest.approx(-20, abs=0.3)
    assert figures["loudness_range_lu"] == pytest.approx(20, abs=1)


def test_a_second_track_keeps_its_own_figures(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]
        for stream, level in zip(streams, (-20, -30), strict=True):
            samples = (tone(level, 4, 1000, channels=1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    figures = examine(path, "loudness").measurements
    assert figures["loudness_integrated_lufs"] == pytest.approx(-23, abs=0.1)
    assert figures["loudness_integrated_lufs_stream_1"] == pytest.approx(-33, abs=0.1)


def test_timelines_of_loudness(tmp_path):
    series = examine(save(tmp_path, steps((-23, 6))), "loudness").timelines.series
    momentary, short_term = series["loudness_momentary"], series["loudness_short_term"]
    assert momentary[:3] == [None, None, None]
    assert momentary[10] == pytest.approx(-23, abs=0.1)
    assert short_term[28] is None
    assert short_term[40] == pytest.approx(-23, abs=0.1)
