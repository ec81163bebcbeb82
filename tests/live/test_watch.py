"""`vidette watch` as people start it: real Ray, real origin, a receiver, and workers that die."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from standardwebhooks import Webhook

from pipeline.live.store import Store
from tests.live import origin
from tests.nodes import end_node_of, growing, nodes_of, several_nodes
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdA=="
pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("ray")]


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(500 if len(self.server.got) == 1 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """A receiver of webhooks that fails the first time."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.got = []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def programme(tmp_path_factory):
    """Two stretches of black in three minutes, in segments of a second: busy machines are slow."""
    folder = tmp_path_factory.mktemp("programme")
    source = origin.programme(folder, 180.0, black=[(7.0, 9.0), (13.0, 24.0)])
    return folder, origin.segmented(source, folder)


class Watch:
    """A running `vidette watch`."""

    def __init__(self, out: Path, *arguments: str, database: str | None = None) -> None:
        self.out, self.database = out, database
        if database is not None:
            arguments = (*arguments, "--database", database)
        environment = os.environ | {"VIDETTE_WEBHOOK_SECRET": SECRET}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "vidette.py", "watch", "--out", out, *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def until(self, condition, seconds: float = 60.0):
        """Wait for something that the store tells; returns it."""
        deadline = time.monotonic() + seconds
        while True:
            if self.database is not None or (self.out / "watch.sqlite").is_file():
                store = Store(self.out, self.database)
                try:
                    found = condition(store)
                finally:
                    store.close()
                if found:
                    return found
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.1)

    def interrupt(self) -> str:
        """Ctrl-C; returns what it printed."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def watch(tmp_path):
    begun = []

    def start(*arguments: str, out: str = "out", database: str | None = None) -> Watch:
        begun.append(Watch(tmp_path / out, *arguments, database=database))
        return begun[-1]

    yield start
    for one in begun:
        one.close()


def seen(store, name=None):
    """How far a stream was watched, or 0."""
    known = next((k for n, k in store.streams().items() if name in (None, n)), None)
    return known.status.seen or 0.0 if known and known.status else 0.0


def worker_of(store, name):
    """The process that watches a stream."""
    place = store.streams()[name].worker
    return int(place.partition("/")[2]) if place else None


def black(store, change):
    return [e for _, e in store.since(0) if e.kind == "black" and e.change == change]


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_the_next_watch_goes_on(watch, programme, receiver):
    folder, lengths = programme
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with origin.live_hls(folder, lengths) as live:
        hook = f"http://127.0.0.1:{receiver.server_port}/hook"
        one = watch(
            live.url, "--label", "cdn=a", "--workers", "1", "--skip", "sync", "--webhook", hook,
            "--metrics-port", str(port),
        )  # fmt: skip
        one.until(lambda store: seen(store) > 0.0)
        one.until(lambda store: len(black(store, "closed")) == 1, 30)
        opened = one.until(lambda store: black(store, "opened")[1:], 30)
        assert len(opened) == 1
        name = opened[0].stream
        store = Store(one.out)
        victim = worker_of(store, name)
        os.kill(victim, signal.SIGKILL)
        killed = time.time()
        one.until(lambda store: store.coverage(name)[-1][1] > killed + 1.0, 20)
        assert worker_of(store, name) != victim
        # watched again within ten seconds; a playlist still lists what was missed, so that there
        # may be no gap at all
        begun, _ = store.coverage(name)[-1]
        assert begun - killed < 10.0
        before = [end for _, end in store.coverage(name)[:-1]]
        assert all(end < killed + 0.5 for end in before)
        one.until(lambda store: len(black(store, "closed")) == 2, 40)
        figures = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        said = one.interrupt()
        # each is opened once and closed once, and that is what all sinks have
        told = [e for _, e in store.since(0) if e.kind == "black"]
        for event in black(store, "opened"):
            own = [e.change for e in told if e.id == event.id]
            assert (own.count("opened"), own.count("closed")) == (1, 1)
        assert {e.outcome for e in black(store, "closed")} == {"ended"}
        lines = [json.loads(line) for line in (one.out / "events.jsonl").read_text().splitlines()]
        assert [e["id"] for e in lines] == [e.id for _, e in store.since(0)]
        assert all(e["labels"] == {"cdn": "a"} for e in lines)
        rows = [row for f in one.out.rglob("*.parquet") for row in pq.read_table(f).to_pylist()]
        ids = {e.id for _, e in store.since(0) if e.change == "closed"}
        assert sorted(row["id"] for row in rows) == sorted(ids)
        assert "black begins" in said
        assert "black ends" in said
        # the first message came twice, under one ID; all are signed
        messages = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.got]
        assert receiver.got[0][0]["webhook-id"] in [h["webhook-id"] for h, _ in receiver.got[1:]]
        arrived = {(m["data"]["id"], m["data"]["change"]) for m in messages}
        assert arrived <= {(e.id, e.change) for _, e in store.since(0)}
        found = re.search(r'vidette_defects_total\{[^}]*kind="black"[^}]*\} (\S+)', figures)
        assert found is not None
        assert float(found[1]) == 2.0
        # and on it goes
        last = seen(store)
        two = watch(live.url, "--label", "cdn=a", "--workers", "1", "--skip", "sync")
        two.until(lambda store: seen(store) > last + 1.0)
        two.interrupt()
        assert len(black(store, "opened")) == 2
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_without_its_ray_it_ends_and_the_next_watch_goes_on(watch, programme, part):
    folder, lengths = programme
    with origin.live_hls(folder, lengths) as live:
        one = watch(live.url, "--workers", "1", "--only", "black")
        one.until(lambda store: seen(store) > 0.0)
        children = psutil.Process(one.process.pid).children(recursive=True)
        victims = [child for child in children if child.name() == part]
        for victim in victims:
            victim.kill()
        assert len(victims) == 1
        said, _ = one.process.communicate(timeout=90)
        assert one.process.returncode == 2
        assert "Ray has died" in said
        _, left = psutil.wait_procs(children, 30)
        assert not left
        store = Store(one.out)
        last = seen(store)
        two = watch(live.url, "--workers", "1", "--only", "black")
        two.until(lambda store: seen(store) > last + 1.0)
        two.interrupt()
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "status", "words"),
    [("raylet", 2, "Ray has died"), ("gcs_server", 1, "Failed to connect to GCS")],
)
def test_without_the_cluster_that_it_joined_it_ends_as_well(watch, programme, part, status, words):
    """Its node dies, with all others here; or the head, for which Ray's client waits a minute."""
    folder, lengths = programme
    with several_nodes(1) as address, origin.live_hls(folder, lengths) as live:
        one = watch(live.url, "--address", address, "--workers", "1", "--only", "black")
        one.until(lambda store: seen(store) > 0.0)
        victims = [p for p in psutil.Process().children(recursive=True) if p.name() == part]
        assert victims
        for victim in victims:
            victim.kill()
        said, _ = one.process.communicate(timeout=150)
        assert one.process.returncode == status, said
        assert words in said


@pytest.mark.slow
def test_a_stream_that_kills_its_workers_is_left_alone_and_the_others_go_on(
    watch, programme, tmp_path
):
    folder, lengths = programme
    with origin.live_hls(folder, lengths) as live:
        config = tmp_path / "streams.yaml"
        config.write_text(
            json.dumps(
                {
                    "streams": [
                        {"name": name, "uri": f"{live.url}?{name}", "settings": {}}
                        for name in ("good", "killer")
                    ],
                    "settings": {"skip": ["sync"]},
                }
            )
        )
        one = watch("--config", str(config), "--workers", "1")

        def kill(store):
            if store.streams().get("killer") is None or seen(store, "killer") == 0.0:
                return False
            known = store.streams()["killer"]
            if known.quarantined:
                return True
            if known.status.state == "watching" and time.time() - (known.status.seen or 0) < 3.0:
                os.kill(worker_of(store, "killer"), signal.SIGKILL)
                time.sleep(6.0)
            return False

        one.until(kill, 150)
        now = time.time()
        one.until(lambda store: seen(store, "good") > now + 5.0, 30)
        config.write_text(json.dumps({"streams": []}))
        one.until(lambda store: not store.streams(), 10)
        one.interrupt()


@pytest.mark.slow
def test_a_database_lets_another_machine_go_on(watch, programme, postgres):
    """Machines are folders here: who watches is alone, and 20 s after its death another may."""
    folder, lengths = programme
    url = postgres.fresh()
    with origin.live_hls(folder, lengths) as live:
        arguments = (live.url, "--label", "cdn=a", "--only", "black,freeze")
        one = watch(*arguments, database=url)
        (event,) = one.until(lambda store: black(store, "opened"))
        refused = watch(*arguments, out="other", database=url)
        said, _ = refused.process.communicate(timeout=60)
        assert refused.process.returncode == 64
        assert "is being watched into by" in said
        assert not (one.out / "watch.sqlite").exists()
        os.killpg(one.process.pid, signal.SIGKILL)
        killed = time.time()
        time.sleep(20.0)
        two = watch(*arguments, out="other", database=url)
        two.until(lambda store: seen(store) > killed + 20.0)
        two.until(lambda store: len(black(store, "closed")) >= 1)
        two.interrupt()
    store = Store(two.out, url)
    assert event.id in {one.id for one in black(store, "closed")}
    assert store.rollup("cdn", 600.0, time.time())[0]["value"] == "a"
    store.close()


@pytest.mark.slow
def test_a_node_that_dies_hands_its_streams_to_the_others(watch, programme):
    """Two nodes, a worker on each: the streams of one go on at the other within ten seconds."""
    folder, lengths = programme
    with several_nodes(2) as address, origin.live_hls(folder, lengths) as live:
        streams = [f"{live.url}?{name}" for name in ("a", "b")]
        one = watch(*streams, "--address", address, "--workers", "2", "--only", "black,freeze")
        one.until(
            lambda store: len(store.streams()) == 2 and all(seen(store, n) for n in store.streams())
        )
        store = Store(one.out)
        name = min(store.streams())
        victim = worker_of(store, name)
        hit = [n for n in store.streams() if worker_of(store, n) == victim]
        end_node_of(victim)
        killed = time.time()
        for each in hit:
            one.until(lambda store, each=each: store.coverage(each)[-1][1] > killed + 1.0, 30)
            begun, _ = store.coverage(each)[-1]
            assert begun - killed < 10.0
            assert worker_of(store, each) != victim
        now = time.time()
        for each in store.streams():
            one.until(lambda store, each=each: seen(store, each) > now, 30)
        one.interrupt()
        for event in black(store, "opened"):
            own = [e.change for _, e in store.since(0) if e.id == event.id]
            assert own.count("opened") == 1
        store.close()


@pytest.mark.slow
def test_ray_adds_nodes_for_streams_and_takes_them_away_again(watch, programme, tmp_path):
    """Workers ask for a CPU each; a cluster that has none gets a node for each from Ray."""
    folder, lengths = programme
    with growing(2, tmp_path) as address, origin.live_hls(folder, lengths) as live:
        assert nodes_of(address) == 0
        config = tmp_path / "streams.yaml"
        config.write_text(json.dumps({"streams": [{"name": "a", "uri": live.url}]}))
        one = watch("--config", str(config), "--address", address, "--only", "black,freeze")
        one.until(lambda store: seen(store) > 0.0, 90)
        # one that watches, and one that stands by
        until(lambda: nodes_of(address) == 2, 60)
        config.write_text(json.dumps({"streams": []}))
        one.until(lambda store: not store.streams(), 20)
        until(lambda: nodes_of(address) == 1, 90)
        one.interrupt()
        until(lambda: nodes_of(address) == 0, 60)
