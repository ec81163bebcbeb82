"""Dropouts: holes with hard edges, after AAC too; staccato, stops and gated notes are none."""

from __future__ import annotations

import numpy as np
import pytest

from faults.coding import Coder
from tests import media
from tests.detectors.sounds import AAC, PCM, RATE, chiptune, drums, noise, save
from tests.findings import assert_interval, examine, of_kind, only_one


def holed(at, length, channels=slice(None)):
    sound = media.programme(6.0)
    sound[channels, round(at * RATE) : round((at + length) * RATE)] = 0
    return sound


@pytest.mark.parametrize("length", [0.005, 0.01, 0.03, 0.1, 0.6])
def test_holes(tmp_path, length):
    defect = only_one(examine(save(tmp_path, holed(3.03, length)), "dropout"), "dropout")
    assert_interval(defect, 3.03, 3.03 + length, 0.003)


@pytest.mark.parametrize("length", [0.01, 0.03, 0.1, 0.6])
def test_holes_after_aac(tmp_path, length):
    """The stated limit: 10 ms at 128 kb/s."""
    defect = only_one(examine(save(tmp_path, holed(3.03, length), AAC), "dropout"), "dropout")
    assert_interval(defect, 3.03, 3.03 + length, 0.02)


def test_one_channel(tmp_path):
    result = examine(save(tmp_path, holed(3.03, 0.04, slice(0, 1))), "dropout")
    assert only_one(result, "dropout").evidence["channels"] == 1


def test_longer_is_worse_and_each_hole_counts(tmp_path):
    sound = holed(2.03, 0.02)
    sound[:, round(4.1 * RATE) : round(4.3 * RATE)] = 0
    found = of_kind(examine(save(tmp_path, sound), "dropout"), "dropout")
    assert len(found) == 2
    assert found[1].severity > found[0].severity


def stops():
    """Closures of 60 ms before bursts, as in 'apa', down to the tone of the room."""
    t = np.arange(6 * RATE) / RATE
    phase = t % 0.4
    vowel = (
        0.3
        * np.sign(np.sin(2 * np.pi * 110 * t))
        * np.interp(phase, [0, 0.01, 0.25, 0.29, 0.36, 0.362, 0.4], [0, 1, 1, 0, 0, 0.4, 0.1])
    )
    return np.repeat(vowel[None], 2, axis=0) + noise(-58, 6)


def gaps():
    """Notes with gaps of 35 ms at odd times; a codec has softened the edges of most."""
    rng = np.random.default_rng(4)
    t = np.arange(6 * RATE) / RATE
    gain = np.ones(len(t))
    at, count = 0.2, 0
    while at < 5.8:
        ramp = 0.0045 if count % 5 else 0.0002
        edges = [0.0175 - ramp / 2, 0.0175 + ramp / 2]
        gain *= 10 ** np.interp(np.abs(t - at), edges, [-3, 0])
        at, count = at + rng.uniform(0.1, 0.22), count + 1
    return np.repeat((0.3 * gain * np.sign(np.sin(2 * np.pi * 330 * t)))[None], 2, 0) + noise(
        -66, 6
    )


@pytest.mark.parametrize("sound", [drums, chiptune, stops, gaps])
def test_hard_negatives(tmp_path, sound):
    assert examine(save(tmp_path, sound()), "dropout").defects == []


def test_clean_media(tmp_path, clean_programme):
    assert examine(save(tmp_path, clean_programme, PCM), "dropout").defects == []
    assert examine(save(tmp_path, clean_programme, AAC), "dropout").defects == []
    assert examine(media.bunny(), "dropout").defects == []


def lossy(codec, conceal, lost, seconds=6.0):
    """Sound that a real decoder made of a stream without some packets, and where they began."""
    coder = Coder(0.5 * media.programme(seconds), RATE, codec, 64_000)
    starts = [coder.starts()[n] / RATE for n in lost]
    return coder.decode(lost, conceal), starts, coder.size / RATE


@pytest.mark.parametrize("how", [PCM, AAC])
def test_frames_that_come_again(tmp_path, how):
    sound, (start, *_, last), size = lossy("aac", "repeat", [150, 151, 152])
    defect = only_one(examine(save(tmp_path, sound, how), "dropout"), "dropout")
    assert_interval(defect, start, last + size, 0.1)
    assert "concealed" in defect.summary
    assert defect.evidence["log_odds"] > 5


def test_packets_that_libopus_conceals(tmp_path):
    sound, (start, *_, last), size = lossy("opus", "codec", [140, 141, 142, 150, 151])
    defect = only_one(examine(save(tmp_path, sound), "dropout"), "dropout")
    assert_interval(defect, start, last + size, 0.1)


def test_a_stream_that_lost_nothing(tmp_path):
    for codec in ("aac", "opus"):
        sound, *_ = lossy(codec, "silence", [])
        assert examine(save(tmp_path, sound, AAC), "dropout").defects == []
