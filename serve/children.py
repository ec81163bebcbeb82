"""Processes that take jobs: each job goes there with a pipe, and lines of JSON come back in it.

Whoever decodes untrusted input is such a process or a child of one. Linux alone has the kind of
socket that this uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psutil

from serve.problems import ProblemError
from serve.tied import MESSAGE

_LINE = 256 * 2**20  # bytes of a result at most
_WATCHED_EVERY = 0.25  # seconds
_READY = 120.0  # seconds until a child must have everything loaded
_PASSED_ON = (  # and no secret
    *("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "NUMBA_CACHE_DIR", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"),
)
# Matrix products are done by one thread (`pipeline.inspect`): pools that BLAS makes anew in each
# forked process only spin. Huge pages: fewer faults after a fork.
_TUNED = {"OPENBLAS_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class Child:
    """A process that takes jobs, from here."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process, self._control = process, control

    @staticmethod
    async def started(module: str, *arguments: str) -> Child:
        """Start one and wait until it has everything loaded.

        Args:
            module: of ours, that it runs; it is given the number of its socket first.
            arguments: that it is given after that.

        Raises:
            ProblemError: 503, it did not start.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise ProblemError(503, "no_worker", "there is no room for a process", 5) from error
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= _TUNED
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, str(theirs.fileno()), *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, env=environment, start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise ProblemError(503, "no_worker", "there is no room for a process", 5) from error
        finally:
            theirs.close()
        ours.setblocking(False)
        made, said = Child(process, ours), b""
        try:
            async with asyncio.timeout(_READY):
                said = await asyncio.get_running_loop().sock_recv(ours, 16)
        except TimeoutError:
            pass  # it is none then
        finally:
            if said != b"ready":
                await made.end()
        if said != b"ready":
            raise ProblemError(503, "no_worker", "no process could be started", retry_after=5)
        return made

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    def let_go(self) -> None:
        """Close what was kept of one that has ended."""
        self._control.close()

    async def end(self) -> None:
        """End it; its children die with it."""
        self.let_go()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    @asynccontextmanager
    async def given(self, job: Mapping[str, object]) -> AsyncIterator[asyncio.StreamReader]:
        """Give it a job: what is said of that; nobody listens any more afterwards.

        Raises:
            ProblemError: 422, the job is too long to be sent; 503, it takes none.
        """
        message = json.dumps(job).encode()
        if len(message) > MESSAGE:
            detail = f"settings and name have more than {MESSAGE} bytes"
            raise ProblemError(422, "invalid_settings", detail)
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._control, [message], [writing])
        except OSError as error:
            os.close(reading)
            raise ProblemError(503, "no_worker", "no process takes it", 5) from error
        finally:
            os.close(writing)
        answers = asyncio.StreamReader(limit=_LINE)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(reading, "rb")
        )
        try:
            yield answers
        finally:
            transport.close()


def read(line: bytes) -> dict[str, Any]:
    """A line of a process that may have been taken over, or was cut off."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


async def watch(process: psutil.Process, most: int, over: list[str]) -> None:
    """Kill a process when it uses too much memory."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.memory_info().rss <= most:
            await asyncio.sleep(_WATCHED_EVERY)
        over.append(f"more than {most} bytes of memory")
        process.kill()
