"""What the coordinator of live streams costs when there are very many, and machines die.

    python -m bench.scheduler [--streams 10000] [--workers 200] [--seconds 600] [--lives 3600]

The real coordinator and its real SQLite file, with workers that are made up and a clock that is
made up: nothing is decoded. Workers take a while to start and die at random. What is measured on
the real clock is the coordinator's own CPU time and memory; on the made-up clock, how long streams
go unwatched.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from rich.progress import track

from bench.machine import cpu_name
from pipeline.live.coordinator import Coordinator
from pipeline.live.desk import FIGURES
from pipeline.live.metrics import Metrics
from pipeline.live.store import Store
from pipeline.live.streams import Pool, Stream
from tests.live.crew import FakeCrew

RESULTS = Path(__file__).parent / "results/scheduler.md"
_STEP = 0.5  # seconds
_COST = (0.15, 0.45)  # CPUs that a stream takes, drawn evenly
_STARTS_IN = 8.0  # seconds that a worker takes to be there


def main() -> None:
    """Simulate, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=200, help="about so many")
    parser.add_argument("--seconds", type=float, default=600.0, help="that are simulated")
    parser.add_argument("--lives", type=float, default=3600.0, help="mean life of a worker")
    parser.add_argument("--standby", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    text = _simulated(chosen)
    print(text)
    RESULTS.write_text(text)


def _simulated(chosen: argparse.Namespace) -> str:
    draw = random.Random(chosen.seed)
    crew = FakeCrew(_STARTS_IN)
    names = [f"stream-{n:05d}" for n in range(chosen.streams)]
    crew.cost = {name: draw.uniform(*_COST) for name in names}
    each = sum(crew.cost.values()) / chosen.workers / 0.85  # CPUs of a worker
    process = psutil.Process()
    before = process.memory_info().rss
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as folder:
        store = Store(Path(folder))
        for n, name in enumerate(names):
            uri = f"https://origin.example/{name}.m3u8"
            store.add(Stream(name=name, uri=uri, labels={"cdn": "abc"[n % 3]}))
        coordinator = Coordinator(
            store, crew, {"default": Pool(cpus=each)}, standby=chosen.standby, clock=crew.clock
        )
        begun, placed_after = crew.now, float("nan")
        placing = 0.0
        since = dict.fromkeys(names, crew.now)  # unwatched streams
        gaps: list[float] = []
        steps: list[float] = []
        unwatched_at: list[int] = []  # streams, at each step
        deaths = most = 0
        for _ in track(range(round(chosen.seconds / _STEP)), "simulating"):
            cpu = time.process_time()
            coordinator.step()
            steps.append(time.process_time() - cpu)
            crew.now += _STEP
            watched = crew.watching()
            started = placed_after == placed_after  # noqa: PLR0124 - not a number until then
            for name in [name for name in since if name in watched]:
                gap = crew.now - since.pop(name)
                if started:
                    gaps.append(gap)
            if not started and not since:
                placed_after, placing = crew.now - begun, sum(steps)
                steps.clear()
                continue
            if not started:
                continue
            most = max(most, len(since))
            unwatched_at.append(len(since))
            for worker in sorted(set(watched.values())):
                if draw.random() < _STEP / chosen.lives:
                    deaths += 1
                    for name in crew.hands[worker].streams:
                        since[name] = crew.now
                    crew.kill(worker)
        hands = len(crew.hands)
        memory = process.memory_info().rss - before
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        held = sum(known.quarantined is not None for known in store.streams().values())
        metrics = Metrics(store)
        cpu = time.process_time()
        metrics.refresh()
        figures = time.process_time() - cpu
        coordinator.close()
        store.close()
    simulated = len(steps) * _STEP
    unwatched = sum(gaps) / (simulated * chosen.streams)
    rows = [
        ("streams, workers at the end", f"{chosen.streams}, {hands} ({chosen.standby} stand by)"),
        ("all streams placed after", f"{placed_after:.1f} s ({_STARTS_IN:g} of these: starting)"),
        ("CPU time of placing them all", f"{placing:.1f} s"),
        ("workers that died", f"{deaths} in {simulated:.0f} s, {len(gaps)} streams hit"),
        (
            "a stream that is hit is unwatched for",
            f"{np.median(gaps):.1f} s (median), {np.percentile(gaps, 95):.1f} s (95 %), "
            f"{max(gaps):.1f} s (worst), besides the time until the death is noticed",
        ),
        ("share of all stream time unwatched", f"{unwatched:.3%}"),
        ("most streams unwatched at once", f"{most}"),
        ("streams unwatched, mean of each minute", _by_minute(unwatched_at)),
        ("streams put in quarantine by mistake", f"{held}"),
        (
            "CPUs of the coordinator",
            f"{sum(steps) / simulated:.3f} (a step: {np.median(steps) * 1e3:.0f} ms, "
            f"95 %: {np.percentile(steps, 95) * 1e3:.0f} ms)",
        ),
        ("figures of all streams for Prometheus", f"{figures:.2f} s of CPU, every {FIGURES:g} s"),
        ("memory of the coordinator", f"{memory / 2**20:.0f} MiB more than before"),
        ("its file", f"{size / 2**20:.0f} MiB"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    command = (
        f"python -m bench.scheduler --streams {chosen.streams} --workers {chosen.workers} "
        f"--seconds {chosen.seconds:g} --lives {chosen.lives:g}"
    )
    return (
        "# What the coordinator costs\n\n"
        f"`{command}`, seed {chosen.seed}, one core ({cpu_name()}): "
        "real coordinator, real store, made-up workers on a made-up clock.\n\n"
        f"| what | figure |\n| --- | --- |\n{table}\n"
    )


def _by_minute(counts: list[int]) -> str:
    minute = round(60 / _STEP)
    parts = [counts[n : n + minute] for n in range(0, len(counts), minute)]
    return ", ".join(f"{np.mean(part):.1f}" for part in parts if len(part) == minute)


if __name__ == "__main__":
    main()
