"""Live streams over HTTP: a real Serve, origin and client."""

from __future__ import annotations

import asyncio
import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import ray
from httpx_sse import connect_sse
from PIL import Image
from websockets.sync.client import connect

from pipeline.live.store import Store
from serve.client import Client, ServiceError
from serve.monitors import Monitors
from serve.problems import ProblemError
from tests.live import origin
from tests.serve.real import MARKS
from tests.waiting import until

pytestmark = [*MARKS, pytest.mark.timeout(590)]
SKIP = ["sync"]  # imports torch, for which nothing here has a use


def refused(call, *arguments, **named) -> tuple[int, str]:
    with pytest.raises(ServiceError) as told:
        call(*arguments, **named)
    return told.value.status, told.value.code


def test_a_stream_is_watched_and_its_events_are_heard_once_each(service, admin, programme):
    folder, lengths = programme
    # so long a playlist that a busy machine loses nothing
    with origin.live_hls(folder, lengths, window=12) as live:
        facts = admin.watch(live.url, "news", labels={"cdn": "a"}, skip=SKIP)
        assert (facts["name"], facts["labels"], facts["skip"]) == ("news", {"cdn": "a"}, SKIP)
        number, event = next(
            (number, event) for number, event in admin.events(after=0) if event.kind == "black"
        )
        assert (event.change, event.stream, event.labels) == ("opened", "news", {"cdn": "a"})
        (one,) = admin.monitors()
        assert one["state"] == "watching"
        assert [d["id"] for d in one["defects"] if d["kind"] == "black"] == [event.id]
        # the picture of the event is dark, that of the stream is as it is now
        evidence = Image.open(io.BytesIO(admin.picture("news", event.id)))
        assert evidence.size == (256, 144)
        assert np.asarray(evidence.convert("L")).mean() < 25
        # a listener that comes again is told what it missed, and nothing twice
        heard = [(n, e.id, e.change) for n, e in _some(admin.events(after=number), 1)]
        assert heard[0][0] > number
        closed = next(
            e for _, e in admin.events("news", after=number)
            if (e.id, e.change) == (event.id, "closed")
        )  # fmt: skip
        begins = max(10.0, sum(lengths[: live.joined]))  # later where a busy machine joins late
        length = (closed.end - closed.start).total_seconds()
        if closed.outcome == "lost":  # a machine that stood still left out the rest of it
            gaps = [end for _, end in admin.monitor("news")["coverage"][:-1]]
            assert min(abs(closed.end.timestamp() - gap) for gap in gaps) < 1.0, closed
        else:
            assert closed.outcome == "ended", closed
            assert length == pytest.approx(18 - begins, abs=0.2), closed
        until(lambda: _light(admin.picture("news")))
        # the same over a socket, from the beginning
        with connect(
            f"ws://127.0.0.1:{service.port}/v1/events/socket?after=0",
            additional_headers={"Authorization": f"Bearer {service.keys['read']}"},
        ) as socket:
            while True:
                message = json.loads(socket.recv(timeout=10))
                if message["event"] == "start":
                    assert (message["number"], message["data"]) == (0, None)
                elif message["data"]["kind"] == "black":
                    break
        assert (message["event"], message["data"]["id"]) == ("defect", event.id)
        assert message["number"] == number
        whole = admin.monitor("news")
        assert event.id in [e["id"] for e in whole["events"]]
        assert sum(end - start for start, end in whole["coverage"]) > 5
        # short-term loudness is that of 3 s: there is none before
        until(lambda: any(p["loudness"] is not None for p in admin.monitor("news")["history"]))
        points = admin.monitor("news")["history"]
        assert all(16 <= p["luma"] < 235 for p in points)
        assert all(-60 < p["loudness"] < 0 for p in points if p["loudness"] is not None)
        # the header of a browser that comes again counts more than `after`
        again = _sse(service, {"Last-Event-ID": str(number)}, {"monitor": "news", "after": 0})
        assert again[0] == heard[0][0]
        assert _sse(service, {}, {"monitor": "news", "after": number - 1})[0] == number
        (row,) = [r for r in admin.analytics("cdn", 300) if r["kind"] == "black"]
        key = {"Authorization": f"Bearer {service.keys['read']}"}
        asked = {"by": "cdn", "window": 300}
        told = httpx.get(f"{service.url}/v1/analytics", params=asked, headers=key).json()
        assert (told["by"], told["window"]) == ("cdn", 300.0)
        (said,) = [r for r in told["rows"] if r["kind"] == "black"]
        # the stream goes on between the two questions
        assert said.keys() == row.keys()
        lasting = row.keys() - {"watched_s", "share"}
        assert {k: said[k] for k in lasting} == {k: row[k] for k in lasting}
        assert said["watched_s"] >= row["watched_s"]
        bare = httpx.get(f"{service.url}/v1/analytics", headers=key)
        assert (bare.status_code, bare.json()["code"]) == (422, "invalid_request")
        assert (row["value"], row["streams"], row["affected"]) == ("a", 1, 1)
        assert row["defect_s"] == pytest.approx(length, abs=0.3)


def _sse(service, headers, query) -> list[int]:
    """The number of the first event that a listener is told, as SSE has it."""
    headers = headers | {"Authorization": f"Bearer {service.keys['read']}"}
    with (
        httpx.Client(base_url=service.url, headers=headers, timeout=30.0) as http,
        connect_sse(http, "GET", "/v1/events", params=query) as source,
    ):
        messages = source.iter_sse()
        start = next(messages)  # an ID alone, so that who comes again misses nothing
        assert (start.event, start.data) == ("message", "")
        first = next(message for message in messages if message.event == "defect")
        assert int(start.id) < int(first.id)
        return [int(first.id)]


def _some(events, count):
    return [next(events) for _ in range(count)]


def _light(jpeg: bytes) -> bool:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).mean() > 40


def test_monitors_come_change_and_go(admin):
    uri = "udp://127.0.0.1:9"
    facts = admin.watch(uri, "a", only=["black"])
    assert facts["state"] in ("waiting", "connecting")
    assert admin.watch(uri, "a", only=["black"])["name"] == "a"  # again: nothing new
    assert refused(admin.watch, uri, "a", only=["freeze"]) == (409, "exists")
    changed = admin.change("a", only=["freeze"], labels={"x": "y"})
    assert (changed["only"], changed["labels"], changed["uri"]) == (["freeze"], {"x": "y"}, uri)
    assert refused(admin.change, "b", only=["freeze"]) == (404, "not_found")
    assert refused(admin.monitor, "b") == (404, "not_found")
    assert refused(admin.picture, "a") == (404, "not_found")
    assert refused(admin.unwatch, "b") == (404, "not_found")
    made = admin.watch("http://127.0.0.1:9/x/live.m3u8?token=secret")
    assert made["name"] == "127.0.0.1:9-x-live.m3u8"
    assert "secret" not in json.dumps(made)
    admin.watch("udp://127.0.0.1:10", "c")
    with pytest.raises(ServiceError) as told:
        admin.watch("udp://127.0.0.1:11", "d")
    assert (told.value.status, told.value.code) == (429, "too_many_monitors")
    assert told.value.retry_after == 60
    admin.unwatch("c")
    assert {one["name"] for one in admin.monitors()} == {"a", "127.0.0.1:9-x-live.m3u8"}


def test_of_several_who_ask_for_one_name_at_once_one_gets_it(admin):
    def ask(n: int) -> int:
        try:
            admin.watch(f"udp://127.0.0.1:{9 + n}", "one")
        except ServiceError as error:
            return error.status
        return 201

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(ask, range(6))) == [201] + 5 * [409]
    assert len(admin.monitors()) == 1


def test_so_many_may_listen(service):
    """Two with one key, three in all; who leaves makes room."""
    read, other = ({"Authorization": f"Bearer {service.keys[s]}"} for s in ("read", "admin"))

    def refused_with(headers) -> tuple[int, str, str | None]:
        answer = httpx.get(f"{service.url}/v1/events", headers=headers)
        return answer.status_code, answer.json()["code"], answer.headers.get("retry-after")

    begun = []  # a generator that is let go of closes its connection

    def listen(stack: ExitStack, headers) -> None:
        source = stack.enter_context(connect_sse(http, "GET", "/v1/events", headers=headers))
        begun.append(source.iter_sse())
        next(begun[-1])

    with httpx.Client(base_url=service.url, timeout=30.0) as http, ExitStack() as stack:
        with ExitStack() as brief:
            listen(brief, read)
            listen(stack, read)
            assert refused_with(read) == (429, "quota", "10")
            listen(stack, other)
            assert refused_with(other) == (429, "too_many_listeners", "10")
            with connect(
                f"ws://127.0.0.1:{service.port}/v1/events/socket", additional_headers=other
            ) as socket:
                assert json.loads(socket.recv(timeout=10))["code"] == "too_many_listeners"
        until(lambda: _may_listen(service, read))


def _may_listen(service, headers) -> bool:
    with httpx.stream("GET", f"{service.url}/v1/events", headers=headers) as answer:
        return answer.is_success


def test_what_is_wrong_with_a_monitor_is_said(admin):
    for uri in ("/etc/passwd", "file:///x/live.m3u8", "data:,x", "concat://x"):
        assert refused(admin.watch, uri) == (422, "invalid_request")
    assert refused(admin.watch, "udp://:99999") == (422, "invalid_uri")
    assert refused(admin.watch, "udp://127.0.0.1:9", "a/b") == (422, "invalid_request")
    assert refused(admin.watch, "udp://127.0.0.1:9", only=["x"]) == (422, "invalid_settings")
    limits = {"limits.allow_local_files": True}
    assert refused(admin.watch, "udp://127.0.0.1:9", settings=limits) == (422, "invalid_settings")
    assert admin.monitors() == []


def test_addresses_that_are_not_public_are_refused():
    for private, uri in ((False, "http://127.0.0.1/l.m3u8"), (False, "rtmp://10.0.0.1/x")):
        config = SimpleNamespace(private_addresses=private)
        monitors = Monitors(config, None, None, None)
        fields = {"name": "n", "uri": uri, "labels": {}, "only": [], "skip": [], "settings": {}}
        # in a thread of its own: a browser of other tests may have a loop in this one
        with pytest.raises(ProblemError) as told, ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, monitors._stream(fields)).result()
        assert (told.value.status, told.value.code) == (422, "refused_address")


def test_who_may_watch_and_listen(service):
    url, keys = service.url, service.keys
    with Client(url, keys["submit"]) as submitter:
        assert refused(submitter.watch, "udp://127.0.0.1:9")[0] == 403
        assert refused(submitter.monitors)[0] == 403
    with Client(url, keys["read"]) as reader:
        assert reader.monitors() == []
        assert refused(reader.unwatch, "x")[0] == 403
    with Client(url) as nobody:
        assert refused(nobody.monitors)[0] == 401
        assert refused(next, nobody.events()) == (401, "unauthorized")
    with connect(f"ws://127.0.0.1:{service.port}/v1/events/socket") as socket:
        assert json.loads(socket.recv(timeout=10))["code"] == "unauthorized"


def test_the_cookie_of_the_page_is_a_key_for_the_page_alone(service):
    with httpx.Client(base_url=service.url) as browser:
        key = {"Authorization": f"Bearer {service.keys['admin']}"}
        wrong = browser.post("/v1/session", headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401
        begun = browser.post("/v1/session", headers=key)
        assert begun.status_code == 204
        cookie = begun.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/v1/monitors").status_code == 200
        body = {"uri": "udp://127.0.0.1:9", "name": "m"}
        foreign = browser.post("/v1/monitors", json=body, headers={"Origin": "http://evil.test"})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "cross_site")
        own = browser.post("/v1/monitors", json=body, headers={"Origin": service.url})
        assert own.status_code == 201
        assert browser.delete("/v1/monitors/m").status_code == 204
        assert browser.delete("/v1/session").status_code == 204
        assert browser.get("/v1/monitors").status_code == 401


def test_files_of_the_page_and_no_others(service):
    with httpx.Client(base_url=service.url) as http:
        page = http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert http.get("/static/page.js").headers["content-type"].startswith("text/javascript")
        for name in ("index.html", "..%2fapp.py", "%2e%2e", "nothing.js"):
            assert http.get(f"/static/{name}").status_code == 404


@pytest.mark.slow
def test_the_desk_goes_on_when_its_process_is_killed(service, admin, programme):
    """The deployment that watches is killed: another one watches the same streams."""
    folder, lengths = programme
    with origin.live_hls(folder, lengths) as live:
        admin.watch(live.url, "news", only=["black"])
        until(lambda: admin.monitor("news")["state"] == "watching")
        store = Store(service.data / "watch")
        try:
            before = store.streams()["news"].worker
            for actor in ray.util.list_named_actors(all_namespaces=True):
                if "Watching" in actor["name"]:
                    ray.kill(ray.get_actor(**actor), no_restart=True)
            moved = until(
                lambda: (
                    (k := store.streams()["news"]).worker not in (None, before)
                    and k.status.state == "watching"
                    and k
                ),
                60,
            )
        finally:
            store.close()
        assert moved.stream.only == ("black",)
        until(lambda: _answers(admin))


def _answers(client) -> bool:
    try:
        return client.monitor("news")["state"] == "watching"
    except (ServiceError, httpx.HTTPError):
        return False
