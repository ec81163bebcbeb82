"""`vidette batch` on a real Ray: done once, gone on with, and nothing lost when things die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import ActorDiedError
from rich.console import Console

from pipeline.batch import driver
from pipeline.batch.command import inspect_archive
from pipeline.batch.driver import Plan
from pipeline.batch.inspector import Bounds, Job
from pipeline.batch.ledger import Ledger, Record, Working, identity
from pipeline.batch.query import connect
from pipeline.batch.sources import gather
from pipeline.errors import WorkersError
from pipeline.inspect import inspect
from pipeline.settings import load
from tests import media, web
from tests.nodes import end_busy_node, in_a_child, several_nodes

ROOT = Path(__file__).parent.parent.parent
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("ray"),
    # Ray leaves its log pipes to the interpreter's end
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
]
SETTINGS = load(only=("black", "freeze", "silence", "decode_error", "av_length_mismatch"))


@pytest.fixture(scope="module")
def cluster():
    """The address of a Ray of two CPUs that outlives the runs: starting one takes ten seconds."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def blackened(seed: int) -> list[np.ndarray]:
    """Two seconds, of which more than one is black."""
    frames = media.scene(2.0, 160, 96, seed=seed)
    return [np.full_like(f, 16) if 10 <= n < 40 else f for n, f in enumerate(frames)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Two clean clips, one with black, and a file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    for n, name in enumerate(("a.mp4", "b.mp4", "dark.mp4")):
        frames = blackened(n) if name == "dark.mp4" else media.scene(2.0, 160, 96, seed=n)
        media.write(folder / name, frames, 0.1 * media.programme(2.0, seed=n))
    (folder / "broken.mp4").write_bytes(b"this is no film" * 100)
    return folder


def table(out: Path, columns: str) -> list[tuple]:
    return connect(Ledger(str(out))).sql(f"SELECT {columns} FROM assets ORDER BY uri").fetchall()


def test_an_archive_is_inspected_once_and_gone_on_with(clips, cluster, tmp_path, capsys):
    manifest = tmp_path / "list.csv"
    rows = [f"{path},{path.stem}" for path in sorted(clips.iterdir())]
    manifest.write_text("uri,name\n" + "\n".join(rows) + "\n")
    out, plan = tmp_path / "out", Plan(workers=2, address=cluster, reports=True)
    status = inspect_archive([str(manifest)], str(out), "first", SETTINGS, plan, None)
    assert status == 2  # one is no film
    columns = "split_part(uri, '/', -1), state, coverage, defects, labels['name'], attempts"
    assert table(out, columns) == [
        ("a.mp4", "done", "complete", 0, "a", 1),
        ("b.mp4", "done", "complete", 0, "b", 1),
        ("broken.mp4", "done", "none", 0, "broken", 1),
        ("dark.mp4", "done", "complete", 1, "dark", 1),
    ]
    kinds = connect(Ledger(str(out))).sql("SELECT kind, assets FROM defects_by_kind").fetchall()
    assert kinds == [("black", 1)]
    pages = list((out / "reports").glob("*.html"))
    assert len(pages) == 4
    assert all(f"reports/{page.name}" in (out / "index.html").read_text() for page in pages)
    assert not list((out / "working").glob("*.json"))

    written = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    status = inspect_archive([str(manifest)], str(out), "first", SETTINGS, plan, Console())
    assert status == 2
    assert "Nothing was left to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()} == written

    (clips / "b.mp4").touch()  # changed, for all one can tell without reading it
    inspect_archive([str(manifest)], str(out), "first", SETTINGS, plan, None)
    again = {path.name for path in (out / "results").iterdir() if path not in written}
    assert again == {identity(str(clips / "b.mp4"), SETTINGS) + ".json"}
    assert len(table(out, "uri")) == 4


@pytest.mark.slow
def test_what_ran_out_of_time_is_tried_again_when_one_asks(clips, cluster, tmp_path, capsys):
    ledger = Ledger(str(tmp_path))

    def go_on(**more) -> int:
        plan = Plan(workers=1, address=cluster, **more)
        sources = [str(clips / name) for name in ("a.mp4", "broken.mp4")]
        return inspect_archive(sources, str(tmp_path), "x", SETTINGS, plan, Console())

    columns = "split_part(uri, '/', -1), state, coverage"
    go_on(bounds=Bounds(seconds=1e-6))
    short = [("a.mp4", "done", "partial"), ("broken.mp4", "done", "none")]
    assert table(tmp_path, columns) == short
    go_on()  # more time alone changes nothing of what is there
    said = capsys.readouterr().out
    assert "Nothing was left to do" in said
    assert "--retry-failed tries 2 again" in said
    assert table(tmp_path, columns) == short
    go_on(retry_failed=True)
    index = (tmp_path / "index.html").read_text()
    pages = list((tmp_path / "reports").glob("*.html"))
    assert len(pages) == 2
    for page in pages:
        assert f"reports/{page.name}" in index
        assert page.stat().st_size < 300_000
        assert "Content-Security-Policy" in page.read_text()
    assert table(tmp_path, columns) == [
        ("a.mp4", "done", "complete"),
        ("broken.mp4", "done", "none"),
    ]
    assert "--retry-failed tries 1 again" in capsys.readouterr().out
    assert len(ledger.ids("again")) == 1


@pytest.mark.slow
def test_a_result_that_is_there_does_not_hide_that_its_next_try_dies(cluster, tmp_path):
    ledger, stop = Ledger(str(tmp_path)), threading.Event()
    with web.silent() as stalled:
        limits = SETTINGS.limits.model_copy(update={"open_timeout": 1.0})
        hasty = SETTINGS.model_copy(update={"limits": limits})
        plan = Plan(workers=1, address=cluster)
        inspect_archive([stalled], str(tmp_path), "x", hasty, plan, None)
        (before,) = table(tmp_path, "state, reason, coverage")
        assert before == ("done", "open_timeout", "none")
        killer = threading.Thread(target=killed, args=(ledger, stalled, signal.SIGSEGV, stop))
        killer.start()
        try:
            plan = replace(plan, retry_failed=True)
            inspect_archive([stalled], str(tmp_path), "x", hasty, plan, None)
        finally:
            stop.set()
            killer.join()
    (name,) = ledger.ids("failed")
    failed = Record.model_validate(ledger.read("failed", name))
    assert failed.reason == "worker_died"
    assert "connection error" in failed.detail  # what Ray knows of it
    assert table(tmp_path, "state, reason, coverage") == [before]  # nothing is lost


def dead(words: str) -> ActorDiedError:
    error = ActorDiedError()
    error.error_msg = f"The actor died.\n\tactor_id: 1\n{words}"
    return error


class Session:
    """A Ray that is there, or has died."""

    def __init__(self, *, has_died: bool = False) -> None:
        self.has_died = has_died

    def check(self) -> None:
        if self.has_died:
            raise WorkersError("Ray has died")


def test_workers_that_die_with_their_ray_are_no_death_of_an_asset(tmp_path):
    session = Session(has_died=True)
    pool = driver._Pool(Ledger(str(tmp_path)), SETTINGS, Plan(), driver.State(1), print, session)
    with pytest.raises(WorkersError, match="Ray has died"):
        pool._died(Job("a", "a.mp4", {}, attempt=2), dead("The worker process has died."))
    assert pool._ledger.read("failed", "a") is None


def test_machines_that_die_under_an_asset_are_not_its_deaths(tmp_path):
    pool = driver._Pool(Ledger(str(tmp_path)), SETTINGS, Plan(), driver.State(1), print, Session())
    job = Job("a", "a.mp4", {})
    gone = dead("The actor is dead because its node has died. Node Id: 1")
    for n in range(driver._LOST):
        pool._died(job, gone)
        job = pool._queue.pop()
        assert (job.attempt, job.lost, job.tries) == (1, n + 1, n + 2)
    pool._died(job, dead("The worker process has died."))
    job = pool._queue.pop()
    assert (job.attempt, job.lost) == (2, driver._LOST)
    pool._died(job, gone)
    failed = Record.model_validate(pool._ledger.read("failed", "a"))
    assert "2 times, its machine 5" in failed.detail
    assert "node has died" in failed.detail


def test_how_far_a_run_is_within_its_assets(tmp_path):
    """A long film counts while it is in work."""
    ledger = Ledger(str(tmp_path))
    state = driver.State(2, started=time.monotonic() - 1000.0)
    pool = driver._Pool(ledger, SETTINGS, Plan(), state, print, Session())
    job = Job("a", "a.mp4", {})
    pool._busy["reference"] = (None, job, 0.0)
    pool._look()
    assert (state.speed, state.time_left) == (0.0, None)
    working = Working(uri="a.mp4", host="h", pid=1, attempt=1, position=1e4, duration=4e4)
    ledger.write("working/a.json", working.model_dump_json().encode())
    pool._asked = 0.0
    pool._look()
    assert state.speed == pytest.approx(10.0, rel=0.01)
    assert state.time_left == pytest.approx(7000.0, rel=0.01)


def killed(ledger: Ledger, uri: str, number: int, until: threading.Event) -> None:
    """Send a signal to every worker that has an asset in work, as its decoder might."""
    dead = set()
    while not until.wait(0.05):
        for name in ledger.ids("working"):
            working = ledger.read("working", name)
            if working and working["uri"] == uri and working["pid"] not in dead:
                dead.add(working["pid"])
                os.kill(working["pid"], number)


def test_an_asset_that_kills_its_worker_is_tried_twice_and_the_rest_goes_on(
    clips, cluster, tmp_path
):
    ledger, stop = Ledger(str(tmp_path)), threading.Event()
    with web.silent() as poison:
        killer = threading.Thread(target=killed, args=(ledger, poison, signal.SIGSEGV, stop))
        killer.start()
        try:
            plan = Plan(workers=2, address=cluster)
            sources = [poison, str(clips / "a.mp4"), str(clips / "dark.mp4")]
            status = inspect_archive(sources, str(tmp_path), "x", SETTINGS, plan, None)
        finally:
            stop.set()
            killer.join()
    assert status == 2
    assert table(tmp_path, "split_part(uri, '/', -1), state, reason, attempts")[:2] == [
        ("a.mp4", "done", None, 1),
        ("dark.mp4", "done", None, 1),
    ]
    (failed,) = [Record.model_validate(ledger.read("failed", n)) for n in ledger.ids("failed")]
    assert (failed.uri, failed.reason, failed.attempts) == (poison, "worker_died", 2)
    assert "died 2 times" in failed.detail
    assert not ledger.ids("working")


@pytest.mark.slow
def test_what_takes_too_long_or_too_much_is_ended(clips, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "_GRACE", 1.0)
    with web.silent() as stalled:
        plan = Plan(workers=1, address=cluster, bounds=Bounds(seconds=3.0))
        status = inspect_archive(
            [stalled, str(clips / "a.mp4")], str(tmp_path / "t"), "x", SETTINGS, plan, None
        )
        assert status == 2
        states = table(tmp_path / "t", "state, reason")
        assert sorted(states, key=str) == [("done", None), ("failed", "time_limit")]
        plan = Plan(workers=1, address=cluster, bounds=Bounds(megabytes=10.0))
        inspect_archive([stalled], str(tmp_path / "m"), "x", SETTINGS, plan, None)
        assert table(tmp_path / "m", "state, reason, attempts") == [("failed", "memory_limit", 1)]
        # what failed stays failed, until one asks for another try
        plan = Plan(workers=1, address=cluster, bounds=Bounds(megabytes=10.0))
        before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("m/failed/*")}
        inspect_archive([stalled], str(tmp_path / "m"), "x", SETTINGS, plan, None)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("m/failed/*")} == before
        plan = Plan(workers=1, address=cluster, retry_failed=True, bounds=Bounds(seconds=2.0))
        inspect_archive([stalled], str(tmp_path / "m"), "x", SETTINGS, plan, None)
        assert table(tmp_path / "m", "state, reason") == [("failed", "time_limit")]


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_nothing(clips, cluster, tmp_path):
    """The next run ends with the tables of one that nobody disturbed."""
    names = [str(clips / name) for name in ("a.mp4", "b.mp4", "dark.mp4", "broken.mp4")]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    plan = Plan(workers=1, address=cluster)
    inspect_archive(names, str(whole), "x", SETTINGS, plan, None)
    command = [sys.executable, "-m", "vidette", "batch", *names, "--out", str(cut), "--run", "x"]
    command += [
        "--address",
        cluster,
        "--workers",
        "1",
        "--quiet",
        "--only",
        ",".join(SETTINGS.only),
    ]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        until = time.monotonic() + 120
        while not list((cut / "results").glob("*.json")):
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    done = len(list((cut / "results").glob("*.json")))
    inspect_archive(names, str(cut), "x", SETTINGS, plan, None)
    assert done >= 1
    for name in ("assets", "defects", "timeline"):
        tables = [
            connect(Ledger(str(out))).sql(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            for out in (whole, cut)
        ]
        assert tables[0] == tables[1]
        assert tables[0]
    assert len(list((cut / "results").glob("*.json"))) == 4
    assert not list(cut.rglob("*.part"))


@pytest.mark.slow
def test_the_command_starts_a_ray_of_its_own(clips, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vidette", "batch", str(clips), "--out", str(tmp_path), "--workers",
         "1", "--only", "black"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "4 assets" in done.stderr
    asked = subprocess.run(
        [sys.executable, "-m", "vidette", "query", str(tmp_path), "-f", "json",
         "SELECT kind, assets FROM defects_by_kind"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [json.loads(line) for line in asked.stdout.splitlines()] == [
        {"kind": "black", "assets": 1}
    ]


def done_and_at_once(address: str, clips: str, out: str) -> tuple[int, int]:
    """How many assets were done by workers with half a GPU each, and how many at the same time."""
    at_once: list[int] = []
    _, state = driver.run(
        gather([clips]),
        Ledger(out),
        SETTINGS,
        Plan(gpus=0.5, address=address),
        lambda now: at_once.append(len(now.running)),
    )
    return state.done, max(at_once)


@pytest.mark.slow
def test_workers_share_a_gpu_by_fraction(tmp_path):
    """Ray counts GPUs as it is told: two workers that ask for half a one each work beside."""
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for n in range(6):  # work for so long that a worker that starts late finds some
        media.write(clips / f"{n}.mp4", media.scene(20.0, 320, 192, seed=n))
    with several_nodes(1, cpus=4, gpus=1) as address:
        assert in_a_child(done_and_at_once, address, str(clips), str(out)) == (6, 2)


def inspected(address: str, clips: str, out: str) -> int:
    """The exit status of two workers that inspect a folder."""
    plan = Plan(workers=2, address=address)
    return inspect_archive([clips], out, "x", SETTINGS, plan, None)


@pytest.mark.slow
def test_a_node_that_dies_loses_nothing(tmp_path):
    """Its asset is tried once more on the other node; the tables are those of a quiet run."""
    clips, whole, cut = tmp_path / "clips", tmp_path / "whole", tmp_path / "cut"
    clips.mkdir()
    for n in range(6):
        media.write(clips / f"{n}.mp4", media.scene(12.0, 320, 192, seed=n))
    dead: list[int] = []
    stop = threading.Event()
    with several_nodes(2) as address:
        assert in_a_child(inspected, address, str(clips), str(whole)) == 0
        killer = threading.Thread(target=end_busy_node, args=(Ledger(str(cut)), 1, dead, stop))
        killer.start()
        try:
            assert in_a_child(inspected, address, str(clips), str(cut)) == 0
        finally:
            stop.set()
            killer.join()
    assert len(dead) == 1
    columns = "uri, state, coverage, defects, seconds"
    assert table(cut, columns) == table(whole, columns)
    assert sorted(attempts for (attempts,) in table(cut, "attempts")) == [1, 1, 1, 1, 1, 2]
    assert not Ledger(str(cut)).ids("working")


def _long(path: Path) -> Path:
    """Two and a half minutes, with black over the first seam."""
    frames = media.scene(10.0, 96, 64, rate=10)
    dark = [np.full_like(frames[0], 16)] * 20
    frames = [*frames * 5, *frames[:90], *dark, *frames[10:], *frames * 8]
    sound = np.tile(0.1 * media.programme(10.0), 15)
    return media.write(
        path, frames[:1500], sound, rate=10, video_options={"preset": "ultrafast", "g": "10"}
    )


def _result(out: Path) -> dict:
    (path,) = (out / "results").iterdir()
    record = Record.model_validate_json(path.read_text())
    assert record.inspection is not None
    return record.inspection.model_dump(exclude={"timings"})


@pytest.mark.slow
def test_long_assets_are_cut_and_joined_whoever_dies(clips, cluster, tmp_path):
    settings = SETTINGS.model_copy(update={"threads": 1})
    film, tape = _long(tmp_path / "film.mp4"), _long(tmp_path / "tape.avi")
    expected = inspect(str(film), settings).model_dump(exclude={"timings"})
    assert any(defect["kind"] == "black" for defect in expected["defects"])
    plan = Plan(workers=2, address=cluster, range_seconds=60.0)
    columns = "split_part(uri, '/', -1), state, ranges, whole, attempts"

    out = tmp_path / "quiet"
    inspect_archive([str(film)], str(out), "x", SETTINGS, plan, None)
    assert table(out, columns) == [("film.mp4", "done", 2, None, 1)]
    assert _result(out) == expected
    assert not list((out / "pieces").iterdir())

    # a container that is not entered in the middle, and an asset that is short
    out = tmp_path / "others"
    inspect_archive([str(tape), str(clips / "a.mp4")], str(out), "x", SETTINGS, plan, None)
    (short, (_, state, count, why, _)) = table(out, columns)
    assert short == ("a.mp4", "done", 1, None, 1)
    assert (state, count) == ("done", 1)
    assert "avi" in why

    # each worker that has a range in work dies once
    out, stop, dead = tmp_path / "disturbed", threading.Event(), []
    ledger = Ledger(str(out))

    def disturb() -> None:
        while not stop.wait(0.01):
            for name in ledger.ids("working"):
                working = ledger.read("working", name)
                if "-" in name and name not in dead and working and working["attempt"] == 1:
                    dead.append(name)
                    os.kill(working["pid"], signal.SIGKILL)

    killer = threading.Thread(target=disturb)
    killer.start()
    try:
        inspect_archive([str(film)], str(out), "x", SETTINGS, plan, None)
    finally:
        stop.set()
        killer.join()
    assert dead
    assert table(out, columns) == [("film.mp4", "done", 2, None, 1)]
    assert _result(out) == expected

    # a piece of an earlier run is used, and one that is broken costs only time
    out = tmp_path / "resumed"
    name = identity(str(film), SETTINGS)
    (out / "pieces" / name).mkdir(parents=True)
    (out / "pieces" / name / "0-1.piece").write_bytes(b"half of a piece")
    inspect_archive([str(film)], str(out), "x", SETTINGS, plan, None)
    ((_, state, count, why, _),) = table(out, columns)
    assert (state, count) == ("done", 1)
    assert "cannot be read" in why
    assert _result(out) == expected
    assert not list((out / "pieces").iterdir())
