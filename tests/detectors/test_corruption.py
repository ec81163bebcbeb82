"""Block corruption in delivered streams: from what the decoder lost to the key frame after it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from faults.damage import damage, place
from faults.media import Clean, Encoding, encode
from faults.packets import tracks, write
from faults.truth import Severity
from pipeline.detectors.corruption import CorruptionDetector, CorruptionSettings
from pipeline.measurements import (
    FRAME_ROW,
    FrameFlag,
    Note,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

NAME = "block_corruption"
GOP = 25
CODED = Encoding(
    "libx264",
    (("crf", "23"), ("preset", "veryfast"), ("g", str(GOP)), ("sc_threshold", "0"), ("bf", "0")),
    "aac",
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Four seconds in motion, with sound; a key frame every second."""
    path = tmp_path_factory.mktemp("clean") / "clean.mkv"
    frames = media.scene(4, 320, 192, cuts=0, speed=3, seed=6)
    media.write(path, frames, media.programme(4), audio_codec="flac", audio_format="s16")
    return Clean(path)


@pytest.fixture(scope="module")
def coded(clean, tmp_path_factory):
    """The same, as it is delivered."""
    path = tmp_path_factory.mktemp("coded") / "coded.ts"
    encode(path, clean.pictures(), clean.sound, rate=clean.rate, encoding=CODED)
    return path


def _cut_short(source, target, numbers, kind="video", share=0.4):
    """Some packets lose their end."""
    found = tracks(source)
    changed = []
    for track in found:
        units = list(track.units)
        for n in numbers if track.kind == kind else ():
            data = units[n].data
            units[n] = dataclasses.replace(units[n], data=data[: int(share * len(data))])
        changed.append(track.having(units))
    write(target, changed)
    return target


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv"])
def test_from_the_loss_to_the_key_frame(coded, tmp_path, suffix):
    target = _cut_short(coded, tmp_path / f"a{suffix}", [33, 34])
    defect = only_one(examine(target, NAME), NAME)
    assert_interval(defect, 33 / 25, 50 / 25, within=0.09)
    assert defect.confidence >= 0.75
    assert defect.evidence["decoding_errors"] >= 1
    assert 0 < defect.evidence["share_of_picture"] < 0.85
    assert defect.region is not None


def test_more_is_worse(coded, tmp_path):
    """A slice of which little is lost, and one of which hardly anything is left."""
    severities = [
        only_one(examine(_cut_short(coded, tmp_path / f"{n}.ts", numbers, share=share), NAME), NAME)
        .severity
        for n, (numbers, share) in enumerate([([33], 0.8), (range(30, 40), 0.1)])
    ]  # fmt: skip
    assert severities[0] < severities[1]


def test_two_losses_are_two_defects(coded, tmp_path):
    target = _cut_short(coded, tmp_path / "a.ts", [12, 61])
    first, second = of_kind(examine(target, NAME), NAME)
    assert_interval(first, 12 / 25, 1.0, within=0.09)
    assert_interval(second, 61 / 25, 3.0, within=0.09)


def test_damage_to_the_end(coded, tmp_path):
    """No key frame comes any more: nothing tells how much is damaged."""
    target = _cut_short(coded, tmp_path / "a.ts", [80])
    defect = only_one(examine(target, NAME), NAME)
    assert_interval(defect, 80 / 25, 4.0, within=0.09)
    assert "share_of_picture" not in defect.evidence


def test_what_does_not_show_is_not_reported(tmp_path):
    """A still picture: what the decoder conceals with is what was lost."""
    frames = media.scene(1, 320, 192, cuts=0, seed=6)[:1] * 100
    path = media.write(tmp_path / "still.mkv", frames)
    still, source = Clean(path), tmp_path / "still.ts"
    encode(source, still.pictures(), None, rate=still.rate, encoding=CODED)
    target = _cut_short(source, tmp_path / "a.ts", [33, 34])
    assert of_kind(examine(target, "decode_error"), "decode_error")
    assert examine(target, NAME).defects == []


def test_lost_sound_and_clean_media_are_not_reported(coded, tmp_path):
    target = _cut_short(coded, tmp_path / "a.ts", [20, 21, 22], kind="audio")
    assert examine(target, NAME).defects == []
    assert examine(coded, NAME).defects == []
    assert examine(media.bunny(), NAME).defects == []


def test_fault_that_is_delivered(clean, tmp_path):
    """H.264 in a transport stream, of which packets are lost: this seed draws it."""
    target = tmp_path / "a.ts"
    order = place(NAME, Severity.NOTICEABLE, clean, 3, at=(1.2, 2.2))
    (truth,) = damage(clean, target, [order]).truths
    assert truth.parameters["baked"] is False
    assert_interval(only_one(examine(target, NAME), NAME), truth.start, truth.end, within=0.3)


def test_a_stream_without_key_frames_is_mended_at_some_time():
    """Periodic intra refresh mends without any; 10 s after the last error it must have."""
    shape = PictureFormat(0, 320, 192, 25.0, False, 8, False, True)
    detector = CorruptionDetector(CorruptionSettings(), shape)
    rng = np.random.default_rng(1)
    found = []
    for second in range(20):
        frames = np.zeros(25, FRAME_ROW)
        frames["time"] = second + np.arange(25) / 25
        frames["duration"] = 1 / 25
        if second == 2:
            frames["flags"][:5] = FrameFlag.CORRUPT
        motion = rng.uniform(1, 2, (25, *shape.tiles)).astype(np.float32)
        notes = [Note("decode_error", 2.0, 1, "of another stream", 9.0)] if second == 15 else []
        picture = _statistics(shape, frames, motion)
        segment = Segment(second, second + 1, picture, [], notes)
        found += list(detector.update(picture, segment))
    found += list(detector.finish())
    (one,) = found
    assert one.kind is Kind.BLOCK_CORRUPTION
    assert one.start == pytest.approx(2.0)
    assert one.end == pytest.approx(12.2, abs=0.05)


def _told(errors, keys, seconds, missing=(), what="decode_error"):
    """What is told of frames at 25 a second; tiles are mended at the key frames."""
    shape = PictureFormat(0, 320, 192, 25.0, False, 8, False, True)
    detector = CorruptionDetector(CorruptionSettings(), shape)
    found, standing = [], []
    for second in range(seconds):
        times = second + np.arange(25) / 25
        times = times[[not any(a <= t < b for a, b in missing) for t in times]]
        notes = [Note(what, t, 0, "", 1.0) for t in errors if second <= t < second + 1]
        if not len(times):
            detector.without_picture(Segment(second, second + 1, None, [], notes))
            continue
        frames = np.zeros(len(times), FRAME_ROW)
        frames["time"], frames["duration"] = times, 1 / 25
        motion = np.ones((len(times), *shape.tiles), np.float32)
        for n, time in enumerate(times):
            if any(abs(time - key) < 0.01 for key in keys):
                frames["flags"][n], motion[n, 3:5] = FrameFlag.KEY, 20.0
        segment = Segment(second, second + 1, _statistics(shape, frames, motion), [], notes)
        found += list(detector.update(segment.picture, segment))
        standing += list(detector.standing())
    return [(round(o.start, 2), round(o.end, 2)) for o in [*found, *detector.finish()]], standing


def test_errors_after_a_hole_are_another_defect():
    """No frame tells of the first before the error comes: frames are what was lost."""
    told, standing = _told([1.5, 4.4], [2.0, 5.0], 7, missing=[(2.08, 4.36)])
    assert told == [(1.5, 2.0), (4.4, 5.0)]
    assert standing == []  # nothing is claimed before it is known to show


def test_damage_after_which_no_frame_comes():
    """As where all that follows is lost while the sound goes on: the damaged frame stands."""
    told, _ = _told([1.5, 2.5, 3.6], [1.0], 4, missing=[(2.0, 4.0)])
    assert told == [(1.5, 3.6)]


def test_a_hole_between_packets_harms_no_picture():
    """As where a segment is missing: the transport complains, the decoder does not."""
    assert _told([1.5], [2.0], 4, what="corrupt_packet") == ([], [])


def test_errors_that_are_told_far_ahead_are_bounded():
    told, _ = _told([1.5, *(1e6 + n for n in range(3))], [2.0], 4)
    assert told == [(1.5, 2.0)]


def _statistics(shape, frames, motion):

    nothing = np.zeros_like(motion)
    rows = np.zeros((len(frames), shape.height), np.float32)
    return PictureStatistics(
        shape, frames, nothing, motion, nothing, nothing, nothing, nothing, nothing, rows, []
    )
