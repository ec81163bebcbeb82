"""What Serve's proxy says by itself, as problem documents."""

from __future__ import annotations

import asyncio
import os
import threading

import httpx
import pytest
import ray
from ray import serve
from starlette.responses import JSONResponse, PlainTextResponse

from serve.client import Client, ServiceError
from serve.proxy import CALLBACK, VARIABLE, Problems
from tests.serve import real
from tests.serve.real import MARKS, free_port
from tests.waiting import until


def asked(app, method: str = "GET") -> httpx.Response:
    """What a client gets of an application behind the middleware."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Problems(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            return await http.request(method, "/v1/thing", headers={"x-request-id": "one"})

    return asyncio.run(ask())


def test_errors_in_plain_text_become_documents():
    told = PlainTextResponse("too many", 429, {"retry-after": "7", "x-request-id": "one"})
    answer = asked(told)
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("7", "one")
    assert answer.json() == {
        "type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "too many",
        "instance": "/v1/thing", "code": "busy", "retryable": True,
    }  # fmt: skip
    for status, code, again in (
        (404, "not_found", None), (408, "timeout", "1"), (503, "unavailable", "1"),
        (413, "request_entity_too_large", None),
    ):  # fmt: skip
        answer = asked(PlainTextResponse("x" * 100_000, status))
        said = answer.json()
        assert (answer.status_code, said["code"]) == (status, code)
        assert (answer.headers.get("retry-after"), said["retryable"]) == (again, again is not None)
        assert len(said["detail"]) == 2000
    assert not asked(PlainTextResponse("x", 404), "HEAD").content


def test_silence_becomes_a_document():
    async def dead(scope, receive, send) -> None:
        pass

    answer = asked(dead)
    assert (answer.status_code, answer.json()["code"]) == (500, "no_answer")
    assert answer.headers["x-request-id"] == "one"


def test_what_is_no_error_or_a_document_already_passes_as_it_is():
    fine = asked(PlainTextResponse("fine"))
    assert (fine.status_code, fine.text) == (200, "fine")
    document = JSONResponse({"code": "mine"}, 409, media_type="application/problem+json")
    answer = asked(document)
    assert (answer.status_code, answer.json()) == (409, {"code": "mine"})


# ------------------------------------------------------------------------------ the real proxy


@serve.deployment(max_ongoing_requests=1, max_queued_requests=1)
class Slow:
    async def __call__(self, request) -> str:
        if request.url.path.endswith("/die"):
            os._exit(1)
        await asyncio.sleep(2.0)
        return "done"


@serve.deployment(health_check_period_s=1)
class Broken:
    def __init__(self) -> None:
        raise RuntimeError("it cannot start")

    async def __call__(self) -> str:
        return "never"


@pytest.fixture(scope="module")
def proxy():
    """URL of a Serve with applications that do not answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, CALLBACK)
        ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
        port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 8})
        serve.run(Slow.bind(), name="slow", route_prefix="/slow")
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
        ray.shutdown()


def problem_of(answer: httpx.Response, status: int, code: str) -> dict:
    """As of any answer; what Serve's proxy gives has the ID of its request too."""
    said = real.problem_of(answer, status, code)
    assert answer.headers["x-request-id"]
    return said


slow = [*MARKS, pytest.mark.slow, pytest.mark.timeout(300)]


class TestServe:
    pytestmark = slow

    def test_no_such_route(self, proxy):
        problem_of(httpx.get(f"{proxy}/elsewhere"), 404, "not_found")
        with Client(proxy) as client, pytest.raises(ServiceError) as told:
            client.monitors()
        assert (told.value.status, told.value.code) == (404, "not_found")

    def test_too_late(self, proxy):
        brief = {"x-request-timeout-seconds": "0.2"}
        answer = httpx.get(f"{proxy}/slow", headers=brief)
        assert problem_of(answer, 408, "timeout")["retryable"]
        assert answer.headers["retry-after"] == "1"

    def test_too_many(self, proxy):
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(httpx.get(f"{proxy}/slow", timeout=30)))
            for _ in range(6)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        refused = [one for one in answers if one.status_code != 200]
        assert len(refused) in (3, 4)
        for one in refused:
            assert problem_of(one, 503, "unavailable")["retryable"]
            assert one.headers["retry-after"]

    def test_a_replica_that_dies_with_a_request(self, proxy):
        said = problem_of(httpx.get(f"{proxy}/slow/die", timeout=30), 500, "no_answer")
        assert said["retryable"]
        until(lambda: httpx.get(f"{proxy}/slow", timeout=30).status_code == 200, 60)

    def test_a_deployment_that_does_not_start(self, proxy):
        with pytest.raises(RuntimeError):
            serve.run(Broken.bind(), name="broken", route_prefix="/broken")
        until(lambda: httpx.get(f"{proxy}/broken", timeout=30).status_code == 503, 120)
        problem_of(httpx.get(f"{proxy}/broken", timeout=30), 503, "unavailable")
