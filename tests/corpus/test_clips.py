"""Clean clips: what is joined has neither gaps nor sound out of step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from corpus.clips import prepare
from corpus.sources import recipes, scan
from faults.media import Clean
from tests import media


@pytest.fixture
def takes(tmp_path):
    """Short takes whose sound begins 80 ms before the picture and ends 50 ms before its end.

    A beep comes with a white frame.
    """
    folder = tmp_path / "media" / "takes"
    folder.mkdir(parents=True)
    lead, length, rate = 0.08, 3.0, media.SAMPLE_RATE
    for n in range(4):
        frames = media.scene(length, 160, 96, cuts=0, seed=n + 1)
        sound = 0.02 * media.programme(length + lead - 0.05, 1, seed=n + 1)
        frames[25] = np.full_like(frames[25], 235)
        at = round((lead + 25 / media.RATE) * rate)
        sound[:, at : at + rate // 25] = 0.5 * np.sin(np.arange(rate // 25) * 0.3)
        times = [lead + k / media.RATE for k in range(len(frames))]
        media.write(folder / f"{n}.mkv", frames, sound, times=times, audio_codec="flac")
    return folder.parent


def test_takes_are_joined_without_gaps(takes, tmp_path):
    clips, rejected = prepare(recipes(scan([takes]), 1), tmp_path / "clean", workers=1)
    assert not rejected
    assert len(clips) == 1
    clean = Clean(clips[0].file)
    steps = np.diff(clean.times)
    assert steps.max() < 1.1 / media.RATE  # Matroska rounds times to milliseconds
    white = [p.time for p in clean.pictures() if p.luma.mean() > 200]
    loud = np.flatnonzero(np.abs(clean.sound).max(axis=0) > 0.25) / clean.sample_rate
    assert len(white) >= 3
    for time in white:  # each beep still starts with its white frame
        assert np.abs(loud - time).min() < 0.003
        assert loud[(loud > time - 0.5) & (loud < time + 0.5)].min() > time - 0.003
    shots = [p.luma.astype(int) for p in clean.pictures()]
    steps = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(shots)]
    for join in clips[0].joins:  # a white frame comes and goes, a cut stays
        at = int(np.argmin(np.abs(clean.times - join)))
        assert steps[at - 1] > 3 * np.median(steps)
    assert clips[0].joins == pytest.approx((2.88, 5.76))
    # where a take's sound ends before its picture, the rest is left out: no hole at the join
    blocks = (
        np.abs(clean.sound[0, : clean.sound.shape[1] // 480 * 480]).reshape(-1, 480).max(axis=1)
    )
    assert blocks[20:-20].min() > 1e-5


def test_sound_that_is_off_zero_or_twice_the_same_is_mended(tmp_path):
    folder = tmp_path / "media" / "music"
    folder.mkdir(parents=True)
    one = 0.3 * media.programme(12.0, 1) + 0.02
    media.write(folder / "a.wav", sound=one.repeat(2, axis=0), audio_codec="pcm_s16le")
    clips, rejected = prepare(recipes(scan([folder.parent]), 1), tmp_path / "clean", workers=1)
    assert not rejected
    clean = Clean(clips[0].file)
    assert clean.sound.shape[0] == 1
    assert abs(clean.sound.mean()) < 1e-4
    assert np.abs(clean.sound).max() > 0.1


def test_a_clip_with_missing_frames_is_not_clean(tmp_path):
    folder = tmp_path / "media" / "takes"
    folder.mkdir(parents=True)
    times = [n / media.RATE + (0.08 if n > 60 else 0) for n in range(120)]
    media.write(folder / "a.mkv", media.scene(4.8, 160, 96), times=times)
    clips, rejected = prepare(recipes(scan([folder.parent]), 1), tmp_path / "clean", workers=1)
    assert not clips
    assert "missing in 1 places" in next(iter(rejected.values()))
