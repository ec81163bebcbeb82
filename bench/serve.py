"""What scoring over HTTP costs beside inspecting in one process.

    python -m bench.serve [CLIP] [--requests N] [--quick]

One clip (by default one that is made: 3 s of 320x180 with sound) is scored by `POST /v1/score` of a
service with two places for work, by 1 to 16 clients at a time, and by plain calls of `inspect` in
one process. Latencies are seconds from the request to the whole answer; a client that is told to
come back (429) waits as long as it is told.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import ray
from ray import serve as ray_serve

from bench.clients import QUANTILES, asked
from pipeline.inspect import inspect
from pipeline.settings import load
from serve.config import Config
from serve.run import start
from tests import media
from tests.serve.real import free_port

RESULTS = Path(__file__).parent / "results/serve.md"
_CLIENTS = (1, 2, 4, 8, 16)


def main() -> None:
    """Measure and print; without --quick the table is written as well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--requests", type=int, default=24, help="for each number of clients")
    parser.add_argument("--quick", action="store_true", help="few requests, nothing is written")
    chosen = parser.parse_args()
    requests = 4 if chosen.quick else chosen.requests
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        clip = Path(name) / "clip.mp4"
        if chosen.clip is not None:
            shutil.copy(chosen.clip, clip)
        else:
            media.write(clip, media.scene(3.0, 320, 180), 0.2 * media.programme(3.0))
        settings = load()
        inspect(str(clip), settings)  # compiles, and imports torch
        plain = []
        for _ in range(requests):
            started = time.perf_counter()
            inspect(str(clip), settings)
            plain.append(time.perf_counter() - started)
        port = free_port()
        start(Config(data=Path(name) / "data", max_replicas=1, cpus=0.5), "127.0.0.1", port)
        rows = [("`inspect`, one process", np.array(plain), sum(plain), 0)]
        url = f"http://127.0.0.1:{port}/v1/score"
        files = {"file": ("clip.mp4", clip.read_bytes())}
        asyncio.run(asked(url, 1, 2, files=files))  # its processes are there
        for clients in _CLIENTS[:2] if chosen.quick else _CLIENTS:
            took, wall, refused = asyncio.run(asked(url, clients, requests, files=files))
            rows.append((f"{clients} client(s)", took, wall, refused))
        ray_serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
    text = _table(rows, requests, chosen.clip)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


def _table(rows: list[tuple[str, np.ndarray, float, int]], requests: int, clip: Path | None) -> str:
    lines = [
        "# What scoring over HTTP costs",
        "",
        f"`python -m bench.serve{' CLIP' if clip else ''} --requests {requests}`, "
        f"{psutil.cpu_count()} cores, one replica with two places for work.",
        "",
        "| way | p50, s | p95, s | p99, s | a minute | told to come back |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, took, wall, refused in rows:
        p50, p95, p99 = np.quantile(took, QUANTILES)
        lines.append(
            f"| {name} | {p50:.2f} | {p95:.2f} | {p99:.2f} | {60 * len(took) / wall:.0f} "
            f"| {refused} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
