"""What watching live streams costs, and how soon a defect is told.

    python -m bench.live [CLIP] [--workers 2] [--first 1] [--most 16] [--seconds 12] [--quick]

CLIP is what the streams show, again and again, in place of drawn scenes: the learned detector of
lips has to do only where somebody speaks.

- Streams of 720p25 (H.264, 2.5 Mb/s, with sound) come over HLS from an origin in a process of its
  own on the same machine. As many workers as there are cores, each a process as `vidette watch` has
  them, get one more at a time, in turn (the first ones together): CPUs, memory and how far they are
  behind, with what was skipped to catch up. The largest number that is held in real time is the
  last one at which no stream is more than a second behind what it was at first.
- `vidette watch` watches one stream over UDP and one over HLS, in which black, freezes and silence
  begin at known moments: the time from the moment at which a defect is one (its onset and the least
  duration that its detector asks for), over HLS from that at which the segment with it is whole,
  until its line is in `events.jsonl`, and until a webhook has arrived.

Figures depend on what the origin and everything else on the machine take of the same cores, which
is stated. A number of streams that is not held while other work takes more than 0.3 CPUs is tried
again, three times at most.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import psutil
from rich.progress import track

from pipeline.live.event import Event
from pipeline.live.streams import Stream
from pipeline.live.worker import Worker
from pipeline.settings import Settings, load
from pipeline.warm import warm
from tests import media
from tests.live import origin
from tests.serve.real import until

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results/live.md"
_LOOP = 24  # seconds that the origin repeats
_LATE = 1.0  # seconds behind
_TRIES, _QUIET = 3, 0.3  # of a number of streams; CPUs of other work
_PERIOD = 12.0  # seconds from one set of defects to the next
_ONSETS = {"black": 1.0, "freeze": 4.2, "silence": 8.3}  # within a period
_LASTS = 2.9  # seconds
_SEGMENT = 2.0  # seconds, of HLS
_GLANCE, _PATIENCE = 0.01, 90.0  # seconds between looks at the file; until the watch has begun


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
    parser.add_argument("--periods", type=int, default=20, help="sets of defects, 12 s each")
    parser.add_argument(
        "--lock", type=Path, help="a file that benches which share the machine lock in turn"
    )
    parser.add_argument("--quick", action="store_true", help="little of all, nothing is written")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.most, chosen.seconds, chosen.periods = 2, 8.0, 2
    logging.getLogger("vidette").setLevel(logging.ERROR)
    warm()
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        folder = Path(name)
        with _alone(chosen.lock):
            delays = _delays(folder, chosen.periods)
        tables = []
        for title, settings in (
            ("Every signal detector", load(skip=("sync",))),
            ("With the learned detector of sound and lips", load()),
        ):
            with _origin(folder, chosen.clip) as (url, process), _alone(chosen.lock):
                tables.append((title, _filled(url, process, settings, chosen)))
    text = _written(tables, delays, chosen)
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


# --------------------------------------------------------------------------------- many streams


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
        if clip is None:
            frames = media.scene(8.0, 1280, 720, cuts=3)
            sound = 0.5 * media.programme(float(_LOOP))
        else:
            frames, sound = _of(clip)
        loops = 40  # 16 minutes
        options = {"preset": "veryfast", "b": "2500000", "g": "50", "sc_threshold": "0"}
        once = media.write(
            folder / "once.ts",
            [frames[n % len(frames)] for n in range(_LOOP * media.RATE)],
            sound,
            video_options=options | {"maxrate": "3000000", "bufsize": "3000000"},
        )
        origin.repeated(once, folder / "programme.ts", loops)
        origin.segmented(folder / "programme.ts", folder, 2.0)
    with origin.live_hls(folder, origin.lengths(folder)) as live:
        pipe.send(live.url)
        threading.Event().wait()


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


# ------------------------------------------------------------------------------ how soon


@dataclass(frozen=True)
class _Delays:
    """Seconds until defects are told, by kind: in the file, and by webhook."""

    over: str
    since: str
    file: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in _ONSETS})
    hook: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in _ONSETS})
    asked: Counter[str] = field(default_factory=Counter)  # that could be told

    def add(self, kind: str, told: _Told, onset: float, since: float) -> None:
        """One defect, which began at an onset, and could be told from a moment on."""
        self.asked[kind] += 1
        stream = self.over.lower()
        self.file[kind] += _first(told.lines, stream, kind, onset, since)
        self.hook[kind] += _first(told.messages, stream, kind, onset, since)


@dataclass(frozen=True)
class _Told:
    """When which events arrived, since 1970."""

    lines: list[tuple[float, Event]] = field(default_factory=list)
    messages: list[tuple[float, Event]] = field(default_factory=list)


def _first(
    told: list[tuple[float, Event]], stream: str, kind: str, onset: float, since: float
) -> list[float]:
    """Seconds after a moment at which the defect of an onset was told; nothing if it was not.

    When it began is told by the wall clock, for which a stream may seem late.
    """
    own = [
        when - since
        for when, event in told
        if (event.stream, event.kind, event.change) == (stream, kind, "opened")
        and abs(event.start.timestamp() - onset) < _PERIOD / 3
    ]
    return own[:1]


def _delays(folder: Path, periods: int) -> list[_Delays]:
    """Over UDP and over HLS at the same time."""
    source = _defective(folder, periods)
    lengths = origin.segmented(source, folder, _SEGMENT)
    settings = load(only=tuple(_ONSETS))
    least = {kind: float(settings.of(kind).model_dump()["min_duration"]) for kind in _ONSETS}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = _Told()
    with origin.live_hls(folder, lengths) as live, _receiver(told.messages) as hook:
        config = folder / "streams.yaml"
        config.write_text(
            json.dumps(
                {
                    "streams": [
                        {"name": "udp", "uri": f"udp://127.0.0.1:{port}", "only": list(_ONSETS)},
                        {"name": "hls", "uri": live.url, "only": list(_ONSETS)},
                    ]
                }
            )
        )
        with _watching(folder / "watched", config, hook, told.lines):
            until(lambda: live.position > 0.0, _PATIENCE)  # both are given to a worker at once
            _rest(1.0)
            sender = origin.Sender(source, port)
            begun, made = time.time(), live.position
            for _ in track(range(round(periods * _PERIOD) + 4), "defects over UDP and HLS"):
                _rest(1.0)
            sender.close()
    over_udp = _Delays("UDP", "the moment at which a defect is one (onset and least duration)")
    over_hls = _Delays("HLS", f"the moment at which its segment of {_SEGMENT:g} s is whole")
    whole = np.cumsum(lengths)
    for kind, inside in _ONSETS.items():
        for n in range(periods):
            onset = n * _PERIOD + inside
            ripe = onset + least[kind]
            over_udp.add(kind, told, begun + onset, begun + ripe)
            # over HLS the programme is `made` seconds ahead; what was there before is no news
            there = float(whole[np.searchsorted(whole, ripe).clip(0, len(whole) - 1)])
            if there > made:
                over_hls.add(kind, told, begun - made + onset, begun - made + there)
    return [over_udp, over_hls]


class _Hook(BaseHTTPRequestHandler):
    """Notes when messages arrive."""

    got: ClassVar[list[tuple[float, Event]]]

    def do_POST(self) -> None:
        """A message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((time.time(), Event.model_validate(body["data"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def _receiver(got: list[tuple[float, Event]]) -> Iterator[str]:
    """A receiver of webhooks; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hook", (_Hook,), {"got": got}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _watching(
    out: Path, config: Path, hook: str, lines: list[tuple[float, Event]]
) -> Iterator[None]:
    """`vidette watch`, and who notes when a line is in its file."""
    process = subprocess.Popen(
        [
            *(sys.executable, ROOT / "vidette.py", "watch", "--config", config, "--out", out),
            *("--workers", "1", "--webhook", hook),
        ],
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    over = threading.Event()
    reader = threading.Thread(target=_read, args=(out / "events.jsonl", lines, over))
    reader.start()
    try:
        yield
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    finally:
        over.set()
        reader.join()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(path: Path, lines: list[tuple[float, Event]], over: threading.Event) -> None:
    """Note when each line is there."""
    done = 0
    while not over.wait(_GLANCE):
        data = path.read_bytes() if path.exists() and path.stat().st_size > done else b""
        whole, _, _ = data[done:].rpartition(b"\n")
        if whole:
            now = time.time()
            lines += [(now, Event.model_validate_json(line)) for line in whole.splitlines()]
            done += len(whole) + 1


def _defective(folder: Path, periods: int) -> Path:
    once = media.scene(_PERIOD, 640, 360, cuts=2)
    first = {kind: round(start * media.RATE) for kind, start in _ONSETS.items()}
    count = round(_LASTS * media.RATE)
    for n in range(count):
        once[first["black"] + n] = np.full_like(once[0], 16)
        once[first["freeze"] + n] = once[first["freeze"]]
    sound = 0.5 * media.programme(_PERIOD)
    start = round(_ONSETS["silence"] * media.SAMPLE_RATE)
    sound[:, start : start + round(_LASTS * media.SAMPLE_RATE)] = 0.0
    one = media.write(folder / "defects.ts", once, sound, video_options={"g": "25"})
    return origin.repeated(one, folder / "all-defects.ts", periods)


# ------------------------------------------------------------------------------------- the table


def _written(
    tables: list[tuple[str, list[_Load]]],
    delays: list[_Delays],
    chosen: argparse.Namespace,
) -> str:
    parts = [
        "# What watching costs, and how soon a defect is told\n",
        f"`python -m bench.live{' CLIP' if chosen.clip else ''} --workers {chosen.workers} "
        f"--first {chosen.first} --most {chosen.most} --periods {chosen.periods}`, "
        f"{psutil.cpu_count()} cores. Streams of 720p25 H.264 at 2.5 Mb/s with sound over HLS"
        f"{', a speaker in all of them' if chosen.clip else ''}; the origin and other work run on "
        "the same cores.\n",
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
            f"{last.others:.2f} CPUs; {last.cpus / last.streams:.2f} CPUs for each, and {each:.0f} "
            "MiB for each one more.**\n\n"
            "| streams | CPUs | of the origin | of other work | memory, MiB | most behind, s |\n"
            "| --- | --- | --- | --- | --- | --- |"
        )
        parts[-1] += "".join(
            f"\n| {load.streams} | {load.cpus:.2f} | {load.origin:.2f} | {load.others:.2f} | "
            f"{load.memory:.0f} | {load.behind:.1f} |"
            for load in loads
        )
        parts[-1] += "\n"
    for told in delays:
        parts.append(
            f"## How soon, over {told.over}\n\nFrom {told.since} until its line is in "
            "`events.jsonl` of `vidette watch`, and until a webhook has arrived; 640x360:\n\n"
            "| kind | told | file: median, s | 95 %, s | worst, s | webhook: median, s | 95 %, s | "
            "worst, s |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
        )
        for kind, asked in told.asked.items():
            file, hook = (_figures(of[kind]) for of in (told.file, told.hook))
            parts[-1] += f"\n| {kind} | {len(told.file[kind])} of {asked} | {file} | {hook} |"
        parts[-1] += "\n"
    return "\n".join(parts)


def _figures(seconds: list[float]) -> str:
    if not seconds:
        return " | | "
    return f"{np.median(seconds):.2f} | {np.percentile(seconds, 95):.2f} | {max(seconds):.2f}"


if __name__ == "__main__":
    main()
