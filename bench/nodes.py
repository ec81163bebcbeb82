"""What a machine that dies costs an archive and live streams.

    python -m bench.nodes [--nodes 2] [--copies 8] [--streams 4] [--quick]

Several real nodes of Ray on this machine, with one CPU each and a head that has none. A node is
killed (raylet and workers, by SIGKILL):

- during `vidette batch`, once a quarter of the archive is done: the time that it takes longer, and
  whether its tables are those of a run that nobody disturbed;
- during `vidette watch`, while each of the streams is black: seconds until its streams are
  watched again by the node that is left, what was not watched, and whether every black stretch is
  told once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import cores
from pipeline.batch.command import inspect_archive
from pipeline.batch.driver import Plan
from pipeline.batch.ledger import Ledger
from pipeline.batch.query import connect
from pipeline.live.store import Store
from pipeline.settings import Settings, load
from tests import media
from tests.live import origin
from tests.nodes import end_busy_node, end_node_of, several_nodes
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results/nodes.md"
_SECONDS = 20.0  # of an asset
_DARK = [(30.0, 50.0), (70.0, 74.0)]  # seconds of the programme
_PROGRAMME = 150.0  # seconds
_PATIENCE = 120.0  # seconds for anything to happen
_COLUMNS = "uri, state, coverage, defects, seconds"


def main() -> None:
    """Measure and print; without --quick the table is written as well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--copies", type=int, default=8, help="assets of the archive")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="four assets, nothing is written")
    chosen = parser.parse_args()
    if chosen.nodes < 2:
        parser.error("one node is left when one of two dies: --nodes 2 or more")
    copies = 4 if chosen.quick else chosen.copies
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        folder = Path(name)
        parts = [
            "# What a machine that dies costs\n",
            f"`python -m bench.nodes --nodes {chosen.nodes} --copies {copies} --streams "
            f"{chosen.streams}`, {cores()}: {chosen.nodes} nodes of Ray on one "
            "machine, with a CPU each, of which one is killed.\n",
            _archive(folder, copies, chosen.nodes),
            _live(folder, chosen.streams, chosen.nodes),
        ]
    text = "\n".join(parts)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


# ------------------------------------------------------------------------------------ an archive


def _archive(folder: Path, copies: int, nodes: int) -> str:
    settings = load(skip=("sync",), threads=1)
    names = []
    for n in range(copies):
        clip = folder / f"{n}.mp4"
        frames = media.scene(_SECONDS, 640, 360, cuts=5, seed=n)
        names.append(str(media.write(clip, frames, 0.2 * media.programme(_SECONDS))))
    rows, tables = [], []
    for killed in (False, True):
        out = folder / f"out-{killed}"
        with several_nodes(nodes) as address:
            took = _inspected(names, out, settings, Plan(workers=nodes, address=address), killed)
        tables.append(_rows(out, _COLUMNS))
        tries = [attempts for (attempts,) in _rows(out, "attempts")]
        rows.append(
            f"| {'one node is killed' if killed else 'undisturbed'} | {len(tries)} | "
            f"{sum(one > 1 for one in tries)} | {took:.1f} |"
        )
    same = "the same" if tables[0] == tables[1] else "NOT the same"
    return "\n".join(
        [
            f"## An archive of {copies} assets of {_SECONDS:g} s\n",
            "| run | assets in the tables | tried again | seconds |",
            "| --- | --- | --- | --- |",
            *rows,
            f"\nThe tables (`SELECT {_COLUMNS} FROM assets`) are {same}. Starting Ray and its "
            "workers is in the seconds.\n",
        ]
    )


def _inspected(names: list[str], out: Path, settings: Settings, plan: Plan, killed: bool) -> float:
    """Seconds that an archive takes."""
    stop = threading.Event()
    dead: list[int] = []
    killer = threading.Thread(
        target=end_busy_node, args=(Ledger(str(out)), len(names) // 4, dead, stop)
    )
    if killed:
        killer.start()
    begun = time.perf_counter()
    try:
        status = inspect_archive(names, str(out), "bench", settings, plan, None)
    finally:
        stop.set()
    if killed:
        killer.join()
        if not dead:
            raise RuntimeError("the archive was done before a node could be killed")
    if status:
        raise RuntimeError(f"the archive ended with status {status}")
    return time.perf_counter() - begun


def _rows(out: Path, columns: str) -> list[tuple[Any, ...]]:
    return (
        connect(Ledger(str(out))).execute(f"SELECT {columns} FROM assets ORDER BY uri").fetchall()
    )


# ---------------------------------------------------------------------------------- live streams


def _live(folder: Path, streams: int, nodes: int) -> str:
    place = folder / "programme"
    place.mkdir()
    source = origin.programme(place, _PROGRAMME, black=_DARK)
    lengths = origin.segmented(source, place, 2.0)
    out = folder / "watched"
    with several_nodes(nodes) as address, origin.live_hls(place, lengths) as live:
        arguments = [f"{live.url}?{n}" for n in range(streams)]
        arguments += ["--address", address, "--workers", str(nodes), "--skip", "sync"]
        with _watching(out, arguments) as store:
            until(lambda: sum(_told(store, "opened").values()) == streams, _PATIENCE)
            names = sorted(store.streams())
            victim = store.streams()[names[0]].worker
            hit = [n for n in names if store.streams()[n].worker == victim]
            end_node_of(int(str(victim).partition("/")[2]))
            killed = time.time()
            back: dict[str, float] = {}
            until(lambda: _again(store, hit, killed, back), _PATIENCE)
            until(lambda: sum(_told(store, "closed").values()) == 2 * streams, _PATIENCE)
            gaps = [_gap(store.coverage(name), killed) for name in hit]
            opened, closed = _told(store, "opened"), _told(store, "closed")
    right = all(opened[name] == closed[name] == len(_DARK) for name in names)
    times = np.array(list(back.values()))
    return "\n".join(
        [
            f"## {streams} live streams of 320x180 over HLS\n",
            "| what | figure |",
            "| --- | --- |",
            f"| streams that the node watched | {len(hit)} of {streams} |",
            f"| watched again after | {np.median(times):.1f} s (median), {times.max():.1f} s "
            "(worst) |",
            f"| not watched | {np.median(gaps):.1f} s (median), {max(gaps):.1f} s (worst); a "
            "playlist still lists what is missed |",
            f"| {len(_DARK)} stretches of black in each, one of them while the node dies | "
            f"{'each told once, with its end' if right else f'WRONG: {opened}, {closed}'} |\n",
        ]
    )


@contextlib.contextmanager
def _watching(out: Path, arguments: list[str]) -> Iterator[Store]:
    """`vidette watch` for as long as the store of it is looked at."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "vidette.py", "watch", "--out", out, *arguments],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until((out / "watch.sqlite").is_file, _PATIENCE)
        store = Store(out)
        try:
            yield store
        finally:
            store.close()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _told(store: Store, change: str) -> Counter[str]:
    """Messages of black stretches, by stream."""
    return Counter(e.stream for _, e in store.since(0) if (e.kind, e.change) == ("black", change))


def _again(store: Store, hit: list[str], killed: float, back: dict[str, float]) -> bool:
    """Note since when the streams are watched again; whether all are."""
    for name in hit:
        _, end = store.coverage(name)[-1]
        if name not in back and end > killed + 1.0:
            back[name] = time.time() - killed
    return len(back) == len(hit)


def _gap(coverage: list[tuple[float, float]], killed: float) -> float:
    """Seconds that were not watched around a moment."""
    before = [end for start, end in coverage if start <= killed]
    after = [start for start, _ in coverage if start > killed]
    return max(after[0] - before[-1], 0.0) if before and after else 0.0


if __name__ == "__main__":
    main()
