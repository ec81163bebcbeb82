"""Opening: places, globs, standard input, and what an asset may reach."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import SourceError
from pipeline.inspect import inspect
from pipeline.reach import Reach
from pipeline.settings import load
from pipeline.source import Limits, expand, open_source, spooled
from pipeline.uri import local_path, scheme_of, shown
from tests import media
from tests.web import serving

LIMITS = {"open_timeout": 3.0, "read_timeout": 2.0}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with a short clip as MP4 (moov at the end), MPEG-TS and an HLS playlist of it."""
    folder = tmp_path_factory.mktemp("clips")
    frames, sound = media.scene(2.0, 160, 90), media.programme(2.0, 1)
    media.write(folder / "clip.mp4", frames, sound)
    media.write(folder / "clip.ts", frames, sound)
    playlist(folder / "list.m3u8", "clip.ts")
    (folder / "below").mkdir()
    (folder / "below" / "clip.ts").write_bytes((folder / "clip.ts").read_bytes())
    return folder


def playlist(path, *segments, extra=""):
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:3", extra]
    for segment in segments:
        lines += ["#EXTINF:2.0,", segment]
    path.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return path


def look(uri, **limits):
    return inspect(str(uri), load(only=("timestamp_gap",), limits=LIMITS | limits))


def reasons(result):
    return [problem.reason for problem in result.coverage.problems]


def assert_whole(result):
    assert result.coverage.state == "complete", result.coverage
    assert result.asset.duration == pytest.approx(2.0, abs=0.1)
    assert result.asset.video[0].frames == 50


def test_scheme_and_path():
    assert scheme_of("a/b.mp4") == scheme_of("a:b.mp4") == ""
    assert scheme_of("S3://bucket/key") == "s3"
    assert str(local_path("file:///a/b.mp4")) == "/a/b.mp4"
    assert local_path("s3://bucket/key") is None
    assert local_path("-") is None
    assert local_path("zip://a.mp4::/b.zip") is None


def test_shown_hides_credentials_and_queries():
    assert shown("https://me:secret@host/a.mp4?token=1") == "https://host/a.mp4"


@pytest.mark.parametrize("form", ["{}/clip.mp4", "file://{}/clip.mp4"])
def test_local_paths(clips, form):
    assert_whole(look(form.format(clips)))


def test_name_with_a_colon(clips, tmp_path):
    odd = tmp_path / "http:a b%41?.mp4"
    odd.write_bytes((clips / "clip.mp4").read_bytes())
    assert_whole(look(odd))


def test_standard_input_that_needs_seeking(clips, monkeypatch):
    reader, writer = os.pipe()
    data = (clips / "clip.mp4").read_bytes()

    def feed():
        with os.fdopen(writer, "wb") as out:
            out.write(data)

    threading.Thread(target=feed, daemon=True).start()
    with os.fdopen(reader, "rb") as source:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        assert_whole(look("-"))


def test_standard_input_is_spooled_once_and_removed(clips, monkeypatch):
    data = io.BytesIO((clips / "clip.mp4").read_bytes())
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": data}))
    with spooled("-", Limits()) as place:
        assert_whole(look(place))
        assert_whole(look(place))
    assert not Path(place).exists()


def test_standard_input_has_a_limit(monkeypatch):
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(bytes(2000))}))
    assert reasons(look("-", max_spool_bytes=1000)) == ["input_too_large"]


def test_standard_input_that_gives_nothing(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        assert reasons(look("-", open_timeout=0.3)) == ["read_timeout"]


def test_fsspec_file_and_playlist(clips):
    store = fsspec.filesystem("memory")
    for name in ("clip.mp4", "clip.ts", "list.m3u8"):
        store.pipe(f"/shelf/{name}", (clips / name).read_bytes())
    assert_whole(look("memory://shelf/clip.mp4"))
    assert_whole(look("memory://shelf/list.m3u8"))
    (problem,) = look("memory://shelf/none.mp4").coverage.problems
    assert problem.reason == "not_found"
    assert "memory://shelf/none.mp4" in problem.detail
    assert "invalid" not in problem.detail


def test_fsspec_playlist_stays_in_its_folder(clips, tmp_path):
    store = fsspec.filesystem("memory")
    store.pipe("/private/clip.ts", (clips / "clip.ts").read_bytes())
    path = playlist(tmp_path / "list.m3u8", "../private/clip.ts")
    store.pipe("/public/list.m3u8", path.read_bytes())
    refused = look("memory://public/list.m3u8").coverage.problems[0]
    assert refused.reason == "refused_reference"
    assert "memory://private/clip.ts" in refused.detail


def test_unknown_and_missing_file_systems(monkeypatch):
    assert reasons(look("nosuch://bucket/a.mp4")) == ["unknown_scheme"]
    from fsspec.registry import known_implementations

    monkeypatch.setitem(
        known_implementations, "gs", {"class": "no_such_module.Files", "err": "install it"}
    )
    result = look("gs://bucket/a.mp4")
    assert reasons(result) == ["missing_extra"]
    assert "vidette[gcs]" in result.coverage.problems[0].detail


def test_expand(clips):
    store = fsspec.filesystem("memory")
    store.pipe("/many/a.mp4", b"x")
    store.pipe("/many/b.mp4", b"x")
    assert expand([f"{clips}/*.mp4"]) == [f"{clips}/clip.mp4"]
    assert expand([f"{clips}/**/*.ts"]) == [f"{clips}/below/clip.ts", f"{clips}/clip.ts"]
    assert expand(["memory://many/*.mp4"]) == ["memory:///many/a.mp4", "memory:///many/b.mp4"]
    assert expand(["-", "https://host/a?b=*"]) == ["-", "https://host/a?b=*"]
    odd = clips / "odd[1].mp4"
    odd.touch()
    assert expand([str(odd)]) == [str(odd)]
    with pytest.raises(SourceError) as refused:
        expand([f"{clips}/*.none"])
    assert refused.value.reason == "not_found"


# ---------------------------------------------------------------------------------------- the web


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "list.m3u8"])
def test_web(clips, name):
    with serving(clips) as server:
        assert_whole(look(f"{server.url}/{name}"))


@pytest.mark.parametrize("name", ["clip.mp4", "list.m3u8", "broken.mp4", "lost.mp4"])
def test_nothing_of_an_asset_from_the_web_stays_open(clips, tmp_path, name):
    for there in ("clip.mp4", "clip.ts", "list.m3u8"):
        (tmp_path / there).write_bytes((clips / there).read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 100_000)
    with serving(tmp_path) as server:
        for _ in range(3):
            look(f"{server.url}/{name}")
        deadline = time.monotonic() + 5.0  # files are closed by a thread of their own
        while any(thread.name == "vidette-read" for thread in threading.enumerate()):
            assert time.monotonic() < deadline, threading.enumerate()
            time.sleep(0.02)


def test_web_without_byte_ranges(clips):
    with serving(clips) as server:
        server.ranges = False
        assert_whole(look(f"{server.url}/clip.ts"))


def test_redirects_stay_on_their_host(clips):
    with serving(clips) as server, serving(clips) as other:

        def to(where):
            def answer(handler):
                handler.send_response(302)
                handler.send_header("Location", where)
                handler.end_headers()

            return answer

        server.routes = {"/here": to("/clip.mp4"), "/there": to(f"{other.url}/clip.mp4")}
        assert_whole(look(f"{server.url}/here"))
        assert reasons(look(f"{server.url}/there")) == ["refused_reference"]
        assert other.seen == []
        assert_whole(look(f"{server.url}/there", allow_other_hosts=True))


def test_web_playlist_stays_on_its_host(clips, tmp_path):
    with serving(tmp_path) as server, serving(clips) as other:
        playlist(tmp_path / "other.m3u8", f"{other.url}/clip.ts")
        playlist(tmp_path / "local.m3u8", f"file://{clips}/clip.ts")
        assert reasons(look(f"{server.url}/other.m3u8"))[0] == "refused_reference"
        assert other.seen == []
        assert look(f"{server.url}/local.m3u8").coverage.state == "none"
        assert_whole(look(f"{server.url}/other.m3u8", allow_other_hosts=True))


# ----------------------------------------------------------------------------------- playlists


def test_local_playlist_with_its_neighbours(clips):
    assert_whole(look(clips / "list.m3u8"))


@pytest.mark.parametrize("form", ["{}/clip.ts", "file://{}/clip.ts", "../{1}/clip.ts", "link.ts"])
def test_local_playlist_may_not_leave_its_folder(clips, tmp_path, form):
    inner = tmp_path / "inner"
    inner.mkdir()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "clip.ts").write_bytes((clips / "clip.ts").read_bytes())
    (inner / "link.ts").symlink_to(secret / "clip.ts")
    path = playlist(inner / "list.m3u8", form.format(secret, "secret"))
    result = look(path)
    assert result.coverage.state == "none"
    assert reasons(result)[0] == "refused_reference"
    if form != "file://{}/clip.ts":  # FFmpeg itself takes no such name from a playlist
        assert_whole(look(path, allow_local_files=True))


def test_local_playlist_may_not_reach_hosts(clips, tmp_path):
    with serving(clips) as server:
        path = playlist(tmp_path / "list.m3u8", f"{server.url}/clip.ts")
        result = look(path)
        assert reasons(result)[0] == "refused_reference"
        assert "allow_other_hosts" in result.coverage.problems[0].detail
        assert server.seen == []
        assert_whole(look(path, allow_other_hosts=True))


def test_nested_playlist_and_key_may_not_reach_hosts(clips, tmp_path):
    with serving(clips) as server:
        master = tmp_path / "master.m3u8"
        master.write_text(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{server.url}/list.m3u8\n")
        assert reasons(look(master))[0] == "refused_reference"
        key = f'#EXT-X-KEY:METHOD=AES-128,URI="{server.url}/key"'
        (tmp_path / "clip.ts").write_bytes((clips / "clip.ts").read_bytes())
        coded = playlist(tmp_path / "coded.m3u8", "clip.ts", extra=key)
        assert set(reasons(look(coded))) & {"refused_reference", "encrypted"}
        assert server.seen == []


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{}/clip.mp4'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    ],
)
def test_lists_of_other_files_are_not_opened(clips, tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text.replace("{}", str(clips)))
    assert reasons(look(path)) == ["refused_reference"]


def test_spooled_playlist_finds_no_neighbours(clips, monkeypatch):
    text = playlist(clips / "again.m3u8", f"{clips}/clip.ts").read_bytes()
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(text)}))
    result = look("-")
    assert result.coverage.state == "none"
    assert reasons(result)[0] in ("refused_reference", "not_media")


def test_missing_segment_is_a_problem_and_the_rest_is_examined(clips, tmp_path):
    (tmp_path / "a.ts").write_bytes((clips / "clip.ts").read_bytes())
    path = playlist(tmp_path / "list.m3u8", "a.ts", "none.ts")
    result = look(path)
    assert result.coverage.state == "partial"
    assert "not_found" in reasons(result)
    assert result.asset.video[0].frames == 50


def test_reach_knows_its_own_origin():
    reach = Reach("http://host/a/list.m3u8", Limits())
    assert reach._vet("http://host:80/b.ts")
    assert reach._vet("https://host/b.ts")
    for url in ("http://host:81/b.ts", "http://host.evil/b.ts", "https://host:80/b", "tcp://host"):
        with pytest.raises(SourceError):
            reach._vet(url)
    assert len(reach("http://other/x.ts", 0, {}).read(10)) == 0
    assert [reason for reason, _ in reach.problems] == ["refused_reference"]


def test_container_is_closed_after_use(clips):
    with open_source(str(clips / "clip.mp4"), Limits()) as container:
        assert container.streams.video
    assert not container.input_was_opened
