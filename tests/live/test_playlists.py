"""When playlists are loaded again: seldom enough, and soon after they have changed."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections import Counter

import pytest

from pipeline.live.playlists import LiveReach, Playlists, _Listed, _Pace
from pipeline.source import Limits
from tests import web

URL = "http://origin.example/live/index.m3u8"


def playlist(made: float, length: float) -> bytes:
    """Of segments of `length` seconds, `made` seconds after the first began."""
    count = int(made / length)
    lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{round(length)}", "#EXT-X-MEDIA-SEQUENCE:0"]
    for n in range(count):
        lines += [f"#EXTINF:{length:.3f},", f"{n}.ts"]
    return "\n".join(lines).encode()


def paced(body: bytes, began: float, before: _Pace | None, url: str = URL) -> _Pace | None:
    listed = _Listed.of(url, body, began, before and before.listed)
    return None if listed is None or listed.ended else _Pace.of(listed, before)


def loads(length: float, begun: float, *, count: int = 40, jitter: float = 0.0):
    """When a client loads, as FFmpeg does but for what the pace holds it: moments, and changes.

    FFmpeg asks the length of the last segment after a change (of which the pace has told it half),
    and half a target duration after a load that changed nothing; it looks ten times a second.
    """
    now, pace, seen = begun, None, []
    for n in range(count):
        late = jitter * (n % 3) / 2
        before = pace
        pace = paced(playlist(now - late, length), now, before)
        seen.append((now, pace.changed))
        told = float(pace.body.decode().rpartition("#EXTINF:")[2].partition(",")[0])
        asks = now + (told if pace.changed else round(length) / 2) + 0.1 * (n % 7) / 7
        now = asks + pace.rest(asks)
    return seen


@pytest.mark.parametrize("length", [1.001, 2.0, 2.02, 6.006, 9.6])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_loads_are_seldom_and_come_soon_after_changes(length, phase, jitter):
    seen = loads(length, (10 + phase) * length, jitter=jitter * length)
    for (one, changed), (other, _) in itertools.pairwise(seen):
        assert other - one >= (length if changed else round(length) / 2) - 1e-9
        assert other - one <= (1.25 if changed else 0.5) * length + 0.5
    # in the long run it comes within half a segment after each
    assert [changed for _, changed in seen[10:]] == [True] * 30
    assert max(moment % length for moment, _ in seen[10:]) < 0.5 * length


def test_what_ffmpeg_is_told_differs_in_the_length_of_the_last_segment_alone():
    body = playlist(12.0, 2.0)
    pace = paced(body, 0.0, None)
    lines, told = body.decode().splitlines(), pace.body.decode().splitlines()
    (where,) = [n for n, line in enumerate(lines) if line != told[n]]
    assert (lines[where], told[where]) == ("#EXTINF:2.000,", "#EXTINF:1.000000,")
    assert where == len(lines) - 2
    assert (pace.listed.newest, pace.listed.names[-1]) == (6, "5.ts")


def test_names_that_are_not_text_stay_as_they_came():
    body = playlist(6.0, 2.0).replace(b"2.ts", b"caf\xe9.ts")
    pace = paced(body, 0.0, None)
    assert b"caf\xe9.ts" in pace.body


def test_what_is_no_live_playlist_has_no_pace():
    assert paced(b"", 0.0, None) is None
    assert paced(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n", 0.0, None) is None
    assert paced(playlist(8.0, 2.0) + b"\n#EXT-X-ENDLIST\n", 0.0, None) is None
    assert paced(playlist(0.5, 2.0), 0.0, None) is None
    for odd in (b"SEQUENCE:" + b"9" * 5000, b"SEQUENCE:one"):
        assert paced(playlist(8.0, 2.0).replace(b"SEQUENCE:0", odd), 0.0, None) is None
    assert paced(playlist(8.0, 2.0).replace(b"3.ts", b"http://["), 0.0, None) is None


@pytest.mark.parametrize("length", ["inf", "nan", "1e9"])
def test_lengths_that_no_segment_has_hold_nobody(length):
    body = f"#EXTM3U\n#EXT-X-TARGETDURATION:{length}\n#EXTINF:{length},\n0.ts\n".encode()
    url = "http://127.0.0.1:9/live.m3u8"
    reach = LiveReach(url, Limits(), Playlists())
    begun = time.monotonic()
    pace = reach._paces[url] = paced(body, begun, None, url)
    pace.listed.asked("http://127.0.0.1:9/0.ts")
    if length == "1e9":  # what is longer is answered at once, with what is known
        assert reach(url, 0, {}).read() == pace.body
    else:
        assert pace.rest(begun) <= 12.5
    assert time.monotonic() - begun < 1.0


class Origin:
    """Playlists that are what they are set to, and how often each was asked for."""

    def __init__(self, server: web.Server) -> None:
        self.url, self.bodies, self.asked = server.url, {}, Counter()
        self._server = server

    def put(self, name: str, body: bytes) -> str:
        self.bodies[name] = body

        def answer(request) -> None:
            self.asked[name] += 1
            request.send_response(200)
            request.send_header("Content-Length", str(len(self.bodies[name])))
            request.end_headers()
            request.wfile.write(self.bodies[name])

        self._server.routes[f"/{name}"] = answer
        return f"{self.url}/{name}"


@pytest.fixture
def place(tmp_path):
    with web.serving(tmp_path) as server:
        yield Origin(server)


def load(reach, url) -> bytes:
    with contextlib.closing(reach(url, 0, {})) as file:
        return file.read(1 << 16)


def test_a_load_that_comes_early_is_held_or_answered_from_what_is_known(place):
    url = place.put("a.m3u8", playlist(8.0, 2.0))
    place.put("3.ts", b"segment")
    reach = LiveReach(url, Limits(), Playlists())
    first = load(reach, url)
    assert load(reach, url) == first  # segments are left to read
    assert place.asked["a.m3u8"] == 1
    load(reach, f"{place.url}/3.ts")
    place.bodies["a.m3u8"] = playlist(10.0, 2.0)
    begun = time.monotonic()
    assert b"4.ts" in load(reach, url)
    assert time.monotonic() - begun > 1.5  # 2 s and a quarter after the first
    assert place.asked["a.m3u8"] == 2


def test_each_of_several_playlists_has_its_own_pace(place):
    names = ("video", "sound")
    urls = [
        place.put(f"{name}.m3u8", playlist(2.0, 0.5).replace(b".ts", f"-{name}.ts".encode()))
        for name in names
    ]
    reach = LiveReach(urls[0], Limits(), Playlists())
    for url, name in zip(urls, names, strict=True):
        load(reach, url)
        place.put(f"3-{name}.ts", b"segment")
        load(reach, f"{place.url}/3-{name}.ts")
    for url in urls:  # both are read to their ends: neither is answered from what is known
        load(reach, url)
    assert [place.asked[f"{name}.m3u8"] for name in names] == [2, 2]


def test_ranges_of_one_file_are_not_paced():
    body = re.sub(rb"\d+\.ts", b"all.ts", playlist(8.0, 2.0))
    assert paced(body, 0.0, None) is None


def test_two_segments_after_a_load_that_was_held_up_say_nothing_of_when_they_come():
    first = paced(playlist(8.0, 2.0), 0.0, None)
    assert paced(playlist(12.0, 2.0), 2.5, first).is_soon
    assert not paced(playlist(12.0, 2.0), 5.5, first).is_soon
    assert not paced(playlist(16.0, 2.0), 2.5, first).is_soon


def window(first: int, count: int, *, ended: bool = False) -> bytes:
    """A playlist of segments of 2 s from a number on."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    lines += [line for n in range(first, first + count) for line in ("#EXTINF:2.0,", f"{n}.ts")]
    return "\n".join(lines + ["#EXT-X-ENDLIST"] * ended).encode()


@pytest.mark.parametrize(
    ("after", "first", "is_late"),
    [
        (4.0, 12, False),  # 11 was the last that was read
        (6.0, 13, True),
        (40.0, 30, True),
        (6.0, 30, False),  # the encoder leaps: nobody could have read what is not there
        (6.0, 2, False),  # or begins anew
        (6.0, 10, False),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_segments_that_left_the_playlist_unread_end_the_connection(
    place, after, first, is_late, ended
):
    url = place.put("a.m3u8", window(8, 4))
    playlists = Playlists()
    reach = LiveReach(url, Limits(), playlists)
    reach.main().close()
    for n in (10, 11):
        place.put(f"{n}.ts", b"segment")
        load(reach, f"{place.url}/{n}.ts")
    reach._listed[url].began -= after
    place.bodies["a.m3u8"] = window(first, 4, ended=ended)
    told = load(reach, url)
    assert playlists.is_late == is_late
    assert (f"{first}.ts" in told.decode()) != is_late
    if is_late:  # and no other file is opened by it
        assert b"ENDLIST" in told
        assert load(reach, f"{place.url}/11.ts") == b""
        LiveReach(url, Limits(), playlists)
        assert not playlists.is_late  # a new connection begins anew


@pytest.mark.parametrize(("after", "is_late"), [(3.0, False), (9.0, True)])
def test_a_segment_that_is_gone_is_missing_unless_we_came_too_late(place, after, is_late):
    url = place.put("a.m3u8", window(8, 4))
    playlists = Playlists()
    reach = LiveReach(url, Limits(), playlists)
    reach.main().close()
    reach._listed[url].began -= after
    assert load(reach, f"{place.url}/9.ts") == b""  # it may go 4 s after the load, and stay 2 s
    assert playlists.is_late == is_late
    assert [reason for reason, _ in reach.problems] == ([] if is_late else ["not_found"])


def test_a_stream_ends_where_it_was_found_last(place):
    """Addresses may hold for one connection alone, and what they named before never ends."""
    playlists = Playlists()
    place.put("first.m3u8", window(8, 4))
    LiveReach(f"{place.url}/first.m3u8", Limits(), playlists).main().close()
    assert not playlists.ended
    place.put("second.m3u8", window(12, 4, ended=True))
    reach = LiveReach(f"{place.url}/second.m3u8", Limits(), playlists)
    assert not playlists.ended  # nothing of it was seen
    reach.main().close()
    assert playlists.ended


def test_playlists_of_long_ago_are_forgotten():
    playlists = Playlists()
    for n in range(100):
        playlists.saw(f"{URL}?token={n}", window(n, 4), 100.0 * n)
    assert len(playlists._known) <= 6


def test_a_load_that_fails_forgets_nothing(place):
    url = place.put("a.m3u8", playlist(8.0, 2.0))
    reach = LiveReach(url, Limits(), Playlists())
    load(reach, url)
    pace = reach._paces[url]
    place.bodies["a.m3u8"] = b""
    pace.listed.began -= 10.0
    assert load(reach, url) == b""
    assert reach._paces[url] is pace
