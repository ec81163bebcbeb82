"""The service is killed, in whole or in part: what was accepted is done, streams are watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from serve.client import Client, ServiceError
from tests import media
from tests.live import origin
from tests.serve.real import MARKS, free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(590)]


class Service:
    """`vidette serve`, in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.data, self._log = folder / "data", folder / "serve.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.main: psutil.Process | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "vidette", "serve", "--data", self.data]
        command += ["--port", str(self.port), "--private-addresses", "--replicas", "1"]
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.main = psutil.Process(child.pid)
        until(self._is_ready, 120)

    def _is_ready(self) -> bool:
        assert self.main.is_running(), self._log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", timeout=10.0).status_code == 200
        return False

    def processes(self, word: str = "") -> list[psutil.Process]:
        """All of them, or those that are called so."""
        found = []
        for one in (self.main, *self.main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                if word in " ".join(one.cmdline()):
                    found.append(one)
        return found

    def kill(self) -> None:
        """SIGKILL to each, the one that starts others first."""
        found = self.processes()
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        _, left = psutil.wait_procs(found, 30)
        assert not left


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """Six: work for seconds, so that some are under way and some wait."""
    folder = tmp_path_factory.mktemp("clips")
    media.write(folder / "0.mp4", media.scene(20.0, 320, 180), 0.1 * media.programme(20.0))
    for number in range(1, 6):
        media.write(folder / f"{number}.mp4", media.scene(2.0, 160, 96, seed=number), None)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def programme(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programme")
    source = origin.repeated(origin.programme(folder), folder / "long.mp4", 12)  # six minutes
    return folder, origin.segmented(source, folder)


def facts(client, name):
    """What is told of an inspection; None while nobody answers."""
    with contextlib.suppress(ServiceError, httpx.HTTPError):
        return client.facts(name)
    return None


def test_all_of_it_is_killed_and_what_was_accepted_is_done_once(
    service, receiver, clips, programme
):
    hook = f"http://127.0.0.1:{receiver.server_port}/hook"
    folder, lengths = programme
    with origin.live_hls(folder, lengths) as live, Client(service.url) as client:
        client.watch(live.url, "news", only=["black"])
        until(lambda: client.monitor("news")["state"] == "watching", 60)
        names = [
            client.submit(clip, idempotency_key=clip.name, webhook=hook) for clip in clips[:-1]
        ]
        until(lambda: client.facts(names[0])["position"] > 0, 60)
        names.append(client.submit(clips[-1], idempotency_key=clips[-1].name, webhook=hook))
        before = {name: client.facts(name)["state"] for name in names}
        service.kill()
        assert Counter(before.values()) == {"running": 1, "queued": 5}
        service.start()
        # who did not get the answer asks again, and gets the same
        again = client.submit(clips[-1], idempotency_key=clips[-1].name, webhook=hook)
        assert again == names[-1]
        told = [client.wait(name, 200) for name in names]
        assert [one["state"] for one in told] == ["done"] * 6
        assert [one["attempts"] for one in told] == [2, 1, 1, 1, 1, 1]
        assert all(client.result(name).coverage.state == "complete" for name in names)
        until(lambda: len(receiver.got) >= 6, 30)
        assert Counter(one["data"]["id"] for one in receiver.got) == dict.fromkeys(names, 1)
        assert {one["type"] for one in receiver.got} == {"inspection.done"}
        assert not list((service.data / "uploads").iterdir())
        until(lambda: client.monitor("news")["state"] == "watching", 60)
        # told every two seconds
        spans = until(lambda: client.monitor("news")["coverage"], 60)
        until(lambda: client.monitor("news")["coverage"][-1][1] > spans[-1][1], 60)


@pytest.mark.parametrize("part", ["raylet/raylet", "gcs_server"])
def test_without_its_ray_it_ends_and_the_next_start_goes_on(service, clips, part):
    """Ray's node or its head is killed: a supervisor must see that nobody answers."""
    with Client(service.url) as client:
        name = client.submit(clips[1], only=["black"])
        (process, *_) = service.processes(part)
        process.kill()
        until(lambda: service.main.status() == psutil.STATUS_ZOMBIE, 90)
        service.kill()
        service.start()
        assert client.wait(name, 120)["state"] == "done"


@pytest.mark.parametrize("word", ["ServeController", "ProxyActor", ":Api"])
def test_a_part_is_killed_while_work_comes_and_none_is_lost(service, clips, word):
    """Serve's head, who takes requests in, who answers them: each comes again by itself."""
    accepted: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        with Client(service.url) as mine:
            while not stop.is_set():
                with contextlib.suppress(ServiceError, httpx.HTTPError):
                    accepted.append(mine.submit(clips[1], only=["black"]))
                time.sleep(0.5)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        until(lambda: len(accepted) > 2, 60)
        victims = service.processes(word)
        assert victims
        for one in victims:
            os.kill(one.pid, signal.SIGKILL)
        psutil.wait_procs(victims, 30)
        count = len(accepted)
        until(lambda: len(accepted) > count + 5, 90)
    finally:
        stop.set()
        thread.join()
    with Client(service.url) as client:
        until(lambda: all((facts(client, n) or {}).get("state") == "done" for n in accepted), 200)
        assert {client.facts(name)["attempts"] for name in accepted} == {1}
