"""Processes apart, in which untrusted input is decoded."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import vidette
from pipeline.settings import load
from serve.isolated import Bounds, Isolated
from serve.problems import ProblemError

SETTINGS = load(only=("black", "silence"))


async def alone(job):
    isolated = Isolated()
    try:
        return await job(isolated)
    finally:
        await isolated.close()


def test_a_process_apart_finds_the_same_and_leaves_nothing(clip, tmp_path):
    told: list[float] = []

    async def job(isolated):
        found = await isolated.inspect(
            clip, "dark.mp4", SETTINGS, Bounds(), report=tmp_path / "r.html",
            told=lambda position, _: told.append(position),
        )  # fmt: skip
        (zygote,) = [
            child for child in psutil.Process().children() if "serve.zygote" in child.cmdline()
        ]
        opened = zygote.num_fds()
        for _ in range(3):
            await isolated.inspect(clip, "x", SETTINGS, Bounds())
        async with asyncio.timeout(20):  # neither processes nor descriptors
            while zygote.children(recursive=True) or zygote.num_fds() > opened:
                await asyncio.sleep(0.05)
        return found

    found = asyncio.run(alone(job))
    here = vidette.inspect(clip, only=SETTINGS.only)
    assert found.defects == here.defects
    assert found.defects
    assert found.uri == "dark.mp4"
    assert told
    assert "<title>" in (tmp_path / "r.html").read_text()[:2000]


def test_a_crash_is_a_problem_and_the_next_one_works(clip, tmp_path):
    async def crash(isolated):
        # first, so that the process that forks is there: while it is started it has what we have
        # open, and would pass for one that reads
        await isolated.inspect(clip, "x", SETTINGS, Bounds())
        with stalled(tmp_path) as pipe:
            killer = threading.Thread(target=kill_who_reads, args=(pipe, signal.SIGSEGV))
            killer.start()
            with pytest.raises(ProblemError) as told:
                await isolated.inspect(pipe, "x", SETTINGS, Bounds(seconds=60))
            killer.join()
        assert (told.value.status, told.value.code) == (422, "decoder_crashed")
        assert "SIGSEGV" in told.value.detail
        return await isolated.inspect(clip, "y", SETTINGS, Bounds())

    assert asyncio.run(alone(crash)).defects


@contextmanager
def stalled(folder: Path) -> Iterator[Path]:
    """A pipe into which nothing comes: whoever inspects it waits for ten seconds."""
    path = folder / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        yield path
    finally:
        os.close(writer)


def kill_who_reads(path: Path, number: int) -> None:
    """Kill the child that has opened a file, as its decoder might."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process().children(recursive=True):
            opened = Path(f"/proc/{child.pid}/fd")
            with suppress(OSError):
                if any(one.readlink() == path for one in opened.iterdir()):
                    os.kill(child.pid, number)
                    return
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("bounds", "code"),
    [(Bounds(seconds=1.0), "time_limit"), (Bounds(memory_bytes=10**7), "memory_limit")],
)
def test_limits_end_a_process(tmp_path, bounds, code):
    async def job(isolated):
        with stalled(tmp_path) as pipe, pytest.raises(ProblemError) as told:
            await isolated.inspect(pipe, "x", SETTINGS, bounds)
        return told.value

    problem = asyncio.run(alone(job))
    assert (problem.status, problem.code) == (422, code)
