"""The whole service: a real Ray Serve, asked by a real HTTP client."""

from __future__ import annotations

import io
import itertools
import json
import os
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import ray
from PIL import Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import vidette
from models.runtime import CorruptionRuntime
from pipeline.types import Kind
from serve.client import Client, ServiceError
from serve.config import Config
from serve.frames import frames_of
from serve.isolated import Bounds
from serve.keys import make_key
from serve.run import start
from tests import media, web
from tests.serve.real import MARKS, free_port, problem_of
from tests.waiting import until

pytestmark = [*MARKS, pytest.mark.timeout(590)]
ONLY = ["black", "silence"]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """URL, key of a user, key of an admin, key that may only read."""
    data = tmp_path_factory.mktemp("data")
    keys = data / "keys.json"
    user = make_key(keys, "user", ["read", "submit"])
    admin = make_key(keys, "root", ["admin"])
    reader = make_key(keys, "reader", ["read"])
    config = Config(
        data=data, keys=keys, max_upload_bytes=4 * 2**20, jobs_of_one_key=6, scores_of_one_key=4,
        cpus=0.5, max_replicas=1, score=Bounds(seconds=60), monitor_workers=1, monitor_standby=0,
    )  # fmt: skip
    port = free_port()
    start(config, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}", user, admin, reader
    ray.serve.shutdown()
    ray.shutdown()


@pytest.fixture
def client(service):
    with Client(service[0], service[1]) as made:
        yield made


def test_a_clip_is_scored_at_once(client, clip):
    found = client.score(clip, only=ONLY)
    here = vidette.inspect(clip, only=ONLY)
    assert found.defects == here.defects
    assert [one.kind for one in found.defects] == [Kind.BLACK]
    assert found.uri == "dark.mp4"
    stricter = client.score(clip, only=ONLY, settings={"black.min_duration": 1.5})
    assert not stricter.defects


def test_a_picture_and_a_file_that_is_none(client, tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no film" * 100)
    found = client.score(tmp_path / "x.mp4", only=ONLY)
    assert found.coverage.state == "none"
    assert found.coverage.problems[0].reason == "not_media"


@pytest.mark.parametrize("name", ["still.png", "still.jpg"])
def test_a_real_picture_is_scored(client, tmp_path, name):
    path = tmp_path / name
    Image.fromarray(media.scene(0.1, 320, 180, seed=3)[0]).save(path)
    found = client.score(path)
    (video,) = found.asset.video
    assert (video.width, video.height, video.frames) == (320, 180, 1)
    assert found.coverage.state == "complete"
    assert found.defects == []


def test_frames_as_tensors_become_maps(client):
    """What the service says of frames is what the net says here, grey, in colour and at once."""
    frames = np.stack(media.scene(0.2, 200, 136, seed=2))
    broken = frames.copy()
    broken[3, 48:96, 64:128] = frames[3, 80:128, 8:72]
    maps = client.score_frames(broken)
    assert maps.shape == (5, 2, 9, 13)
    assert maps.dtype == np.float32
    changed = np.abs(maps - client.score_frames(frames)).max(axis=1)
    assert changed[3, 3:6, 4:8].mean() > 5 * changed[3, :, 10:].mean()
    assert not changed[:3].any()  # before it
    here = CorruptionRuntime("cpu").run(frames_of(_npy(broken)))
    assert np.abs(maps[:, 0] - np.stack([one.corruption for one in here])).max() < 2e-3
    assert np.abs(maps[:, 1] - np.stack([one.blockiness for one in here])).max() < 2e-3
    grey = np.clip(broken.mean(axis=3), 16, 235).astype(np.uint8)
    assert client.score_frames(grey).shape == (5, 2, 9, 13)
    # several at once, of several sizes: each gets its own
    some = [broken, broken[2:4], broken[:, :64, :64], grey]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(client.score_frames, some))
    assert [one.shape[0] for one in together] == [5, 2, 5, 5]
    assert np.abs(together[0] - maps).max() < 2e-3
    assert np.abs(together[3] - client.score_frames(grey)).max() < 2e-3


def _npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_tensors_that_are_none_are_problems(service):
    url, user, _, reader = service
    npy = {"content-type": "application/x-npy"}
    path = "/v1/score/frames"
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {user}"}) as http:
        problem_of(http.post(path, content=b"x", headers=npy), 422, "invalid_request")
        problem_of(http.post(path, content=b"x"), 415, "unsupported_media_type")
        for array in (
            np.zeros((2, 64, 64)),
            np.zeros((64, 64), np.uint8),
            np.zeros((2, 64, 64, 4), np.uint8),
            np.zeros((2, 8, 64, 3), np.uint8),
            np.zeros((0, 64, 64, 3), np.uint8),
        ):
            problem_of(http.post(path, content=_npy(array), headers=npy), 422, "invalid_request")
        whole = _npy(np.zeros((2, 64, 64), np.uint8))
        problem_of(http.post(path, content=whole[:-9], headers=npy), 422, "invalid_request")
        pickled = io.BytesIO()
        np.save(pickled, np.array([{"a": 1}]), allow_pickle=True)
        problem_of(http.post(path, content=pickled.getvalue(), headers=npy), 422, "invalid_request")
        large = _npy(np.zeros((5, 512, 2048), np.uint8))
        problem_of(http.post(path, content=large, headers=npy), 413, "too_large")
        other = {**npy, "authorization": f"Bearer {reader}"}
        problem_of(http.post(path, content=whole, headers=other), 403, "forbidden")


def test_who_may_do_what(service, clip):
    url, _, _, reader = service
    with httpx.Client(base_url=url) as http:
        refused = http.get("/v1/inspections")
        problem_of(refused, 401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        wrong = {"authorization": "Bearer vidette_wrong"}
        problem_of(http.get("/v1/detectors", headers=wrong), 401, "unauthorized")
        allowed = {"authorization": f"Bearer {reader}"}
        assert http.get("/v1/detectors", headers=allowed).status_code == 200
        with clip.open("rb") as file:
            answer = http.post("/v1/score", files={"file": file}, headers=allowed)
        problem_of(answer, 403, "forbidden")
        for path in ("/health/live", "/health/ready", "/openapi.json"):
            assert http.get(path).status_code == 200


def test_everything_that_is_wrong_is_a_problem_document(service, clip):
    url, user, _, _ = service
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {user}"}) as http:
        problem_of(http.get("/v1/nothing"), 404, "not_found")
        problem_of(http.delete("/v1/score"), 405, "method_not_allowed")
        wrong = http.patch("/v1/inspections")
        problem_of(wrong, 405, "method_not_allowed")
        assert wrong.headers["allow"] == "GET, POST"
        problem_of(http.get("/v1/inspections/x"), 404, "not_found")
        problem_of(http.get("/v1/inspections?limit=0"), 422, "invalid_request")
        problem_of(http.post("/v1/score", content=b"x"), 415, "unsupported_media_type")
        problem_of(http.post("/v1/score", json={}), 422, "invalid_request")
        problem_of(http.post("/v1/score", json={"uri": 3}), 422, "invalid_request")
        problem_of(http.post("/v1/score", data={"request": "{}"}), 415, "unsupported_media_type")
        for request, code in (
            ('{"only": ["nobody"]}', "invalid_settings"),
            ('{"settings": {"limits.allow_local_files": true}}', "invalid_settings"),
            ('{"settings": {"device": "cuda"}}', "invalid_settings"),
            ('{"nonsense": 1}', "invalid_request"),
            ("{", "invalid_request"),
        ):
            with clip.open("rb") as file:
                answer = http.post("/v1/score", files={"file": file}, data={"request": request})
            problem_of(answer, 422, code)
        large = {"file": ("x.mp4", b"x" * (5 * 2**20))}
        problem_of(http.post("/v1/score", files=large), 413, "too_large")


def test_what_serve_says_by_itself_is_a_problem_document_too(service):
    url, user, _, _ = service
    headers = {"authorization": f"Bearer {user}", "x-request-timeout-seconds": "0.0001"}
    late = httpx.get(f"{url}/v1/inspections", headers=headers)
    assert problem_of(late, 408, "timeout")["retryable"]
    assert late.headers["retry-after"] == "1"
    assert late.headers["x-request-id"]
    # the server before the proxy: no HTTP, and a WebSocket where there is none
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.sendall(b"no http at all\r\n\r\n")
        assert one.recv(4096).startswith(b"HTTP/1.1 400")
    with pytest.raises(InvalidStatus) as told, connect(f"ws://127.0.0.1:{port}/v1/nothing"):
        pass
    assert told.value.response.status_code == 403


def _mpd(url: str) -> str:
    """A manifest of DASH with one file."""
    return (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT5S">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="1">'
        f"<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )


def test_nothing_inside_is_reached(client, tmp_path):
    """Neither by a URI, nor by a playlist, is a server on the loopback or a local file read."""
    secret = tmp_path / "secret.ts"
    secret.write_bytes(b"G" + b"secret" * 100)
    with web.serving(tmp_path) as canary:
        with pytest.raises(ServiceError) as told:
            client.score(f"{canary.url}/secret.ts")
        assert (told.value.status, told.value.code) == (422, "refused_address")
        lists = {
            "a.m3u8": f"#EXTM3U\n#EXTINF:1,\n{canary.url}/secret.ts\n#EXT-X-ENDLIST\n",
            "b.mp4": f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
            "c.ts": f"ffconcat version 1.0\nfile '{secret}'\n",
            "d.mp4": f"\n\n   #EXTM3U\n{canary.url}/x\n",
            "e.mpd": _mpd(f"{canary.url}/secret.ts"),
            "f.mp4": _mpd(f"{canary.url}/secret.ts").partition("?>")[2],
            "g.mpd": "<!-- a comment -->\n" + _mpd(f"{canary.url}/secret.ts").partition("?>")[2],
        }
        for name, text in lists.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(ServiceError) as told:
                client.score(tmp_path / name)
            assert (told.value.status, told.value.code) == (415, "refused_playlist")
        assert canary.seen == []


def test_an_inspection_is_accepted_done_and_told_in_pages(client, clip, service):
    name = client.submit(clip, idempotency_key="one", only=ONLY, labels={"channel": "7"})
    assert client.submit(clip, idempotency_key="one", only=ONLY, labels={"channel": "7"}) == name
    with pytest.raises(ServiceError) as told:
        client.submit(clip, idempotency_key="one", only=["black"])
    assert told.value.code == "idempotency_mismatch"
    seen: list[str] = []
    facts = client.wait(name, 120, told=lambda facts: seen.append(facts["state"]))
    assert facts["state"] == "done", facts
    assert (facts["progress"], facts["labels"], facts["attempts"]) == (1.0, {"channel": "7"}, 1)
    assert client.result(name).defects == list(client.defects(name))
    assert [one.kind for one in client.defects(name, kind="black")] == [Kind.BLACK]
    assert list(client.defects(name, kind="freeze")) == []
    assert "<title>" in client.report(name)
    url, _, admin, reader = service
    with Client(url, reader) as other, pytest.raises(ServiceError) as told:
        other.facts(name)
    assert told.value.status == 404  # another key's
    with Client(url, admin) as root:
        assert root.facts(name)["owner"] == "user"


def test_defects_come_in_pages(client, service, tmp_path):
    path = tmp_path / "dark.mp4"
    frames = media.scene(4.0, 160, 96)
    frames = [np.full_like(f, 16) if n % 40 >= 20 else f for n, f in enumerate(frames)]
    media.write(path, frames, None)
    name = client.submit(path, only=["black"], settings={"black.min_duration": 0.3})
    client.wait(name, 120)
    whole = [one.model_dump(mode="json", by_alias=True) for one in client.result(name).defects]
    assert len(whole) == 2
    url, user, _, _ = service
    pages, cursor = [], 0
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {user}"}) as http:
        while cursor is not None:
            asked = {"limit": 1, "cursor": cursor}
            page = http.get(f"/v1/inspections/{name}/defects", params=asked).json()
            pages.append(page["defects"])
            cursor = page["next"]
    assert pages == [[one] for one in whole]


def test_a_request_is_found_in_the_log_by_its_id(service):
    url, user, _, _ = service
    headers = {"authorization": f"Bearer {user}", "x-request-id": "trace-me-1"}
    for path in ("/v1/detectors", "/v1/inspections/nothing"):
        assert httpx.get(f"{url}{path}", headers=headers).headers["x-request-id"] == "trace-me-1"
    logs = Path(ray._private.worker.global_worker.node.get_session_dir_path()) / "logs/serve"

    def lines() -> list[dict]:
        (file,) = logs.glob("replica_vidette_Api_*.log")
        whole, _, _ = file.read_text().rpartition("\n")  # the last line may be half written
        found = [json.loads(line) for line in whole.splitlines()]
        mine = [line for line in found if line.get("request_id") == "trace-me-1"]
        return [line for line in mine if line["message"].startswith("GET")]  # not Serve's own

    until(lambda: len(lines()) == 2)
    assert [one["route"] for one in lines()] == ["/v1/detectors", "/v1/inspections/{name}"]
    assert " 404 " in lines()[1]["message"]


def test_one_key_has_so_many_scores_at_a_time(service, clip):
    """Requests whose bodies never end are in work; another key is not held back by them."""
    url, user, admin, _ = service
    key = {"authorization": f"Bearer {user}"}

    def probe() -> httpx.Response:
        asked = {"uri": "http://127.0.0.1/"}
        return httpx.post(f"{url}/v1/score", json=asked, headers=key, timeout=60)

    held = [_endless(url, user) for _ in range(4)]
    try:

        def refused() -> httpx.Response | None:
            for n, one in enumerate(held):  # a question may have had the last place
                if select.select([one], [], [], 0)[0]:
                    one.close()
                    held[n] = _endless(url, user)
            answer = probe()
            return answer if answer.status_code == 429 else None

        answer = until(refused)
        assert problem_of(answer, 429, "quota")["retryable"]
        assert int(answer.headers["retry-after"]) >= 1
        with Client(url, user) as one, pytest.raises(ServiceError) as told:
            one.score_frames(np.zeros((1, 64, 64), np.uint8))
        assert (told.value.code, told.value.retry_after) == ("quota", 2.0)
        with Client(url, admin) as other:
            assert other.score(clip, only=["black"]).defects
    finally:
        for one in held:
            one.close()
    assert until(lambda: probe().status_code == 422)  # their places are free again


def _endless(url: str, key: str) -> socket.socket:
    """A connection with a request for a score that has begun, and does not end."""
    one = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 30)
    head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9999\r\n\r\n--x"
    one.sendall(head.encode())
    return one


def _parts(size: int):
    """A body without an end that is known."""
    for _ in range(size >> 16):
        yield b" " * (1 << 16)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/monitors"), ("PATCH", "/v1/monitors/x"), ("POST", "/v1/inspections")],
)
def test_bodies_without_an_end_are_refused(service, method, path):
    url, _, admin, _ = service
    json_ = {"content-type": "application/json"}
    with httpx.Client(base_url=url, timeout=20) as http:
        # nobody's is read at all
        nobody = http.request(method, path, content=_parts(1 << 20), headers=json_)
        problem_of(nobody, 401, "unauthorized")
        key = {"authorization": f"Bearer {admin}"}
        try:
            asked = http.request(method, path, content=_parts(1 << 24), headers=json_ | key)
        except httpx.TransportError:  # the connection was closed before all was sent
            return
        problem_of(asked, 413, "too_large")


def test_a_form_without_an_end_is_refused(service):
    url, user, _, _ = service
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    body = itertools.chain([head], _parts(64 * 2**20))
    kind = {"content-type": "multipart/form-data; boundary=x", "authorization": f"Bearer {user}"}
    with httpx.Client(base_url=url, timeout=30) as http:
        try:
            answer = http.post("/v1/score", content=body, headers=kind)
        except httpx.TransportError:
            return
        problem_of(answer, 413, "too_large")


def test_what_is_not_done_has_no_result_and_can_be_cancelled(client, service):
    url, user, _, _ = service
    name = client.submit("http://192.0.2.7/never.mp4")  # a public address of nobody
    with pytest.raises(ServiceError):
        client.result(name)
    client.cancel(name)
    assert client.wait(name, 30)["state"] in ("cancelled", "failed")
    with pytest.raises(ServiceError) as told:
        client.result(name)
    assert (told.value.status, told.value.code) == (409, "no_result")
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {user}"}) as http:
        page = http.get("/v1/inspections", params={"limit": 1}).json()
        assert [one["id"] for one in page["inspections"]] == [name]
        assert page["next"]


def test_metrics_count(service, client, clip):
    client.score(clip, only=["black"])
    client.wait(client.submit(clip, only=["black"]), 60)
    url, user, _, _ = service
    text = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {user}"}).text
    assert 'vidette_scores_total{outcome="done"}' in text
    assert "vidette_inspections{" in text


@pytest.mark.slow
def test_accepted_work_survives_its_runner(client, clip):
    """The process that works on inspections is killed: each is done once all the same."""
    names = [client.submit(clip, labels={"n": str(n)}) for n in range(3)]
    until(lambda: client.facts(names[0])["state"] != "queued", 60)
    runner = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "ServeReplica:vidette:Runner" in " ".join(process.info["cmdline"] or [])
    ]
    assert runner
    for pid in runner:
        os.kill(pid, signal.SIGKILL)
    for name in names:
        deadline = time.monotonic() + 120
        while True:
            try:
                facts = client.wait(name, 120)
                break
            except (ServiceError, httpx.HTTPError):
                assert time.monotonic() < deadline
                time.sleep(0.5)
        assert facts["state"] == "done", facts
        assert facts["attempts"] <= 2
