"""Live streams that are difficult: too slow to watch, with holes, over the end of their clock."""

from __future__ import annotations

import time

import av
import pytest

from pipeline.live import watcher
from pipeline.live.relay import Relay
from pipeline.settings import load
from pipeline.warm import warm
from tests.live import origin
from tests.live.test_watcher import Watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WRAP = 2**33 / 90_000  # seconds after which the clock of MPEG-TS begins anew


@pytest.fixture(scope="module", autouse=True)
def _warm():
    warm()


@pytest.fixture(scope="module")
def programme(tmp_path_factory):
    """Forty seconds with black from 12 s to 14 s; a folder."""
    folder = tmp_path_factory.mktemp("programme")
    origin.programme(folder, 40.0, black=[(12.0, 14.0)])
    return folder


def test_who_falls_behind_skips_to_the_newest_says_so_and_holds_nobody_up(
    programme, tmp_path, monkeypatch
):
    lengths = origin.segmented(programme / "programme.ts", tmp_path)
    monkeypatch.setattr(watcher, "BEHIND", 4.0)
    update = Relay.update

    def slowly(self, segment):
        if self._settings.skip == ("hum",):  # the mark of the stream that is too dear
            time.sleep(2.5 * (segment.end - segment.start))
        return update(self, segment)

    monkeypatch.setattr(Relay, "update", slowly)
    with (
        # so long a playlist that nothing is lost by itself
        origin.live_hls(tmp_path, lengths, window=12) as live,
        Watched(live.url, load(only=("black",))) as quick,
        Watched(live.url, load(only=("black", "hum"), skip=("hum",))) as slow,
    ):
        slow.until(lambda: len(slow.covered) > 1)
        skipped, (first, second, *_) = slow.watcher.status().skipped, list(slow.covered)
        quick.until(lambda: quick.told("black", "closed"))
        assert quick.watcher.status().skipped == 0
    assert skipped == pytest.approx(second[0] - first[1], abs=0.01)
    assert skipped > 2.0
    assert len(quick.covered) == 1


def test_a_segment_that_is_not_there_is_an_event_and_the_rest_is_watched(programme, tmp_path):
    lengths = origin.segmented(programme / "programme.ts", tmp_path)
    (tmp_path / "8.ts").unlink()
    with origin.live_hls(tmp_path, lengths) as live, Watched(live.url) as watched:
        watched.until(lambda: watched.told("segment_missing", "closed"))
        watched.until(lambda: watched.told("black", "closed"))
    (event, *_) = watched.told("segment_missing", "closed")
    assert 0.5 < (event.end - event.start).total_seconds() < 2.0
    (black,) = watched.told("black", "closed")
    assert (black.end - black.start).total_seconds() == pytest.approx(2.0, abs=0.2)


def test_another_programme_after_a_discontinuity_is_no_gap(programme, tmp_path):
    """From 10 s on the time stamps are those of another encoder, as around advertising."""
    source, other = programme / "programme.ts", tmp_path / "other"
    other.mkdir()
    lengths = origin.segmented(source, tmp_path)
    origin.segmented(source, other, output_ts_offset="5000")
    for n in range(10, len(lengths)):
        (other / f"{n}.ts").replace(tmp_path / f"{n}.ts")
    with origin.live_hls(tmp_path, lengths) as live, Watched(live.url) as watched:
        live.tags[10] = ["#EXT-X-DISCONTINUITY"]
        watched.until(lambda: watched.told("black", "closed"))
        watched.until_state("ended")
    (black,) = watched.told("black", "closed")
    assert (black.end - black.start).total_seconds() == pytest.approx(2.0, abs=0.1)
    ((start, end),) = watched.covered
    assert end - start > 30.0
    assert watched.watcher.status().connections == 1
    # a discontinuity that is announced is no defect; the sound clicks at the joins of its loop
    assert {event.kind for event in watched.events} <= {"black", "click"}


def test_the_clock_of_a_stream_wraps_unnoticed(programme, tmp_path):
    """33 bits of 90 kHz end in the middle, six seconds before black."""
    offset = WRAP - 6.0
    source = programme / "programme.ts"
    lengths = origin.segmented(source, tmp_path, output_ts_offset=str(offset))
    assert _first_pts(tmp_path / "0.ts") > 2**33 - 10 * 90_000
    assert _first_pts(tmp_path / f"{len(lengths) - 1}.ts") < 40 * 90_000
    with origin.live_hls(tmp_path, lengths) as live, Watched(live.url) as watched:
        watched.until(lambda: watched.told("black", "closed"))
        watched.until_state("ended")
    (black,) = watched.told("black", "closed")
    assert (black.end - black.start).total_seconds() == pytest.approx(2.0, abs=0.1)
    # the sound that it repeats clicks at its joins, which is no matter of the clock
    assert {event.kind for event in watched.events} <= {"black", "click"}
    ((start, end),) = watched.covered
    assert end - start > 30.0


def _first_pts(path) -> int:
    with av.open(str(path), options={"correct_ts_overflow": "0"}) as container:
        stream = container.streams.video[0]
        return next(p.pts for p in container.demux(stream) if p.pts is not None)
