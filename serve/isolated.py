"""Inspections of untrusted input, each in a process of its own, with limits.

A decoder that crashes, or is taken over, takes nothing with it. The processes are forked by another
one that has everything loaded (`serve/zygote.py`), so that each is there at once; none is used
twice. Memory is watched from outside: limits on address space would stop Numba, which reserves far
more than it uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field

from pipeline.settings import Settings
from pipeline.types import Inspection
from serve import traces
from serve.children import Child, read, watch
from serve.problems import ProblemError


class Bounds(BaseModel):
    """What one inspection may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=60.0, gt=0, description="of wall clock")
    cpu_seconds: int = Field(default=240, gt=0, description="of all cores together")
    memory_bytes: int = Field(default=4 * 2**30, gt=0, description="of memory in use")
    file_bytes: int = Field(default=64 * 2**20, gt=0, description="of a file that it writes")


class Isolated:
    """Has processes forked, and hands each one inspection."""

    def __init__(self) -> None:
        self._zygote: asyncio.Task[Child] | None = None

    def warm(self) -> None:
        """Start the process that forks, if there is none."""
        task = self._zygote
        if task is not None and task.done():
            if task.exception() is not None:
                task = None
            elif task.result().is_over:
                task.result().let_go()
                task = None
        if task is None:
            self._zygote = asyncio.create_task(Child.started("serve.zygote"))

    async def ready(self) -> Child:
        """The process that forks, once it has everything loaded.

        Raises:
            ProblemError: 503, there is none to be had.
        """
        self.warm()
        assert self._zygote is not None  # noqa: S101 - it was started
        return await asyncio.shield(self._zygote)

    async def close(self) -> None:
        """End the process that forks, and all that it has forked."""
        task, self._zygote = self._zygote, None
        if task is not None:
            with contextlib.suppress(ProblemError):
                await (await task).end()

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
            ProblemError: 422, its process died or took too much; 503, none could be had.
        """
        job = {
            "path": str(path),
            "name": name,
            "settings": settings.model_dump(mode="json"),
            "report": None if report is None else str(report),
            "cpu_seconds": bounds.cpu_seconds,
            "file_bytes": bounds.file_bytes,
        }
        zygote = await self.ready()
        with traces.span("inspect") as span:
            asked = time.time()
            try:
                async with asyncio.timeout(bounds.seconds), zygote.given(job) as answers:
                    forked, result = await _result(answers, bounds, told)
            except TimeoutError as error:
                detail = f"not done after {bounds.seconds:g} s"
                raise ProblemError(422, "time_limit", detail) from error
            traces.stages(span, asked, forked, result, report=report is not None)
        return result


async def _result(
    answers: asyncio.StreamReader, bounds: Bounds, told: Callable[[float, float | None], None]
) -> tuple[float, Inspection]:
    """When the process was there, s since 1970, and what it found."""
    over: list[str] = []
    known, forked = False, time.time()
    process, watching = None, None
    try:
        async for line in answers:
            said = read(line)
            if "pid" in said and not known:  # the first line, before anything untrusted
                known, forked = True, time.time()
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(int(said["pid"]))
                    watching = asyncio.create_task(watch(process, bounds.memory_bytes, over))
            elif isinstance(position := said.get("position"), float):
                duration = said.get("duration")
                told(position, duration if isinstance(duration, float) else None)
            elif "result" in said:
                return forked, Inspection.model_validate(said["result"])
            elif "status" in said:
                raise _ended(int(said["status"]), over, bounds)
        raise ProblemError(503, "worker_died", "the process that forks has died", retry_after=5)
    finally:
        if watching is not None:
            watching.cancel()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()  # none that has its number by now: psutil compares their age


def _ended(status: int, over: list[str], bounds: Bounds) -> ProblemError:
    """Why there is no result."""
    if over:
        return ProblemError(422, "memory_limit", over[0])
    if status == -signal.SIGXCPU:
        return ProblemError(422, "time_limit", f"more than {bounds.cpu_seconds} s of CPU time")
    by = signal.Signals(-status).name if status < 0 else f"status {status}"
    return ProblemError(422, "decoder_crashed", f"the process that decoded it ended by {by}")
