"""Archives interrupted by a full disk and by kills at any moment, and one as a job of Ray."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.batch.command import inspect_archive
from pipeline.batch.driver import Plan
from pipeline.batch.ledger import Ledger
from pipeline.batch.query import connect
from pipeline.settings import load
from tests import media, waiting
from tests.serve.real import free_port

ROOT = Path(__file__).parent.parent.parent
SETTINGS = load(only=("black", "freeze", "silence"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
]


@pytest.fixture(scope="module")
def jobs():
    """The port of the job server of a Ray of two CPUs; the address of the Ray."""
    port = free_port()
    head = {"num_cpus": 2, "include_dashboard": True, "dashboard_port": port}
    head["dashboard_agent_listen_port"] = free_port()  # the usual one may be another Ray's
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield port, cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[str]:
    """Eight short clips, some with black, and a file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    names = []
    for n in range(8):
        frames = media.scene(4.0, 160, 96, seed=n)
        if n % 3 == 0:
            frames = [np.full_like(f, 16) if 10 <= m < 40 else f for m, f in enumerate(frames)]
        place = folder / f"{n}.mp4"
        names.append(str(media.write(place, frames, 0.1 * media.programme(4.0, seed=n))))
    (folder / "broken.mp4").write_bytes(b"this is no film" * 100)
    return [*names, str(folder / "broken.mp4")]


@pytest.fixture(scope="module")
def undisturbed(clips, jobs, tmp_path_factory):
    """The tables of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    inspect_archive(clips, str(out), "x", SETTINGS, Plan(workers=2, address=jobs[1]), None)
    return tables(out)


def tables(out: Path) -> dict[str, list[tuple]]:
    """All rows of all tables, but for how often an asset was tried: that is the disturbance."""
    made = {}
    for name in ("assets", "defects", "timeline"):
        columns = "* EXCLUDE (attempts)" if name == "assets" else "*"
        asked = connect(Ledger(str(out))).sql(f"SELECT {columns} FROM {name} ORDER BY ALL")
        made[name] = asked.fetchall()
        assert made[name]
    return made


def command(clips, out, address=None) -> list[str]:
    return [
        *(sys.executable, "-m", "vidette", "batch", *clips, "--out", str(out), "--run", "x"),
        *(() if address is None else ("--address", address)),
        *("--workers", "2", "--quiet", "--only", ",".join(SETTINGS.only)),
    ]


@contextmanager
def small_disk(folder: Path, size: str):
    """A file system in memory that is soon full."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_keeps_what_was_finished_and_the_next_run_goes_on(
    clips, jobs, undisturbed, tmp_path
):
    out = tmp_path / "small"
    with small_disk(out, "32k"):
        first = subprocess.run(command(clips, out, jobs[1]), cwd=ROOT, check=False)
        assert first.returncode == 74
        kept = {path.name: path.read_bytes() for path in (out / "results").glob("*.json")}
        assert 0 < len(kept) < len(clips)
        subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
        second = subprocess.run(command(clips, out, jobs[1]), cwd=ROOT, check=False)
        assert second.returncode == 2  # one is no film
        assert tables(out) == undisturbed
        for name, data in kept.items():
            assert (out / "results" / name).read_bytes() == data  # not done again
        assert not list(out.rglob("*.part"))


def test_kills_at_any_moment_change_nothing_in_the_tables(clips, jobs, undisturbed, tmp_path):
    """Drivers and workers die at random, until a run is left alone."""
    chance = random.Random(7)
    out, ledger = tmp_path / "out", Ledger(str(tmp_path / "out"))
    died = 0
    for n in range(6):
        child = subprocess.Popen(command(clips, out, jobs[1]), cwd=ROOT)
        if n == 0:  # however long it takes to begin
            waiting.until(lambda: ledger.ids("working"), 120)
        until = time.monotonic() + chance.uniform(4.0, 14.0)
        while time.monotonic() < until and child.poll() is None:
            time.sleep(chance.uniform(0.02, 0.2))  # an asset takes about a second
            for name in ledger.ids("working"):
                working = ledger.read("working", name)
                if working and (not died or chance.random() < 0.1):
                    with_it = working["pid"]
                    try:
                        os.kill(with_it, signal.SIGKILL)
                        died += 1
                    except ProcessLookupError:
                        continue
        child.kill()
        child.wait()
    # what lost its workers twice counts as failed: those are tried again
    last = subprocess.run([*command(clips, out, jobs[1]), "--retry-failed"], cwd=ROOT, check=False)
    assert last.returncode == 2
    assert died > 0
    assert tables(out) == undisturbed
    assert not ledger.ids("working")
    assert not ledger.ids("failed")


def test_a_driver_whose_ray_is_killed_ends_and_the_next_goes_on(clips, undisturbed, tmp_path):
    out, ledger = tmp_path / "out", Ledger(str(tmp_path / "out"))
    child = subprocess.Popen(command(clips, out), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    waiting.until(lambda: ledger.ids("results"), 120)
    processes = psutil.Process(child.pid).children(recursive=True)
    for one in processes:
        if one.name() == "raylet":
            one.kill()
    _, said = child.communicate(timeout=90)
    assert child.returncode == 2
    assert "Ray has died" in said
    _, left = psutil.wait_procs(processes, 30)
    assert not left
    assert not ledger.ids("failed")
    assert len(ledger.ids("results")) < len(clips)
    subprocess.run(command(clips, out), cwd=ROOT, check=False)
    assert tables(out) == undisturbed


def test_an_archive_as_a_job_of_ray(clips, jobs, undisturbed, tmp_path):
    """`ray job submit`: the driver runs on the cluster."""
    port, _ = jobs
    out = tmp_path / "out"
    submit = [
        *(sys.executable, "-m", "ray.scripts.scripts", "job", "submit"),
        *("--address", f"http://127.0.0.1:{port}", "--"),
        *command(clips, out, "auto"),
    ]
    until = time.monotonic() + 60
    while True:
        submitted = subprocess.run(submit, cwd=ROOT, capture_output=True, text=True, check=False)
        # the dashboard takes jobs only once the agent of its node has come up
        if "No available agent" not in submitted.stderr or time.monotonic() > until:
            break
        time.sleep(1.0)
    # a job whose command ends with 2, one file being no film, has failed for Ray
    assert "exit code 2" in submitted.stdout + submitted.stderr, submitted
    assert tables(out) == undisturbed
