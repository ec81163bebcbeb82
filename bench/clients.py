"""Clients that ask a service, and the services that they ask: what benches of HTTP share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psutil
import ray
from ray import serve as ray_serve

from serve.config import Config
from serve.run import start
from tests.serve.real import free_port

ROOT = Path(__file__).resolve().parent.parent
QUANTILES = (0.5, 0.95, 0.99)  # of latencies, in tables
_PATIENCE = 60.0  # seconds for a server to be there
_LIMITS = httpx.Limits(max_connections=None)


@dataclass(frozen=True)
class Row:
    """What some clients met.

    Attributes:
        way: what was asked, by how many.
        took: seconds of each request.
        wall: seconds of all.
        refused: how often somebody was told to come back.
        cpu: seconds of CPU of the server, all of its processes.
        others: cores that were busy with anything else, clients included.
        megabytes: of the server and what it has started, at the end; shared pages count once.
    """

    way: str
    took: npt.NDArray[np.float64]
    wall: float
    refused: int
    cpu: float
    others: float
    megabytes: float


@dataclass(frozen=True)
class Flood:
    """What came of requests that did not wait for each other.

    Attributes:
        offered: requests a second.
        answers: requests by status.
        took: seconds of those that were answered with 200.
        wall: seconds until the last answer.
        retry_after: seconds that each of the others was told to wait.
        others: as of Row.
        megabytes: most that the server had meanwhile.
    """

    offered: float
    answers: Counter[int]
    took: npt.NDArray[np.float64]
    wall: float
    retry_after: npt.NDArray[np.float64]
    others: float
    megabytes: float


# -------------------------------------------------------------------------------------- clients


async def asked(
    url: str, clients: int, requests: int, **request: Any
) -> tuple[npt.NDArray[np.float64], float, int]:
    """Post the same request so often.

    Args:
        url: of it.
        clients: that ask at the same time.
        requests: of all of them together.
        request: as for httpx: `content`, `files`, `headers`.

    Returns:
        Seconds from each request to its whole answer, what a client that is told to come back (429)
        waits included; seconds for all; how often somebody was told to come back.
    """
    left = iter(range(requests))
    took: list[float] = []
    refused = 0

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal refused
        for _ in left:
            began = time.perf_counter()
            while True:
                response = await http.post(url, **request)
                if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    break
                refused += 1
                await asyncio.sleep(float(response.headers["retry-after"]))
            response.raise_for_status()
            took.append(time.perf_counter() - began)

    async with httpx.AsyncClient(timeout=600, limits=_LIMITS) as http:
        begun = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        return np.array(took), time.perf_counter() - begun, refused


def met(way: str, url: str, pid: int, clients: int, requests: int, **request: Any) -> Row:
    """What so many clients meet; see `asked`. The only children of this process are the server."""
    server, machine = _server_cpu(), machine_cpu()
    took, wall, refused = asyncio.run(asked(url, clients, requests, **request))
    server, machine = _server_cpu() - server, machine_cpu() - machine
    return Row(
        f"{way}, {clients} client(s)", took, wall, refused, server,
        max(machine - server, 0.0) / wall, megabytes(pid),
    )  # fmt: skip


async def flooded(
    url: str, pid: int, rate: float, seconds: float, seed: int = 1, **request: Any
) -> Flood:
    """Post the same request at random moments, whatever came of the ones before.

    Args:
        url: of it.
        pid: of the server.
        rate: requests a second, on average.
        seconds: for which requests are sent.
        seed: of the moments.
        request: as for httpx.
    """
    rng = np.random.default_rng(seed)
    answers: Counter[int] = Counter()
    took: list[float] = []
    told: list[float] = []
    most = 0.0

    async def one(http: httpx.AsyncClient) -> None:
        began = time.perf_counter()
        response = await http.post(url, **request)
        answers[response.status_code] += 1
        if response.status_code == httpx.codes.OK:
            took.append(time.perf_counter() - began)
        else:
            told.append(float(response.headers.get("retry-after", "nan")))

    async def weigh() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(megabytes, pid))
            await asyncio.sleep(1.0)

    async with httpx.AsyncClient(timeout=600, limits=_LIMITS) as http:
        server, machine = _server_cpu(), machine_cpu()
        begun = time.perf_counter()
        weighing = asyncio.create_task(weigh())
        tasks = []
        while time.perf_counter() - begun < seconds:
            tasks.append(asyncio.create_task(one(http)))
            await asyncio.sleep(float(rng.exponential(1 / rate)))
        await asyncio.gather(*tasks)
        wall = time.perf_counter() - begun
        others = max(machine_cpu() - machine - (_server_cpu() - server), 0.0) / wall
        weighing.cancel()
        with suppress(asyncio.CancelledError):
            await weighing
    return Flood(rate, answers, np.array(took), wall, np.array(told), others, most)


# -------------------------------------------------------------------------------------- servers


@contextmanager
def plain(module: str) -> Iterator[tuple[str, int]]:
    """A server of its own: `python -m MODULE --plain PORT`. Its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", module, "--plain", str(port)]
    child = subprocess.Popen(command, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                if time.monotonic() > until or child.poll() is not None:
                    raise
                time.sleep(0.2)
        yield url, child.pid
    finally:
        child.terminate()
        child.wait()


@contextmanager
def service(**settings: Any) -> Iterator[tuple[str, int]]:
    """The service with one replica. Its address and the process of the replica."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        config = Config(data=Path(name) / "data", max_replicas=1, cpus=0.5, **settings)
        start(config, "127.0.0.1", port)
        try:
            yield f"http://127.0.0.1:{port}", _replica()
        finally:
            ray_serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def _replica() -> int:
    """The process that answers."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("ServeReplica" in part and "Api" in part for part in process.cmdline()):
                return int(process.pid)
    raise RuntimeError("no replica of the API is running")


def megabytes(pid: int) -> float:
    """Memory of a process and its children, MiB; pages that they share count once."""
    process = psutil.Process(pid)
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_full_info().pss
    return float(total / 2**20)


def _server_cpu() -> float:
    """Seconds of CPU of all children of this process, and of those that they have buried."""
    total = 0.0
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(one.cpu_times()[:4])  # user, system, and both of the buried
    return total


def machine_cpu() -> float:
    """Seconds in which a core of this machine was busy."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
