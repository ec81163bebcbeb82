"""Dates of HLS playlists: read as they are written, and given to what is found in the stream."""

from __future__ import annotations

import io
import shutil
import time
from datetime import UTC, datetime, timedelta

import av
import pytest

from pipeline import fragments
from pipeline.inspect import inspect
from pipeline.programme import ProgramTime, first_stamp
from pipeline.settings import load
from pipeline.types import Kind
from pipeline.warm import warm
from tests import media, web
from tests.live import origin
from tests.live.test_watcher import Watched

URL = "https://cdn.example/tv/live.m3u8"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def listed(*lines: str) -> ProgramTime:
    programme = ProgramTime()
    programme.listed(URL, list(lines))
    return programme


def begins(programme: ProgramTime, name: str, stamp: float) -> None:
    """A segment is opened whose first time stamp is so."""
    data = ts(stamp)
    file = programme.passing(f"https://cdn.example/tv/{name}", io.BytesIO(data))
    while file.read(1000):
        pass


def ts(stamp: float) -> bytes:
    """A transport stream that begins at a time stamp."""
    out = io.BytesIO()
    options = {"output_ts_offset": str(stamp), "muxdelay": "0", "muxpreload": "0"}
    with av.open(out, "w", format="mpegts", options=options) as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame(64, 48, "yuv420p")
        for n in range(3):
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def test_the_first_time_stamp_of_a_transport_stream(tmp_path):
    frames, tone = media.scene(0.4, 64, 48), 0.1 * media.programme(0.4)
    path = media.write(tmp_path / "a.ts", frames, tone, video_codec="mpeg2video")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        expected = float(stream.start_time * stream.time_base)
    data = path.read_bytes()
    assert first_stamp(data, whole=False) == pytest.approx(expected, abs=1e-6)
    assert first_stamp(ts(3661.5), whole=False) == pytest.approx(3661.5, abs=1e-4)
    sound = media.write(tmp_path / "b.ts", None, tone).read_bytes()
    assert first_stamp(sound, whole=False) is None  # a picture may still come
    assert first_stamp(sound, whole=True) is not None
    assert first_stamp(b"\0" * 400, whole=True) is None
    assert first_stamp(b"G\x40\0\x30\xff" + b"\xff" * 183, whole=True) is None


def test_segments_without_a_date_follow_their_neighbours_but_not_over_a_discontinuity():
    programme = listed(
        "#EXTM3U", "#EXT-X-TARGETDURATION:4",
        "#EXTINF:4.0,", "0.ts",
        "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T13:00:04.000+01:00", "#EXTINF:4.0,", "1.ts",
        "#EXTINF:3.5,", "2.ts",
        "#EXT-X-DISCONTINUITY", "#EXTINF:4.0,", "3.ts",
        "#EXT-X-DISCONTINUITY", "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T11:00:00Z",
        "#EXTINF:4.0,", "4.ts",
    )  # fmt: skip
    stamps = {"0.ts": 100.0, "1.ts": 104.0, "2.ts": 108.0, "3.ts": 111.5, "4.ts": 115.5}
    for name, stamp in stamps.items():
        begins(programme, name, stamp)
    programme.reach(lambda raw: raw - 100.0, 18.0)
    assert programme.at(0.0) == NOON
    assert programme.at(5.0) == NOON + timedelta(seconds=5)
    assert programme.at(11.0) == NOON + timedelta(seconds=11)
    assert programme.at(12.0) is None  # an insertion that says nothing
    assert programme.at(16.5) == NOON - timedelta(seconds=3599)
    programme.restart()
    assert programme.at(5.0) is None


def test_a_window_that_has_moved_past_its_date_and_a_clock_that_jumps_back():
    dated = ["#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00Z", "#EXTINF:4,", "0.ts"]
    programme = listed("#EXTM3U", "#EXT-X-TARGETDURATION:4", *dated, "#EXTINF:4,", "1.ts")
    moved = ["#EXT-X-TARGETDURATION:4", "#EXT-X-MEDIA-SEQUENCE:1", "#EXTINF:4,", "1.ts"]
    programme.listed(URL, [*moved, "#EXTINF:4,", "2.ts"])
    for name, stamp in (("0.ts", 50.0), ("1.ts", 54.0)):
        begins(programme, name, stamp)
    programme.reach(lambda raw: raw - 50.0, 7.9)
    begins(programme, "2.ts", 52.0)  # its time stamps go back by six seconds
    programme.reach(lambda raw: raw - 50.0, 7.95)  # which the clock has not seen yet
    assert programme.at(7.9) == NOON + timedelta(seconds=7.9)
    programme.reach(lambda raw: raw - 44.0, 9.0)
    assert programme.at(8.5) == NOON + timedelta(seconds=8.5)
    assert programme.at(3.0) == NOON + timedelta(seconds=3)


def test_dates_that_are_none_are_left_out():
    programme = listed(
        "#EXT-X-TARGETDURATION:4", "#EXT-X-PROGRAM-DATE-TIME:yesterday", "#EXTINF:four,", "0.ts"
    )
    file = io.BytesIO(b"x")
    assert programme.passing("https://cdn.example/tv/0.ts", file) is file
    programme.reach(lambda raw: raw, 10.0)
    assert programme.at(1.0) is None


def test_an_inspection_says_when_its_presentation_was_made(tmp_path):
    source = media.write(
        tmp_path / "a.ts", media.scene(4.0, 96, 64), 0.1 * media.programme(4.0),
        video_options={"preset": "ultrafast", "g": "25"},
    )  # fmt: skip
    lengths = origin.segmented(source, tmp_path)
    assert len(lengths) == 4
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    # the first two segments, and then both of them once more: their time stamps go back
    for n, tags in enumerate(
        [
            ["#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.250Z"],
            [],
            ["#EXT-X-DISCONTINUITY", "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T18:00:00Z"],
            [],
        ]
    ):
        lines += [*tags, f"#EXTINF:{lengths[n % 2]:.6f},", f"{n % 2}.ts"]
    playlist = tmp_path / "vod.m3u8"
    lines += ["#EXT-X-ENDLIST", ""]
    playlist.write_text("\n".join(lines))
    settings = load(only=("black",))
    with web.serving(tmp_path) as server:
        for uri in (str(playlist), f"{server.url}/vod.m3u8"):
            asset = inspect(uri, settings).asset
            first, second = asset.program_times
            # sound begins a little before the picture
            assert first.time == pytest.approx(0.0, abs=0.05)
            assert first.date == NOON + timedelta(seconds=0.25)
            assert second.time == pytest.approx(2.0, abs=0.1)
            assert second.date == NOON + timedelta(hours=6)
    playlist.write_text("\n".join(line for line in lines if "PROGRAM" not in line))
    assert inspect(str(playlist), settings).asset.program_times == []


@pytest.fixture(scope="module")
def cmaf(tmp_path_factory):
    """Four seconds as fragments of MP4, 0.m4s to 3.m4s, with B-frames and sound; their lengths."""
    folder = tmp_path_factory.mktemp("cmaf")
    source = media.write(
        folder / "a.mp4", media.scene(4.0, 96, 64), 0.1 * media.programme(4.0),
        video_options={"preset": "veryfast", "g": "25", "bf": "2"},
    )  # fmt: skip
    init = {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4"}
    return folder, origin.segmented(source, folder, suffix="m4s", **init)


def test_the_first_time_of_a_fragment_is_what_the_demuxer_says(cmaf):
    folder, lengths = cmaf
    init = (folder / "init.mp4").read_bytes()
    known = fragments.tracks(init)
    assert sorted(track.is_video for track in known.values()) == [False, True]
    for n in range(len(lengths)):
        data = (folder / f"{n}.m4s").read_bytes()
        with av.open(io.BytesIO(init + data)) as container:
            video = container.streams.video[0]
            first = min(p.pts for p in container.demux(video) if p.pts is not None)
            expected = float(first * video.time_base)
        assert fragments.is_fragment(data)
        assert fragments.first_time(data, known) == pytest.approx(expected, abs=1e-4)
        assert fragments.first_time(data[:60], known) is None  # not all of it is there
        sound = {k: track for k, track in known.items() if not track.is_video}
        assert fragments.first_time(data, sound) == pytest.approx(expected, abs=0.1)
    for damaged in (init[:300], b"\0\0\0\1moov", init.replace(b"trak", b"tra?")):
        assert fragments.tracks(damaged) == {}
    assert fragments.first_time(init, known) is None


def test_dates_of_fragments_are_known(cmaf):
    folder, lengths = cmaf
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:1", '#EXT-X-MAP:URI="init.mp4"']
    for n, length in enumerate(lengths):
        if n == 1:
            lines.append("#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:01Z")
        lines += [f"#EXTINF:{length:.6f},", f"{n}.m4s"]
    playlist = folder / "dated.m3u8"
    playlist.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    (begins,) = inspect(str(playlist), load(only=("black",))).asset.program_times
    assert begins.time == pytest.approx(0.0, abs=0.05)
    assert abs(begins.date - NOON).total_seconds() < 0.05


def test_a_discontinuity_tells_which_time_stamps_go_on_anew():
    programme = ProgramTime()
    first = ["#EXT-X-MEDIA-SEQUENCE:0", "#EXTINF:6,", "0.ts", "#EXTINF:6,", "1.ts"]
    programme.listed(URL, [*first, "#EXT-X-DISCONTINUITY", "#EXTINF:6,", "2.ts"])
    for n, stamp in ((0, 1.0), (1, 7.0)):
        begins(programme, f"{n}.ts", stamp)
    assert not any(programme.announces(stamp) for stamp in (1.0, 7.0, 500.0))
    # the tag leaves the playlist before its segment
    programme.listed(URL, ["#EXT-X-MEDIA-SEQUENCE:2", "#EXTINF:6,", "2.ts", "#EXTINF:6,", "3.ts"])
    begins(programme, "2.ts", 500.0)
    begins(programme, "3.ts", 506.0)
    assert programme.announces(500.4)
    assert programme.announces(500.4 + 2**33 / 90_000)
    assert not programme.announces(506.0)


@pytest.mark.parametrize("announced", [True, False])
def test_a_jump_that_a_playlist_announces_is_no_defect(tmp_path, announced):
    source, other = origin.programme(tmp_path, 12.0), tmp_path / "other"
    other.mkdir()
    lengths = origin.segmented(source, tmp_path)
    origin.segmented(source, other, output_ts_offset="700")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1"]
    for n, length in enumerate(lengths):
        if n == 6:
            lines += ["#EXT-X-DISCONTINUITY"] * announced
        if n >= 6:
            (other / f"{n}.ts").replace(tmp_path / f"{n}.ts")
        lines += [f"#EXTINF:{length:.6f},", f"{n}.ts"]
    playlist = tmp_path / "joined.m3u8"
    playlist.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    found = inspect(str(playlist), load(only=("timestamp_gap", "segment_missing")))
    assert found.asset.duration == pytest.approx(12.0, abs=0.1)
    assert [defect.kind for defect in found.defects] == ["timestamp_jump"] * (not announced)


@pytest.mark.slow
def test_events_have_the_date_of_the_programme_over_a_discontinuity(tmp_path):
    warm()
    folders = [tmp_path / name for name in ("first", "second")]
    lengths: list[float] = []
    for folder, seconds, black in zip(folders, (7.0, 9.0), ((4.0, 5.5), (3.0, 5.0)), strict=True):
        folder.mkdir()
        source = origin.programme(folder, seconds, black=[black])
        own = origin.segmented(source, folder)
        for n in range(len(own)):
            shutil.copy(folder / f"{n}.ts", tmp_path / f"{len(lengths) + n}.ts")
        lengths += own
    second = len(origin.lengths(folders[0]))
    with origin.live_hls(tmp_path, lengths) as live, Watched(live.url) as watched:
        live.tags = {
            n: [f"#EXT-X-PROGRAM-DATE-TIME:{NOON + timedelta(seconds=n):%Y-%m-%dT%H:%M:%S.000Z}"]
            for n in range(0, second, 2)  # every other one
        }
        later = NOON + timedelta(hours=1)
        live.tags[second] = [
            "#EXT-X-DISCONTINUITY",
            f"#EXT-X-PROGRAM-DATE-TIME:{later:%Y-%m-%dT%H:%M:%SZ}",
        ]
        watched.until(lambda: len(watched.told(Kind.BLACK, "closed")) == 2, 40)
        status = watched.watcher.status()
        now = time.time()
    first, other = watched.told(Kind.BLACK, "closed")
    for event, begun, (start, end) in ((first, NOON, (4.0, 5.5)), (other, later, (3.0, 5.0))):
        assert (event.program_start - begun).total_seconds() == pytest.approx(start, abs=0.05)
        assert (event.program_end - begun).total_seconds() == pytest.approx(end, abs=0.05)
        assert abs(event.start.timestamp() - now) < 60  # that is when it came in
    assert later < status.program_time < later + timedelta(seconds=9.5)
    (opened, _) = watched.told(Kind.BLACK, "opened")
    assert opened.program_start == first.program_start


@pytest.mark.parametrize(
    "text",
    [
        "#EXT-X-MEDIA-SEQUENCE:inf",
        "#EXT-X-MEDIA-SEQUENCE:nan",
        "#EXTINF:1e300,",
        "#EXTINF:nan,",
        "#EXT-X-PROGRAM-DATE-TIME:0001-01-01T00:00:00+14:00",
        "#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z",
    ],
)
def test_dates_that_no_calendar_has_are_none(text):
    first = "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00Z"
    programme = listed(first, "#EXTINF:6,", "0.ts", text, "1.ts", "#EXTINF:6,", "2.ts")
    for n in range(3):
        begins(programme, f"{n}.ts", 6.0 * n + 1)
        programme.reach(lambda stamp: stamp - 1, 6.0 * (n + 1))
    assert programme.moments()[0] == (pytest.approx(0.0, abs=0.1), NOON)
    assert programme.at(0.0) == pytest.approx(NOON, abs=timedelta(seconds=0.1))
    programme.at(1e6)


def test_a_playlist_that_begins_again_has_dates_of_its_own():
    """The encoder starts anew: the same numbers, other segments, five hours later."""
    programme = ProgramTime()
    for run, hour in (("a", 12), ("b", 17)):
        segments = [line for n in range(3) for line in ("#EXTINF:6,", f"{run}{n}.ts")]
        date = f"#EXT-X-PROGRAM-DATE-TIME:2026-03-01T{hour}:00:00Z"
        programme.listed(URL, ["#EXT-X-MEDIA-SEQUENCE:0", date, *segments])
    begins(programme, "b2.ts", 13.0)
    programme.reach(lambda stamp: stamp - 1, 18.0)
    expected = NOON + timedelta(hours=5, seconds=12)
    assert programme.at(12.0) == pytest.approx(expected, abs=timedelta(seconds=0.1))
