"""Dropouts and lost packets: as many holes as stated, of the stated length, amid sound."""

from __future__ import annotations

import numpy as np
import pytest

from faults.truth import Severity
from tests.faults.sounds import damaged, seeds

RATE = 48_000


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("severity", list(Severity))
def test_holes_are_what_the_truth_says(clean_clip, severity, seed):
    fault, after = damaged(clean_clip, "dropout", severity, seed)
    channels = [int(n) for n in fault.truths[0].parameters["channels"].split(", ")]
    assert np.array_equal(np.delete(after, channels, 0), np.delete(clean_clip.sound, channels, 0))
    hit = (after[channels] != clean_clip.sound[channels]).any(axis=0)
    stated = sum(truth.parameters["missing_ms"] for truth in fault.truths) / 1000
    assert hit.sum() / RATE == pytest.approx(stated, abs=0.001)
    count = sum(truth.parameters["holes"] for truth in fault.truths)
    gaps = np.flatnonzero(np.diff(np.flatnonzero(hit)) > 0.02 * RATE)
    assert len(gaps) + 1 == count
    for truth in fault.truths:
        first, stop = round(truth.start * RATE), round(truth.end * RATE)
        for beside in (slice(first - 384, first), slice(stop, stop + 384)):
            assert np.abs(after[channels, beside]).max() > 0.005
    for one, other in zip(fault.truths, fault.truths[1:], strict=False):
        assert other.start - one.end > 0.5


def test_lost_frames_lie_on_the_grid(clean_clip):
    fault, _ = seeds(clean_clip, "dropout", {"frames_of": "aac"})
    assert fault.parameters["hole_ms"] % (1024 / 48) == pytest.approx(0, abs=0.05)
    for truth in fault.truths:
        assert (truth.start * RATE / 1024) % 1 == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("codec", ["aac", "opus"])
def test_packets_that_are_lost(clean_clip, codec):
    wanted = {"codec": codec, "concealment": "silence"}
    fault, after = seeds(clean_clip, "packet_loss_sound", wanted)
    for truth in fault.truths:
        part = after[:, round(truth.start * RATE) : round(truth.end * RATE)]
        size = round(truth.parameters["packet_ms"] * RATE / 1000)
        silent = (part == 0).all(axis=0)
        # coding rings into a hole before resampling alone; here there is none
        assert silent.sum() == pytest.approx(truth.parameters["lost_packets"] * size, abs=size / 4)


def test_more_packets_are_lost_with_severity(clean_clip):
    lost = []
    for severity in (Severity.VERY_SUBTLE, Severity.VERY_NOTICEABLE):
        faults = [damaged(clean_clip, "packet_loss_sound", severity, seed)[0] for seed in range(3)]
        truths = [truth for fault in faults for truth in fault.truths]
        lost.append(sum(truth.parameters["lost_packets"] for truth in truths))
    assert 0 < lost[0] < lost[1] / 3
