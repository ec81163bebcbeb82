"""Clients that ask a service one thing after the other, as many at a time as one likes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

QUANTILES = (0.5, 0.95, 0.99)  # of latencies, in tables


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

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=300, limits=limits) as http:
        begun = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        return np.array(took), time.perf_counter() - begun, refused
