"""Temporary folders: those of processes that were killed go, those in use stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.scratch import scratch, sweep

ROOT = Path(__file__).parents[1]
_HOLDER = """
import sys
from pathlib import Path
from pipeline.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "asset").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has such a folder until its input ends, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(place)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_the_callers_alone_and_goes(tmp_path):
    with scratch(tmp_path) as one, scratch(tmp_path) as other:
        assert one != other
        assert one.stat().st_mode & 0o077 == 0
        (one / "x").write_text("x")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError), scratch(tmp_path):
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path):
    process, left = holder(tmp_path)
    with process:
        with scratch(tmp_path):
            assert (left / "asset").is_file()  # somebody's
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (left / "asset").is_file()
        with scratch(tmp_path) as mine:
            assert list(tmp_path.iterdir()) == [mine]


def test_nothing_else_is_touched(tmp_path):
    """What has no lock may be just being made; a link leads to what is somebody else's."""
    aim = tmp_path / "aim"
    for folder in (aim, tmp_path / "vidette-media", tmp_path / "vidette-new", tmp_path / "other"):
        folder.mkdir()
        (folder / "kept").touch()
    (aim / "lock").touch()
    (tmp_path / "other/lock").touch()
    (tmp_path / "vidette-link").symlink_to(aim)
    (tmp_path / "vidette-file").touch()
    before = sorted(tmp_path.rglob("*"))
    sweep(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_many_at_once_do_not_take_each_others(tmp_path):
    def use(n: int) -> bool:
        with scratch(tmp_path) as folder:
            (folder / "mine").write_text(str(n))
            os.sched_yield()
            return (folder / "mine").read_text() == str(n)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(use, range(400)))
    assert not list(tmp_path.iterdir())
