"""Inspections of untrusted input, each in a process of its own, with limits.

A decoder that crashes, or is taken over, takes nothing with it. Processes are started ahead of
time, since their imports take about a second; none is used twice. Memory is watched from outside:
limits on address space would stop torch and Numba, which reserve far more than they use.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field

from pipeline.settings import Settings
from pipeline.types import Inspection
from serve.problems import ProblemError

_LINE = 256 * 2**20  # bytes of a result at most
_WATCHED_EVERY = 0.25  # seconds
_PASSED_ON = (  # and no secret
    *("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "NUMBA_CACHE_DIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"),
)


class Bounds(BaseModel):
    """What one inspection may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=60.0, gt=0, description="of wall clock")
    cpu_seconds: int = Field(default=240, gt=0, description="of all cores together")
    memory_bytes: int = Field(default=4 * 2**30, gt=0, description="of memory in use")
    file_bytes: int = Field(default=64 * 2**20, gt=0, description="of a file that it writes")


class Isolated:
    """Starts processes ahead of time and hands each one inspection.

    Args:
        ahead: processes that wait.
    """

    def __init__(self, ahead: int = 1) -> None:
        self._ahead = ahead
        self._waiting: list[asyncio.Task[asyncio.subprocess.Process]] = []

    def warm(self) -> None:
        """Start what is missing."""
        while len(self._waiting) < self._ahead:
            self._waiting.append(asyncio.create_task(_started()))

    async def close(self) -> None:
        """End the processes that wait."""
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            with contextlib.suppress(ProblemError):
                process = await task
                await _ended(process)

    async def inspect(
        self,
        path: Path,
        name: str,
        settings: Settings,
        bounds: Bounds,
        *,
        report: Path | None = None,
        told: Callable[[float, float | None], None] = lambda *_: None,
    ) -> Inspection:
        """Inspect a file.

        Args:
            path: of the file.
            name: by which the result calls it.
            settings: of the inspection.
            bounds: what it may take.
            report: where to write the HTML report.
            told: is called about once a second of presentation with the position and the duration.

        Raises:
            ProblemError: 422, its process died or took too much.
        """
        task = self._waiting.pop(0) if self._waiting else asyncio.create_task(_started())
        self.warm()
        process = await task
        job = {
            "path": str(path),
            "name": name,
            "settings": settings.model_dump(mode="json"),
            "report": None if report is None else str(report),
            "cpu_seconds": bounds.cpu_seconds,
            "file_bytes": bounds.file_bytes,
        }
        try:
            async with asyncio.timeout(bounds.seconds):
                return await _answer(process, json.dumps(job), bounds, told)
        except TimeoutError as error:
            detail = f"not done after {bounds.seconds:g} s"
            raise ProblemError(422, "time_limit", detail) from error
        finally:
            await _ended(process)


async def _answer(
    process: asyncio.subprocess.Process,
    job: str,
    bounds: Bounds,
    told: Callable[[float, float | None], None],
) -> Inspection:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes
    over: list[str] = []
    watch = asyncio.create_task(_watch(process, bounds.memory_bytes, over))
    try:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(job.encode() + b"\n")
            await process.stdin.drain()
        async for line in process.stdout:
            said = json.loads(line)
            if "result" in said:
                return Inspection.model_validate(said["result"])
            told(said["position"], said["duration"])
        status = await process.wait()
    finally:
        watch.cancel()
    if over:
        raise ProblemError(422, "memory_limit", over[0])
    if status == -signal.SIGXCPU:
        detail = f"more than {bounds.cpu_seconds} s of CPU time"
        raise ProblemError(422, "time_limit", detail)
    by = signal.Signals(-status).name if status < 0 else f"status {status}"
    raise ProblemError(422, "decoder_crashed", f"the process that decoded it ended by {by}")


async def _started() -> asyncio.subprocess.Process:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "serve.child",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env=environment, start_new_session=True, limit=_LINE,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    if await process.stdout.readline() != b"ready\n":
        await _ended(process)
        raise ProblemError(503, "no_worker", "no process could be started", retry_after=5)
    return process


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def _watch(process: asyncio.subprocess.Process, most: int, over: list[str]) -> None:
    """Kill it when it uses too much memory."""
    with contextlib.suppress(psutil.NoSuchProcess):
        seen = psutil.Process(process.pid)
        while seen.memory_info().rss <= most:
            await asyncio.sleep(_WATCHED_EVERY)
        over.append(f"more than {most} bytes of memory")
        process.kill()
