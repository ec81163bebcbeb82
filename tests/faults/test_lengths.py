"""Lengths: the truth against the packets in the file."""

from __future__ import annotations

import av
import pytest

from faults.base import FaultError
from faults.packets import tracks
from faults.truth import Severity


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_sound_and_picture_apart(make, suffix):
    name = "av_length_mismatch"
    found = make.ways(name, Severity.VERY_NOTICEABLE, suffix, 3)
    for way, (target, fault) in found.items():
        (truth,) = fault.truths
        made = {track.kind: track for track in tracks(target)}
        video, audio = made["video"], made["audio"]
        begins = [min(unit.time for unit in track.units) for track in (video, audio)]
        expected = {
            "ends_early": (audio.end, video.end),
            "goes_on": (video.end, audio.end),
            "starts_late": (begins[0], begins[1]),
        }[way]
        # where sound begins later the presentation may begin later, by its encoder's delay
        assert (truth.start, truth.end) == pytest.approx(expected, abs=0.06), way
        assert truth.end - truth.start == pytest.approx(3.0, abs=0.2)


def test_the_longer_the_worse(make):
    lengths = []
    for severity in reversed(Severity):
        _, fault = make.put("av_length_mismatch", severity, ".mp4", 1)
        lengths.append(fault.truths[0].end - fault.truths[0].start)
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_truncated(make, suffix):
    starts = []
    for severity in Severity:
        target, fault = make.put("truncated", severity, suffix, 1)
        (truth,) = fault.truths
        assert target.stat().st_size == truth.parameters["kept_bytes"]
        with av.open(str(target)) as container:
            assert container.duration / 1e6 == pytest.approx(8.0, abs=0.1)
        last = max(track.end for track in tracks(target))
        # frames that the decoder still held, and the packet that is cut
        assert last - 0.4 < truth.start <= last + 0.05
        assert truth.end == pytest.approx(8.0, abs=0.01)
        starts.append(truth.start)
    assert starts == sorted(set(starts))


def test_truncated_needs_a_declared_length(make):
    with pytest.raises(FaultError, match=r"\.ts"):
        make.put("truncated", Severity.SUBTLE, ".ts", 1)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
@pytest.mark.parametrize("severity", list(Severity))
def test_missing_stream(make, suffix, severity):
    target, fault = make.put("missing_stream", severity, suffix, 1)
    (truth,) = fault.truths
    kind = truth.parameters["stream"]
    made = {track.kind: track for track in tracks(target)}
    assert set(made) == {"video", "audio"}  # both are declared
    other = made["audio" if kind == "video" else "video"]
    assert truth.start == pytest.approx(made[kind].end, abs=0.03)
    assert truth.end == pytest.approx(other.end, abs=0.03)
    if truth.parameters["missing_share"] == 1:
        assert len(made[kind].units) == (suffix == ".mp4")
