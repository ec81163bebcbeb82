"""Bad input: each ends in a clear reason, or in a result that says what could not be examined."""

from __future__ import annotations

import os
import struct
import time
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.inspect import inspect
from pipeline.settings import load
from tests import media
from tests.web import closed, serving, silent

STREAM_DETECTORS = ("timestamp_gap", "decode_error", "format_change", "av_length_mismatch")


def look(uri, **limits):
    limits = {"open_timeout": 3.0, "read_timeout": 2.0} | limits
    return inspect(str(uri), load(only=STREAM_DETECTORS, limits=limits))


def assert_none(result, *reasons):
    """Nothing examined, for one of the reasons, with a sentence for a person."""
    assert result.coverage.state == "none", result.coverage
    problem = result.coverage.problems[0]
    assert problem.reason in reasons, problem
    assert len(problem.detail) > 10


def kinds(result):
    return {defect.kind.value for defect in result.defects}


def reasons(result):
    return [problem.reason for problem in result.coverage.problems]


@pytest.fixture(scope="module")
def small():
    return media.scene(2.0, 160, 90), media.programme(2.0, 1)


@pytest.fixture(scope="module")
def mp4(tmp_path_factory, small):
    path = tmp_path_factory.mktemp("bad") / "clip.mp4"
    return media.write(path, *small, container_options={"movflags": "faststart"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", ("empty",)),
        (b"Dear editor,\n\nplease find the film attached.\n" * 40, ("not_media", "refused_format")),
        (np.random.default_rng(3).bytes(50_000), ("not_media", "no_media", "nothing_decoded")),
        (bytes(50_000), ("not_media", "no_media")),
    ],
    ids=["empty", "text", "random", "zeros"],
)
@pytest.mark.parametrize("suffix", ["mp4", "ts", "txt", "m3u8"])
def test_not_media(tmp_path, content, reason, suffix):
    path = tmp_path / f"input.{suffix}"
    path.write_bytes(content)
    assert_none(look(path), *reason)


def test_directory_missing_file_and_device(tmp_path):
    assert_none(look(tmp_path), "is_directory")
    assert_none(look(tmp_path / "none.mp4"), "not_found")
    assert_none(look(tmp_path / "none" / "none.mp4"), "not_found")
    assert_none(look("/dev/zero"), "not_a_file")
    assert_none(look(""), "is_directory", "not_found")
    assert_none(look("a\0b"), "unreadable", "not_found")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(mp4, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(mp4.read_bytes())
    path.chmod(0)
    assert_none(look(path), "not_permitted")


def test_pipe_that_nobody_writes(tmp_path):
    path = tmp_path / "pipe.ts"
    os.mkfifo(path)
    assert look(path, open_timeout=0.3).coverage.state == "none"


# ---------------------------------------------------------------------------------------- network


def test_url_that_never_answers():
    with silent() as url:
        started = time.monotonic()
        assert_none(look(f"{url}/a.mp4", open_timeout=0.5), "open_timeout")
        assert time.monotonic() - started < 20  # the point is that it ends


def test_connection_refused_and_unknown_host():
    assert_none(look(f"{closed()}/a.mp4"), "connection_refused")
    assert_none(look("http://no-such-host.invalid/a.mp4"), "unreadable", "open_timeout")


@pytest.mark.parametrize(
    ("code", "reason"), [(404, "not_found"), (403, "not_permitted"), (500, "http_error")]
)
def test_server_errors(tmp_path, code, reason):
    with serving(tmp_path) as server:
        server.routes["/a.mp4"] = lambda handler: handler.send_error(code)
        assert_none(look(f"{server.url}/a.mp4"), reason)


@pytest.mark.parametrize("breaks_off", [False, True], ids=["stalls", "breaks off"])
def test_body_that_ends_in_the_middle(tmp_path, breaks_off):
    data = media.write(
        tmp_path / "long.ts", media.scene(4.0, 160, 90), media.programme(4.0, 1)
    ).read_bytes()
    with serving(tmp_path) as server:

        def half(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[: len(data) // 2])
            if not breaks_off:
                handler.wfile.flush()
                server.stop.wait(30)

        server.routes["/a.ts"] = half
        result = look(f"{server.url}/a.ts", open_timeout=1.0, read_timeout=1.0)
    assert result.coverage.state == "partial", result.coverage
    assert reasons(result)[0] in ("read_timeout", "connection_failed")
    assert 1.0 < result.asset.duration < 3.0
    assert "truncated" in kinds(result)


def test_server_that_drips(mp4, tmp_path):
    data = mp4.read_bytes()
    with serving(tmp_path) as server:

        def drip(handler):
            handler.send_response(200)
            handler.end_headers()
            for byte in data:
                if server.stop.wait(0.05):
                    return
                handler.wfile.write(bytes([byte]))

        server.routes["/a.mp4"] = drip
        assert look(f"{server.url}/a.mp4", read_timeout=0.6).coverage.state == "none"


# ---------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (15, 17), (3, 200)])
def test_tiny_and_odd_pictures(tmp_path, size):
    width, height = size
    frames = [np.full((height, width, 3), 40 + 5 * n, np.uint8) for n in range(10)]
    path = media.write(tmp_path / "tiny.avi", frames, video_codec="ffv1", pixel_format="yuv444p")
    result = inspect(str(path), load())
    assert result.coverage.state == "complete", result.coverage
    assert result.asset.video[0].frames == 10


def test_huge_picture_is_refused(tmp_path):
    """A Matroska file whose header claims 16384x16384."""
    path = media.write(
        tmp_path / "huge.mkv", media.scene(0.2, 320, 272, cuts=0), video_codec="ffv1"
    )
    data = path.read_bytes()
    for old, new in (
        (b"\xb0\x82\x01\x40", b"\xb0\x82\x40\0"),
        (b"\xba\x82\x01\x10", b"\xba\x82\x40\0"),
    ):
        assert old in data
        data = data.replace(old, new)
    path.write_bytes(data)
    result = look(path)
    assert_none(result, "frame_too_large")
    assert "16384x16384" in result.coverage.problems[0].detail


def test_picture_that_unfolds_to_a_huge_one(tmp_path):
    """A few kilobytes of PNG that claim half a gigabyte when decoded."""
    rows = zlib.compress(bytes(16_385 * 64))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 16_384, 8_192, 8, 2, 0, 0, 0)),
        (b"IDAT", rows),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in parts:
        check = struct.pack(">I", zlib.crc32(name + body))
        data += struct.pack(">I", len(body)) + name + body + check
    path = tmp_path / "huge.png"
    path.write_bytes(data)
    assert_none(look(path), "frame_too_large")


def test_large_picture_leaves_the_sound(mp4):
    result = look(mp4, max_pixels=1000)
    assert result.coverage.state == "partial"
    assert reasons(result) == ["frame_too_large"]
    assert result.asset.audio[0].samples >= 2 * 48_000
    assert not result.asset.video[0].examined


# ------------------------------------------------------------------------------------ streams


def patched(mp4, tmp_path, old, new):
    data = mp4.read_bytes()
    assert old in data
    path = tmp_path / "patched.mp4"
    path.write_bytes(data.replace(old, new))
    return path


def test_codec_without_decoder(mp4, tmp_path):
    result = look(patched(mp4, tmp_path, b"avc1", b"zzzz"))
    assert result.coverage.state == "partial"
    assert "no_decoder" in reasons(result) or "nothing_decoded" in reasons(result)
    assert result.asset.audio[0].samples > 0


def test_zero_duration(tmp_path, small):
    path = media.write(tmp_path / "one.mp4", small[0][:1])
    result = look(path)
    assert result.coverage.state == "complete"
    assert result.asset.video[0].frames == 1
    with av.open(str(tmp_path / "none.mp4"), "w") as container:
        container.add_stream("libx264", rate=25)
    assert look(tmp_path / "none.mp4").coverage.state == "none"


def test_subtitles_alone(tmp_path):
    path = tmp_path / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")
    assert_none(look(path), "no_media")


def test_cover_is_not_a_video(tmp_path, small):
    song = media.write(tmp_path / "song.mp3", sound=small[1], audio_codec="libmp3lame")
    picture = av.VideoFrame.from_ndarray(small[0][0], format="rgb24")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    jpeg = bytes(encoder.encode(picture.reformat(format="yuvj420p"))[0])
    body = b"\0image/jpeg\0\x03\0" + jpeg

    def synchsafe(n):
        return bytes((n >> shift) & 0x7F for shift in (21, 14, 7, 0))

    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(b"ID3\x03\0\0" + synchsafe(len(frame)) + frame + song.read_bytes())
    result = look(tagged)
    assert result.coverage.state == "complete", result.coverage
    assert result.asset.video == []
    assert result.asset.other_streams == ["cover"]
    assert result.asset.audio[0].samples >= 2 * 48_000


def test_second_video_stream_is_named(tmp_path, small):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width = small[0][0].shape[:2]
        for picture in small[0][:25]:
            for stream in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        for stream in streams:
            container.mux(stream.encode(None))
    result = look(path)
    assert result.coverage.state == "partial"
    assert [(p.reason, p.stream) for p in result.coverage.problems] == [("not_examined", 1)]
    assert [track.frames for track in result.asset.video] == [25, 0]


def test_encrypted(tmp_path, small):
    """Common encryption as FFmpeg's own muxer writes it."""
    key = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "112233445566778899aabbccddeeff00",
    }
    path = media.write(tmp_path / "coded.mp4", small[0], container_options=key)
    assert_none(look(path), "encrypted")


# ------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "flv"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated(tmp_path, small, suffix, share):
    """What is there is examined, and found wanting."""
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    audio = "libmp3lame" if suffix in ("avi", "flv") else "aac"
    path = media.write(
        tmp_path / f"clip.{suffix}", *small, audio_codec=audio, container_options=options
    )
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    result = look(path)
    if share > 0.1:
        assert 0.2 < result.asset.duration < 1.8
        assert result.coverage.examined
        if suffix != "ts":  # MPEG-TS does not say how long it is
            assert "truncated" in kinds(result)
            assert "truncated" in reasons(result)
    else:
        assert result.coverage.state != "complete" or suffix == "ts"


def test_random_damage_never_escapes(tmp_path, small):
    rng = np.random.default_rng(11)
    for suffix in ("mp4", "mkv", "ts"):
        path = media.write(tmp_path / f"clip.{suffix}", *small)
        clean = np.frombuffer(path.read_bytes(), np.uint8)
        for share in (0.0005, 0.02):
            data = clean.copy()
            hit = rng.random(data.size) < share
            data[hit] = rng.integers(0, 256, hit.sum())
            path.write_bytes(data.tobytes())
            result = inspect(str(path), load())
            assert result.coverage.problems or result.coverage.examined


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_eight_hours_in_bounded_memory(tmp_path):
    """Sound at a low rate with one frame a second: 8 hours in a few megabytes."""
    import resource

    hours = 8
    path = tmp_path / "long.mkv"
    picture = media.scene(0.04, 64, 48)[0]
    quiet = (0.1 * media.programme(60.0, 1, rate=8000) * 2**15).astype(np.int16)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=1)
        video.height, video.width, video.pix_fmt = 48, 64, "yuvj420p"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for minute in range(hours * 60):
            for second in range(60):
                frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuvj420p")
                frame.pts = minute * 60 + second
                container.mux(video.encode(frame))
                part = np.ascontiguousarray(quiet[:, second * 8000 : (second + 1) * 8000])
                sound = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                sound.sample_rate, sound.pts = 8000, (minute * 60 + second) * 8000
                container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = inspect(str(path), load())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert result.coverage.state == "complete"
    assert result.asset.duration == pytest.approx(hours * 3600, abs=2)
    assert grown < 300_000, f"{grown} KiB more"
