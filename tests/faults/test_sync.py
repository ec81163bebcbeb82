"""Sound apart from the picture: how far it was moved is measured on the samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from faults.base import FaultError
from faults.damage import place
from faults.media import Clean
from faults.sync import AvDriftFault, AvOffsetFault, AvStepFault, resampled
from faults.truth import Severity
from pipeline.types import Kind
from tests import media

LADDER = list(reversed(Severity))  # from very subtle on


def _put(fault, clean, severity, seed):
    made = fault(place(fault.name, severity, clean, seed), clean)
    before = clean.sound
    after = made.sound(before.copy(), clean.sample_rate)
    assert after.shape == before.shape
    assert after.dtype == np.float32
    (truth,) = made.truths
    assert truth.kind == fault.kind
    return truth, before, after


def _early(before, after, at, rate, reach=2.2):
    """Seconds by which the sound around `at` comes early, by correlation."""
    size = round(0.3 * rate)
    middle, spread = round(at * rate), round(reach * rate)
    start = max(middle - spread, 0)
    piece = after[0, middle : middle + size].astype(float)
    among = before[0, start : middle + spread + size].astype(float)
    products = np.fft.irfft(np.fft.rfft(among, 2**19) * np.conj(np.fft.rfft(piece, 2**19)), 2**19)[
        : len(among) - size
    ]
    energy = np.cumsum(np.pad(among**2, (1, 0)))
    norm = np.sqrt(np.maximum(energy[size:] - energy[:-size], 1e-9))[: len(products)]
    return (start + int(np.argmax(products / norm)) - middle) / rate


@pytest.mark.parametrize("severity", LADDER)
def test_offset(clean_clip, severity):
    truth, before, after = _put(AvOffsetFault, clean_clip, severity, 1)
    offset = truth.parameters["offset_ms"] / 1000
    for at in (2.5, 5.0):
        assert _early(before, after, at, clean_clip.sample_rate) == pytest.approx(offset, abs=1e-3)
    assert (truth.start, truth.end) == (0.0, clean_clip.duration)


def test_offset_has_both_signs_and_grows(clean_clip):
    found = {
        severity: [
            _put(AvOffsetFault, clean_clip, severity, seed)[0].parameters["offset_ms"]
            for seed in range(6)
        ]
        for severity in LADDER
    }
    assert all(min(values) < 0 < max(values) for values in found.values())
    for one, worse in itertools.pairwise(LADDER):  # each side has limits of its own
        early = [[v for v in found[step] if v > 0] for step in (one, worse)]
        late = [[-v for v in found[step] if v < 0] for step in (one, worse)]
        assert max(early[0]) < min(early[1])
        assert max(late[0]) < min(late[1])


@pytest.mark.parametrize("severity", LADDER)
def test_step(clean_clip, severity):
    truth, before, after = _put(AvStepFault, clean_clip, severity, 3)
    first = round(truth.start * clean_clip.sample_rate)
    assert np.array_equal(before[:, :first], after[:, :first])
    assert not np.array_equal(before[:, first:], after[:, first:])
    assert truth.end == clean_clip.duration
    offset = truth.parameters["offset_ms"] / 1000
    at = truth.start + max(0.0, -offset) + 0.3
    found = _early(before, after, at, clean_clip.sample_rate)
    assert found == pytest.approx(offset, abs=1e-3)


@pytest.mark.parametrize("severity", LADDER)
@pytest.mark.parametrize("seed", [1, 4])
def test_drift(clean_clip, severity, seed):
    rate = clean_clip.sample_rate
    clicks = np.zeros_like(clean_clip.sound)
    clicks[:, 2 * rate :: 4 * rate] = 0.9
    fault = AvDriftFault(place("av_drift", severity, clean_clip, seed), clean_clip)
    after = fault.sound(clicks.copy(), rate)
    (truth,) = fault.truths
    share = truth.parameters["drift_percent"] / 100
    for at in (2.0, 6.0):
        near = slice(round((at - 0.5) * rate), round((at + 0.5) * rate))
        found = (round(0.5 * rate) - int(np.argmax(after[0, near]))) / rate
        assert found == pytest.approx(share * at, abs=1e-3)
    assert truth.parameters["drift_ms_per_hour"] == pytest.approx(3.6e6 * share, rel=1e-3)
    rung = AvDriftFault.ladder[severity]
    side = "early" if share > 0 else "late"
    final = abs(truth.parameters["final_offset_ms"])
    assert rung[f"{side}_from"] - 1 <= final <= rung[f"{side}_to"] + 1


def test_what_is_left_over_is_silence_or_sound(clean_clip):
    seen = set()
    for seed in range(8):
        truth, _, after = _put(AvOffsetFault, clean_clip, Severity.VERY_NOTICEABLE, seed)
        count = round(abs(truth.parameters["offset_ms"]) * clean_clip.sample_rate / 1000)
        hole = after[:, -count:] if truth.parameters["offset_ms"] > 0 else after[:, :count]
        assert hole.any() == (truth.parameters["fill"] == "sound")
        seen.add(truth.parameters["fill"])
    assert seen == {"silence", "sound"}


def test_needs_picture_and_sound(tmp_path):
    clean = Clean(media.write(tmp_path / "song.flac", sound=media.programme(3), audio_codec="flac"))
    with pytest.raises(FaultError, match="no picture"):
        place("av_offset", Severity.SUBTLE, clean, 1)


def test_resampled_keeps_tones():
    line = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000).astype(np.float32)
    made = resampled(line, 48_000, 44_100)
    assert abs(len(made) - 44_100) < 50
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(made)) / 44_100)
    assert np.abs(made - expected)[1000:-1000].max() < 0.01


def test_kinds():
    assert (AvOffsetFault.kind, AvDriftFault.kind, AvStepFault.kind) == (
        Kind.AV_OFFSET,
        Kind.AV_DRIFT,
        Kind.AV_STEP,
    )
