"""Gaps and jumps: the truth against the timestamps in the file."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest

from faults.base import FaultError
from faults.packets import joints, tracks
from faults.timing import INSTANT
from faults.truth import Severity


def _holes(units):
    """Where nothing begins for longer than usual: [(start, end)] in seconds."""
    times = sorted(unit.time for unit in units)
    usual = float(np.median(np.diff(times)))
    return [(a + usual, b) for a, b in itertools.pairwise(times) if b - a > 1.6 * usual]


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_gap(make, suffix):
    found = make.ways("timestamp_gap", Severity.SUBTLE, suffix, 3, at=(3.0, 3.3))
    for way, (target, fault) in found.items():
        (truth,) = fault.truths
        made = {track.kind: track for track in tracks(target)}
        kinds = {"frames_lost": ["video"], "sound_lost": ["audio"]}.get(way, ["video", "audio"])
        for kind, track in made.items():
            holes = _holes(track.units)
            if kind not in kinds:
                assert holes == []
                continue
            ((start, end),) = holes
            assert start == pytest.approx(truth.start, abs=0.03), way
            assert end == pytest.approx(truth.end, abs=0.03), way
        assert truth.end - truth.start == pytest.approx(0.3, abs=0.045)


def test_gaps_grow(make):
    lengths = []
    for severity in reversed(Severity):
        _, fault = make.put("timestamp_gap", severity, ".ts", 2)
        lengths.append(fault.truths[0].end - fault.truths[0].start)
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize("severity", list(Severity))
def test_jump(make, severity):
    steps = set()
    for seed in (1, 2):
        target, fault = make.put("timestamp_jump", severity, ".ts", seed)
        (truth,) = fault.truths
        jump = truth.parameters["jump_s"]
        assert truth.end - truth.start == pytest.approx(INSTANT)
        with av.open(str(target)) as container:
            packets = [p for p in container.demux(video=0) if p.size]
            assert not any(p.is_corrupt for p in packets)
            dts = np.array([float(p.dts * p.time_base) for p in packets])
            pts = np.array([float(p.pts * p.time_base) for p in packets])
            start = container.start_time / 1e6
        at = int(np.argmax(np.abs(np.diff(dts)))) + 1
        assert dts[at] - dts[at - 1] == pytest.approx(jump + 0.04, abs=0.01)
        assert pts[:at].max() + 0.04 - start == pytest.approx(truth.start, abs=1e-3)
        assert len(packets) == len(make.clean.times)
        steps.add(jump)
    assert len(steps) == 2


def test_jump_needs_a_transport_stream(make):
    with pytest.raises(FaultError, match=r"\.mp4"):
        make.put("timestamp_jump", Severity.SUBTLE, ".mp4", 1)


def test_joints_separate_what_is_shown(make):
    units = tracks(make.source(".mp4"))[0].units
    places = joints(units)
    assert len(places) > 10
    for at in places:
        assert max(u.pts for u in units[:at]) < min(u.pts for u in units[at:])
