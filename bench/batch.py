"""What an archive costs, and the lesson of this project measured.

    python -m bench.batch [CLIP] [--copies N] [--quick]

One clip (by default one that is made: 20 s of 640x360 with sound), as an archive of 48 copies (with
far fewer, start-up and the last clip dominate):

- `inspect` in one process, asset by asset: the floor; and in two that know nothing of each other:
  what the machine itself gives for a second process;
- `vidette batch` with one worker and with two: overhead and scaling;
- the same by Ray Data with a pool of two actors, which keeps nothing when it is interrupted;
- one long asset (240 s of 1280x720 over and over), in one piece and in ranges of a minute;
- the same detectors, of picture and sound, behind a decoding actor that sends what it decodes
  through Ray's object store, one task a frame and in batches of 32, and behind one that writes it
  to files. These stand here only to be measured.

Figures are CPU seconds per hour of one stream, of all processes together, start-up left out.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import multiprocessing.synchronize
import os
import queue
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import ray
from threadpoolctl import threadpool_limits

from bench.machine import cores
from pipeline.batch.driver import Plan, State, run
from pipeline.batch.ledger import Ledger
from pipeline.batch.sources import gather
from pipeline.decode import Decoded, DecodedFrame, DecodedSound, Decoder
from pipeline.inspect import inspect
from pipeline.measurements import FrameFlag, Note
from pipeline.panel import Panel, judges_coarseness, judges_steps
from pipeline.segment import Segmenter
from pipeline.settings import Settings, load
from pipeline.source import Limits, open_source
from pipeline.types import Asset
from tests import media
from tests.live import origin

RESULTS = Path(__file__).parent / "results/batch.md"
_SECONDS = 20.0
_TITLES = ("Whole assets", "One long asset", "The lesson")
_BATCH = 32  # frames that travel together


def main() -> None:
    """Measure and print; without --quick the table is written as well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--copies", type=int, default=48, help="clips in the archive")
    parser.add_argument("--quick", action="store_true", help="two copies, nothing is written")
    chosen = parser.parse_args()
    copies = 2 if chosen.quick else chosen.copies
    # lips are left out: the clip that is made shows none
    settings = load(skip=("sync",), threads=1)
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        folder = Path(name)
        clips = _archive(chosen.clip, folder / "archive", copies)
        inspect(str(clips[0]), settings)  # compiles
        rows = [_plainly(clips, settings), _by_two(clips, settings)]
        for workers in (1, 2):
            way = f"vidette batch, {workers} worker(s)"
            rows.append(_batch(way, folder / f"out-{workers}", clips, settings, Plan(workers)))
        rows.append(_ray_data(clips, settings))
        long = _long(folder, settings, 60.0 if not chosen.quick else 0.0)
        lesson = _elsewhere(folder, str(clips[0]), settings)
    text = _table([rows, long, lesson], copies, chosen.clip)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


def _archive(clip: Path | None, folder: Path, copies: int) -> list[Path]:
    folder.mkdir()
    first = folder / f"0{clip.suffix if clip else '.mp4'}"
    if clip is not None:
        shutil.copy(clip, first)
    else:
        frames = media.scene(_SECONDS, 640, 360, cuts=5)
        media.write(first, frames, 0.2 * media.programme(_SECONDS))
    made = [first]
    for n in range(1, copies):
        made.append(folder / f"{n}{first.suffix}")
        os.link(first, made[-1])
    return made


class _Row:
    """A way to do it: wall and CPU seconds for so many seconds of stream."""

    def __init__(self, name: str, stream: float, wall: float, cpu: float) -> None:
        self.name, self.stream, self.wall, self.cpu = name, stream, wall, cpu

    @property
    def per_hour(self) -> float:
        """CPU seconds per hour of stream."""
        return self.cpu / self.stream * 3600


def _cpu() -> float:
    """Seconds that this process and all below it have used."""
    used = sum(os.times()[:4])
    for child in psutil.Process().children(recursive=True):
        try:
            used += sum(child.cpu_times()[:2])
        except psutil.Error:
            continue
    return used


def _plainly(clips: list[Path], settings: Settings) -> _Row:
    started, cpu = time.perf_counter(), time.process_time()
    stream = sum(inspect(str(clip), settings).asset.duration for clip in clips)
    return _Row(
        "inspect, one process", stream, time.perf_counter() - started, time.process_time() - cpu
    )


def _by_two(clips: list[Path], settings: Settings) -> _Row:
    """Wall clock from when both have compiled until the later one is done."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(3, timeout=300.0)
    done: multiprocessing.Queue[tuple[float, float]] = context.Queue()
    halves = [clips[::2], clips[1::2]]
    children = [
        context.Process(target=_inspector, args=(clips[0], half, settings, gate, done))
        for half in halves
    ]
    for child in children:
        child.start()
    gate.wait()
    started = time.perf_counter()
    told = [done.get() for _ in children]
    wall = time.perf_counter() - started
    for child in children:
        child.join()
    return _Row(
        "inspect, two processes", sum(s for s, _ in told), wall, sum(used for _, used in told)
    )


def _inspector(
    first: Path,
    clips: list[Path],
    settings: Settings,
    gate: multiprocessing.synchronize.Barrier,
    done: multiprocessing.Queue[tuple[float, float]],
) -> None:
    """Seconds of stream, and CPU seconds."""
    inspect(str(first), settings)  # compiles
    gate.wait()
    cpu = time.process_time()
    stream = sum(inspect(str(clip), settings).asset.duration for clip in clips)
    done.put((stream, time.process_time() - cpu))


class _DataInspector:
    """What Ray Data calls with a row."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row, and what it cost."""
        began = time.time()
        result = inspect(row["uri"], self._settings)
        return {
            "began": began,
            "ended": time.time(),
            "cpu": result.timings["cpu"],
            "stream": result.asset.duration,
        }


def _own_ray(cpus: int) -> None:
    """A Ray of this process alone, which says nothing unless something is wrong."""
    ray.init(
        "local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _ray_data(clips: list[Path], settings: Settings) -> _Row:
    """Wall clock from the first asset on, as for `vidette batch`."""
    import ray.data  # noqa: PLC0415 - takes seconds, and only this row needs it

    _own_ray(3)
    ray.data.DataContext.get_current().enable_progress_bars = False
    wanted = ray.data.from_items([{"uri": str(clip)} for clip in clips]).repartition(len(clips))
    worker: Any = _DataInspector  # Ray makes an object of it in each of its actors
    done = wanted.map(worker, fn_constructor_args=(settings,), concurrency=2, num_cpus=1).take_all()
    ray.shutdown()
    wall = max(row["ended"] for row in done) - min(row["began"] for row in done)
    stream, cpu = (sum(row[name] for row in done) for name in ("stream", "cpu"))
    return _Row("Ray Data, 2 actors", stream, wall, cpu)


def _long(folder: Path, settings: Settings, seconds: float) -> list[_Row]:
    """One long asset, which two workers have in ranges of so many seconds."""
    frames = media.scene(8.0, 1280, 720, cuts=2)
    options = {"preset": "veryfast", "b": "4000000", "g": "50"}
    once = media.write(
        folder / "once.ts", frames, 0.2 * media.programme(8.0), video_options=options
    )
    del frames
    film = origin.repeated(once, folder / "film.ts", 30)
    inspect(str(once), settings)
    rows = [_plainly([film], settings)]
    plan = Plan(workers=2, range_seconds=seconds)
    name = f"vidette batch, 2 workers, ranges of {seconds:g} s"
    rows.append(_batch(name, folder / "out-long", [film], settings, plan))
    return rows


def _batch(name: str, out: Path, clips: list[Path], settings: Settings, plan: Plan) -> _Row:
    """Wall clock from the first asset to the last; CPU time as the results state it."""
    begun: list[float] = []
    ended: list[float] = []

    def told(state: State) -> None:
        if state.running and not begun:
            begun.append(time.perf_counter())
        if not state.left and not ended:
            ended.append(time.perf_counter())

    ledger = Ledger(str(out))
    ids, state = run(gather([str(clip) for clip in clips]), ledger, settings, plan, told)
    wall = ended[0] - begun[0]
    cpu = 0.0
    for one in ids:
        record = ledger.record(one)
        if record is not None and record.inspection is not None:
            cpu += record.inspection.timings["cpu"]
    return _Row(name, state.seconds, wall, cpu)


# ------------------------------------------------------------- what this project does not do


@dataclass(frozen=True)
class _Carried:
    """A picture or a run of samples on its way: what is known of it, and the array or its file."""

    facts: dict[str, Any]
    data: np.ndarray | str
    is_picture: bool

    @staticmethod
    def of(item: DecodedFrame | DecodedSound) -> _Carried:
        """To be sent."""
        if isinstance(item, DecodedSound):
            facts = {name: getattr(item, name) for name in ("stream", "time", "rate", "layout")}
            return _Carried(facts, item.samples, is_picture=False)
        names = ("stream", "time", "duration", "rate")
        facts = {name: getattr(item, name) for name in names} | {"flags": int(item.flags)}
        return _Carried(facts, item.frame.to_ndarray(format="yuv420p"), is_picture=True)

    def arrived(self) -> DecodedFrame | DecodedSound:
        """Where it was sent to; a file is removed."""
        data = self.data
        if isinstance(data, str):
            path = Path(data)
            data = np.load(path)
            path.unlink()
        if not self.is_picture:
            return DecodedSound(**self.facts, samples=data)
        frame = av.VideoFrame.from_ndarray(data, format="yuv420p")
        return DecodedFrame(**self.facts | {"flags": FrameFlag(self.facts["flags"])}, frame=frame)


def _found(items: Iterable[Decoded], settings: Settings, asset: Asset) -> int:
    """Measure and detect; returns how many observations there are."""
    panel, segmenter = (
        Panel(settings, asset),
        Segmenter(coarseness=judges_coarseness(settings), steps=judges_steps(settings)),
    )
    with threadpool_limits(1, "blas"):  # as in `inspect`
        for segment in segmenter.run(items):
            panel.update(segment)
        panel.finish()
    return len(panel.found)


class _Detectors:
    """Gets pictures and sound from elsewhere and runs the same detectors on them."""

    def __init__(self, settings: Settings, asset: Asset) -> None:
        self._settings, self._asset = settings, asset
        self._items: queue.SimpleQueue[Decoded | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(1)

    def begin(self) -> None:
        """An asset comes."""
        items: Iterator[Any] = iter(self._items.get, None)
        self._work = self._pool.submit(_found, items, self._settings, self._asset)

    def take(self, *parts: _Carried | Note) -> None:
        """Take what was sent."""
        for one in parts:
            self._items.put(one.arrived() if isinstance(one, _Carried) else one)

    def finish(self) -> int:
        """That was all; returns as `_found` does."""
        self._items.put(None)
        return self._work.result()


def _elsewhere(folder: Path, clip: str, settings: Settings) -> list[_Row]:
    """The whole of it: in the process that decodes, and in another one.

    Each way has the clip twice, and what the second time costs counts: the first compiles.
    """
    asset = inspect(clip, settings).asset
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found, wall, used = pool.submit(_here, clip, settings, asset).result()
    rows = [_Row("frames stay in the process", asset.duration, wall, used)]
    _own_ray(2)
    detectors = ray.remote(_Detectors)
    for name, size, place in (
        ("frames through the object store, one task a frame", 1, None),
        (f"frames through the object store, {_BATCH} at a time", _BATCH, None),
        ("frames through files, one task a frame", 1, folder),
    ):
        actor: Any = detectors.remote(settings, asset)
        for _ in range(2):
            ray.get(actor.begin.remote())
            started, cpu = time.perf_counter(), _cpu()
            _send(actor, clip, settings, size, place)
            if ray.get(actor.finish.remote()) != found:
                raise RuntimeError(f"{name}: other findings than in one process")
            wall, used = time.perf_counter() - started, _cpu() - cpu
        rows.append(_Row(name, asset.duration, wall, used))
        ray.kill(actor)
    ray.shutdown()
    return rows


def _here(clip: str, settings: Settings, asset: Asset) -> tuple[int, float, float]:
    """Observations, seconds of wall clock and of CPU, in the process that decodes."""
    for _ in range(2):
        started, cpu = time.perf_counter(), time.process_time()
        with open_source(clip, Limits()) as container:
            found = _found(Decoder(container, settings.threads), settings, asset)
        wall, used = time.perf_counter() - started, time.process_time() - cpu
    return found, wall, used


def _send(actor: Any, clip: str, settings: Settings, size: int, place: Path | None) -> None:
    """Decode, and send so many items at a time, through the object store or through files."""
    part: list[_Carried | Note] = []
    with open_source(clip, Limits()) as container:
        for n, item in enumerate(Decoder(container, settings.threads)):
            one = item if isinstance(item, Note) else _Carried.of(item)
            if place is not None and isinstance(one, _Carried):
                path = place / f"{n}.npy"
                np.save(path, one.data)
                one = replace(one, data=str(path))
            part.append(one)
            if len(part) == size:
                actor.take.remote(*part)
                part = []
    actor.take.remote(*part)


def _table(parts: list[list[_Row]], copies: int, clip: Path | None) -> str:
    lines = [
        "# What an archive costs",
        "",
        f"`python -m bench.batch{' CLIP' if clip else ''} --copies {copies}`, "
        f"{cores()}. Factors are against the first line of each table.",
    ]
    for name, rows in zip(_TITLES, parts, strict=True):
        lines += [
            "",
            f"## {name}",
            "",
            "| way | times real time | CPU seconds per stream-hour | factor |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {row.name} | {row.stream / row.wall:.1f} | {row.per_hour:.0f} "
            f"| {row.per_hour / rows[0].per_hour:.2f} |"
            for row in rows
        ]
        if name == _TITLES[0]:
            one, two, first, second = (row.stream / row.wall for row in rows[:4])
            lines += [
                "",
                f"Two processes without Ray do {two / one:.2f} times what one does; two workers do "
                f"{second / first:.2f} times what one does, {second / two:.2f} times what two such "
                "processes do.",
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
