"""What frames as tensors cost over HTTP: Ray Serve, a plain server, and the bare net.

    python -m bench.frames [--requests N] [--size WIDTHxHEIGHT] [--frames N] [--quick]

Each request holds a few frames of noise over a gradient. They are scored by the net itself in one
thread, by `POST /v1/score/frames` of a service with one replica, by a server of FastAPI and uvicorn
alone, a process with the same net that runs one request at a time, and by a service that gives the
net each request alone; by 1 to 64 clients at a time. Latencies are seconds from the request to the
whole answer; a client that is told to come back (429) waits as long as it is told, and that counts.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Request, Response

from bench.clients import QUANTILES, Row, asked, megabytes, met, plain, service
from bench.machine import cores
from models.runtime import CorruptionRuntime
from serve.frames import NPY, frames_of

RESULTS = Path(__file__).parent / "results/frames.md"
_CLIENTS = (1, 4, 16, 64)


def main() -> None:
    """Measure and print; without --quick the table is written as well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=96, help="for each number of clients")
    parser.add_argument("--size", default="640x360", help="of a frame")
    parser.add_argument("--frames", type=int, default=2, help="in a request")
    parser.add_argument("--quick", action="store_true", help="few requests, nothing is written")
    parser.add_argument("--plain", type=int, metavar="PORT", help="be the plain server")
    chosen = parser.parse_args()
    if chosen.plain:
        uvicorn.run(_plain_server(), host="127.0.0.1", port=chosen.plain, log_level="error")
        return
    requests = 8 if chosen.quick else chosen.requests
    clients = _CLIENTS[:2] if chosen.quick else _CLIENTS
    width, height = (int(side) for side in chosen.size.split("x"))
    body = _body(chosen.frames, height, width)
    rows = [_bare(body, requests)]
    request: dict[str, Any] = {"content": body, "headers": {"content-type": NPY}}
    ways = (
        ("FastAPI alone", plain("bench.frames")),
        ("Ray Serve", service()),
        ("Ray Serve, no batches", service(frames_together=1)),
    )
    for way, server in ways:
        with server as (address, pid):
            url = f"{address}/v1/score/frames"
            asyncio.run(asked(url, 1, 2, **request))  # it has loaded what it loads
            rows += [met(way, url, pid, count, requests, **request) for count in clients]
    text = _table(rows, chosen.frames, chosen.size, requests)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


def _body(count: int, height: int, width: int) -> bytes:
    rng = np.random.default_rng(1)
    slope = np.linspace(30, 200, width)[None, None, :, None]
    frames = slope + rng.normal(0, 8, (count, height, width, 3))
    out = io.BytesIO()
    np.save(out, np.clip(frames, 0, 255).astype(np.uint8))
    return out.getvalue()


def _bare(body: bytes, requests: int) -> Row:
    runtime = CorruptionRuntime()
    frames = frames_of(body)
    runtime.run(frames)
    took = []
    for _ in range(requests):
        began = time.perf_counter()
        runtime.run(frames)
        took.append(time.perf_counter() - began)
    return Row(
        "the net alone", np.array(took), sum(took), 0, sum(took), 0.0, megabytes(os.getpid())
    )


def _plain_server() -> FastAPI:
    """What one would write without Ray: the same net behind the same request."""
    app = FastAPI()
    runtime = CorruptionRuntime()

    @app.post("/v1/score/frames")
    async def score(request: Request) -> Response:
        body = await request.body()

        def done() -> bytes:
            maps = runtime.run(frames_of(body))
            out = io.BytesIO()
            np.save(out, np.stack([[one.corruption, one.blockiness] for one in maps]))
            return out.getvalue()

        return Response(await asyncio.to_thread(done), media_type=NPY)

    # the annotations of a function within a function are no names of the module
    score.__annotations__ = {"request": Request, "return": Response}
    return app


def _table(rows: list[Row], frames: int, size: str, requests: int) -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    bare = len(rows[0].took) / rows[0].wall
    lines = [
        "# What frames as tensors cost over HTTP",
        "",
        f"`python -m bench.frames --requests {requests} --size {size} --frames {frames}`, "
        f"{cores()}, {device}; {frames} frames of {size} in a request.",
        "",
        "| way | p50, s | p95, s | p99, s | frames a second | of the net alone | told to come back "
        "| MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        p50, p95, p99 = np.quantile(row.took, QUANTILES)
        rate = len(row.took) / row.wall
        lines.append(
            f"| {row.way} | {p50:.3f} | {p95:.3f} | {p99:.3f} | {rate * frames:.1f} "
            f"| {rate / bare:.0%} | {row.refused} | {row.megabytes:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
