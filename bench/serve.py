"""What scoring over HTTP costs: Ray Serve, a plain server, and inspecting in one process.

    python -m bench.serve [CLIP] [--requests N] [--quick]

One clip (by default one that is made: 3 s of 320x180 with sound) is inspected by plain calls of
`inspect` in one process, by a server of FastAPI and uvicorn alone (one process, which inspects two
clips at a time in threads and isolates nothing), and by `POST /v1/score` of the service with one
replica that has two places for work, each inspection in a process of its own, and all in one, whose
nets take what they ask at once in batches (`scores_together`); by 1 to 64 clients at a time.
Latencies are seconds from the request to the whole answer; a client that is told to come back (429)
waits as long as it is told, and that counts.

Then requests come at random moments at twice the rate that the service gets done, whether they are
answered or not, while inspections are accepted as jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI, File, Response

from bench.clients import (
    QUANTILES,
    Flood,
    Row,
    asked,
    flooded,
    machine_cpu,
    megabytes,
    met,
    plain,
    service,
)
from bench.machine import cores
from pipeline.inspect import inspect
from pipeline.settings import load
from pipeline.warm import warm
from tests import media

RESULTS = Path(__file__).parent / "results/serve.md"
_CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_EACH = 2  # requests of each client at least
_PLACES = 2  # inspections at a time
_FLOOD = 20.0  # seconds
_JOBS = 8


def main() -> None:
    """Measure and print; without --quick the table is written as well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--requests", type=int, default=24, help="for each number of clients")
    parser.add_argument("--quick", action="store_true", help="few requests, nothing is written")
    parser.add_argument("--plain", type=int, metavar="PORT", help="be the plain server")
    chosen = parser.parse_args()
    if chosen.plain:
        warm()
        uvicorn.run(_plain_server(), host="127.0.0.1", port=chosen.plain, log_level="error")
        return
    requests = 4 if chosen.quick else chosen.requests
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        clip = chosen.clip
        if clip is None:
            clip = Path(name) / "clip.mp4"
            media.write(clip, media.scene(3.0, 320, 180), 0.2 * media.programme(3.0))
        body = clip.read_bytes()
        rows = [_bare(clip, requests)]
    request: dict[str, Any] = {"files": {"file": ("clip.mp4", body)}}
    clients = _CLIENTS[:2] if chosen.quick else _CLIENTS
    with plain("bench.serve") as (url, pid):
        rows += _rows("FastAPI alone", f"{url}/v1/score", pid, clients, requests, request)
    with service(scores_at_once=_PLACES) as (url, pid):
        served = _rows("Ray Serve, each apart", f"{url}/v1/score", pid, clients, requests, request)
        capacity = max(len(row.took) / row.wall for row in served)
        seconds = 5.0 if chosen.quick else _FLOOD
        flood, jobs = asyncio.run(_overloaded(url, pid, 2 * capacity, seconds, body, request))
        after = met("after it", f"{url}/v1/score", pid, 1, requests, **request)
    with service(scores_at_once=_PLACES, scores_together=True) as (url, pid):
        way = "Ray Serve, in batches"
        together = _rows(way, f"{url}/v1/score", pid, clients, requests, request)
    text = _table(rows + served + together, requests, chosen.clip)
    text += _afterwards(capacity, seconds, flood, jobs, after)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


def _bare(clip: Path, requests: int) -> Row:
    settings = load()
    warm()
    inspect(str(clip), settings)
    took = []
    cpu, machine = time.process_time(), machine_cpu()
    for _ in range(requests):
        started = time.perf_counter()
        inspect(str(clip), settings)
        took.append(time.perf_counter() - started)
    cpu, machine = time.process_time() - cpu, machine_cpu() - machine
    others = max(machine - cpu, 0.0) / sum(took)
    return Row(
        "`inspect`, one process", np.array(took), sum(took), 0, cpu, others, megabytes(os.getpid())
    )


def _plain_server() -> FastAPI:
    """What one would write without Ray: the same inspection behind the same upload."""
    app = FastAPI()
    settings = load()
    places = asyncio.Semaphore(_PLACES)

    @app.post("/v1/score")
    async def score(file: Annotated[bytes, File()]) -> Response:
        def done() -> str:
            with tempfile.TemporaryDirectory(prefix="vidette-bench-") as folder:
                path = Path(folder) / "asset"
                path.write_bytes(file)
                return inspect(str(path), settings).model_dump_json(by_alias=True)

        async with places:
            return Response(await asyncio.to_thread(done), media_type="application/json")

    return app


def _rows(
    way: str, url: str, pid: int, clients: tuple[int, ...], requests: int, request: dict[str, Any]
) -> list[Row]:
    asyncio.run(asked(url, _PLACES, 2 * _PLACES, **request))  # it has loaded what it loads
    return [met(way, url, pid, n, max(requests, _EACH * n), **request) for n in clients]


async def _overloaded(
    url: str, pid: int, rate: float, seconds: float, body: bytes, request: dict[str, Any]
) -> tuple[Flood, dict[str, int]]:
    """A flood, and the states of the jobs that were accepted while it lasted."""
    async with httpx.AsyncClient(base_url=url, timeout=600) as http:

        async def accepted(number: int) -> str:
            await asyncio.sleep(number * seconds / _JOBS)
            answer = await http.post("/v1/inspections", files={"file": ("clip.mp4", body)})
            answer.raise_for_status()
            return str(answer.json()["id"])

        accepting = [asyncio.create_task(accepted(number)) for number in range(_JOBS)]
        flood = await flooded(f"{url}/v1/score", pid, rate, seconds, **request)
        names = await asyncio.gather(*accepting)
        states: dict[str, int] = {}
        for name in names:
            while True:
                facts = (await http.get(f"/v1/inspections/{name}")).json()
                if facts["state"] not in ("queued", "running"):
                    break
                await asyncio.sleep(0.5)
            said = f"{facts['state']} at attempt {facts['attempts']}"
            states[said] = states.get(said, 0) + 1
    return flood, states


def _table(rows: list[Row], requests: int, clip: Path | None) -> str:
    bare = rows[0].cpu / len(rows[0].took)
    lines = [
        "# What scoring over HTTP costs",
        "",
        f"`python -m bench.serve{' CLIP' if clip else ''} --requests {requests}`, "
        f"{cores()}, no GPU; one replica with {_PLACES} places for work. At least "
        f"{_EACH} requests of each client. CPU is that of all processes of the server; *others*: "
        "cores that were busy with anything else, the clients included.",
        "",
        "| way | p50, s | p95, s | p99, s | a minute | CPU, s each | of the bare one | others "
        "| told to come back | MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        p50, p95, p99 = np.quantile(row.took, QUANTILES)
        each = row.cpu / len(row.took)
        lines.append(
            f"| {row.way} | {p50:.2f} | {p95:.2f} | {p99:.2f} "
            f"| {60 * len(row.took) / row.wall:.0f} | {each:.2f} | {each / bare:.0%} "
            f"| {row.others:.1f} | {row.refused} | {row.megabytes:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _afterwards(
    capacity: float, seconds: float, flood: Flood, jobs: dict[str, int], after: Row
) -> str:
    done = flood.answers[200]
    others = sum(flood.answers.values()) - done - flood.answers[429]
    p50, p95, p99 = np.quantile(flood.took, QUANTILES)
    answers = ", ".join(
        f"{count} times {status}" for status, count in sorted(flood.answers.items())
    )
    told = np.nanmedian(flood.retry_after) if len(flood.retry_after) else float("nan")
    states = ", ".join(f"{count} {state}" for state, count in sorted(jobs.items()))
    again = np.quantile(after.took, 0.5)
    return f"""
## Twice as much as it can

{60 * flood.offered:.0f} requests a minute at random moments for {seconds:.0f} s, twice the
{60 * capacity:.0f} of the best row with each apart, none waiting for another; {_JOBS} inspections
were accepted as jobs meanwhile, on the same cores; {flood.others:.1f} cores had other work.

- Answers: {answers}; {others} were neither done nor told to come back.
- Done: {60 * done / flood.wall:.0f} a minute; those that were took {p50:.2f} s (p50), {p95:.2f} s
  (p95), {p99:.2f} s (p99). The others were told to come back in {told:.0f} s (median).
- Jobs: {states}.
- Memory of the replica and all that it forks: {flood.megabytes:.0f} MiB at most.
- Afterwards one client meets {again:.2f} s (p50).
"""


if __name__ == "__main__":
    main()
