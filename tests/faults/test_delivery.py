"""Damaged delivery: playlists, changes of format, streams that decode with errors."""

from __future__ import annotations

import itertools

import av
import pytest

from faults import FAULTS
from faults.base import FaultError
from faults.damage import damage, place
from faults.decode_error import complaints
from faults.media import Clean
from faults.packets import tracks
from faults.truth import Severity


def _segments(playlist):
    lines = playlist.read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    lengths = [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    return names, lengths


def test_playlist_of_another_fault(make, tmp_path):
    """Through the driver: what is no fault of a playlist is delivered in segments all the same."""
    target = tmp_path / "list.m3u8"
    said = damage(make.clean, target, [place("black", Severity.SUBTLE, make.clean, 1)])
    assert said.file == target.name
    names, lengths = _segments(target)
    assert len(names) == 8
    assert sum(lengths) == pytest.approx(8.0, abs=0.05)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, target.name])
    assert len(Clean(target).times) == 200
    assert complaints(target) == []


def test_missing_segments_through_the_driver(make, tmp_path):
    target = tmp_path / "list.m3u8"
    for seed in range(9):
        orders = [
            place("segment_missing", Severity.SUBTLE, make.clean, seed),
            place("black", Severity.SUBTLE, make.clean, seed),
        ]
        said = damage(make.clean, target, orders)
        (truth,) = [truth for truth in said.truths if truth.kind == "segment_missing"]
        if truth.parameters["way"] == "missing":
            break
        for path in tmp_path.iterdir():
            path.unlink()
    names, _ = _segments(target)
    assert len(names) == 8
    assert sum(target.with_name(name).exists() for name in names) == 6


def test_segments(make):
    found = make.ways("segment_missing", Severity.SUBTLE, ".m3u8", 3, at=(3.0, 5.0))
    for way, (target, fault) in found.items():
        (truth,) = fault.truths
        names, lengths = _segments(target)
        begins = [sum(lengths[:n]) for n in range(len(names) + 1)]
        assert truth.start == pytest.approx(3.0, abs=0.05)
        gone = [name for name in names if not target.with_name(name).exists()]
        if way == "missing":
            assert gone == names[3:5]
            assert truth.end == pytest.approx(begins[5], abs=0.05)
            assert len(Clean(target).times) == 150
        else:
            assert gone == []
        if way == "repeated":
            assert names[2] == names[3] == names[4] != names[5]
        if way == "swapped":
            assert names[3:6] == [f"{target.stem}-{n:03d}.ts" for n in (4, 5, 3)]


def test_segments_need_a_playlist(make):
    with pytest.raises(FaultError, match="playlist"):
        make.put("segment_missing", Severity.SUBTLE, ".ts", 1)


@pytest.mark.parametrize("severity", list(Severity))
def test_format_change(make, severity):
    target, fault = make.put("format_change", severity, ".ts", 2)
    (truth,) = fault.truths
    what, changed = truth.parameters["what"], truth.parameters["changed_to"]
    frames, sounds = [], []
    with av.open(str(target)) as container:
        start = container.start_time / 1e6
        for frame in container.decode():
            time = frame.pts * frame.time_base - start
            if isinstance(frame, av.VideoFrame):
                frames.append((float(time), f"{frame.width}x{frame.height}"))
            else:
                sounds.append((float(time), f"{frame.sample_rate} Hz", frame.layout.name))
    if what == "resolution":
        first = next(time for time, size in frames if size == changed)
        assert first == pytest.approx(truth.start, abs=1e-3)
        assert all((size == changed) == (time >= first) for time, size in frames)
    elif what == "frame_rate":
        steps = {round(b - a, 3) for (a, _), (b, _) in itertools.pairwise(frames)}
        assert steps == {0.04, 0.08}
        slow = [time for (time, _), (b, _) in itertools.pairwise(frames)
                if b - time > 0.06]  # fmt: skip
        assert slow[0] == pytest.approx(truth.start, abs=1e-3)
    else:
        first = next(s[0] for s in sounds if changed in s)
        assert first == pytest.approx(truth.start, abs=0.05)


def test_format_change_needs_a_transport_stream(make):
    with pytest.raises(FaultError, match="format"):
        make.put("format_change", Severity.SUBTLE, ".mkv", 1)


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".webm"])
def test_decode_error(make, suffix):
    seen = set()
    for seed in range(6):
        try:
            target, fault = make.put("decode_error", Severity.SUBTLE, suffix, seed)
        except FaultError:
            assert suffix == ".webm"  # VP9 and Opus decode nearly anything
            continue
        truth = next(t for t in fault.truths if t.kind == "decode_error")
        times = complaints(target)
        assert times
        # a packet is noticed when its successor comes, frames are shown after others
        assert all(truth.start - 0.2 <= time <= truth.end + 0.1 for time in times)
        kind = truth.parameters["stream"]
        seen.add(kind)
        shown = [t for t in fault.truths if t.kind == "block_corruption"]
        assert bool(shown) <= (kind == "video")
        for other in shown:
            assert other.mask is not None
            assert other.end > truth.start
    assert seen == ({"video"} if suffix == ".webm" else {"video", "audio"})


def test_decode_error_spares_the_other_stream(make):
    target, fault = make.put("decode_error", Severity.NOTICEABLE, ".mkv", 1)
    kind = fault.truths[0].parameters["stream"]
    for one, other in zip(tracks(make.source(".mkv")), tracks(target), strict=True):
        same = [a.data == b.data for a, b in zip(one.units, other.units, strict=True)]
        assert all(same) == (one.kind != kind)


STREAM = ("decode_error", "timestamp_gap", "av_length_mismatch", "missing_stream")


@pytest.mark.parametrize("name", STREAM)
def test_same_seed_same_bytes(make, name):
    target, fault = make.put(name, Severity.NOTICEABLE, ".ts", 4)
    data = target.read_bytes()
    again, same = make.put(name, Severity.NOTICEABLE, ".ts", 4)
    assert again.read_bytes() == data
    assert same.truths == fault.truths
    assert FAULTS[name].summary
