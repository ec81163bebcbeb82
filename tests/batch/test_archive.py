"""Sources, the ledger, the tables and questions to them: without Ray."""

from __future__ import annotations

import errno
import json
import os

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.batch import tables
from pipeline.batch.index import write_index
from pipeline.batch.ledger import FullError, Ledger, Record, identity
from pipeline.batch.query import ask, connect
from pipeline.batch.sources import Wanted, gather
from pipeline.errors import UsageError
from pipeline.settings import load
from pipeline.types import Asset, Coverage, Defect, Inspection, Kind, Problem, Timelines


def empty(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_folders_globs_files_and_uris(tmp_path):
    empty(tmp_path / "a.mp4", tmp_path / "b/c.MKV", tmp_path / "b/notes.txt", tmp_path / "b/d.wav")
    here = str(tmp_path)
    everything = [f"{here}/a.mp4", f"{here}/b/c.MKV", f"{here}/b/d.wav"]
    assert [one.uri for one in gather([here])] == everything
    assert [one.uri for one in gather([f"{here}/b/*"])] == everything[1:]
    assert [one.uri for one in gather([f"{here}/b/notes.txt"])] == [f"{here}/b/notes.txt"]
    twice = gather([f"{here}/b/d.wav", here])
    assert [one.uri for one in twice] == [everything[2], *everything[:2]]
    assert gather(["https://host/x.mp4"]) == [Wanted("https://host/x.mp4")]
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/x.ts", b"")
    assert [one.uri for one in gather(["memory://bucket"])] == ["memory:///bucket/x.ts"]


def test_a_file_whose_name_looks_like_a_glob(tmp_path):
    empty(tmp_path / "take [2].mp4")
    assert len(gather([str(tmp_path / "take [2].mp4")])) == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_manifests_have_labels(tmp_path, suffix):
    rows = [
        {"uri": "x.mp4", "channel": "one", "cdn": "a"},
        {"uri": "s3://bucket/y.mp4", "channel": "two", "cdn": "b"},
    ]
    path = tmp_path / f"list.{suffix}"
    if suffix == "csv":
        path.write_text("uri,channel,cdn\n" + "".join(",".join(r.values()) + "\n" for r in rows))
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    found = gather([str(path)])
    assert [one.uri for one in found] == [f"{tmp_path}/x.mp4", "s3://bucket/y.mp4"]
    assert [one.labels for one in found] == [
        {"channel": "one", "cdn": "a"},
        {"channel": "two", "cdn": "b"},
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("list.csv", "path\nx.mp4\n", "has no `uri`"),
        ("list.jsonl", "{oops\n", "cannot be read"),
        ("list.parquet", "no parquet", "cannot be read"),
        ("list.csv", "uri\n", "names no media file"),
        ("list.csv", "uri,channel\nx.mp4,one,two\n", "row 1 .* does not fit"),
        ("list.jsonl", '{"uri": "x.mp4"}\n["y.mp4"]\n', "row 2 .* does not fit"),
    ],
)
def test_bad_manifests_are_told(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        gather([str(tmp_path / name)])


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="there is no"):
        gather([str(tmp_path / "nothing.mp4")])
    with pytest.raises(UsageError, match="names no media file"):
        gather([str(tmp_path)])


def test_an_identity_changes_with_what_decides_on_the_result(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    name = identity(str(path), load())
    assert identity(str(path), load()) == name
    assert identity(str(path), load(threads=3)) == name  # threads do not
    assert identity(str(path), load(skip=("hum",))) != name
    path.write_bytes(b"other")
    assert identity(str(path), load()) != name
    assert identity(str(tmp_path / "gone.mp4"), load()) != name


def defect(kind: Kind, start: float, end: float, severity: float = 0.8) -> Defect:
    return Defect(
        id=f"{kind}-{start}", kind=kind, start=start, end=end, peak=start, severity=severity,
        confidence=0.9, summary=f"{kind} <b>", detector="test/1", stream=0,
        evidence={"x": 1.5},
    )  # fmt: skip


def record(name: str, uri: str, defects=(), **labels: str) -> Record:
    inspection = Inspection(
        uri=uri,
        asset=Asset(duration=10.0, container="mp4"),
        coverage=Coverage(state="complete", examined=[(0.0, 10.0)]),
        defects=list(defects),
        timelines=Timelines(rate=10.0, series={"luma": [1.0, None, 3.0]}),
    )
    return Record(id=name, uri=uri, labels=labels, state="done", inspection=inspection)


FAILED = Record(
    id="f", uri="bad.mp4", state="failed", reason="worker_died", detail="twice", attempts=2,
    labels={"cdn": "b"},
)  # fmt: skip


def archive(out: str) -> Ledger:
    ledger = Ledger(out)
    black = defect(Kind.BLACK, 1.0, 4.0)
    ledger.keep(record("a", "one.mp4", [black, defect(Kind.HUM, 0.0, 9.0)], cdn="a", city="Bonn"))
    ledger.keep(record("b", "two.mp4", [], cdn="a"))
    ledger.keep(record("c", "three.mp4", [defect(Kind.BLACK, 0.0, 1.0, 0.3)], cdn="b"))
    ledger.keep(FAILED)
    tables.write_tables(ledger, "night", ["a", "b", "c", "f", "not there yet"])
    return ledger


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_records_become_tables_that_answer(tmp_path, where):
    out = str(tmp_path / "out") if where == "folder" else "memory://archive-of-test"
    ledger = archive(out)
    assert ledger.ids("results") == {"a", "b", "c"}
    assert ledger.ids("failed") == {"f"}
    assert ledger.record("a") == record(
        "a", "one.mp4", [defect(Kind.BLACK, 1.0, 4.0), defect(Kind.HUM, 0.0, 9.0)], cdn="a",
        city="Bonn",
    )  # fmt: skip
    assert ledger.record("x") is None
    database = connect(ledger)
    worst = ask(database, "SELECT uri, defects, run FROM worst_assets").fetchall()
    assert worst == [
        ("bad.mp4", None, "night"),
        ("one.mp4", 2, "night"),
        ("three.mp4", 1, "night"),
        ("two.mp4", 0, "night"),
    ]
    kinds = ask(database, "SELECT kind, defects, assets, seconds FROM defects_by_kind").fetchall()
    assert kinds == [("black", 2, 2, 4.0), ("hum", 1, 1, 9.0)]
    labels = ask(
        database,
        "SELECT value, kind, assets, defects, percent_of_time FROM defects_by_label "
        "WHERE label = 'cdn' ORDER BY value, kind",
    ).fetchall()
    assert labels == [
        ("a", "black", 2, 1, 15.0),
        ("a", "hum", 2, 1, 45.0),
        ("b", "black", 2, 1, 10.0),
    ]
    evidence = ask(database, "SELECT evidence['x'] FROM defects WHERE kind = 'hum'").fetchall()
    assert evidence == [(1.5,)]
    timeline = ask(database, "SELECT time, value FROM timeline WHERE asset = 'a'").fetchall()
    assert timeline == [(0.0, 1.0), (0.2, 3.0)]
    for name, schema in tables.SCHEMAS.items():
        with ledger.fs.open(ledger.path(f"tables/{name}/run=night/part.parquet")) as file:
            assert pq.read_schema(file).equals(schema), name


def test_questions_that_are_none_are_told(tmp_path):
    with pytest.raises(UsageError, match="run `vidette batch` first"):
        connect(Ledger(str(tmp_path / "nothing")))
    database = connect(archive(str(tmp_path)))
    with pytest.raises(UsageError, match="nonsense"):
        ask(database, "SELECT nonsense FROM assets")
    with pytest.raises(UsageError, match="SELECT"):
        ask(database, "")


def test_runs_stand_beside_each_other(tmp_path):
    ledger = archive(str(tmp_path))
    tables.write_tables(ledger, "day", ["b"])
    rows = ask(connect(ledger), "SELECT run, count(*) FROM assets GROUP BY run ORDER BY run")
    assert rows.fetchall() == [("day", 1), ("night", 4)]


def test_a_result_replaces_a_failure(tmp_path):
    ledger = archive(str(tmp_path))
    ledger.keep(record("f", "bad.mp4"))
    assert ledger.ids("failed") == set()
    assert ledger.record("f").state == "done"


def test_longer_and_more_severe_is_worse():
    def of(*defects):
        return tables.badness(defects)

    one = of(defect(Kind.BLACK, 0, 0))
    assert of(defect(Kind.BLACK, 0, 9)) == pytest.approx(2 * one)
    assert of(defect(Kind.BLACK, 0, 0, 0.4)) == pytest.approx(one / 2)
    assert of(defect(Kind.BLACK, 0, 0), defect(Kind.HUM, 0, 0)) == pytest.approx(2 * one)
    assert of() == 0


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    ledger = archive(str(tmp_path))
    before = (tmp_path / "results/a.json").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FullError, match="no room"):
        ledger.keep(record("a", "one.mp4"))
    assert (tmp_path / "results/a.json").read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


def test_half_written_files_count_as_none(tmp_path):
    ledger = archive(str(tmp_path))
    (tmp_path / "results/a.json").write_text('{"id": "a", "ur')
    assert ledger.record("a") is None


def test_the_page_has_the_worst_first_and_no_markup_of_assets(tmp_path):
    ledger = archive(str(tmp_path))
    nasty = record("n", "<script>alert(1)</script>.mp4", [defect(Kind.FREEZE, 0, 1, 0.9)])
    partial = record("p", "cut.mp4", [], cdn="<i>")
    partial.inspection.coverage.state = "none"
    partial.inspection.coverage.problems.append(Problem(reason="truncated", detail="x"))
    for one in (nasty, partial):
        ledger.keep(one)
    write_index(ledger, "night", ["a", "b", "c", "f", "n", "p"], {"a"})
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert" not in page
    assert "<i>" not in page
    order = [page.index(f"{name}.mp4</") for name in ("bad", "cut", "one", "three", "two")]
    assert order == sorted(order)
    assert 'href="reports/a.html"' in page
    assert "1 that could not be inspected" in page
