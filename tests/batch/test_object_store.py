"""An archive in an object store: media, results, tables and pages all lie in buckets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from tests import media
from tests.batch.test_batch import blackened

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("ray")]


@pytest.fixture
def store(monkeypatch):
    """A server of S3, which processes that are started from here find by their environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    fs.mkdir("archive")
    yield fs
    server.stop()


def vidette(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "vidette", *arguments], cwd=ROOT, env=os.environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def names(store, place: str) -> set[str]:
    store.invalidate_cache()
    return {name.rpartition("/")[2] for name in store.ls(place, detail=False)}


def test_an_archive_in_a_bucket(store, tmp_path):
    for n, name in enumerate(("a.mp4", "dark.mp4")):
        path = media.write(
            tmp_path / name, blackened(n) if "dark" in name else media.scene(2.0, 160, 96, seed=n)
        )
        store.put_file(str(path), f"archive/2026/{name}")
    store.pipe_file("archive/2026/broken.mp4", b"this is no film" * 100)
    store.pipe_file("archive/2026/notes.txt", b"not media")
    command = ("batch", "s3://archive/2026", "--out", "s3://archive/results", "--workers", "2",
               "--only", "black,freeze")  # fmt: skip
    done = vidette(*command)
    assert done.returncode == 2, done.stderr  # one is no film
    assert "3 assets" in done.stderr
    results = names(store, "archive/results/results")
    assert len(results) == 3
    assert len(names(store, "archive/results/reports")) == 3
    assert b"dark.mp4" in store.cat_file("archive/results/index.html")
    question = "SELECT uri, state, coverage, defects FROM assets ORDER BY uri"
    asked = vidette("query", "s3://archive/results", "-f", "json", question)
    assert [json.loads(line) for line in asked.stdout.splitlines()] == [
        {"uri": "s3://archive/2026/a.mp4", "state": "done", "coverage": "complete", "defects": 0},
        {"uri": "s3://archive/2026/broken.mp4", "state": "done", "coverage": "none", "defects": 0},
        {"uri": "s3://archive/2026/dark.mp4", "state": "done", "coverage": "complete",
         "defects": 1},
    ]  # fmt: skip

    again = vidette(*command)
    assert "Nothing was left to do" in again.stderr
    assert names(store, "archive/results/results") == results

    other = media.write(tmp_path / "other.mp4", media.scene(2.0, 160, 96, seed=7))
    store.put_file(str(other), "archive/2026/a.mp4")  # another ETag
    assert vidette(*command).returncode == 2
    assert len(names(store, "archive/results/results") - results) == 1
