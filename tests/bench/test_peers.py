"""FFmpeg's filters: parsing and deciding."""

from __future__ import annotations

import numpy as np
import pytest

from bench.accuracy import operating, peers
from bench.accuracy.operating import Tuned
from bench.accuracy.peers import BY_NAME, Measured
from bench.accuracy.score import Outcome, Wanted
from tests import media

needs_ffmpeg = pytest.mark.skipif(peers.available() is None, reason="ffmpeg is not installed")


def test_parse():
    text = "frame:0    pts:0       pts_time:0\nlavfi.block=4.5\nlavfi.x=a=b\n"
    text += "frame:1 pts:1 pts_time:0.04\n"
    assert peers.parse(text) == [(0.0, {"lavfi.block": "4.5", "lavfi.x": "a=b"}), (0.04, {})]


def test_runs_bridge_gaps_and_drop_what_is_short():
    times = np.arange(10) / 10
    holds = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 1], bool)
    found = peers.runs(times, holds, 1.0, 0, 0)
    assert np.allclose(found, [(0.1, 0.3), (0.4, 0.5), (0.8, 1.0)])
    assert np.allclose(peers.runs(times, holds, 1.0, 0.3, 0.1), [(0.1, 0.5)])
    assert peers.runs(np.zeros(0), np.zeros(0, bool), 1.0, 0, 0) == []


def test_tuning_finds_the_threshold_between():
    peer = BY_NAME["blockdetect"]
    times = (np.arange(100) / 10).tolist()
    files = []
    for source in "ab":
        values = [5.0 if 30 <= n < 50 else 1.0 + n % 3 / 10 for n in range(100)]
        measured = Measured(series={"blockdetect": (times, values)})
        files.append((measured, Outcome(source, [Wanted(3.0, 5.0)])))
    point = operating.tune(peer, files)
    assert 1.2 <= point.threshold < 5
    assert point.dev_f1 == 1.0
    found = operating.decide(peer, files[0][0], point)
    assert (found[0].start, found[0].end) == pytest.approx((3.0, 5.0))
    assert operating.tune(peer, [(Measured(), files[0][1])]) is None


@needs_ffmpeg
def test_a_black_and_silent_passage(tmp_path):
    frames = media.scene(6.0, 160, 96)
    for n in range(50, 125):
        frames[n] = np.zeros_like(frames[n])
    sound = media.programme(6.0)
    sound[:, 2 * 48_000 : 5 * 48_000] = 0
    path = media.write(tmp_path / "clip.mkv", frames, sound, audio_codec="flac")
    measured = peers.measure(path, peers.PEERS, picture=True, sample_rate=48_000)
    assert set(measured.series) == set(BY_NAME)
    black = measured.decided["blackdetect"]
    assert [pytest.approx(one, abs=0.1) for one in black] == [(2.0, 5.0)]
    assert measured.decided["silencedetect"][0] == pytest.approx((2.0, 5.0), abs=0.2)
    assert measured.decided["freezedetect"][0] == pytest.approx((2.0, 5.0), abs=0.2)
    point = Tuned(threshold=95, min_duration=0, max_gap=0, dev_f1=1)
    found = operating.decide(BY_NAME["blackdetect"], measured, point)
    assert (found[0].start, found[0].end) == pytest.approx((2.0, 5.0), abs=0.1)
    dropped = dict(zip(*measured.series["mpdecimate"], strict=True))
    assert sum(dropped[t] for t in dropped if 2.2 < t < 4.8) > 50


@needs_ffmpeg
def test_mono_has_no_phase(tmp_path):
    path = media.write(tmp_path / "m.wav", sound=media.programme(3.0)[:1], audio_codec="pcm_s16le")
    measured = peers.measure(path, peers.PEERS, picture=False, sample_rate=48_000, stereo=False)
    assert "aphasemeter mono" not in measured.series
    assert "ebur128 I" in measured.series
    assert "blackdetect" not in measured.series
