"""One process in which what several requests sent is inspected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import vidette
from models import coarseness
from models.batcher import Batcher
from pipeline.settings import load
from serve import host, together
from serve.children import Child
from serve.isolated import Bounds, Isolated
from serve.problems import ProblemError
from serve.tied import MESSAGE
from serve.together import Together
from tests import damage, media
from tests.serve.test_isolated import stalled

SETTINGS = load(only=("black", "silence"))


async def with_one(job, bounds=None, device="cpu", **more):
    alone = Isolated()
    made = Together(bounds or Bounds(), alone, device=device, **more)
    try:
        return await job(made)
    finally:
        await made.close()
        await alone.close()


def children(module: str) -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if module in one.cmdline()]


async def who_reads(path: Path, besides: int = 0) -> psutil.Process:
    """The process that has opened a file, and is not one that may be dying yet."""
    async with asyncio.timeout(60):
        while True:
            for child in psutil.Process().children(recursive=True):
                if child.pid == besides:
                    continue
                with suppress(OSError):
                    opened = Path(f"/proc/{child.pid}/fd").iterdir()
                    if any(one.readlink() == path for one in opened):
                        return child
            await asyncio.sleep(0.05)


def test_many_at_once_are_inspected_in_one_process(clip):
    settings = load(only=("black", "silence", "blockiness"))  # the last one asks a net

    async def job(one):
        found = await asyncio.gather(*(one.inspect(clip, f"{n}.mp4", settings) for n in range(6)))
        (host,) = children("serve.host")
        assert [child.children() for child in children("serve.zygote")] == [[]]
        opened = host.num_fds()
        await one.inspect(clip, "x", settings)
        async with asyncio.timeout(20):
            while host.num_fds() > opened:
                await asyncio.sleep(0.05)
        return found

    found = asyncio.run(with_one(job))
    here = vidette.inspect(clip, only=settings.only)
    assert here.defects
    assert [one.uri for one in found] == [f"{n}.mp4" for n in range(6)]
    for one in found:
        assert one.defects == here.defects
        assert "wall" in one.timings
        assert "cpu" not in one.timings


def test_where_it_dies_only_the_one_at_fault_fails(clip, tmp_path):
    """A request kills it, and does so again when it is alone; others get their results."""
    long = tmp_path / "long.mp4"
    media.write(long, media.scene(30.0, 320, 180), 0.1 * media.programme(30.0))

    async def job(one):
        with stalled(tmp_path) as pipe:
            guilty = asyncio.create_task(one.inspect(pipe, "guilty", SETTINGS))
            first = await who_reads(pipe)
            assert "serve.host" in first.cmdline()
            innocent = asyncio.create_task(one.inspect(long, "innocent", load()))
            assert (await who_reads(long)).pid == first.pid
            assert not innocent.done()
            first.send_signal(signal.SIGSEGV)
            again = await who_reads(pipe, besides=first.pid)
            again.send_signal(signal.SIGSEGV)
            with pytest.raises(ProblemError) as told:
                await guilty
            found = await innocent
        # not started anew at once: it would be killed for ever
        assert children("serve.host") == []
        later = await one.inspect(clip, "later", SETTINGS)
        return told.value, found, later

    problem, *found = asyncio.run(with_one(job))
    assert (problem.status, problem.code) == (422, "decoder_crashed")
    assert [one.uri for one in found] == ["innocent", "later"]
    assert found[0].coverage.state == "complete"
    assert found[1].defects


@pytest.mark.slow
def test_who_has_gone_keeps_the_place_and_others_go_elsewhere(tmp_path):
    async def job(one):
        with stalled(tmp_path) as pipe:
            gone = asyncio.create_task(one.inspect(pipe, "gone", SETTINGS))
            host = await who_reads(pipe)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            long = tmp_path / "long.mp4"
            media.write(long, media.scene(30.0, 320, 180), 0.1 * media.programme(30.0))
            other = asyncio.create_task(one.inspect(long, "other", load()))
            assert (await who_reads(long)).pid != host.pid
            return await other

    assert asyncio.run(with_one(job, places=1)).uri == "other"


@pytest.mark.slow
def test_where_it_cannot_be_started_all_are_inspected_alone(clip, monkeypatch):
    started, asked = Child.started, []

    async def none(module, *arguments):
        if module == "serve.host":
            asked.append(module)
            raise OSError(11, "no room")
        return await started(module, *arguments)

    monkeypatch.setattr(Child, "started", staticmethod(none))

    async def job(one):
        return [await one.inspect(clip, "x", SETTINGS) for _ in range(2)]

    assert all(found.defects for found in asyncio.run(with_one(job)))
    assert len(asked) == 1


def test_what_several_ask_of_a_net_at_once_is_one_batch(clip, monkeypatch):
    """In the process, as it works there; the net is slowed, so that all wait while one is asked."""
    run, sizes = Batcher._run_on, []

    def slowed(batcher, batch):
        sizes.append(len(batch))
        time.sleep(0.1)
        run(batcher, batch)

    coarseness.shared()  # one for all, as after `warm`
    monkeypatch.setattr(Batcher, "_run_on", slowed)
    settings = load(only=("blockiness",)).model_dump(mode="json")
    data = json.dumps({"path": str(clip), "name": "x", "settings": settings}).encode()

    def inspected(_) -> dict:
        reading, writing = os.pipe()
        host.work(data, writing, "cpu")
        with os.fdopen(reading) as answers:
            return json.loads(answers.read().splitlines()[-1])["result"]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(inspected, range(4)))
    assert all(one["coverage"]["state"] == "complete" for one in found)
    assert max(sizes) > 1


def test_a_job_that_fails_says_so_and_one_that_is_too_long_is_refused(clip):
    reading, writing = os.pipe()
    host.work(b"{}", writing, "cpu")
    with os.fdopen(reading) as answers:
        assert "KeyError" in json.loads(answers.read())["error"]

    async def job(one):
        await one.inspect(clip, "x", SETTINGS)
        (before,) = children("serve.host")
        with pytest.raises(ProblemError) as told:
            await one.inspect(clip, "x" * MESSAGE, SETTINGS)
        assert (await one.inspect(clip, "x", SETTINGS)).defects
        assert children("serve.host") == [before]
        return told.value

    assert asyncio.run(with_one(job)).status == 422


@pytest.mark.slow
def test_one_that_is_not_done_in_time_ends_it_and_the_next_one_is_there(
    clip, tmp_path, monkeypatch
):
    monkeypatch.setattr(together, "_APART", 0.0)

    async def job(one):
        await one.inspect(clip, "x", SETTINGS)
        (first,) = children("serve.host")
        with stalled(tmp_path) as pipe, pytest.raises(ProblemError) as told:
            await one.inspect(pipe, "slow", SETTINGS)
        found = await one.inspect(clip, "y", SETTINGS)
        async with asyncio.timeout(30):
            while [child.pid for child in children("serve.host")] in ([], [first.pid]):
                await asyncio.sleep(0.05)
        return told.value, found

    problem, found = asyncio.run(with_one(job, Bounds(seconds=3.0)))
    assert (problem.status, problem.code) == (422, "time_limit")
    assert found.defects


@pytest.mark.slow
def test_too_much_memory_ends_it(clip, caplog):
    found = asyncio.run(with_one(lambda one: one.inspect(clip, "x", SETTINGS), memory_bytes=10**7))
    assert found.defects  # alone
    assert "bytes of memory" in caplog.text


@pytest.mark.slow
def test_errors_of_a_decoder_belong_to_the_request_that_has_them(clip, tmp_path):
    """FFmpeg has one log for a process, whoever decodes there."""
    bad = tmp_path / "bad.ts"
    media.write(bad, media.scene(4.0, 320, 180), None)
    damage.lose(bad, 0.3, 0.6, 0.2)
    settings = load(only=("decode_error",))

    async def job(one):
        wanted = [bad, clip, bad, clip]
        return await asyncio.gather(*(one.inspect(path, "x", settings) for path in wanted))

    found = asyncio.run(with_one(job))
    here = vidette.inspect(bad, only=settings.only, settings={"threads": 1})
    assert {defect.kind for defect in here.defects} == {"decode_error"}
    assert [one.defects for one in found] == 2 * [here.defects, []]


@pytest.mark.slow
def test_it_decodes_on_the_gpu_that_it_is_given_or_says_why_not(clip):
    found = asyncio.run(with_one(lambda one: one.inspect(clip, "x", SETTINGS), device="cuda"))
    (track,) = found.asset.video
    assert track.decoder == "nvdec" or track.no_hardware
    assert found.defects
