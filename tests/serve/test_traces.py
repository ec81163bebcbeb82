"""Traces: what a request, a job and the stages of an inspection leave, and where they go."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import httpx
import pytest
import ray
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pipeline.settings import load
from serve import problems, traces
from serve.api import TELEMETRY
from serve.client import Client
from serve.config import Config
from serve.jobs import Jobs
from serve.problems import ProblemError
from serve.run import start
from serve.store import Wanted
from tests import media
from tests.serve.real import MARKS, free_port

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    made = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # it can be set once in a process
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(made))
    return made


@pytest.fixture
def spans(exporter):
    exporter.clear()
    return exporter.get_finished_spans


def test_a_request_goes_on_with_the_trace_that_it_names(spans):
    app = FastAPI(telemetry=TELEMETRY)
    problems.install(app)

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        with traces.span("inside"):
            if name == "refused":
                raise ProblemError(422, "refused", "no")
            if name == "broken":
                raise ZeroDivisionError
        return name

    @app.get("/health/live")
    async def live() -> str:
        return "yes"

    async def ask() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            for path in ("/things/a", "/things/refused", "/things/broken", "/health/live", "/no"):
                await http.get(path, headers=HEADERS)
            await http.get("/things/b")
            await http.get("/things/c", headers={"traceparent": "nonsense"})

    asyncio.run(ask())
    inner = [one for one in spans() if one.name == "inside"]
    outer = [one for one in spans() if one.kind is SpanKind.SERVER]
    assert [one.attributes["http.response.status_code"] for one in outer] == [
        200, 422, 500, 404, 200, 200,
    ]  # fmt: skip
    assert [one.name for one in outer] == [*["GET /things/{name}"] * 3, "GET", *[outer[0].name] * 2]
    assert {f"{one.context.trace_id:032x}" for one in outer[:4]} == {TRACE}
    assert {f"{one.parent.span_id:016x}" for one in outer[:4]} == {PARENT}
    assert outer[4].parent is None
    assert outer[5].parent is None
    assert [one.parent.span_id for one in inner[:3]] == [one.context.span_id for one in outer[:3]]
    assert [one.attributes.get("error.type") for one in inner[:3]] == [
        None, "refused", "ZeroDivisionError",
    ]  # fmt: skip
    assert [one.status.status_code is StatusCode.ERROR for one in outer[:3]] == [False, False, True]


@pytest.mark.slow
def test_a_job_belongs_to_the_trace_of_its_request_and_tells_its_stages(spans, tmp_path):
    clip = tmp_path / "clip.mp4"
    media.write(clip, media.scene(1.0, 160, 96), None)
    settings = load(only=("black",)).model_dump(mode="json")

    async def work() -> list[str]:
        jobs = Jobs(Config(data=tmp_path / "data"))
        names = []
        for number, content in enumerate((clip.read_bytes(), b"#EXTM3U\n")):
            upload = jobs.uploads / str(number)
            upload.write_bytes(content)
            wanted = Wanted(name="x", upload=str(upload), settings=settings, trace=HEADERS)
            names.append(jobs.store.submit("me", wanted, most=5, key=None, digest="")[0])
        async with asyncio.timeout(90):
            while any(jobs.store.facts(one)["state"] in ("queued", "running") for one in names):
                await asyncio.sleep(0.05)
        await jobs.close()
        return names

    names = asyncio.run(work())
    found = [one for one in spans() if f"{one.context.trace_id:032x}" == TRACE]
    done, refused = (one for one in found if one.name == "inspection")
    assert [one.attributes["vidette.inspection.id"] for one in (done, refused)] == names
    assert done.kind is SpanKind.CONSUMER
    assert f"{done.parent.span_id:016x}" == PARENT
    assert done.attributes["vidette.inspection.attempt"] == 1
    assert refused.attributes["error.type"] == "refused_playlist"
    assert refused.status.status_code is StatusCode.ERROR
    (inspect,) = (one for one in found if one.name == "inspect")
    assert inspect.parent.span_id == done.context.span_id
    assert inspect.attributes["vidette.duration"] == pytest.approx(1.0, abs=0.05)
    stages = [one for one in found if one.parent.span_id == inspect.context.span_id]
    assert [one.name for one in stages] == ["fork", "open", "examine", "report"]
    assert inspect.start_time <= stages[0].start_time + 10**6  # two clocks, a microsecond apart
    for before, after in pairwise(stages):
        assert before.start_time <= before.end_time == after.start_time
    examine = stages[2]
    parts = [examine.attributes[f"vidette.{part}_seconds"] for part in ("decode", "detect")]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= (examine.end_time - examine.start_time) / 1e9 + 1e-3


_PROGRAM = """
import os
from serve import traces

def recording():
    traces.configure()
    with traces.span("one") as span:
        return span.is_recording()

print(recording())
os.environ["OTEL_TRACES_EXPORTER"] = "console,nobody"
print(recording())
os.environ["OTEL_TRACES_EXPORTER"] = "console"
print(recording(), flush=True)
traces.configure()
"""


def test_spans_go_where_the_environment_says_and_else_nowhere():
    said = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=os.environ | {"OTEL_SERVICE_NAME": "mine"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    first, second, third, span = said.stdout.split("\n", 3)
    assert (first, second, third) == ("False", "False", "True")
    assert "nobody is not installed" in said.stderr
    assert json.loads(span)["name"] == "one"
    assert json.loads(span)["resource"]["attributes"]["service.name"] == "mine"


class _Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.got += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_collector_gets_the_whole_way_of_a_request(tmp_path, monkeypatch):
    """Over OTLP, from every process of a real service that has a part in it."""
    collector = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    collector.got = []
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    clip = tmp_path / "clip.mp4"
    media.write(clip, media.scene(1.0, 160, 96), None)
    port = free_port()
    start(Config(data=tmp_path / "data", cpus=0.5, max_replicas=1), "127.0.0.1", port)
    try:
        url = f"http://127.0.0.1:{port}"
        with clip.open("rb") as file:
            files = {"file": ("clip.mp4", file)}
            answer = httpx.post(f"{url}/v1/inspections", files=files, headers=HEADERS, timeout=60)
        with Client(url) as client:
            assert client.wait(answer.json()["id"], 120)["state"] == "done"
        wanted = {"POST /v1/inspections", "inspection", "inspect", "open", "examine", "report"}
        until = time.monotonic() + 30
        names: set[str] = set()
        while not wanted <= names and time.monotonic() < until:
            time.sleep(0.2)
            names = {one.name for one in collector.got if one.trace_id.hex() == TRACE}
        assert wanted <= names
    finally:
        ray.serve.shutdown()
        ray.shutdown()
        collector.shutdown()
        collector.server_close()


test_a_collector_gets_the_whole_way_of_a_request.pytestmark += MARKS
