"""The live page with many streams: how soon it shows what happens, and whether it stays smooth.

    python -m bench.page [--streams 200] [--seconds 30]

Serve, the application and the page are real, and so is the browser (a headless Chromium). The
streams are made up, in a deployment that stands in for the one that watches: it says what workers
would say, as often as they would, and opens and closes defects.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import socket
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from ray import serve
from rich.console import Console
from rich.progress import track

from bench.machine import cores
from pipeline.live.event import Event
from pipeline.types import Kind
from serve.app import Api, Runner
from serve.config import Config
from tests import report_media

RESULTS = Path(__file__).parent / "results/page.md"
KINDS = (Kind.FREEZE, Kind.BLACK, Kind.SILENCE, Kind.BLOCKINESS, Kind.CLIPPING)
REPORT = 2.0  # seconds between reports of workers
LASTS = 6.0  # seconds of a defect
_WATCH = """() => {
    window.seen = new Map(); window.frames = 0; window.longest = 0; window.long = 0;
    const count = () => { window.frames++; requestAnimationFrame(count); };
    requestAnimationFrame(count);
    new PerformanceObserver((list) => { for (const one of list.getEntries()) {
        window.long++; window.longest = Math.max(window.longest, one.duration); } })
        .observe({ entryTypes: ["longtask"] });
    new MutationObserver(() => { for (const chip of document.querySelectorAll(".tile .chip[title]"))
        if (!window.seen.has(chip.title)) window.seen.set(chip.title, Date.now() / 1000); })
        .observe(document.getElementById("streams"), { subtree: true, childList: true });
}"""


@serve.deployment
class Crowd:
    """Made-up streams; asked what serve.watching.Watching is asked.

    Args:
        count: of them.
        every: seconds between defects, over all streams.
    """

    def __init__(self, count: int, every: float) -> None:
        self._count, self._every = count, every
        self._begun = time.time()
        self._log: list[Event] = []
        self._open: list[Event] = []
        noise = np.random.default_rng(1).integers(0, 255, (9, 16, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).resize((256, 144)).save(file, "JPEG", quality=70)
        self._jpeg = file.getvalue()
        self._task = asyncio.get_event_loop().create_task(self._live())

    async def _live(self) -> None:
        drawn = random.Random(1)
        while True:
            await asyncio.sleep(self._every)
            now = datetime.now(UTC)
            for event in list(self._open):
                if (now - event.start).total_seconds() > LASTS:
                    self._open.remove(event)
                    self._log.append(
                        event.model_copy(
                            update={"change": "closed", "end": now, "outcome": "ended"}
                        )
                    )
            number = len(self._log)
            event = Event(
                id=f"e{number}", change="opened", stream=f"s{drawn.randrange(self._count):04d}",
                kind=drawn.choice(KINDS), start=now, end=now, position=0.0,
                severity=drawn.random(), confidence=1.0, track=0, summary=f"e{number}",
                detector="made up/1",
            )  # fmt: skip
            self._open.append(event)
            self._log.append(event)

    async def last(self) -> int:
        """As Watching."""
        return len(self._log)

    async def since(self, number: int, seconds: float) -> list[tuple[int, str, str]]:
        """As Watching."""
        until = time.monotonic() + seconds
        while len(self._log) <= number and time.monotonic() < until:
            await asyncio.sleep(0.15)
        return [
            (number + n + 1, event.stream, event.model_dump_json(by_alias=True))
            for n, event in enumerate(self._log[number:])
        ]

    async def monitors(self) -> list[dict[str, Any]]:
        """As Watching; what workers report changes every two seconds."""
        standing: dict[str, list[Event]] = {}
        for event in self._open:
            standing.setdefault(event.stream, []).append(event)
        return [self._told(n, standing.get(f"s{n:04d}", [])) for n in range(self._count)]

    def _told(self, n: int, standing: list[Event]) -> dict[str, Any]:
        slot = int((time.time() + n * REPORT / self._count) / REPORT)
        drawn = random.Random(slot * self._count + n)
        return {
            "name": f"s{n:04d}",
            "uri": f"udp://239.0.{n // 250}.{n % 250}:5000",
            "labels": {"cdn": "abc"[n % 3], "channel": str(n)},
            "state": "watching",
            "detail": "",
            "picture": (slot * REPORT) // 10 * 10,
            "since": self._begun,
            "seen": slot * REPORT,
            "behind": round(drawn.uniform(0.5, 2.0), 3),
            "cost": round(drawn.uniform(0.2, 0.3), 3),
            "size": (1280, 720),
            "luma": round(drawn.uniform(60, 140), 2),
            "loudness": round(drawn.uniform(-30, -15), 2),
            "problems": [],
            "defects": [
                {
                    "id": e.id, "kind": e.kind, "start": e.start.timestamp(),
                    "severity": e.severity, "summary": e.summary, "evidence": {},
                }
                for e in standing
            ],
        }  # fmt: skip

    async def picture(self, name: str, event: str) -> bytes:  # noqa: ARG002
        """As Watching."""
        return self._jpeg


def main() -> None:
    """Run it and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between defects")
    chosen = parser.parse_args()
    place = report_media.chromium()
    if place is None:
        sys.exit("there is no Chromium")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data=Path(folder), max_replicas=1, cpus=0.5)
        ray.init("local", num_cpus=4, log_to_driver=False, include_dashboard=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        runner = Runner.options(ray_actor_options={"num_cpus": 0}).bind(config)  # type: ignore[attr-defined]
        crowd = Crowd.options(max_ongoing_requests=1000).bind(chosen.streams, chosen.every)  # type: ignore[attr-defined]
        app = Api.options(max_ongoing_requests=1000).bind(config, runner, crowd)  # type: ignore[attr-defined]
        serve.run(app, name="page", route_prefix="/")
        try:
            found = measure(f"http://127.0.0.1:{port}", place, chosen.seconds)
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()
    text = table(found, chosen)
    RESULTS.write_text(text)
    Console().print(text)


def measure(url: str, place: str, seconds: int) -> dict[str, float]:
    """Look at the page for a while."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=place, args=report_media.CHROMIUM_OPTIONS, headless=True
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        begun = time.monotonic()
        page.goto(url)
        page.wait_for_selector(".tile")
        loaded = time.monotonic() - begun
        time.sleep(3.0)
        page.evaluate(_WATCH)
        told = page.context.new_cdp_session(page)
        told.send("Performance.enable")
        before = _figures(told)
        cpu = _serving_cpu()
        clock = time.time()
        for second in track(range(seconds), "looking"):
            if second % 5 == 2:
                page.mouse.wheel(0, 600 if second % 10 < 5 else -600)
            time.sleep(1.0)
        spent, after, cpu = time.time() - clock, _figures(told), _serving_cpu() - cpu
        seen: dict[str, float] = dict(page.evaluate("() => [...window.seen]"))
        starts = _starts(page, url)
        late = [at - starts[name] for name, at in seen.items() if starts.get(name, 0) > clock]
        frames, longest, long = page.evaluate("() => [window.frames, window.longest, window.long]")
        browser.close()
    return {
        "first tiles, s": loaded,
        "defects shown": len(late),
        "shown after, median, s": float(np.median(late)),
        "shown after, 95 %, s": float(np.percentile(late, 95)),
        "frames a second": frames / spent,
        "tasks over 50 ms": long,
        "longest task, ms": longest,
        "the page's thread, CPUs": (after["TaskDuration"] - before["TaskDuration"]) / spent,
        "its heap, MiB": after["JSHeapUsedSize"] / 2**20,
        "the service, CPUs": cpu / spent,
    }


def _figures(session: Any) -> dict[str, float]:
    found = session.send("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in found}


def _serving_cpu() -> float:
    """CPU seconds of Serve's proxy and replicas."""
    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        named = " ".join(process.info["cmdline"] or [])
        if "ServeReplica" in named or "ProxyActor" in named:
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _starts(page: Page, url: str) -> dict[str, float]:
    """When each defect began, from the log itself."""
    text = page.evaluate(
        """async (url) => {
            const answer = await fetch(url + "/v1/events?after=0");
            const reader = answer.body.getReader();
            const decoder = new TextDecoder();
            let text = "";
            const until = Date.now() + 3000;
            while (Date.now() < until) {
                const part = await Promise.race([reader.read(),
                    new Promise((done) => setTimeout(() => done({ done: true }), 1000))]);
                if (part.done) break;
                text += decoder.decode(part.value);
            }
            return text;
        }""",
        url,
    )
    events = [
        json.loads(line.removeprefix("data: "))
        for line in text.splitlines()
        if line.startswith("data: {")
    ]
    return {
        event["summary"]: datetime.fromisoformat(event["start"]).timestamp()
        for event in events
        if event["change"] == "opened"
    }


def table(found: dict[str, float], chosen: argparse.Namespace) -> str:
    """The results as Markdown."""
    lines = [
        "# The live page",
        "",
        f"{chosen.streams} made-up streams that report every {REPORT:g} s, a defect that lasts "
        f"{LASTS:g} s every {chosen.every:g} s; one browser, 1600x1000, that scrolls now and then, "
        f"for {chosen.seconds} s, all on {cores()}. `python -m bench.page`.",
        "",
        "| | |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {value:.3g} |" for name, value in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
