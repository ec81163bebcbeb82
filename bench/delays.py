"""How soon a defect of a live stream is told by `vidette watch`.

    python -m bench.delays [--periods 20] [--quick]

One stream over UDP and one over HLS, in which black, freezes and silence begin at known moments:
the time from the moment at which a defect is one (its onset and the least duration that its
detector asks for), over HLS from that at which the segment with it is whole, until its line is in
`events.jsonl`, and until a webhook has arrived.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
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

import numpy as np
from rich.progress import track

from bench.machine import cores
from pipeline.live.event import Event
from pipeline.settings import load
from tests import media
from tests.live import origin
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results/delays.md"
PERIOD = 12.0  # seconds from one set of defects to the next
_ONSETS = {"black": 1.0, "freeze": 4.2, "silence": 8.3}  # within a period
_LASTS = 2.9  # seconds
_SEGMENT = 2.0  # seconds, of HLS
_GLANCE, _PATIENCE = 0.01, 90.0  # seconds between looks at the file; until the watch has begun


def main() -> None:
    """Measure, print, and without --quick write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--periods", type=int, default=20, help="sets of defects, 12 s each")
    parser.add_argument("--quick", action="store_true", help="two sets, nothing is written")
    chosen = parser.parse_args()
    periods = 2 if chosen.quick else chosen.periods
    logging.getLogger("vidette").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        text = _written(_delays(Path(name), periods), periods)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


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
        and abs(event.start.timestamp() - onset) < PERIOD / 3
    ]
    return own[:1]


def _delays(folder: Path, periods: int) -> list[_Delays]:
    """Over UDP and over HLS at the same time."""
    source = defective(folder, periods)
    lengths = origin.segmented(source, folder, _SEGMENT)
    settings = load(only=tuple(_ONSETS))
    least = {kind: float(settings.of(kind).model_dump()["min_duration"]) for kind in _ONSETS}
    port = origin.free_udp_port()
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
        with watching(folder / "watched", config, hook, told.lines):
            until(lambda: live.position > 0.0, _PATIENCE)  # both are given to a worker at once
            time.sleep(1.0)
            sender = origin.Sender(source, port)
            begun, made = time.time(), live.position
            for _ in track(range(round(periods * PERIOD) + 4), "defects over UDP and HLS"):
                time.sleep(1.0)
            sender.close()
    over_udp = _Delays("UDP", "the moment at which a defect is one (onset and least duration)")
    over_hls = _Delays("HLS", f"the moment at which its segment of {_SEGMENT:g} s is whole")
    whole = np.cumsum(lengths)
    for kind, inside in _ONSETS.items():
        for n in range(periods):
            onset = n * PERIOD + inside
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
def watching(
    out: Path, config: Path, hook: str | None, lines: list[tuple[float, Event]]
) -> Iterator[int]:
    """`vidette watch`, and who notes when a line is in its file; yields the process."""
    process = subprocess.Popen(
        [
            *(sys.executable, ROOT / "vidette.py", "watch", "--config", config, "--out", out),
            *("--workers", "1"),
            *(("--webhook", hook) if hook is not None else ()),
        ],
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    over = threading.Event()
    reader = threading.Thread(target=_read, args=(out / "events.jsonl", lines, over))
    reader.start()
    try:
        yield process.pid
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


def defective(folder: Path, periods: int) -> Path:
    """A programme of so many sets of defects, MPEG-TS."""
    once = media.scene(PERIOD, 640, 360, cuts=2)
    first = {kind: round(start * media.RATE) for kind, start in _ONSETS.items()}
    count = round(_LASTS * media.RATE)
    for n in range(count):
        once[first["black"] + n] = np.full_like(once[0], 16)
        once[first["freeze"] + n] = once[first["freeze"]]
    sound = 0.5 * media.programme(PERIOD)
    start = round(_ONSETS["silence"] * media.SAMPLE_RATE)
    sound[:, start : start + round(_LASTS * media.SAMPLE_RATE)] = 0.0
    one = media.write(folder / "defects.ts", once, sound, video_options={"g": "25"})
    return origin.repeated(one, folder / "all-defects.ts", periods)


def _written(delays: list[_Delays], periods: int) -> str:
    parts = [
        "# How soon a defect is told\n",
        f"`python -m bench.delays --periods {periods}`, {cores()}. Streams of 640x360.\n",
    ]
    for told in delays:
        parts.append(
            f"## Over {told.over}\n\nFrom {told.since} until its line is in `events.jsonl` of "
            "`vidette watch`, and until a webhook has arrived:\n\n"
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
