"""What batches over streams save of each net that live streams share, and what they would.

    python -m bench.batching [--streams 16] [--seconds 20] [--quick]

As many threads as there are streams ask a net, each at the pace of a live stream, or all of them
all the time. What one asks is answered by itself; or in batches, gathered by a `Batcher` as that
net has it (the net of lips, which is asked one by one, as it would have it). For each: milliseconds
of CPU a request, all threads together, with what waiting and waking take; requests in a batch; and
for how long the slowest 5 % waited.

Requests are made up, but those for faces, which are cut from a clip. On the CPU; what batches do to
the corruption net, which only the service shares, is measured by `bench.frames` and `bench.gpu`.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from threadpoolctl import threadpool_limits

from bench.machine import cores
from faults.media import Clean
from models import clicks, coarseness, distortion, hiss, level_jump, packet_loss, sync
from models.batcher import Batcher
from models.faces import FaceFinder
from pipeline.live.watcher import LENGTH
from pipeline.measure.frame import LOOK_EVERY
from tests import media

RESULTS = Path(__file__).parent / "results/batching.md"
_LAGS = 50  # pictures by which sound may be late
_MORE_WINDOWS = 32  # that are looked at for steps of gain at a time
_WINDOWS = (23, 24, 23)  # that half a second of sound at 48 kHz has, one every 21 ms
_FACE_EVERY, _MOUTH_EVERY, _STEPS_EVERY = 0.2, 10.0, 0.68  # seconds
_MORE_CELLS, _HISS_EVERY = 10, 1.0  # that are looked at for hiss at a time; seconds
_MORE_OF_LOSS, _LOSS_EVERY = 200, 1.0  # cells that are looked at for lost packets; seconds
_CLICK_EVERY = 20.0  # seconds: impulses that stand out come a few times a minute
_SHORTEST = 3  # requests of a stream at least, however seldom they come

Run = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class _Net:
    """A net, and how streams ask it.

    Attributes:
        run: answers a batch.
        asked: what a stream asks for, one after the other.
        every: seconds between two requests of a stream.
        most, wait: of its Batcher.
        batched: whether it is asked in batches now.
    """

    name: str
    run: Run
    asked: Sequence[Any]
    every: float
    most: int
    wait: float
    batched: bool


@dataclass(frozen=True)
class _Cost:
    each: float  # CPU seconds
    together: float  # requests in a batch
    slow: float  # seconds, 95 %


def main() -> None:
    """Measure, print, and without --quick write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="a second each, nothing is written")
    chosen = parser.parse_args()
    seconds = 1.0 if chosen.quick else chosen.seconds
    threadpool_limits(1, "blas")  # as in a worker
    nets = _nets()
    if chosen.quick:
        nets = [replace(net, every=min(net.every, 0.3)) for net in nets]
    rows: dict[bool, list[str]] = {True: [], False: []}
    for net, paced in track([(net, paced) for net in nets for paced in rows], "nets"):
        rows[paced].append(_row(net, paced, chosen.streams, seconds))
    text = _written(rows, chosen.streams)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


def _nets() -> list[_Net]:
    draw = np.random.default_rng(1)
    small = FaceFinder("cpu", long_side=112)
    looker, lips = coarseness.Coarseness(), sync.load()
    heard, told, steps = distortion.Distortion(), clicks.Clicks(), level_jump.LevelJump()
    noise, lost = hiss.Hiss(), packet_loss.PacketLoss()

    def scored(takes: Sequence[Any]) -> Sequence[Any]:
        return [sync.lag_scores(lips, take, _LAGS) for take in takes]

    crops = draw.integers(0, 256, (4, 16, coarseness.CROP, coarseness.CROP), np.uint8)
    windows = [
        draw.normal(size=(count + 2 * distortion.REACH, distortion.INPUTS)).astype(np.float32)
        for count in _WINDOWS
    ]
    more = _MORE_WINDOWS + 2 * level_jump.REACH
    levels = draw.normal(size=(4, more, level_jump.INPUTS)).astype(np.float32)
    floors = draw.normal(size=(4, _MORE_CELLS + 2 * hiss.REACH, hiss.INPUTS)).astype(np.float32)
    more = _MORE_OF_LOSS + 2 * packet_loss.REACH
    figures = draw.normal(size=(4, more, packet_loss.FIGURES)).astype(np.float32)
    impulses = draw.normal(size=(4, clicks.INPUTS))
    takes = [_take(draw, seconds) for seconds in (10.0, 4.3, 7.9, 10.0)]
    return [
        _Net("faces, where one was", small.find, _faces(), _FACE_EVERY, 8, 0.05, True),
        _Net(
            "sound and lips",
            scored,
            takes, _MOUTH_EVERY, 4, 0.2, False,
        ),
        _Net("coarse quantisation", looker.together, list(crops), LOOK_EVERY, 4, 0.0, True),
        _Net(
            "distorted sound",
            heard.together,
            windows, LENGTH, distortion.AT_ONCE, 0.0, True,
        ),
        _Net(
            "steps of gain",
            steps.together,
            list(levels), _STEPS_EVERY, level_jump.AT_ONCE, 0.0, True,
        ),
        _Net(
            "hiss", noise.together, list(floors), _HISS_EVERY, hiss.AT_ONCE, 0.0, True,
        ),
        _Net(
            "lost packets",
            lost.together,
            list(figures), _LOSS_EVERY, packet_loss.AT_ONCE, 0.0, True,
        ),
        _Net(
            "clicks",
            told.together,
            list(impulses.astype(np.float32)), _CLICK_EVERY, clicks.AT_ONCE, 0.0, True,
        ),
    ]  # fmt: skip


def _faces() -> list[tuple[np.ndarray, ...]]:
    """Parts of frames, a speaker's face in each."""
    pictures = [(p.luma, p.cb, p.cr) for p in Clean(media.speaker()).pictures()][::20]
    finder, made = FaceFinder("cpu"), []
    for frame, (face, *_) in zip(pictures, finder.find(pictures), strict=True):
        left, top = (max(0, round(at - face.size)) // 2 * 2 for at in face.mouth)
        side = round(2 * face.size) // 2 * 2
        made.append(
            tuple(
                plane[top // by : (top + side) // by, left // by : (left + side) // by]
                for plane, by in zip(frame, (1, 2, 2), strict=True)
            )
        )
    return made


def _take(draw: np.random.Generator, seconds: float) -> sync.Take:
    pictures = round(25 * seconds)
    return sync.Take(
        draw.integers(0, 256, (pictures, 80, 80), np.uint8),
        draw.normal(0, 0.1, (pictures + 2 * _LAGS) * 640 + 512).astype(np.float32),
    )


def _row(net: _Net, paced: bool, streams: int, seconds: float) -> str:
    every = net.every if paced else 0.0
    seconds = max(seconds, _SHORTEST * every) if paced else seconds / 4
    cells = []
    for most, wait in ((1, 0.0), (net.most, net.wait)):
        cost = _measured(net.run, net.asked, most, wait, every, streams, seconds)
        together = "" if most == 1 else f" ({cost.together:.2f})"
        cells.append(f"{1000 * cost.each:.2f}{together}, {1000 * cost.slow:.0f}")
    pace = f"{1 / net.every:.2g} a second" if paced else "all the time"
    return f"| {net.name} | {pace} | {'yes' if net.batched else 'no'} | {' | '.join(cells)} |"


def _measured(
    run: Run,
    asked: Sequence[Any],
    most: int,
    wait: float,
    every: float,
    streams: int,
    seconds: float,
) -> _Cost:
    """What requests of many threads cost; answered without a Batcher where `most` is 1."""
    sizes: list[int] = []

    def counted(batch: Sequence[Any]) -> Sequence[Any]:
        sizes.append(len(batch))
        return run(batch)

    batcher: Batcher[Any, Any] = Batcher(counted, most, wait)
    waits: list[float] = []
    begin = threading.Barrier(streams + 1)

    def stream(number: int) -> None:
        draw = random.Random(number)
        begin.wait()
        due = time.monotonic() + draw.uniform(0, every)
        end = time.monotonic() + seconds
        n = number
        while max(due, time.monotonic()) < end:
            time.sleep(max(0.0, due - time.monotonic()))
            request, n = asked[n % len(asked)], n + 1
            since = time.monotonic()
            if most == 1:
                counted([request])
            else:
                batcher.ask(request)
            waits.append(time.monotonic() - since)
            due += every * draw.uniform(0.9, 1.1)

    counted([asked[0]])
    sizes.clear()
    threads = [threading.Thread(target=stream, args=(n,)) for n in range(streams)]
    for thread in threads:
        thread.start()
    began = time.process_time()
    begin.wait()
    for thread in threads:
        thread.join()
    used = time.process_time() - began
    return _Cost(used / len(waits), float(np.mean(sizes)), float(np.percentile(waits, 95)))


def _written(rows: dict[bool, list[str]], streams: int) -> str:
    columns = (
        "net", "a stream asks", "batched now", "one by one, ms", "in batches of 1, 2, 4 or 8, ms"
    )  # fmt: skip
    lines = [
        "# What batches over streams save\n",
        f"`python -m bench.batching --streams {streams}`, {cores()}, on the CPU.\n",
        "CPU time of a request (requests in a batch), and what the slowest 5 % waited.\n",
    ]
    for paced, title in ((True, "At the pace of live streams"), (False, "As fast as they can")):
        lines += [f"## {title}\n", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
        lines += [*rows[paced], ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
