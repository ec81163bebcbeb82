"""Guard, keys and scaling: what the service is made of, without Ray."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from starlette.requests import HTTPConnection, Request

from pipeline.addresses import is_public
from pipeline.errors import UsageError
from pipeline.live.store import Known
from pipeline.live.store import Store as LiveStore
from pipeline.live.streams import Stream
from serve import guard
from serve.api import Door
from serve.asking import Asked, refuse
from serve.config import Config
from serve.guard import fetch, public_address, refuse_lists
from serve.keys import ANYBODY, Keys, make_key, revoke_key
from serve.problems import ProblemError
from serve.scaling import BACKLOG, ByBacklog
from serve.watching import refuse_many
from tests import web

# ------------------------------------------------------------------------------------- guard


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # metadata of clouds
        ("100.64.0.1", False),
        ("168.63.129.16", False),
        ("fec0::1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_public_addresses_are_public(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.3.2.1:8000", "[::1]:8000", "LOCALHOST:1"]
)
def test_without_keys_this_machine_is_asked_by_a_name_of_its_own(host):
    assert Door(None).holder(asked_of(host), "admin") is ANYBODY


@pytest.mark.parametrize("host", ["", "rebound.example", "10.0.0.7", "[", "127.0.0.1.example:80"])
def test_without_keys_a_name_that_was_made_to_lead_here_is_refused(host):
    with pytest.raises(ProblemError) as told:
        Door(None).holder(asked_of(host), "read")
    assert (told.value.status, told.value.code) == (403, "wrong_host")


def asked_of(host: str) -> HTTPConnection:
    headers = [(b"host", host.encode())]
    return HTTPConnection({"type": "http", "method": "GET", "headers": headers})


def test_what_drips_is_not_fetched_for_ever(tmp_path):
    def drip(request) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b"x")
            time.sleep(0.1)

    with web.serving(tmp_path) as server:
        server.routes["/radio.mp3"] = drip
        uri = f"{server.url}/radio.mp3"
        with pytest.raises(ProblemError) as told:
            asyncio.run(fetch(uri, tmp_path / "out", 10**9, 0.5, private=True))
    assert (told.value.code, told.value.detail) == ("not_fetched", "it took more than 0.5 s")


@pytest.mark.parametrize(
    "uri", ["http://a.example:99999/x.mp4", "http:///x.mp4", "ftp://a/x", "http://a b/"]
)
def test_addresses_that_there_cannot_be_are_refused_at_once(uri):
    for field in ("uri", "webhook"):
        with pytest.raises((ValidationError, ProblemError)):
            refuse(Asked.model_validate({"uri": "http://a.example/x.mp4"} | {field: uri}))
    refuse(Asked(uri="http://a.example:8080/x.mp4", webhook="https://[2001:db8::1]/hook"))


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433"])
def test_loopback_is_refused_however_it_is_written(host):
    with pytest.raises(ProblemError) as told:
        asyncio.run(public_address(host, 80))
    assert told.value.code in ("refused_address", "unknown_host")


def test_what_is_refused_is_never_connected_to(tmp_path):
    with web.serving(tmp_path) as canary:
        (tmp_path / "x.mp4").write_bytes(b"x")
        for uri, code in (
            (f"{canary.url}/x.mp4", "refused_address"),
            (f"file://{tmp_path}/x.mp4", "refused_scheme"),
            ("concat:/etc/passwd", "refused_scheme"),
            (canary.url.replace("http://", "http://me:secret@"), "refused_credentials"),
        ):
            with pytest.raises(ProblemError) as told:
                asyncio.run(fetch(uri, tmp_path / "out", 100, 10.0))
            assert (told.value.status, told.value.code) == (422, code)
        assert canary.seen == []


class _Redirects(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data")
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


def test_redirects_are_looked_at_again(tmp_path, monkeypatch):
    """The first host passes for public; where it leads to does not."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Redirects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    looked: list[str] = []

    async def told(host, port, **_):
        looked.append(host)
        return await public_address(host, port, private=len(looked) == 1)

    monkeypatch.setattr("serve.guard.public_address", told)
    try:
        uri = f"http://127.0.0.1:{server.server_port}/a.mp4"
        with pytest.raises(ProblemError) as refused:
            asyncio.run(fetch(uri, tmp_path / "out", 100, 10.0))
    finally:
        server.shutdown()
        server.server_close()
    assert refused.value.code == "refused_address"
    assert looked == ["127.0.0.1", "169.254.169.254"]


def test_fetching_has_a_limit_and_says_what_went_wrong(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"x" * 1000)
    (tmp_path / "list.mp4").write_bytes(b"\n#EXTM3U\nhttp://10.0.0.1/\n")
    with web.serving(tmp_path) as server:
        out = tmp_path / "out"
        asyncio.run(fetch(f"{server.url}/x.mp4", out, 1000, 10.0, private=True))
        assert out.read_bytes() == b"x" * 1000
        wrong = (("x.mp4", 999, 413), ("gone.mp4", 9, 422), ("list.mp4", 99, 415))
        for name, most, status in wrong:
            with pytest.raises(ProblemError) as told:
                asyncio.run(fetch(f"{server.url}/{name}", out, most, 10.0, private=True))
            assert told.value.status == status
    with pytest.raises(ProblemError) as told:
        asyncio.run(fetch(web.closed(), out, 10, 10.0, private=True))
    assert told.value.code == "not_fetched"


def test_what_was_packed_is_not_unpacked(tmp_path):
    """A few KiB that were packed twice would be gigabytes in memory."""
    bomb = gzip.compress(gzip.compress(bytes(50 << 20)))
    asked: list[str] = []

    def packed(request) -> None:
        asked.append(request.headers["Accept-Encoding"])
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip, gzip")
        request.send_header("Content-Length", str(len(bomb)))
        request.end_headers()
        request.wfile.write(bomb)

    with web.serving(tmp_path) as server:
        server.routes["/x.mp4"] = packed
        with pytest.raises(ProblemError) as told:
            asyncio.run(fetch(f"{server.url}/x.mp4", tmp_path / "out", 10**9, 10.0, private=True))
    assert (told.value.status, told.value.code) == (422, "not_fetched")
    assert asked == ["identity"]


def test_a_name_server_that_is_silent_holds_nobody_else_up(monkeypatch):
    """Forty names that are not resolved; what other threads do goes on meanwhile."""
    silent = threading.Event()
    monkeypatch.setattr(guard, "public_addresses", lambda *_, **__: silent.wait(20))
    monkeypatch.setattr(guard, "_RESOLVE", 1.0)

    async def run() -> tuple[float, list[BaseException | str]]:
        names = [asyncio.create_task(public_address(f"h{n}.example", 80)) for n in range(40)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.to_thread(int)
        took = time.monotonic() - began
        return took, await asyncio.gather(*names, return_exceptions=True)

    try:
        took, told = asyncio.run(run())
    finally:
        silent.set()
    assert took < 0.9
    assert {problem.code for problem in told} == {"not_resolved"}


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n",
        "\ufeff#extm3u",
        "ffconcat version 1.0",
        "<?xml version='1.0'?>",
        "<!-- --><MPD>",
        "v=0\r\n",
    ],
)
def test_lists_of_other_files_are_refused(tmp_path, text):
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(ProblemError) as told:
        refuse_lists(path)
    assert told.value.status == 415


# -------------------------------------------------------------------------------------- keys


def test_keys_are_kept_as_hashes(tmp_path):
    path = tmp_path / "keys.json"
    key = make_key(path, "ops", ["read"])
    other = make_key(path, "root", ["admin"])
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    keys = Keys(path)
    assert keys.holder(key).name == "ops"
    assert keys.holder(key).may("read")
    assert not keys.holder(key).may("submit")
    assert keys.holder(other).may("submit")
    assert keys.holder(key[:-1]) is None
    assert keys.holder("") is None
    with pytest.raises(UsageError, match="already"):
        make_key(path, "ops", ["read"])
    with pytest.raises(UsageError, match="no key of nobody"):
        revoke_key(path, "nobody")
    with pytest.raises(UsageError, match="no such scope"):
        make_key(path, "new", ["everything"])
    path.write_text("nonsense")
    with pytest.raises(UsageError, match="cannot be read"):
        Keys(path)


def test_a_key_that_is_taken_out_opens_nothing_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr("serve.keys._EVERY", 0.0)
    path = tmp_path / "keys.json"
    one, other = (make_key(path, name, ["read"]) for name in ("one", "other"))
    keys = Keys(path)
    assert keys.holder(one) is not None
    revoke_key(path, "one")
    assert keys.holder(one) is None
    assert keys.holder(other).name == "other"
    new = make_key(path, "new", ["read"])
    assert keys.holder(new).name == "new"
    path.write_text("half of a fi")
    assert keys.holder(new).name == "new"  # as it was
    path.unlink()
    assert keys.holder(new).name == "new"


def asked_with(key: str) -> Request:
    headers = [(b"host", b"localhost")]
    headers += [(b"authorization", f"Bearer {key}".encode())] if key else []
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers})


def test_a_key_has_a_share_of_scores_and_nobody_else_pays(tmp_path):
    path = tmp_path / "keys.json"
    one, other = (make_key(path, name, ["submit"]) for name in ("one", "other"))
    door = Door(Keys(path), 2)
    with door.scoring(asked_with(one)), door.scoring(asked_with(one)):
        with pytest.raises(ProblemError) as told, door.scoring(asked_with(one)):
            pass
        assert (told.value.status, told.value.code) == (429, "quota")
        assert told.value.retry_after
        with door.scoring(asked_with(other)):
            pass
    with pytest.raises(ValueError, match="broken"), door.scoring(asked_with(one)):
        raise ValueError("broken")
    with door.scoring(asked_with(one)), door.scoring(asked_with(one)):  # given back
        pass
    free = Door(None, 1)
    with free.scoring(asked_with("")), free.scoring(asked_with("")):  # no keys, no shares
        pass


def test_uploads_on_their_way_are_counted(tmp_path):
    path = tmp_path / "keys.json"
    one, other = (make_key(path, name, ["submit"]) for name in ("one", "other"))
    door = Door(Keys(path), submits=3, own_submits=2)
    with door.submitting(asked_with(one)) as holder, door.submitting(asked_with(one)):
        assert holder.name == "one"
        with pytest.raises(ProblemError) as quota, door.submitting(asked_with(one)):
            pass
        with (
            door.submitting(asked_with(other)),
            pytest.raises(ProblemError) as busy,
            door.submitting(asked_with(other)),
        ):
            pass
    for told, code in ((quota, "quota"), (busy, "busy")):
        assert (told.value.status, told.value.code) == (429, code)
        assert told.value.retry_after
    with door.submitting(asked_with(one)):
        pass


def test_a_key_has_a_share_of_monitors(tmp_path):
    def known(*owners: str) -> dict[str, Known]:
        streams = LiveStore(tmp_path / "-".join(owners))
        try:
            for n, owner in enumerate(owners):
                streams.add(Stream(name=f"s{n}", uri="udp://127.0.0.1:9", owner=owner))
            return streams.streams()
        finally:
            streams.close()

    config = Config(data=tmp_path, monitors=4, monitors_of_one_key=2)
    refuse_many("me", known("me", "you", "you"), config)
    for owners, code in ((("me", "me"), "quota"), (("a", "b", "c", "d"), "too_many_monitors")):
        with pytest.raises(ProblemError) as told:
            refuse_many("me", known(*owners), config)
        assert (told.value.status, told.value.code) == (429, code)
        assert told.value.retry_after


@pytest.mark.parametrize(
    ("reported", "queued", "listening", "running", "wanted"),
    [
        ({}, 0, 0, 2, 0),  # nothing waits: Serve applies `min_replicas`, which may be 0
        ({"a": 0.0}, 0, 0, 1, 0),
        ({"a": 0.0, "b": 0.0}, 0, 1, 2, 1),  # who listens is not cut off
        ({}, 3, 0, 0, 1),  # nobody is there to report, and somebody asks
        ({}, 1, 0, 2, 2),
        ({"a": 4.0, "b": 0.5}, 0, 2, 2, 2),
        ({"a": 9.0}, 5, 0, 1, 3),
    ],
)
def test_replicas_follow_the_backlog_down_to_none(reported, queued, listening, running, wanted):
    context = SimpleNamespace(
        aggregated_metrics={BACKLOG: reported}, total_queued_requests=queued,
        total_num_requests=queued + listening, current_num_replicas=running,
    )  # fmt: skip
    assert ByBacklog(target=4.0)(context) == (wanted, {})


def test_work_that_any_replica_may_do_is_counted_once():
    context = SimpleNamespace(
        aggregated_metrics={BACKLOG: {"a": 9.0, "b": 8.0}}, total_queued_requests=0,
        current_num_replicas=2,
    )  # fmt: skip
    assert ByBacklog(target=4.0, shared=True)(context) == (3, {})
