"""Inspections of untrusted input, those of several requests in one process.

What they ask of a net at the same time is one batch, which is what a GPU wants, and nothing is
forked. The price: the process is a barrier between decoders and the service, but not between one
request and another, and they share its time and memory. Where it dies, each of its requests is done
again in a process of its own (`serve/isolated.py`), so that only the one that is at fault fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from pipeline.hardware import Device
from pipeline.settings import Settings
from pipeline.types import Inspection
from serve import traces
from serve.children import Child, read, watch
from serve.isolated import Bounds, Isolated
from serve.problems import ProblemError

log = logging.getLogger("ray.serve.vidette")
_APART = 30.0  # seconds between two starts at least: one who kills it gains little
_JOBS = 1000  # after which it is replaced
_LEAST = 1.0  # seconds for what is done again


class Together:
    """Hands inspections to the one process, and to others where that is not possible.

    Args:
        bounds: of an inspection. CPU time is not counted for each.
        alone: does what cannot be done together, on the CPU.
        places: inspections at a time; those whose clients have gone count until they end.
        memory_bytes: that the one process may take.
        device: on which frames are decoded, where it can.
    """

    def __init__(
        self,
        bounds: Bounds,
        alone: Isolated,
        *,
        places: int = 8,
        memory_bytes: int = 8 * 2**30,
        device: Device = "cpu",
    ) -> None:
        self._bounds, self._alone, self._device = bounds, alone, device
        self._places, self._memory_bytes = places, memory_bytes
        self._host: asyncio.Task[_Host] | None = None
        self._was_there = False
        self._started = float("-inf")
        self._working: set[asyncio.Task[Inspection | None]] = set()

    async def close(self) -> None:
        """End the process."""
        task, self._host = self._host, None
        if task is not None:
            await asyncio.wait([task])
            if task.exception() is None:
                await task.result().end()

    async def inspect(self, path: Path, name: str, settings: Settings) -> Inspection:
        """Inspect a file; see Isolated.inspect."""
        self._alone.warm()
        host = await self._there()
        began, bounds = time.monotonic(), self._bounds
        if host is not None:
            job = {"path": str(path), "name": name, "settings": settings.model_dump(mode="json")}
            with traces.span("inspect") as span:
                asked = time.time()
                work = asyncio.create_task(self._done(host, job))
                self._working.add(work)
                work.add_done_callback(self._over)
                # a thread cannot be ended: it keeps its place where the client has gone
                result = await asyncio.shield(work)
                if result is not None:
                    traces.stages(span, asked, asked, result, report=False)
                    return result
            left = max(bounds.seconds - (time.monotonic() - began), _LEAST)
            bounds = bounds.model_copy(update={"seconds": left})
        return await self._alone.inspect(path, name, settings, bounds)

    def _over(self, work: asyncio.Task[Inspection | None]) -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # it is known, also where the client has gone

    async def _done(self, host: _Host, job: Mapping[str, object]) -> Inspection | None:
        """What the one process found; None: it is to be done alone."""
        try:
            async with asyncio.timeout(self._bounds.seconds):
                return await host.result(job)
        except TimeoutError as error:
            self._retire(host, "an inspection does not end")
            detail = f"not done after {self._bounds.seconds:g} s"
            raise ProblemError(422, "time_limit", detail) from error
        except _FailedError as error:
            log.warning("an inspection failed, and is done again: %s", error)
        except (_DeadError, ValueError) as error:
            self._retire(host, str(error))
        return None

    async def _there(self) -> _Host | None:
        """The process, warm, with a place; None: there is none now."""
        if self._host is None:
            if time.monotonic() < self._started + _APART:
                return None
            self._started = time.monotonic()
            self._host = asyncio.create_task(
                _Host.started(self._bounds, self._memory_bytes, self._device)
            )
        task = self._host
        if self._was_there and not task.done():  # nobody waits for another one
            return None
        try:
            host = await asyncio.shield(task)
        except (ProblemError, OSError, psutil.Error) as error:
            if self._host is task:
                log.warning("the process for many inspections cannot be started: %s", error)
                self._host = None
            return None
        self._was_there = True
        if host.is_over:
            self._retire(host, "it has ended")
            return None
        if host.jobs >= _JOBS:
            self._retire(host, f"it has done {host.jobs} inspections")
            return None
        return host if host.working < self._places else None

    def _retire(self, host: _Host, why: str) -> None:
        """Give it nothing more; it ends with the last of what it does."""
        task = self._host
        if task is not None and task.done() and not task.exception() and task.result() is host:
            log.warning("the process for many inspections is replaced: %s", host.over or why)
            self._host = None
            host.retire()


class _DeadError(Exception):
    """The process has died, or says nothing sensible."""


class _FailedError(Exception):
    """An inspection failed, or could not be handed over; the process goes on."""


class _Host:
    """The process that inspects, seen from here."""

    def __init__(self, child: Child, most: int) -> None:
        self.jobs = self.working = 0
        self._child = child
        self._retired = False
        self._over: list[str] = []
        self._watching = asyncio.create_task(watch(psutil.Process(child.pid), most, self._over))
        self._ending: asyncio.Task[None] | None = None

    @staticmethod
    async def started(bounds: Bounds, memory_bytes: int, device: Device) -> _Host:
        """Start it and wait until it is warm.

        Raises:
            ProblemError: 503, it did not start.
            psutil.Error: it has died since.
        """
        child = await Child.started("serve.host", str(bounds.file_bytes), device)
        return _Host(child, memory_bytes)

    @property
    def over(self) -> str:
        """Why it was killed; "" where it was not."""
        return "; ".join(self._over)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._child.is_over

    async def end(self) -> None:
        """End it at once."""
        self._watching.cancel()
        await self._child.end()

    def retire(self) -> None:
        """End it when nothing is in work."""
        self._retired = True
        if not self.working and self._ending is None:
            self._ending = asyncio.create_task(self.end())

    async def result(self, job: Mapping[str, object]) -> Inspection:
        """What it found.

        Raises:
            _DeadError: the process is of no use any more.
            _FailedError: it is, but this has not been done.
            ProblemError: 422, the job is too long.
            ValueError: what it says is no result.
        """
        self.working += 1
        self.jobs += 1
        try:
            async with self._child.given(job) as answers:
                async for line in answers:
                    said = read(line)
                    if "result" in said:
                        return Inspection.model_validate(said["result"])
                    if "error" in said:
                        raise _FailedError(str(said["error"])[:1000])
        except ProblemError as error:
            if error.status == 503:
                raise _FailedError("it takes nothing now") from error
            raise
        finally:
            self.working -= 1
            if self._retired:
                self.retire()
        raise _DeadError("it has died")
