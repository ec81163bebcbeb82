"""Ranges give the result of one piece, or say that they cannot: real encoders, real containers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from pipeline import segment
from pipeline.errors import SeamError
from pipeline.inspect import inspect
from pipeline.ranges.join import Replay
from pipeline.ranges.measure import Range, is_long, measure_range, ranges
from pipeline.ranges.piece import read_piece
from pipeline.settings import load
from pipeline.types import Asset, Inspection, VideoTrack
from tests import media

LENGTH = 3.0  # seconds of a range here; a minute outside
SECONDS = 10.0
SETTINGS = load(threads=1, skip=("sync",))
H264 = {"preset": "ultrafast", "bf": "3", "g": "25", "crf": "20"}
OPEN = "open-gop=1:keyint=25:bframes=3:b-adapt=0"


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch):
    monkeypatch.setattr(segment, "RENEWED_EVERY", LENGTH)


@pytest.fixture(scope="module")
def clip() -> tuple[media.Frames, media.Sound]:
    """A freeze over the first seam (3 s), black over the second (6 s), silence over both ends."""
    frames = media.scene(SECONDS, 160, 96, cuts=2)
    for n in range(65, 88):
        frames[n] = frames[65]
    for n in range(140, 165):
        frames[n] = np.full_like(frames[0], 16)
    sound = 0.3 * media.programme(SECONDS)
    sound[:, round(5.2 * media.SAMPLE_RATE) : round(8.9 * media.SAMPLE_RATE)] = 0.0
    return frames, sound


def pieces(path: Path, parts: list[Range], settings=SETTINGS) -> list[io.BytesIO]:
    made = []
    for part in parts:
        made.append(io.BytesIO())
        measure_range(str(path), settings, part, made[-1], lambda _: None)
        made[-1].seek(0)
    return made


def joined(path: Path, parts: list[Range], settings=SETTINGS) -> Inspection:
    made = (read_piece(file) for file in pieces(path, parts, settings))
    return inspect(str(path), settings, replay=Replay(made))


def same(path: Path, settings=SETTINGS) -> Inspection:
    """Inspect in one piece and in ranges; both must say the same."""
    whole = inspect(str(path), settings)
    parts = ranges(whole.asset, LENGTH)
    assert len(parts) >= 2
    result = joined(path, parts, settings)
    own, other = whole.model_dump(exclude={"timings"}), result.model_dump(exclude={"timings"})
    for name in own:
        assert own[name] == other[name], name
    return result


def found(result: Inspection) -> set[str]:
    return {defect.kind.value for defect in result.defects}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("closed.mp4", "libx264", H264),
        ("open.ts", "libx264", H264 | {"x264-params": OPEN}),
        pytest.param("closed.ts", "libx264", H264, marks=pytest.mark.slow),
        pytest.param("closed.mkv", "libx264", H264, marks=pytest.mark.slow),
        pytest.param("open.mp4", "libx264", H264 | {"x264-params": OPEN}, marks=pytest.mark.slow),
        pytest.param(
            "hevc.mp4",
            "libx265",
            {"preset": "ultrafast", "x265-params": "keyint=25:open-gop=1:log-level=none"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "hevc.ts",
            "libx265",
            {"preset": "ultrafast", "x265-params": "keyint=25:open-gop=1:log-level=none"},
            marks=pytest.mark.slow,
        ),
        pytest.param("mpeg2.ts", "mpeg2video", {"g": "12", "bf": "2"}, marks=pytest.mark.slow),
    ],
)
def test_ranges_say_what_one_piece_says(clip, tmp_path, name, codec, options):
    frames, sound = clip
    path = media.write(
        tmp_path / name, frames, sound, video_codec=codec, video_options=dict(options)
    )
    result = same(path)
    assert {"black", "silence"} <= found(result)
    assert "freeze" in found(result) or codec == "libx265"  # whose default quality moves a little
    (black,) = [one for one in result.defects if one.kind == "black"]
    assert (black.start, black.end) == pytest.approx((5.6, 6.6), abs=0.05)  # over the seam at 6 s
    assert result.coverage.state == "complete"


@pytest.mark.slow
def test_damage_inside_a_range_and_a_beginning_amid_pictures_are_the_same_too(clip, tmp_path):
    frames, sound = clip
    data = media.write(tmp_path / "a.ts", frames, sound, video_options=dict(H264)).read_bytes()
    packets = [data[n : n + 188] for n in range(0, len(data), 188)]
    # 12 packets are lost in the middle of the second range, and some of the first key frame
    path = tmp_path / "lost.ts"
    middle = round(len(packets) * 0.42)
    path.write_bytes(b"".join(packets[40:middle] + packets[middle + 12 :]))
    result = same(path)
    assert "decode_error" in found(result)


@pytest.mark.slow
def test_mouths_that_are_followed_are_the_same(tmp_path):
    settings = load(threads=1, detectors={"sync": {"share": 1.0}})
    frames = [np.asarray(frame) for frame in speaking()]
    path = media.write(
        tmp_path / "face.mp4", frames, 0.3 * media.programme(SECONDS), video_options=dict(H264)
    )
    result = same(path, settings)
    assert result.av_sync is not None
    assert result.av_sync.reason != "no_face"


def speaking() -> media.Frames:
    """The man in the car, four times as large, back and forth."""
    import av

    with av.open(str(media.speaker())) as container:
        frames = [
            frame.reformat(width=704, height=576).to_ndarray(format="rgb24")
            for frame in container.decode(video=0)
        ]
    both = frames + frames[::-1]
    return [both[n % len(both)] for n in range(round(SECONDS * media.RATE))]


def test_what_does_not_fit_is_refused(clip, tmp_path):
    frames, sound = clip
    path = media.write(tmp_path / "a.mp4", frames[:160], sound[:, :307_200], video_options=H264)
    other = media.write(tmp_path / "b.mp4", frames[10:170], sound[:, :307_200], video_options=H264)
    parts = ranges(inspect(str(path), SETTINGS).asset, LENGTH)
    first, second = (file.getvalue() for file in pieces(path, parts))
    _, strange = (file.getvalue() for file in pieces(other, parts))

    def refusal(*files: bytes) -> str:
        with pytest.raises(SeamError) as caught:
            inspect(str(path), SETTINGS, replay=Replay(read_piece(io.BytesIO(f)) for f in files))
        return str(caught.value)

    assert "read differently" in refusal(first, strange)  # of another asset
    assert "read" in refusal(first)  # one is missing
    assert "cannot be read" in refusal(first, second[: len(second) // 2])  # half of one
    assert "cannot be read" in refusal(b"\xff" * 64)
    assert "more than the whole" in refusal(first, second, second)


def test_a_picture_that_needs_more_than_its_key_frame_is_refused(clip, tmp_path):
    frames, _ = clip
    options = {"preset": "ultrafast", "x264-params": "intra-refresh=1:keyint=25:bframes=0"}
    path = media.write(tmp_path / "refresh.ts", frames[:160], None, video_options=options)
    parts = ranges(inspect(str(path), SETTINGS).asset, LENGTH)
    with pytest.raises(SeamError):
        joined(path, parts)


def test_how_an_asset_is_cut(monkeypatch):
    monkeypatch.setattr(segment, "RENEWED_EVERY", 60.0)
    video = [VideoTrack(stream=0, codec="h264", width=16, height=16)]
    film = Asset(container="mov,mp4", declared_duration=905.0, video=video)
    assert ranges(film, 300.0) == [Range(0, 5), Range(5, 10), Range(10, None)]
    assert is_long(600.0, 300.0)
    assert not is_long(599.0, 300.0)
    assert not is_long(None, 300.0)
    assert not is_long(7200.0, 0.0)
    with pytest.raises(SeamError, match="avi"):
        ranges(film.model_copy(update={"container": "avi"}), 300.0)
    with pytest.raises(SeamError, match="no pictures"):
        ranges(film.model_copy(update={"video": []}), 300.0)
