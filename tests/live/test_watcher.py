"""One live stream over real transports: what is found, what is covered, what happens on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.live.connect import has_timestamps
from pipeline.live.relay import Relay
from pipeline.live.streams import Stream, asked, read_watch
from pipeline.live.watcher import Clock, Watcher
from pipeline.settings import load
from pipeline.types import Kind
from pipeline.warm import warm
from tests import waiting, web
from tests.live import origin
from tests.live.test_store import event

SETTINGS = load(skip=("sync",))


@pytest.fixture(scope="module", autouse=True)
def _warm():
    """A stream does not wait until everything is loaded."""
    warm()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Half a minute without a defect that matters here, whole and in segments."""
    folder = tmp_path_factory.mktemp("clean")
    source = origin.programme(folder, 30.0)
    return source, folder, origin.segmented(source, folder)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Likewise, with five seconds of black."""
    folder = tmp_path_factory.mktemp("broken")
    source = origin.programme(folder, 24.0, black=[(9.0, 14.0)])
    return source, folder, origin.segmented(source, folder)


class Watched:
    """A stream that is watched, and what was told of it."""

    def __init__(self, uri, settings=SETTINGS, resumed=()):
        self.events, self.covered = [], []
        self.times = []
        self.glimpses = []
        self.watcher = Watcher(
            Stream(name="s", uri=uri), settings, self._tell, self._cover, self.glimpses.append,
            resumed,
        )  # fmt: skip
        self._stop = threading.Event()
        self._ticks = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self):
        self.watcher.start()
        self._ticks.start()
        return self

    def __exit__(self, *_):
        self.watcher.stop()
        self._stop.set()

    def _tell(self, event):
        self.events.append(event)
        self.times.append(time.time())

    def _cover(self, _, start, end):
        if self.covered and start - self.covered[-1][1] < 0.5:
            self.covered[-1][1] = end
        else:
            self.covered.append([start, end])

    def _tick(self):
        while not self._stop.wait(0.25):
            self.watcher.tick(time.time())

    def told(self, kind, change=None):
        return [e for e in self.events if e.kind == kind and change in (None, e.change)]

    def until(self, condition, seconds=60.0):
        waiting.until(condition, seconds, lambda: (self.watcher.status(), self.events))

    def until_state(self, state):
        self.until(lambda: self.watcher.status().state == state)


def test_a_clock_that_old_media_set_too_late_is_set_right():
    clock, now = Clock(), 1000.0
    # 10 s of old media that come at twice their pace: settled before they are through
    for end in (1.0, 2.0):
        clock.saw(SimpleNamespace(start=end - 1.0, end=end), now + end / 2)
    assert clock.settled
    before = clock.anchor
    clock.saw(SimpleNamespace(start=9.0, end=10.0), now + 5.0)
    assert before - clock.anchor == 4.5
    # small differences are left alone, and what comes late is not early
    settled = clock.anchor
    clock.saw(SimpleNamespace(start=10.0, end=11.0), settled + 10.5)
    clock.saw(SimpleNamespace(start=11.0, end=12.0), settled + 15.0)
    assert clock.anchor == settled


def test_a_defect_in_live_hls_is_told_while_it_lasts_and_the_end_is_seen(broken):
    _, folder, lengths = broken
    # so long a playlist that a busy machine loses nothing
    with origin.live_hls(folder, lengths, window=12) as live, Watched(live.url) as watched:
        watched.until(lambda: watched.told(Kind.BLACK, "opened"))
        assert live.position < 14.0, "it was told after its end"
        watched.until(lambda: watched.told(Kind.BLACK, "closed"))
        watched.until_state("ended")
    opened, closed = watched.told(Kind.BLACK, "opened")[0], watched.told(Kind.BLACK, "closed")[0]
    assert opened.id == closed.id
    assert (closed.end - closed.start).total_seconds() == pytest.approx(5.0, abs=0.1)
    # one connection without a gap, and nothing of the kind that we would have caused
    assert len(watched.covered) == 1
    start, end = watched.covered[0]
    # from where it joined, which is later on a busy machine, and before the black
    assert live.joined <= 8
    # a busy machine dates the beginning later than it was: up to a segment and its loading
    assert -3.0 <= end - start - sum(lengths[live.joined :]) <= 1.5
    assert not watched.told(Kind.OUTAGE) + watched.told(Kind.STALE_PLAYLIST)
    assert not watched.told(Kind.SEGMENT_MISSING) + watched.told(Kind.TIMESTAMP_GAP)


@pytest.mark.parametrize("gone", [False, True], ids=["kept by the server", "gone"])
def test_what_left_the_playlist_while_we_were_late_is_skipped_and_no_defect(
    clean, monkeypatch, gone
):
    """For 7 s nothing is read of a playlist of three seconds."""
    _, folder, lengths = clean
    update, late = Relay.update, []

    def slowly(self, segment):
        if segment.end > 3.0 and not late:
            late.append(segment.end)
            time.sleep(7.0)
        return update(self, segment)

    monkeypatch.setattr(Relay, "update", slowly)
    with (
        origin.live_hls(folder, lengths, window=3, keeps=1 if gone else None) as live,
        Watched(live.url) as watched,
    ):
        watched.until(lambda: len(watched.covered) > 1)
        watched.until(lambda: np.diff(watched.covered[1]) > 4.0)
    status = watched.watcher.status()
    (_, end), (start, _) = watched.covered
    assert status.skipped == pytest.approx(start - end, abs=0.01)
    assert 2.0 < status.skipped < 9.0
    assert status.connections == 2
    assert not watched.told(Kind.SEGMENT_MISSING) + watched.told(Kind.TIMESTAMP_GAP)
    assert not watched.told(Kind.OUTAGE) + watched.told(Kind.STALE_PLAYLIST)


def _watch_apart(url, told, enough):
    """In a process of its own: watch until it is enough, and tell what was seen."""
    warm()
    with Watched(url) as watched:
        watched.until_state("watching")
        told.put(len(watched.covered))
        enough.wait(60)
        told.put(([str(event.kind) for event in watched.events], watched.covered))


@pytest.mark.slow
def test_a_process_that_gets_no_time_for_a_while_tells_no_outage(clean):
    """It is stopped for 7 s, and the stream goes on."""
    _, folder, lengths = clean
    context = multiprocessing.get_context("spawn")
    told, enough = context.Queue(), context.Event()
    with origin.live_hls(folder, lengths, window=12) as live:
        apart = context.Process(target=_watch_apart, args=(live.url, told, enough), daemon=True)
        apart.start()
        told.get(timeout=60)
        time.sleep(2.0)
        os.kill(apart.pid, signal.SIGSTOP)
        time.sleep(7.0)
        os.kill(apart.pid, signal.SIGCONT)
        time.sleep(3.0)
        enough.set()
        kinds, covered = told.get(timeout=20)
        apart.join(20)
    assert not {"outage", "stale_playlist"} & set(kinds)
    assert len(covered) == 1, "all of it was still there"
    assert covered[0][1] - covered[0][0] > 9.0


def test_a_playlist_that_stands_still_is_stale_and_then_an_outage(clean):
    _, folder, lengths = clean
    with origin.live_hls(folder, lengths) as live, Watched(live.url) as watched:
        watched.until_state("watching")
        live.stands_still = True
        watched.until(lambda: watched.told(Kind.STALE_PLAYLIST, "opened"))
        watched.until(lambda: watched.told(Kind.OUTAGE, "opened"))
        assert watched.watcher.status().state == "outage"
        live.stands_still = False
        watched.until(lambda: watched.told(Kind.OUTAGE, "closed"))
        watched.until(lambda: watched.told(Kind.STALE_PLAYLIST, "closed"))
        watched.until_state("watching")


@pytest.mark.slow
def test_a_stale_playlist_is_one_event_also_for_who_takes_over(clean):
    _, folder, lengths = clean
    with origin.live_hls(folder, lengths) as live:
        with Watched(live.url) as first:
            first.until_state("watching")
            live.stands_still = True
            first.until(lambda: first.told(Kind.STALE_PLAYLIST, "opened"))
        (opened,) = first.told(Kind.STALE_PLAYLIST, "opened")
        with Watched(live.url, resumed=[opened]) as second:
            second.until(lambda: second.told(Kind.OUTAGE, "opened"))
            assert not second.told(Kind.STALE_PLAYLIST, "closed")
            live.stands_still = False
            second.until(lambda: second.told(Kind.STALE_PLAYLIST, "closed"))
        assert {event.id for event in second.told(Kind.STALE_PLAYLIST)} == {opened.id}


def test_a_server_that_is_down_is_an_outage_and_is_found_again(clean):
    _, folder, lengths = clean
    with origin.live_hls(folder, lengths) as live, Watched(live.url) as watched:
        watched.until(lambda: watched.covered)
        live.down = True
        watched.until(lambda: watched.told(Kind.OUTAGE, "opened"))
        time.sleep(2.0)
        live.down = False
        watched.until(lambda: watched.told(Kind.OUTAGE, "closed"))
        watched.until(lambda: len(watched.covered) == 2)
        status = watched.watcher.status()
    (outage,) = watched.told(Kind.OUTAGE, "closed")
    first, second = watched.covered
    assert outage.start.timestamp() == pytest.approx(first[1], abs=1.5)
    assert (outage.end - outage.start).total_seconds() > 2.0
    assert second[0] > first[1]
    assert status.connections == 2


@pytest.mark.slow
def test_a_defect_that_lasts_over_an_outage_is_told_once(tmp_path):
    """A server that fails for some seconds of twenty that are black."""
    source = origin.programme(tmp_path, 34.0, black=[(8.0, 28.0)])
    lengths = origin.segmented(source, tmp_path)
    with origin.live_hls(tmp_path, lengths) as live, Watched(live.url) as watched:
        watched.until(lambda: watched.told(Kind.BLACK, "opened"))
        live.down = True
        watched.until(lambda: watched.told(Kind.OUTAGE, "opened"))
        live.down = False
        watched.until(lambda: watched.told(Kind.OUTAGE, "closed"))
        assert live.position < 28.0, "the black was over before the server was found again"
        watched.until(lambda: watched.told(Kind.BLACK, "closed"))
        watched.until_state("ended")
        assert watched.watcher.status().connections == 2
    (opened,), (closed,) = (watched.told(Kind.BLACK, change) for change in ("opened", "closed"))
    (outage,) = watched.told(Kind.OUTAGE, "closed")
    assert (closed.id, closed.start, closed.outcome) == (opened.id, opened.start, "ended")
    assert closed.end > outage.end


def test_who_takes_over_does_not_tell_again_what_a_playlist_still_has(tmp_path):
    source = origin.programme(tmp_path, 24.0, black=[(7.0, 8.2)])
    lengths = origin.segmented(source, tmp_path)
    # so long a playlist that it has the black to its end, however late a busy machine asks for it
    with origin.live_hls(tmp_path, lengths, window=20) as live:
        with Watched(live.url) as first:
            first.until(lambda: first.told(Kind.BLACK, "closed"))
        closed = [event for event in first.events if event.change == "closed"]
        with (
            Watched(live.url, resumed=closed) as second,
            Watched(live.url) as stranger,  # who knows nothing of it
        ):
            stranger.until(lambda: stranger.told(Kind.BLACK, "closed"))
            second.until(lambda: second.covered and np.diff(second.covered[0]) > 5.0)
    assert not second.told(Kind.BLACK)


@pytest.mark.slow
def test_a_defect_goes_on_where_a_connection_stands_still_and_goes_on(broken, tmp_path):
    """MPEG-TS over HTTP that pauses for six seconds in the midst of five that are black."""
    source, _, _ = broken
    data = source.read_bytes()
    with av.open(str(source)) as media:
        stop = next(p.pos for p in media.demux(video=0) if p.pts and p.pts * p.time_base > 13.0)

    def serve(request):
        request.send_response(200)
        request.end_headers()
        for part, seconds in ((data[:stop], 11.0), (data[stop:], 10.0)):
            for n in range(0, len(part), 50_000):
                request.wfile.write(part[n : n + 50_000])
                time.sleep(seconds * 50_000 / len(part))
            time.sleep(6.0)

    with web.serving(tmp_path) as server:
        server.routes["/live.ts"] = serve
        with Watched(f"{server.url}/live.ts") as watched:
            watched.until(lambda: watched.told(Kind.BLACK, "closed"))
            assert watched.watcher.status().connections == 1
    (opened,), (closed,) = (watched.told(Kind.BLACK, change) for change in ("opened", "closed"))
    (outage,) = watched.told(Kind.OUTAGE, "closed")
    assert (closed.id, closed.outcome) == (opened.id, "ended")
    assert closed.start < outage.start < outage.end < closed.end
    assert (closed.end - closed.start).total_seconds() > 9.0


def test_mpeg_ts_over_udp(broken):
    source, _, _ = broken
    port = origin.free_udp_port()
    with Watched(f"udp://127.0.0.1:{port}") as watched:
        sender = origin.Sender(source, port)
        watched.until(lambda: watched.told(Kind.BLACK, "closed"))
        sender.close()
        # the sender is gone: nobody says so, nothing comes any more
        watched.until(lambda: watched.told(Kind.OUTAGE, "opened"))
        assert watched.watcher.status().state == "outage"
    (closed,) = watched.told(Kind.BLACK, "closed")
    assert (closed.end - closed.start).total_seconds() == pytest.approx(5.0, abs=0.1)


def test_mpeg_ts_over_http_that_breaks_off_is_connected_again(clean, tmp_path):
    source, _, _ = clean
    data = source.read_bytes()
    asked_for = []

    def serve(request):
        asked_for.append(time.monotonic())
        request.send_response(200)
        request.end_headers()
        for n in range(0, len(data) // 3, len(data) // 90):  # ten seconds, thrice as fast
            request.wfile.write(data[n : n + len(data) // 90])
            time.sleep(0.1)

    with web.serving(tmp_path) as server:
        server.routes["/live.ts"] = serve
        with Watched(f"{server.url}/live.ts") as watched:
            watched.until(lambda: len(asked_for) > 1 and len(watched.covered) > 0)
            watched.until(lambda: watched.told(Kind.OUTAGE, "closed"))
    assert watched.told(Kind.OUTAGE, "closed")[0].outcome == "ended"


def test_what_cannot_be_connected_is_an_outage_with_its_reason(tmp_path):
    with web.serving(tmp_path) as server, Watched(f"{server.url}/no.m3u8") as watched:
        watched.until(lambda: watched.told(Kind.OUTAGE, "opened"))
        status = watched.watcher.status()
    assert status.state == "connecting"
    assert "404" in status.detail
    assert "404" in watched.told(Kind.OUTAGE)[0].summary


def test_a_playlist_cannot_lead_elsewhere(tmp_path):
    with web.serving(tmp_path) as server, web.serving(tmp_path) as elsewhere:
        (tmp_path / "list.m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{elsewhere.url}/0.ts\n"
        )
        with Watched(f"{server.url}/list.m3u8") as watched:
            watched.until(lambda: watched.watcher.status().detail)
            assert "another host" in watched.watcher.status().detail
        assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        ("https://a.example/l.m3u8", True),
        ("udp://239.1.1.1:5000", True),
        ("rtsp://a.example/l", False),
        ("rtmp://a.example/l", False),
        ("srt://a.example:9000", False),
        ("https://a.example/l.mpd", False),
    ],
)
def test_timestamps_are_those_of_the_stream_where_the_transport_leaves_them(uri, own):
    assert has_timestamps(uri) == own


def test_what_was_open_is_over_with_a_playlist_of_which_nothing_is_left(tmp_path):
    """Its worker died, the programme ended, and the server has removed it."""
    was = event("opened", start=time.time() - 20, end=time.time() - 10, kind="black")
    (tmp_path / "live.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:90\n"
        "#EXTINF:1,\n90.ts\n#EXT-X-ENDLIST\n"
    )
    with web.serving(tmp_path) as server, Watched(f"{server.url}/live.m3u8", resumed=[was]) as last:
        last.until_state("ended")
        (closed,) = last.told(Kind.BLACK)
    assert (closed.id, closed.change, closed.outcome) == (was.id, "closed", "lost")


def test_streams_are_read_from_a_file(tmp_path):
    path = tmp_path / "streams.yaml"
    path.write_text(
        "settings: {detectors: {freeze: {min_duration: 3.0}}, skip: [sync]}\n"
        "pools: {default: {cpus: 0.5}, uhd: {cpus: 2, most: 3}}\n"
        "webhooks: [https://ops.example/hook]\n"
        "streams:\n"
        "- {name: news, uri: 'https://a.example/n.m3u8', labels: {cdn: a}}\n"
        "- {name: uhd, uri: 'srt://b.example:9000', pool: uhd, only: [black, freeze],\n"
        "   settings: {black.min_duration: 1.0}}\n"
    )
    watch, settings = asked([], path, {}, [], load(skip=("hum",)))
    assert [stream.name for stream in watch.streams] == ["news", "uhd"]
    assert settings.detectors["freeze"]["min_duration"] == 3.0
    assert settings.skip == ("hum",)  # the command line comes first
    own = watch.streams[1].chosen(settings)
    assert own.enabled() == ["black", "freeze"]
    assert own.detectors["black"]["min_duration"] == 1.0
    assert own.detectors["freeze"]["min_duration"] == 3.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams: [{name: a, uri: clip.mp4}]", "vidette inspect"),
        ("streams: [{name: a, uri: 'udp://x:1'}, {name: a, uri: 'udp://x:2'}]", "two streams"),
        ("streams: [{name: a, uri: 'udp://x:1', pool: gone}]", "no pool 'gone'"),
        ("streams: [{name: a, uri: 'udp://x:1', only: [nothing]}]", "no detector 'nothing'"),
        ("settings: {detectors: {freeze: {max: 1}}}", "freeze.max"),
        ("streams: 1", "streams"),
        ("{", "cannot be read"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, said):
    path = tmp_path / "streams.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        asked([], path, {}, [], load())


def test_pools_have_detectors_of_their_own(tmp_path):
    path = tmp_path / "streams.yaml"
    path.write_text(
        "streams:\n"
        "- {name: a, uri: 'https://a.example/a.m3u8', pool: learned}\n"
        "- {name: b, uri: 'https://a.example/b.m3u8', pool: learned, only: [freeze, black],"
        " settings: {freeze.min_duration: 5}}\n"
        "- {name: c, uri: 'https://a.example/c.m3u8'}\n"
        "pools:\n"
        "  default: {cpus: 1}\n"
        "  learned: {gpus: 0.5, only: [sync, freeze], settings: {freeze.min_duration: 3}}\n"
    )
    watch, settings = asked([], path, {}, [], load(skip=("hum",)))
    judged = {one.name: one.chosen(watch.pools[one.pool].chosen(settings)) for one in watch.streams}
    assert sorted(judged["a"].enabled()) == ["freeze", "sync"]
    assert sorted(judged["b"].enabled()) == ["black", "freeze"]
    assert {"black", "sync", "freeze"} < set(judged["c"].enabled())
    lengths = [one.of("freeze").min_duration for one in judged.values()]
    assert lengths[:2] == [3.0, 5.0]
    assert lengths[2] not in lengths[:2]
    path.write_text(path.read_text().replace("[sync, freeze]", "[nonsense]"))
    with pytest.raises(UsageError, match="nonsense"):
        asked([], path, {}, [], settings)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        read_watch(tmp_path / "no.yaml")
