"""How many live streams are watched in real time, and what they cost.

    python -m bench.live [CLIP] [--workers 2] [--first 1] [--most 16] [--seconds 12] [--quick]

CLIP is what the streams show, again and again, in place of drawn scenes: the learned detector of
lips has to do only where somebody speaks.

- Streams of 720p25 (H.264, 2.5 Mb/s, with sound) come over HLS from an origin in a process of its
  own on the same machine. As many workers as there are cores, each a process as `vidette watch` has
  them, get one more at a time, in turn (the first ones together): CPUs, memory and how far they are
  behind, with what was skipped to catch up. The largest number that is held in real time is the
  last one at which no stream is more than a second behind what it was at first.

- Beside them, what decoding alone takes of such a stream (PyAV, one thread), so that tables of
  machines of different pace can be compared.

Figures depend on what the origin and everything else on the machine take of the same cores, which
is stated. A number of streams that is not held while other work takes more than 0.3 CPUs is tried
again, three times at most.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import logging
import multiprocessing
import multiprocessing.connection
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import psutil

from bench.machine import cores
from bench.speed import DECODE, measure
from pipeline.live.streams import Stream
from pipeline.live.worker import Worker
from pipeline.settings import Settings, load
from pipeline.warm import warm
from tests import media
from tests.live import origin

RESULTS = Path(__file__).parent / "results/live.md"
_LOOP = 24  # seconds that the origin repeats
_ONCE = "once.ts"
_LATE = 1.0  # seconds behind
_TRIES, _QUIET = 3, 0.3  # of a number of streams; CPUs of other work


def main() -> None:
    """Measure, print, and without --quick write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--workers", type=int, default=psutil.cpu_count(), help="processes")
    parser.add_argument("--first", type=int, default=1, help="streams to begin with")
    parser.add_argument("--most", type=int, default=16, help="streams at most")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each number of streams")
    parser.add_argument(
        "--lock", type=Path, help="a file that benches which share the machine lock in turn"
    )
    parser.add_argument("--quick", action="store_true", help="little of all, nothing is written")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.most, chosen.seconds = 2, 8.0
    logging.getLogger("vidette").setLevel(logging.ERROR)
    warm()
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        folder = Path(name)
        tables = []
        for title, settings in (
            ("Every signal detector", load(skip=("sync",))),
            ("With the learned detector of sound and lips", load()),
        ):
            with _origin(folder, chosen.clip) as (url, process), _alone(chosen.lock):
                tables.append((title, _filled(url, process, settings, chosen)))
        with _alone(chosen.lock):
            decoding = measure(DECODE, str(folder / "origin" / _ONCE), "1")["cpu"] / _LOOP
    text = _written(tables, decoding, chosen)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


@contextmanager
def _alone(lock: Path | None) -> Iterator[None]:
    """Nobody else measures meanwhile."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Load:
    streams: int
    cpus: float
    origin: float  # CPUs
    others: float  # CPUs of everything else on the machine
    memory: float  # MiB
    behind: float  # seconds, the worst stream

    @property
    def holds(self) -> bool:
        return self.behind < _LATE


@contextmanager
def _origin(folder: Path, clip: Path | None) -> Iterator[tuple[str, psutil.Process]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder / "origin", clip, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), psutil.Process(process.pid)
    finally:
        process.kill()
        process.join()


def _serve(folder: Path, clip: Path | None, pipe: multiprocessing.connection.Connection) -> None:
    """An origin whose programme repeats; its time stamps go on, since each segment is its own."""
    if not folder.exists():
        folder.mkdir()
        origin.segmented(programme(folder, clip, 16.0), folder, 2.0)
    with origin.live_hls(folder, origin.lengths(folder)) as live:
        pipe.send(live.url)
        threading.Event().wait()


def programme(folder: Path, clip: Path | None, minutes: float) -> Path:
    """A clip, or a drawn scene, as 720p25 at 2.5 Mb/s with sound, again and again: MPEG-TS."""
    if clip is None:
        frames = media.scene(8.0, 1280, 720, cuts=3)
        sound = 0.5 * media.programme(float(_LOOP))
    else:
        frames, sound = _of(clip)
    options = {"preset": "veryfast", "b": "2500000", "g": "50", "sc_threshold": "0"}
    once = media.write(
        folder / _ONCE,
        [frames[n % len(frames)] for n in range(_LOOP * media.RATE)],
        sound,
        video_options=options | {"maxrate": "3000000", "bufsize": "3000000"},
    )
    return origin.repeated(once, folder / "programme.ts", round(minutes * 60 / _LOOP))


def _of(clip: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """A clip at 720p25, RGB, and its sound, stereo at 48 kHz, as often as it takes."""
    pictures: list[tuple[float, np.ndarray]] = []
    parts: list[np.ndarray] = []
    resampler = av.AudioResampler("fltp", "stereo", media.SAMPLE_RATE)
    with av.open(str(clip)) as container:
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                whole = frame.reformat(1280, 720, "rgb24")
                pictures.append((float(frame.time or 0.0), whole.to_ndarray()))
            elif isinstance(frame, av.AudioFrame):
                parts += [part.to_ndarray() for part in resampler.resample(frame)]
    times = np.array([at for at, _ in pictures])
    ticks = np.arange(times[0], times[-1], 1 / media.RATE)
    nearest = np.abs(times[None] - ticks[:, None]).argmin(axis=1)
    once = np.concatenate(parts, axis=1)[:, : len(ticks) * media.SAMPLE_RATE // media.RATE]
    count = _LOOP * media.SAMPLE_RATE
    sound = np.tile(once, -(-count // once.shape[1]))[:, :count]
    return [pictures[n][1] for n in nearest], sound


class _Crew:
    """Workers, each in a process of its own, that get streams in turn."""

    def __init__(self, count: int, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[multiprocessing.connection.Connection] = []
        self._children = []
        self._given = 0
        for _ in range(count):
            ours, theirs = context.Pipe()
            child = context.Process(target=_work, args=(settings, theirs), daemon=True)
            child.start()
            self._pipes.append(ours)
            self._children.append(child)
        for pipe in self._pipes:
            pipe.recv()
        self._processes = [psutil.Process(child.pid) for child in self._children]

    def watch(self, stream: Stream) -> None:
        """Give a stream to the next worker."""
        self._pipes[self._given % len(self._pipes)].send(stream)
        self._given += 1

    def behind(self) -> dict[str, tuple[float, float]]:
        """See _behind, of all workers."""
        for pipe in self._pipes:
            pipe.send(None)
        return {name: late for pipe in self._pipes for name, late in pipe.recv().items()}

    def cpu(self) -> float:
        """CPU seconds of all."""
        return sum(_cpu(process) for process in self._processes)

    def memory(self) -> float:
        """MiB of all; what they share counts once."""
        return float(sum(process.memory_full_info().pss for process in self._processes)) / 2**20

    def close(self) -> None:
        """End them."""
        for child in self._children:
            child.kill()
            child.join()


def _work(settings: Settings, pipe: multiprocessing.connection.Connection) -> None:
    """A worker: takes streams, and answers how far behind they are."""
    logging.getLogger("vidette").setLevel(logging.ERROR)
    warm()
    worker, orders = Worker(settings), itertools.count()
    pipe.send(None)
    while True:
        asked: Stream | None = pipe.recv()
        if asked is None:
            pipe.send(_behind(worker))
        else:
            worker.watch(next(orders), asked)


def _filled(
    url: str, process: psutil.Process, settings: Settings, chosen: argparse.Namespace
) -> list[_Load]:
    crew = _Crew(chosen.workers, settings)
    loads: list[_Load] = []
    usual: dict[str, float] = {}  # least age at first: a segment's length and the network
    try:
        for n in range(1, chosen.most + 1):
            crew.watch(Stream(name=f"s{n}", uri=f"{url}?{n}"))
            if n < chosen.first:
                continue
            for _ in range(_TRIES):
                _rest(8.0 if not chosen.quick else 6.0)  # it starts with a burst
                load = _measured(crew, process, n, usual, chosen.seconds)
                print(load, flush=True)
                if load.holds or load.others < _QUIET:
                    break
            loads.append(load)
            if not loads[-1].holds:
                break
    finally:
        crew.close()
    return loads


def _measured(
    crew: _Crew, process: psutil.Process, count: int, usual: dict[str, float], seconds: float
) -> _Load:
    """One number of streams for a while."""
    before, started = (crew.cpu(), _cpu(process), _all_cpus()), time.monotonic()
    # what is newest grows old until the next segment is there: the least age tells
    least: dict[str, float] = {}
    left_out: dict[str, list[float]] = {}
    while time.monotonic() - started < seconds:
        _rest(0.25)
        for name, (late, skipped) in crew.behind().items():
            least[name] = min(least.get(name, late), late)
            left_out.setdefault(name, []).append(skipped)
    for name, late in least.items():
        usual.setdefault(name, late)
    wall = time.monotonic() - started
    spent = crew.cpu() - before[0], _cpu(process) - before[1], _all_cpus() - before[2]
    return _Load(
        count,
        spent[0] / wall,
        spent[1] / wall,
        max(spent[2] - spent[0] - spent[1], 0.0) / wall,
        crew.memory(),
        # what was skipped to catch up was not watched
        max(
            late - usual[name] + left_out[name][-1] - left_out[name][0]
            for name, late in least.items()
        ),
    )


def _behind(worker: Worker) -> dict[str, tuple[float, float]]:
    """Of each stream: seconds since the last thing that was seen, by the wall clock; skipped."""
    made = {}
    for watcher in worker.watchers:
        status = watcher.status()
        if status.seen is not None:
            made[watcher.stream.name] = (time.time() - status.seen, status.skipped)
    return made


def _rest(seconds: float) -> None:
    time.sleep(seconds)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _all_cpus() -> float:
    """CPU seconds of the whole machine."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _written(
    tables: list[tuple[str, list[_Load]]], decoding: float, chosen: argparse.Namespace
) -> str:
    """The page; `decoding` is CPUs for one stream."""
    clip = f" {chosen.clip.name}" if chosen.clip else ""
    parts = [
        "# What watching costs\n",
        f"`python -m bench.live{clip} --workers {chosen.workers} "
        f"--first {chosen.first} --most {chosen.most}`, "
        f"{cores()}. Streams of 720p25 H.264 at 2.5 Mb/s with sound over HLS"
        f"{', that clip in all of them' if chosen.clip else ''}; the origin and other work run on "
        f"the same cores. Decoding alone takes {decoding:.3f} CPUs of a stream.\n",
    ]
    for title, loads in tables:
        held = [load for load in loads if load.holds]
        if not held:
            parts.append(f"## {title}\n\nFewer than {chosen.first} streams in real time.\n")
            continue
        last = held[-1]
        each = (loads[-1].memory - loads[0].memory) / max(loads[-1].streams - loads[0].streams, 1)
        more = "" if len(held) < len(loads) else " or more (no more were tried)"
        parts.append(
            f"## {title}\n\n**{last.streams} streams{more} in real time while other work took "
            f"{last.others:.2f} CPUs; {last.cpus / last.streams:.2f} CPUs for each "
            f"({last.cpus / last.streams / decoding:.1f} times decoding alone), and {each:.0f} MiB "
            "for each one more.**\n\n"
            "| streams | CPUs | of the origin | of other work | memory, MiB | most behind, s |\n"
            "| --- | --- | --- | --- | --- | --- |"
        )
        parts[-1] += "".join(
            f"\n| {load.streams} | {load.cpus:.2f} | {load.origin:.2f} | {load.others:.2f} | "
            f"{load.memory:.0f} | {load.behind:.1f} |"
            for load in loads
        )
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    main()
