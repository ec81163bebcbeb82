"""A worker follows its orders, whatever order they come in, and says what it cannot do."""

from __future__ import annotations

import pytest

from pipeline.live.command import _reread
from pipeline.live.store import Store
from pipeline.live.streams import Stream, read_watch
from pipeline.live.worker import Worker
from pipeline.settings import Settings, load

NOBODY = "http://127.0.0.1:9/live.m3u8"


@pytest.fixture(scope="module")
def worker():
    return Worker(load(skip=("sync",)))


def named(worker):
    return sorted(one.stream.name for one in worker.watchers)


def test_orders_that_overtake_each_other(worker):
    stream = Stream(name="a", uri=NOBODY)
    worker.watch(1, stream)
    first = worker.watchers[0]
    worker.watch(3, stream)  # the order to leave it comes after that to watch it again
    worker.leave(2, "a")
    assert named(worker) == ["a"]
    assert first.status().state == "stopped"
    worker.leave(5, "a")
    worker.watch(4, stream)
    assert named(worker) == []


def test_what_is_left_is_told_whole(worker):
    """Its coverage is told with the rest now and then, and at once when nobody sees it any more."""
    worker.watch(20, Stream(name="c", uri=NOBODY))
    batch = worker.collect(0)
    worker._cover("c", 100.0, 101.0)
    quick = worker.collect(batch.number)
    assert not quick.coverage
    worker.leave(21, "c")
    assert worker.collect(quick.number).coverage == [("c", 100.0, 101.0)]


def test_a_stream_that_cannot_be_watched_says_why(worker):
    worker.watch(6, Stream(name="b", uri=NOBODY, skip=("nonsense",)))
    batch = worker.collect(0)
    (status,) = [status for status in batch.statuses if status.stream == "b"]
    assert status.state == "outage"
    assert "nonsense" in status.detail
    worker.leave(7, "b")
    assert "b" not in [status.stream for status in worker.collect(batch.number).statuses]


def test_a_mistake_in_a_file_that_is_edited_changes_nothing(tmp_path, caplog):
    config = tmp_path / "streams.yaml"
    text = f"streams:\n- {{name: a, uri: '{NOBODY}'}}\n"
    config.write_text(text)
    before = read_watch(config)
    store = Store(tmp_path)
    for more, known in (
        ("- {name: b, uri: '%s', skip: [nonsense]}\n", []),
        ("- {name: b, uri: '%s', skip: [freeze]}\n", ["a", "b"]),
    ):
        config.write_text(text + more % NOBODY)
        _reread(config, store, before, Settings())
        assert sorted(store.streams()) == known
    store.close()
    assert "nonsense" in caplog.text
