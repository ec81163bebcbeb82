"""Webhooks of events: each receiver has its queue, which outlives process and outages."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook

from pipeline import webhooks
from pipeline.live import sinks
from pipeline.live.sinks import Webhooks
from pipeline.live.store import Store
from tests.live.test_store import event
from tests.serve.real import free_port
from tests.waiting import until

SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdA=="


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Receiver:
    """A receiver of messages that is there for the length of a block."""

    def __init__(self, port: int) -> None:
        self.url, self._port = f"http://127.0.0.1:{port}/hook", port
        self.got = []

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _Handler)
        self._server.got = self.got
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.got]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


def test_a_dead_receiver_holds_nobody_up_and_gets_everything_later(store, monkeypatch):
    monkeypatch.setattr(webhooks, "next_try", lambda _: 0.05)
    dead, alive = Receiver(free_port()), Receiver(free_port())
    names = [f"e{n}" for n in range(5)]
    hooks = Webhooks(store, SECRET)
    with alive:
        for name in names:
            events = [event("opened", identity=name)]
            hooks.take(store.take(events, [], [], [dead.url, alive.url]))
        until(lambda: len(alive.got) == len(names))
        assert store.receivers() == [dead.url]
        hooks.close(patience=0.0)
    messages = [Webhook(SECRET).verify(body, headers) for headers, body in alive.got]
    assert [message["data"]["id"] for message in messages] == names
    # the process ends, and the next one finds what waits
    waiting = [message.id for message in store.due(dead.url, time.time() + 1.0)]
    with dead:
        hooks = Webhooks(store, SECRET)
        hooks.look()
        until(lambda: not store.receivers())
        hooks.close()
    assert dead.ids() == waiting
    assert len(set(waiting)) == len(names)


def test_messages_are_sent_at_once(store, monkeypatch):
    monkeypatch.setattr(sinks, "_LOOK_EVERY", 60.0)
    receiver = Receiver(free_port())
    hooks = Webhooks(store, SECRET)
    with receiver:
        for n in range(3):
            hooks.take(store.take([event("opened", identity=f"e{n}")], [], [], [receiver.url]))
            until(lambda n=n: len(receiver.got) > n)
    hooks.close()


def test_what_nobody_ever_takes_is_given_up(store, monkeypatch, caplog):
    tries = []
    monkeypatch.setattr(
        webhooks, "next_try", lambda n: tries.append(n) or (0.01 if n < 2 else None)
    )
    hooks = Webhooks(store, None)
    store.take([event("opened")], [], [], [f"http://127.0.0.1:{free_port()}/hook"])
    hooks.look()
    until(lambda: not store.receivers())
    hooks.close()
    assert tries == [0, 1, 2]
    assert "given up" in caplog.text
