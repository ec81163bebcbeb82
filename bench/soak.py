"""Whether watching streams that never end takes the same memory all the time.

    python -m bench.soak [--minutes 30] [--hls 2] [--quick]

`vidette watch` with all detectors watches streams of 640x360 with defects every four seconds: some
over HLS, and one over UDP whose sender is away for five seconds every two minutes, so that there
are outages and new connections. Once a minute: the memory that the worker has for itself (USS), the
same of the process that keeps events, and the size of what it keeps on disk.

The most of each quarter of the time tells whether it grows: in the first one kernels are compiled
and histories of the detectors fill.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.progress import track

from bench.delays import PERIOD, defective, watching
from bench.machine import cores
from pipeline.live.event import Event
from tests.live import origin
from tests.waiting import until

RESULTS = Path(__file__).parent / "results/soak.md"
_PATIENCE = 120.0  # seconds until the watch has begun
_SENDS, _AWAY = 120.0, 5.0  # seconds
_MINUTE = 60.0


@dataclass(frozen=True)
class _Look:
    minute: float
    worker: float  # MiB
    keeper: float  # MiB, of the process of the command
    disk: float  # MiB
    events: int


def main() -> None:
    """Measure, print, and without --quick write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--hls", type=int, default=2, help="streams over HLS")
    parser.add_argument("--quick", action="store_true", help="two minutes, nothing is written")
    chosen = parser.parse_args()
    minutes = 2 if chosen.quick else chosen.minutes
    logging.getLogger("vidette").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        text = _written(_looks(Path(name), minutes, chosen.hls), minutes, chosen.hls)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


def _looks(folder: Path, minutes: int, hls: int) -> list[_Look]:
    source = defective(folder, round((minutes + 4) * _MINUTE / PERIOD))
    lengths = origin.segmented(source, folder, 2.0)
    port = origin.free_udp_port()
    out, lines = folder / "watched", list[tuple[float, Event]]()
    with ExitStack() as stack:
        live = stack.enter_context(origin.live_hls(folder, lengths))
        streams = [{"name": f"hls-{n}", "uri": f"{live.url}?{n}"} for n in range(hls)]
        streams.append({"name": "udp", "uri": f"udp://127.0.0.1:{port}"})
        config = folder / "streams.yaml"
        config.write_text(json.dumps({"streams": streams}))
        process = stack.enter_context(watching(out, config, None, lines))
        until(lambda: live.position > 0.0, _PATIENCE)
        over = threading.Event()
        stack.callback(over.set)
        threading.Thread(target=_send, args=(source, port, over), daemon=True).start()
        began, looks = time.monotonic(), []
        for n in track(range(minutes + 1), "minutes"):
            time.sleep(max(began + n * _MINUTE - time.monotonic(), 0.0))
            looks.append(_look(psutil.Process(process), out, n, len(lines)))
    return looks


def _send(source: Path, port: int, over: threading.Event) -> None:
    """Over UDP, with pauses; what comes after one begins anew."""
    while not over.is_set():
        sender = origin.Sender(source, port)
        over.wait(_SENDS)
        sender.close()
        over.wait(_AWAY)


def _look(process: psutil.Process, out: Path, minute: float, events: int) -> _Look:
    workers = [one for one in process.children(recursive=True) if "Worker" in one.name()]
    return _Look(
        minute,
        sum(_own(one) for one in workers),
        _own(process),
        sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20,
        events,
    )


def _own(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 2**20


def _quarters(values: list[float]) -> str:
    """The most of each quarter."""
    return ", ".join(f"{part.max():.0f}" for part in np.array_split(np.array(values), 4))


def _written(looks: list[_Look], minutes: int, hls: int) -> str:
    head = (
        "# Memory of a watch that goes on\n\n"
        f"`python -m bench.soak --minutes {minutes} --hls {hls}`, {cores()}. "
        f"{hls} streams over HLS and one over UDP, 640x360 with sound, every detector.\n\n"
        f"**Most in each quarter of the time: worker {_quarters([x.worker for x in looks])} MiB, "
        f"the process that keeps events {_quarters([x.keeper for x in looks])} MiB.**\n\n"
        "| minute | worker, MiB | keeper, MiB | on disk, MiB | events |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    step = max(minutes // 10, 1)
    return head + "".join(
        f"| {look.minute:.0f} | {look.worker:.0f} | {look.keeper:.0f} | {look.disk:.1f} | "
        f"{look.events} |\n"
        for look in looks[::step]
    )


if __name__ == "__main__":
    main()
