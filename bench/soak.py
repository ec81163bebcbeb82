"""Whether watching streams that never end takes the same memory all the time.

    python -m bench.soak [--minutes 30] [--hls 2] [--inside] [--quick]

`vidette watch` with all detectors watches streams of 640x360 with defects every four seconds: some
over HLS, and one over UDP whose sender is away for five seconds every two minutes, so that there
are outages and new connections. Once a minute: the memory that the worker has for itself (USS), the
same of the process that keeps events, and the size of what it keeps on disk.

The most of each quarter of the time tells whether it grows: in the first one kernels are compiled
and histories of the detectors fill.

USS has what the C library keeps for later as well, which comes and goes in steps. With --inside a
worker by itself watches such streams, and says what is in use: what malloc has given out and was
not given back, and how many blocks Python has. That is what a leak would add to.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import logging
import multiprocessing
import multiprocessing.connection
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.progress import track

from bench.delays import PERIOD, defective, watching
from bench.machine import cores
from pipeline.live.event import Event
from pipeline.live.streams import Stream
from pipeline.live.worker import Worker
from pipeline.settings import load
from tests.live import origin
from tests.waiting import until

RESULTS = Path(__file__).parent / "results/soak.md"
INSIDE = RESULTS.with_name("soak-inside.md")
_PATIENCE = 120.0  # seconds until the watch has begun
_SENDS, _AWAY = 120.0, 5.0  # seconds
_MINUTE = 60.0
_STREAMS = "streams over HLS and one over UDP, 640x360 with sound, every detector."


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
    parser.add_argument("--inside", action="store_true", help="what a worker has in use")
    parser.add_argument("--quick", action="store_true", help="three minutes, nothing is written")
    chosen = parser.parse_args()
    minutes = 3 if chosen.quick else chosen.minutes
    logging.getLogger("vidette").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        head = f"{_asked(chosen, minutes)}, {cores()}. {chosen.hls} {_STREAMS}"
        if chosen.inside:
            text = _written_inside(_inside(Path(name), minutes, chosen.hls), head)
        else:
            text = _written(_looks(Path(name), minutes, chosen.hls), head)
    print(text)
    if not chosen.quick:
        (INSIDE if chosen.inside else RESULTS).write_text(text)


def _asked(chosen: argparse.Namespace, minutes: int) -> str:
    inside = " --inside" if chosen.inside else ""
    return f"`python -m bench.soak --minutes {minutes} --hls {chosen.hls}{inside}`"


@contextmanager
def _streams(folder: Path, minutes: int, hls: int) -> Iterator[list[Stream]]:
    """Streams that go on; nothing is over before somebody reads."""
    source = defective(folder, round((minutes + 4) * _MINUTE / PERIOD))
    lengths = origin.segmented(source, folder, 2.0)
    port, over = origin.free_udp_port(), threading.Event()
    with origin.live_hls(folder, lengths) as live:
        streams = [Stream(name=f"hls-{n}", uri=f"{live.url}?{n}") for n in range(hls)]

        def send() -> None:
            until(lambda: live.position > 0.0, _PATIENCE)
            _send(source, port, over)

        threading.Thread(target=send, daemon=True).start()
        try:
            yield [*streams, Stream(name="udp", uri=f"udp://127.0.0.1:{port}")]
        finally:
            over.set()


def _minutes(count: int) -> Iterator[int]:
    """One by one, as they pass."""
    began = time.monotonic()
    for n in track(range(count + 1), "minutes"):
        time.sleep(max(began + n * _MINUTE - time.monotonic(), 0.0))
        yield n


def _looks(folder: Path, minutes: int, hls: int) -> list[_Look]:
    out, lines = folder / "watched", list[tuple[float, Event]]()
    with ExitStack() as stack:
        streams = stack.enter_context(_streams(folder, minutes, hls))
        config = folder / "streams.yaml"
        asked = [{"name": stream.name, "uri": stream.uri} for stream in streams]
        config.write_text(json.dumps({"streams": asked}))
        process = stack.enter_context(watching(out, config, None, lines))
        until(lambda: bool(lines), _PATIENCE)
        return [_look(psutil.Process(process), out, n, len(lines)) for n in _minutes(minutes)]


@dataclass(frozen=True)
class _Inside:
    minute: float
    own: float  # MiB, USS
    in_use: float  # MiB that malloc has given out
    blocks: int  # that Python has
    events: int


class _Allocated(ctypes.Structure):
    """What mallinfo2(3) gives, bytes or counts."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    )  # fmt: skip


def _inside(folder: Path, minutes: int, hls: int) -> list[_Inside]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with _streams(folder, minutes, hls) as streams:
        child = context.Process(target=_work, args=(streams, theirs), daemon=True)
        child.start()
        looks = []
        try:
            ours.recv()
            for n in _minutes(minutes):
                ours.send(None)
                looks.append(_Inside(n, _own(psutil.Process(child.pid)), *ours.recv()))
        finally:
            child.kill()
    return looks


def _work(streams: list[Stream], pipe: multiprocessing.connection.Connection) -> None:
    """A worker, which answers what it has in use and how many events there were."""
    logging.getLogger("vidette").setLevel(logging.ERROR)
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _Allocated
    worker, orders, told = Worker(load()), itertools.count(), [0]
    for stream in streams:
        worker.watch(next(orders), stream)

    def take() -> None:
        safe = 0
        while True:
            batch = worker.collect(safe)
            safe = batch.number
            told[0] += len(batch.events)

    threading.Thread(target=take, daemon=True).start()
    pipe.send(None)
    while True:
        pipe.recv()
        gc.collect()
        now = library.mallinfo2()
        pipe.send(((now.uordblks + now.hblkhd) / 2**20, sys.getallocatedblocks(), told[0]))


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


def _written(looks: list[_Look], head: str) -> str:
    minutes = len(looks) - 1
    text = (
        f"# Memory of a watch that goes on\n\n{head}\n\n"
        f"**Most in each quarter of the time: worker {_quarters([x.worker for x in looks])} MiB, "
        f"the process that keeps events {_quarters([x.keeper for x in looks])} MiB.**\n\n"
        "| minute | worker, MiB | keeper, MiB | on disk, MiB | events |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    step = max(minutes // 10, 1)
    return text + "".join(
        f"| {look.minute:.0f} | {look.worker:.0f} | {look.keeper:.0f} | {look.disk:.1f} | "
        f"{look.events} |\n"
        for look in looks[::step]
    )


def _written_inside(looks: list[_Inside], head: str) -> str:
    minutes = len(looks) - 1
    text = (
        f"# What a worker has in use\n\n{head}\n\n"
        f"**Most in each quarter of the time: in use {_quarters([x.in_use for x in looks])} MiB, "
        f"with what the C library keeps {_quarters([x.own for x in looks])} MiB; thousands of "
        f"Python's blocks {_quarters([x.blocks / 1000 for x in looks])}.**\n\n"
        "| minute | in use, MiB | USS, MiB | blocks of Python | events |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    step = max(minutes // 10, 1)
    return text + "".join(
        f"| {look.minute:.0f} | {look.in_use:.0f} | {look.own:.0f} | {look.blocks} | "
        f"{look.events} |\n"
        for look in looks[::step]
    )


if __name__ == "__main__":
    main()
