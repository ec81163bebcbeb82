"""Distortion: overdriven and starved stretches; what is so throughout, or only louder, is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from faults.coding import Coder
from models.distortion import INPUTS, REACH, Distortion, rows, shared
from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measurements import SoundFormat
from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import SAMPLE_RATE, programme, write


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


@pytest.mark.parametrize("make", [lively, lambda seconds: 0.3 * programme(seconds)])
@pytest.mark.parametrize(("drive_db", "bias"), [(14, 0.0), (20, 0.0), (18, 0.1)])
def test_an_overdriven_stretch(tmp_path, make, drive_db, bias):
    sound = overdriven(make(10), 3.5, 6.0, drive_db, bias)
    defect = only_one(examine(write(tmp_path / "a.mp4", sound=sound), "distortion"), "distortion")
    assert_interval(defect, 3.5, 6.0, 0.35)
    assert defect.evidence["overdriven_log_odds"] > 2
    assert defect.evidence["rise"] > 3
    assert "driven too hard" in defect.summary


@pytest.mark.parametrize(
    ("codec", "settings"),
    # what MP3 makes of noise is heard, but stands out by less than is asked for
    [("aac", {}), ("mp3", {"min_rise": 2.5, "min_weight": 4.0})],
)
def test_a_codec_with_far_too_few_bits(tmp_path, codec, settings):
    sound = lively(10)
    span = slice(round(3.5 * SAMPLE_RATE), 6 * SAMPLE_RATE)
    coded = Coder(
        np.ascontiguousarray(sound[:, span]), SAMPLE_RATE, codec, 8000,
        24_000 if codec == "mp3" else None,
    ).decode()  # fmt: skip
    sound[:, span] = coded
    file = write(tmp_path / "a.mp4", sound=sound)
    defect = only_one(examine(file, "distortion", distortion=settings), "distortion")
    assert_interval(defect, 3.5, 6.0, 0.3)
    assert "too few bits" in defect.summary


def test_the_harder_the_worse(tmp_path):
    severity = [
        only_one(
            examine(
                write(tmp_path / f"{drive}.mp4", sound=overdriven(lively(10), 4, 6.5, drive)),
                "distortion",
            ),
            "distortion",
        ).severity
        for drive in (8, 16)
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


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_rows_of_any_rate_are_finite_and_of_silence_too(rate):
    meter = SpectrumMeter(SoundFormat(0, rate, 1, "mono"))
    for sound in (np.zeros((1, rate)), np.random.default_rng(1).normal(0, 0.1, (1, rate))):
        spectra = meter.measure(sound.astype(np.float32), 0.0)
        taken = rows(spectra.power, float(spectra.frequencies[-1]), spectra.wave)
        assert taken.shape == (len(spectra.power), INPUTS)
        assert np.isfinite(taken).all()
        assert np.isfinite(shared().ask(taken)).all()


def test_what_streams_share_changes_no_bit():
    draw = np.random.default_rng(3)
    asked = [draw.normal(0, 1, (n, INPUTS)).astype(np.float32) for n in (53, 54, 53, 1, 53)]
    together = Distortion().together(asked)
    for windows, said in zip(asked, together, strict=True):
        np.testing.assert_array_equal(said, shared().ask(windows))
        # what they are filled up with is as if it were not there
        np.testing.assert_allclose(said, Distortion().of(windows), atol=1e-4)


def test_an_output_depends_on_no_more_than_it_says():
    taken = np.random.default_rng(2).normal(0, 1, (80, INPUTS)).astype(np.float32)
    whole = shared().ask(taken)
    part = shared().ask(taken[10:70])
    np.testing.assert_allclose(part[REACH:-REACH], whole[10 + REACH : 70 - REACH], atol=1e-4)
    taken[40] += 5.0
    moved = np.flatnonzero(np.abs(shared().ask(taken) - whole).max(axis=1) > 1e-6)
    assert (moved.min(), moved.max()) == (40 - REACH, 40 + REACH)
