"""The store keeps each event once, joins coverage, and answers by label."""

from __future__ import annotations

import json
import resource
import signal
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.sinks import JsonLines, Parquet
from pipeline.live.store import PICTURES, REMEMBERED, Store
from pipeline.live.streams import Stream
from pipeline.live.telling import SLOT
from pipeline.live.watcher import Status

NOW = 1_000_000.0


@pytest.fixture
def store(tmp_path, database):
    store = Store(tmp_path, database)
    yield store
    store.close()


def stream(name, **labels):
    return Stream(name=name, uri=f"https://a.example/{name}.m3u8", labels=labels)


def event(change, name="s", start=NOW, end=NOW + 1, identity="e1", kind="freeze", **more):
    return Event(
        id=identity, change=change, stream=name, kind=kind,
        start=datetime.fromtimestamp(start, UTC), end=datetime.fromtimestamp(end, UTC),
        position=0.0, severity=0.5, confidence=0.9, track=0, summary="said", detector="freeze/1",
        **more,
    )  # fmt: skip


def test_told_twice_is_kept_once(store):
    opened, closed = event("opened"), event("closed", outcome="ended")
    assert store.take([opened], [], []) == [opened]
    assert store.standing("s") == [opened]
    assert store.take([opened, closed], [], []) == [closed]
    assert store.take([opened, event("updated"), closed], [], []) == []
    assert store.standing() == []
    assert [e.change for _, e in store.since(0)] == ["opened", "closed"]


def test_the_log_is_read_on_from_a_number(store):
    store.take([event("opened"), event("updated"), event("closed", outcome="ended")], [], [])
    first = store.since(0, 2)
    assert [e.change for _, e in first] == ["opened", "updated"]
    assert [e.change for _, e in store.since(first[-1][0])] == ["closed"]
    assert store.last_number() == 3


def test_coverage_is_joined_and_gaps_stay(store):
    store.take([], [("s", 10.0, 11.0), ("s", 11.0, 12.0)], [])
    store.take([], [("s", 12.2, 13.0), ("s", 20.0, 21.0)], [])
    assert store.coverage("s") == [(10.0, 13.0), (20.0, 21.0)]
    store.take([], [("s", 12.2, 13.0)], [])  # told again after all
    assert store.coverage("s") == [(10.0, 13.0), (20.0, 21.0)]


def test_streams_are_changed_by_name_and_shown_to_other_processes(store, tmp_path, database):
    assert store.add(stream("s", cdn="a"))
    assert not store.add(stream("s", cdn="a"))
    before = store.wishes()
    other = Store(tmp_path, database, must_exist=True)
    assert other.add(stream("s", cdn="b"))
    assert store.wishes() != before
    assert store.streams()["s"].stream.labels == {"cdn": "b"}
    assert other.remove("s")
    assert not other.remove("s")
    other.close()


def test_deaths_count_while_they_are_recent(store):
    store.add(stream("s"))
    assert store.died(["s", "gone"], NOW, 600) == {"s": 1}
    assert store.died(["s"], NOW + 100, 600) == {"s": 2}
    assert store.died(["s"], NOW + 2000, 600) == {"s": 1}
    store.quarantine("s", "kills")
    assert store.streams()["s"].quarantined == "kills"
    assert store.pardon("s")
    assert not store.pardon("s")
    assert store.streams()["s"].deaths == 0


def test_defects_by_label_over_a_window(store):
    for name, cdn in (("s1", "a"), ("s2", "a"), ("s3", "b")):
        store.add(stream(name, cdn=cdn))
        store.take([], [(name, NOW - 1000, NOW)], [])
    store.add(stream("s4"))
    store.take(
        [
            event("opened", "s1", NOW - 30, NOW, "1"),
            event("opened", "s2", NOW - 400, NOW - 70, "2"),  # 30 s of it in the window
            event("opened", "s2", NOW - 900, NOW - 800, "3"),
            event("opened", "s3", NOW - 50, NOW - 20, "4"),
        ],
        [],
        [],
    )
    store.take([event("closed", "s3", NOW - 50, NOW - 20, "4", outcome="withdrawn")], [], [])
    rows = {(row["value"], row["kind"]): row for row in store.rollup("cdn", 100.0, NOW)}
    row = rows["a", "freeze"]
    assert (row["streams"], row["affected"]) == (2, 2)
    assert (row["watched_s"], row["defect_s"], row["share"]) == (200.0, 60.0, 0.3)
    assert rows["b", None]["watched_s"] == 100.0
    assert rows["", None]["share"] is None  # nobody watched it


def test_what_cannot_be_watched_at_all_is_out_for_the_whole_time(store):
    store.add(stream("s1", cdn="a"))
    store.add(stream("s2", cdn="b"))
    store.take([], [("s2", NOW - 1000, NOW - 25)], [])
    store.take(
        [
            event("opened", "s1", NOW - 400, NOW, "1", kind="outage"),
            event("opened", "s2", NOW - 25, NOW, "2", kind="outage"),
            event("opened", "s2", NOW - 50, NOW - 35, "3"),
        ],
        [],
        [],
    )
    rows = store.rollup("cdn", 100.0, NOW)
    assert [(row["value"], row["kind"], row["share"]) for row in rows] == [
        ("a", "outage", 1.0),
        ("b", "outage", 0.25),
        ("b", "freeze", 0.2),
    ]


def test_streams_without_a_label_have_a_row(store):
    store.add(stream("s4"))
    rows = {(row["value"], row["kind"]): row for row in store.rollup("cdn", 100.0, NOW)}
    assert rows["", None]["share"] is None  # nobody watched it


def test_an_event_that_is_dated_anew_counts_where_it_is_now(store):
    store.add(stream("s", cdn="a"))
    store.take([event("opened", start=NOW - 10, end=NOW - 9)], [("s", NOW - 50, NOW)], [])
    moved = event("closed", start=NOW - 12, end=NOW - 8, outcome="ended")
    store.take([moved], [], [])
    (row,) = store.rollup("cdn", 100.0, NOW)
    assert row["defect_s"] == 4.0


def test_a_label_may_be_called_anything(store):
    store.add(Stream(name="s", uri="https://a.example/s.m3u8", labels={'we"ird.name': "x"}))
    store.take([], [("s", NOW - 10, NOW)], [])
    assert store.rollup('we"ird.name', 100.0, NOW)[0]["value"] == "x"


def test_old_things_are_forgotten(store):
    store.take([event("opened"), event("closed", outcome="ended")], [("s", NOW, NOW + 5)], [])
    store.prune(NOW + 30 * 86_400)
    assert store.coverage("s") == []
    assert store.closed(0, NOW * 2) == []


def test_messages_wait_for_each_receiver(store):
    hooks = ["https://a.example", "https://b.example"]
    store.take([event("opened")], [], [], hooks)
    assert sorted(store.receivers()) == hooks
    (message,) = store.due(hooks[0], NOW)
    store.put_off(message.number, NOW + 60)
    assert store.due(hooks[0], NOW) == []
    (again,) = store.due(hooks[0], NOW + 61)
    assert (again.id, again.attempts) == (message.id, 1)
    store.delivered(message.number)
    assert store.receivers() == hooks[1:]


def test_parquet_has_each_closed_event_once(store, tmp_path):
    import pyarrow.parquet as pq

    folder = tmp_path / "events"
    folder.mkdir()
    writer = Parquet(store, folder)
    store.take([event("opened"), event("closed", outcome="ended")], [], [])
    assert writer.export() == 1
    assert writer.export() == 0
    store.take([event("opened", identity="e2"), event("closed", identity="e2")], [], [])
    assert Parquet(store, folder).export() == 1  # another process goes on
    assert sorted(pq.read_table(folder)["id"].to_pylist()) == ["e1", "e2"]


def changes(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_lines_are_written_once_each_whatever_dies(store, tmp_path):
    path = tmp_path / "events.jsonl"
    sink = JsonLines(store, path)

    def tell(*names):
        for name in names:
            store.take([event("opened", identity=name)], [], [])

    tell("a", "b")
    sink.write()
    sink.write()
    assert changes(path) == ["a", "b"]
    # it dies between the file and the cursor, and then in the middle of a line
    tell("c", "d")
    number = store.cursor(sink._reader)
    sink.write()
    store.move_cursor(sink._reader, number)
    path.write_text(path.read_text()[:-20])
    tell("e")
    JsonLines(store, path).write()
    assert changes(path) == ["a", "b", "c", "d", "e"]
    # it is moved away
    path.rename(tmp_path / "old.jsonl")
    tell("f")
    JsonLines(store, path).write()
    assert changes(path) == ["f"]


def test_lines_wait_for_a_disk_that_is_full(store, tmp_path, caplog):
    path = tmp_path / "events.jsonl"
    sink = JsonLines(store, path)
    store.take([event("opened", identity="a")], [], [])
    sink.write()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store.take([event("opened", identity="b")], [], [])
    try:  # half a line fits
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size * 3 // 2, limits[1]))
        sink.write()
        sink.write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert len([r for r in caplog.records if "events wait for" in r.message]) == 1
    assert not path.read_bytes().endswith(b"\n")
    sink.write()
    assert changes(path) == ["a", "b"]


def test_where_nothing_was_watched_there_is_nothing_to_show(tmp_path):
    with pytest.raises(UsageError, match="nothing was watched"):
        Store(tmp_path / "no", must_exist=True)


def test_how_a_stream_was_is_kept_a_point_each_ten_seconds_and_for_six_hours(store):
    store.add(Stream(name="s", uri="udp://127.0.0.1:1"))
    for second in range(0, 60, 2):
        seen = Status(
            stream="s", state="watching", since=NOW, seen=NOW + second, behind=1.0,
            luma=float(second), loudness=-23.0,
        )  # fmt: skip
        store.take([], [], [seen])
    store.take([], [], [Status(stream="s", state="outage", since=NOW, seen=NOW + 90)])
    points = store.history("s", NOW - 20)
    assert len(points) == pytest.approx(6, abs=1)
    assert np.diff([point["time"] for point in points]).tolist() == [SLOT] * (len(points) - 1)
    assert points[-1] | {"luma": 58.0, "loudness": -23.0, "behind": 1.0} == points[-1]
    assert store.history("s", NOW + 40) == [p for p in points if p["time"] > NOW + 40]
    store.prune(NOW + REMEMBERED + 40)
    assert store.history("s", 0) == [p for p in points if p["time"] >= NOW + 40]
    store.remove("s")
    assert store.history("s", 0) == []


def test_pictures_are_the_newest_of_a_stream_and_those_of_its_last_events(store):
    store.add(Stream(name="s", uri="udp://127.0.0.1:1"))
    old, new = Glimpse("s", NOW, b"old"), Glimpse("s", NOW + 10, b"new")
    of_events = [Glimpse("s", NOW + n, b"x", f"e{n}") for n in range(PICTURES + 5)]
    store.take([], [], [], glimpses=[old, new, *of_events])
    assert store.glimpse("s") == new
    assert store.glimpse("s", "e7") == of_events[7]
    assert store.glimpse("t") is None
    assert store.glimpsed() == {"s": NOW + 10}
    store.prune(NOW)
    assert store.glimpse("s") == new
    assert set(store.pictured("s")) == {f"e{n}" for n in range(5, PICTURES + 5)}


def test_the_newest_events_of_a_stream_come_first(store):
    store.take([event("opened", start=NOW, identity="1")], [], [])
    store.take([event("opened", start=NOW + 5, end=NOW + 6, identity="2")], [], [])
    assert [one.id for one in store.events_of("s", 10)] == ["2", "1"]
    assert [one.id for one in store.events_of("s", 1)] == ["2"]
