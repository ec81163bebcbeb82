"""Lengths of streams and of files."""

from __future__ import annotations

import pytest

from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

NAME = "av_length_mismatch"


@pytest.fixture(scope="module")
def frames():
    return media.scene(6.0, 160, 90)


def write(path, frames, sound, **options):
    """Interleaves picture and sound of different lengths."""
    return media.write(path, frames, sound, **options)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_sound_ends_early(tmp_path, frames, suffix, seconds):
    path = write(tmp_path / f"short.{suffix}", frames, media.programme(seconds, 1))
    result = examine(path, NAME)
    found = only_one(result, "av_length_mismatch")
    assert_interval(found, seconds, 6.0)
    assert found.evidence["end_s"] == pytest.approx(seconds - 6.0, abs=0.1)
    missing = of_kind(result, "missing_stream")
    assert len(missing) == (seconds < 4)
    assert of_kind(result, "truncated") == []


def test_sound_goes_on(tmp_path, frames):
    path = write(tmp_path / "long.mkv", frames[:50], media.programme(6.0, 1))
    found = only_one(examine(path, NAME), "av_length_mismatch")
    assert_interval(found, 2.0, 6.0)


def test_sound_starts_late(tmp_path, frames):
    from tests.damage import remux

    clean = write(tmp_path / "clean.mkv", frames, media.programme(6.0, 1))

    def drop(packet, time):
        return None if packet.stream.type == "audio" and time < 1.5 else 0.0

    path = remux(clean, tmp_path / "late.mkv", drop)
    found = only_one(examine(path, NAME), "av_length_mismatch")
    assert_interval(found, 0.0, 1.5)


def test_the_longer_the_worse(tmp_path, frames):
    found = []
    for seconds in (2.0, 5.0, 5.7):
        path = write(tmp_path / "short.mkv", frames, media.programme(seconds, 1))
        found.append(only_one(examine(path, NAME), "av_length_mismatch").severity)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_truncated(tmp_path, frames, suffix, share):
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = write(
        tmp_path / f"cut.{suffix}", frames, media.programme(6.0, 1), container_options=options
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    result = examine(path, NAME)
    cut = only_one(result, "truncated")
    assert cut.end == pytest.approx(6.0, abs=0.15)
    assert cut.start == pytest.approx(result.asset.duration, abs=0.1)
    assert 1.0 < cut.start < 5.6
    assert result.coverage.state == "partial"
    assert of_kind(result, "av_length_mismatch") == []


@pytest.mark.parametrize(("name", "codec"), [("cut.flac", "flac"), ("cut.aiff", "pcm_s16be")])
def test_truncated_sound_file(tmp_path, name, codec):
    path = media.write(tmp_path / name, sound=media.programme(6.0, 2), audio_codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    result = examine(path, NAME)
    cut = only_one(result, "truncated")
    assert_interval(cut, result.asset.duration, 6.0)
    assert 2.0 < cut.start < 4.0


def test_declared_stream_without_frames(tmp_path, frames):
    from tests.damage import remux

    clean = write(tmp_path / "clean.mp4", frames[:100], media.programme(4.0, 1))
    path = remux(
        clean, tmp_path / "mute.mkv", lambda p, _: None if p.stream.type == "audio" else 0.0
    )
    result = examine(path, NAME)
    missing = only_one(result, "missing_stream")
    assert_interval(missing, 0.0, 4.0)
    assert "nothing_decoded" in [problem.reason for problem in result.coverage.problems]


# -------------------------------------------------------------------------------- hard negatives


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_clean(tmp_path, frames, suffix):
    audio = "libmp3lame" if suffix == "avi" else "aac"
    path = write(
        tmp_path / f"clean.{suffix}",
        frames,
        media.programme(6.0, 2),
        audio_codec=audio,
        video_options={"preset": "veryfast", "bf": "3"},
    )
    assert examine(path, NAME).defects == []


@pytest.mark.parametrize("seconds", [5.93, 6.07, 7.5])
def test_ends_as_encoders_leave_them(tmp_path, frames, seconds):
    path = write(tmp_path / "ends.mp4", frames, media.programme(seconds, 1))
    assert examine(path, NAME).defects == []


def test_bunny_and_single_streams(tmp_path, frames):
    assert examine(media.bunny(), NAME).defects == []
    assert examine(media.write(tmp_path / "mute.mp4", frames), NAME).defects == []
    song = media.write(
        tmp_path / "song.mp3", sound=media.programme(3.0, 2), audio_codec="libmp3lame"
    )
    assert examine(song, NAME).defects == []
