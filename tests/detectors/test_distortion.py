"""Distortion: overdriven stretches found; what has low peaks by nature, or is only louder, not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, write


def overdriven(sound, start, end, drive_db, bias=0.0):
    """With a tanh stage between two times, at the loudness that the sound had there."""
    made = sound.copy()
    part = made[:, round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    peak, level = np.abs(part).max(), np.sqrt((part**2).mean())
    bent = np.tanh(10 ** (drive_db / 20) * (part / peak + bias))
    bent -= bent.mean(axis=1, keepdims=True)
    part[:] = bent * level / np.sqrt((bent**2).mean())
    return made


def lively(seconds, seed=1):
    """Noise as of many voices: peaks 12 to 13 dB over the mean level."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter1d(rng.standard_normal((2, round(seconds * SAMPLE_RATE))), 6, axis=1)
    return (0.05 * noise / noise.std()).astype(np.float32)


@pytest.mark.parametrize(("drive_db", "bias"), [(16, 0.0), (20, 0.0), (18, 0.1)])
def test_an_overdriven_stretch(tmp_path, drive_db, bias):
    sound = overdriven(lively(10), 3.5, 6.0, drive_db, bias)
    defect = only_one(examine(write(tmp_path / "a.mp4", sound=sound), "distortion"), "distortion")
    assert_interval(defect, 3.5, 6.0, 0.3)
    assert defect.evidence["loss_db"] > 4.5
    assert defect.evidence["crest_db"] < 10


def test_the_harder_the_worse(tmp_path):
    severity = [
        only_one(
            examine(
                write(tmp_path / f"{drive}.mp4", sound=overdriven(lively(10), 4, 6.5, drive)),
                "distortion",
            ),
            "distortion",
        ).severity
        for drive in (15, 20)
    ]
    assert severity[0] < severity[1]


@pytest.mark.parametrize(
    "what", ["nothing", "throughout", "louder", "tone", "tone in it", "silence"]
)
def test_what_is_none(tmp_path, what):
    sound = lively(10)
    if what == "throughout":
        sound = overdriven(sound, 0, 10, 22)
    elif what == "louder":
        sound[:, 3 * SAMPLE_RATE : 6 * SAMPLE_RATE] *= 2
    elif what == "tone":
        time = np.arange(sound.shape[1]) / SAMPLE_RATE
        sound[:] = 0.2 * np.sin(2 * np.pi * 440 * time)
    elif what == "tone in it":
        time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
        sound[:, 3 * SAMPLE_RATE : 6 * SAMPLE_RATE] = 0.07 * np.sin(2 * np.pi * 1000 * time)
    elif what == "silence":
        sound[:, 3 * SAMPLE_RATE : 6 * SAMPLE_RATE] = 0
    result = examine(write(tmp_path / "a.mp4", sound=sound), "distortion")
    assert not of_kind(result, "distortion")


@pytest.mark.parametrize(("second", "until"), [(10.0, 12.5), (6.5, 9.5)])
def test_two_stretches(tmp_path, second, until):
    sound = overdriven(overdriven(lively(16), 2.5, 4, 18), second, until, 22)
    found = of_kind(examine(write(tmp_path / "a.mp4", sound=sound), "distortion"), "distortion")
    assert len(found) == 2
    assert_interval(found[0], 2.5, 4, 0.3)
    assert_interval(found[1], second, until, 0.3)
