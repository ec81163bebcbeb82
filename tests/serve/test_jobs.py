"""Inspections that were accepted, and the webhooks that tell of them, without Ray."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from standardwebhooks import Webhook

from pipeline.settings import load
from serve import jobs as jobs_module
from serve import store as store_module
from serve.app import Runner
from serve.config import Config
from serve.isolated import Isolated
from serve.jobs import Jobs
from serve.problems import ProblemError
from serve.scaling import BACKLOG
from serve.store import Store, Wanted
from tests import media

SETTINGS = load(only=("black", "silence"))


def test_what_a_dead_service_left_is_swept(tmp_path):
    async def work() -> None:
        jobs = Jobs(Config(data=tmp_path))
        async with asyncio.timeout(20):
            while (uploads / "old").exists() or left.exists():
                await asyncio.sleep(0.05)
        await jobs.close()

    uploads = tmp_path / "uploads"
    uploads.mkdir()
    left = tmp_path / "work/vidette-left"
    left.mkdir(parents=True)
    (left / "lock").touch()  # nobody holds it
    for name in ("wanted", "old", "new"):
        (uploads / name).write_bytes(b"x")
        if name != "new":
            os.utime(uploads / name, (0, 0))
    store = Store(tmp_path)
    store.submit(
        "me", Wanted(name="w", upload=str(uploads / "wanted")), most=1, key=None, digest=""
    )
    store.claim()  # somebody else's for now
    store.close()
    asyncio.run(work())
    assert {path.name for path in uploads.iterdir()} == {"wanted", "new"}


def test_what_is_being_claimed_when_the_runner_ends_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Isolated, "warm", lambda _: None)  # nothing is inspected
    claiming, closing = threading.Event(), threading.Event()

    async def work() -> None:
        jobs = Jobs(Config(data=tmp_path, jobs_at_once=1))
        claim = jobs.store.claim

        def slow():
            claiming.set()
            assert closing.wait(20)
            return claim()

        jobs.store.claim = slow
        assert await asyncio.to_thread(claiming.wait, 20)
        name, _ = jobs.store.submit("me", Wanted(name="w"), most=1, key=None, digest="")
        closed = asyncio.create_task(jobs.close())
        await asyncio.sleep(0.1)
        closing.set()
        await closed
        store = Store(tmp_path)
        facts = store.facts(name)
        store.close()
        assert (facts["state"], facts["attempts"]) == ("queued", 0)

    asyncio.run(work())


def test_a_runner_that_ends_begins_nothing_while_serve_still_asks_it(tmp_path, monkeypatch):
    """Statistics are asked for every half second, and a runner may take as long to end."""
    monkeypatch.setattr(Isolated, "warm", lambda _: None)  # nothing is inspected
    ending, ended = asyncio.Event(), asyncio.Event()

    async def slowly(_) -> None:
        ending.set()
        await ended.wait()

    monkeypatch.setattr(Isolated, "close", slowly)

    async def work() -> None:
        runner = Runner.func_or_class(Config(data=tmp_path))
        await runner.check_health()
        closed = asyncio.create_task(runner.__del__())
        # Python would call it once more and wait for nothing; Serve ends the process before
        monkeypatch.delattr(Runner.func_or_class, "__del__")
        await asyncio.wait_for(ending.wait(), 20)
        store = Store(tmp_path)
        name, _ = store.submit("me", Wanted(name="w"), most=1, key=None, digest="")
        assert (await runner.record_autoscaling_stats())[BACKLOG] > 0
        await runner.check_health()
        await asyncio.sleep(1.5)  # one that works looks for work twice a second
        facts = store.facts(name)
        ended.set()
        await closed
        assert store.facts(name) == facts == await runner.facts(name)
        store.close()
        assert (facts["state"], facts["attempts"]) == ("queued", 0)

    asyncio.run(work())


def test_what_was_over_long_ago_goes_with_its_report(tmp_path, monkeypatch):
    store = Store(tmp_path)
    names = []
    now = time.time()
    for days_ago in (3, 1):
        monkeypatch.setattr(time, "time", lambda when=now - days_ago * 86_400: when)
        name, _ = store.submit("me", Wanted(name="w"), most=9, key=None, digest="")
        store.cancel(name)
        names.append(name)
    monkeypatch.undo()
    old, new = names
    store.close()
    reports = tmp_path / "reports"
    reports.mkdir()
    for name in names:
        (reports / f"{name}.html").write_text("x")

    async def work() -> None:
        jobs = Jobs(Config(data=tmp_path, keep_days=2))
        async with asyncio.timeout(20):
            while (reports / f"{old}.html").exists():
                await asyncio.sleep(0.05)
        assert jobs.store.facts(old) is None
        assert jobs.store.facts(new)["state"] == "cancelled"
        await jobs.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work()).result()
    assert (reports / f"{new}.html").exists()


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(503 if len(self.server.got) == 1 else 204)
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


async def outcome(jobs: Jobs, upload: Path, seconds: float) -> tuple[str, int]:
    """Have an upload inspected; the state at the end, and how often it was tried."""
    wanted = Wanted(name="dark.mp4", upload=str(upload), settings=SETTINGS.model_dump(mode="json"))
    name, _ = jobs.store.submit("me", wanted, most=5, key=None, digest="")
    async with asyncio.timeout(seconds):
        while (facts := jobs.store.facts(name))["state"] not in ("done", "failed"):
            await asyncio.sleep(0.1)
    await jobs.close()
    return facts["state"], facts["attempts"]


def test_no_try_is_lost_where_no_process_can_be_had(clip, tmp_path, monkeypatch):
    """More often than an inspection is tried."""
    refused = 0
    given = Isolated.ready

    async def none(self):
        nonlocal refused
        if refused < 2 * store_module.ATTEMPTS:
            refused += 1
            raise ProblemError(503, "no_worker", "no process could be started", retry_after=0.01)
        return await given(self)

    monkeypatch.setattr(Isolated, "ready", none)
    monkeypatch.setattr(jobs_module, "_CROWDED", 0.05)

    async def work() -> tuple[str, int]:
        jobs = Jobs(Config(data=tmp_path, jobs_at_once=3))
        upload = tmp_path / "uploads/one"
        upload.write_bytes(clip.read_bytes())
        return await outcome(jobs, upload, 60.0)

    assert asyncio.run(work()) == ("done", 1)


@pytest.mark.slow
def test_an_inspection_outlives_the_process_that_forks(tmp_path, monkeypatch):
    """What is not the asset's fault is tried again when the lease runs out."""
    monkeypatch.setattr(store_module, "LEASE", 2.0)

    async def work() -> tuple[str, int]:
        jobs = Jobs(Config(data=tmp_path))
        upload = tmp_path / "uploads/one"
        media.write(upload.with_suffix(".mp4"), media.scene(20.0, 320, 180)).rename(upload)
        killing = asyncio.create_task(asyncio.to_thread(kill_zygote_of_reader, upload))
        done = await outcome(jobs, upload, 90.0)
        await killing
        return done

    assert asyncio.run(work()) == ("done", 2)


def kill_zygote_of_reader(path: Path) -> None:
    """Kill the process that forked the one that has a file open."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process().children(recursive=True):
            with suppress(OSError, psutil.Error):
                opened = Path(f"/proc/{child.pid}/fd").iterdir()
                if any(one.readlink() == path for one in opened):
                    os.kill(child.ppid(), signal.SIGKILL)
                    return
        time.sleep(0.05)


def test_a_webhook_is_signed_and_sent_until_it_arrives(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.webhooks.RETRIES", (0.1, 0.1))
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    receiver.got = []
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    secret = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdA=="
    config = Config(data=tmp_path, private_addresses=True, webhook_secret=secret)

    async def work() -> str:
        jobs = Jobs(config)
        upload = tmp_path / "uploads/one"
        upload.write_bytes(clip.read_bytes())
        hook = f"http://127.0.0.1:{receiver.server_port}/hook"
        wanted = Wanted(
            name="dark.mp4", upload=str(upload), settings=SETTINGS.model_dump(mode="json"),
            webhook=hook,
        )  # fmt: skip
        name, _ = jobs.store.submit("me", wanted, most=5, key=None, digest="")
        async with asyncio.timeout(90):
            while len(receiver.got) < 2:
                await asyncio.sleep(0.05)
        assert (tmp_path / f"reports/{name}.html").is_file()
        assert not upload.exists()
        await jobs.close()
        return name

    try:
        name = asyncio.run(work())
    finally:
        receiver.shutdown()
        receiver.server_close()
    (first, body), (second, again) = receiver.got
    assert first["webhook-id"] == second["webhook-id"] == f"msg_{name}"
    assert body == again
    headers = {key.lower(): value for key, value in second.items()}
    said = Webhook(secret).verify(body, headers)
    assert said["type"] == "inspection.done"
    assert json.loads(body)["data"]["id"] == name
