"""The HTTP application on Ray Serve: scoring at once, inspections as jobs, and its deployments.

Serve moves the class of the application to other processes when it is decorated: what it uses
stands above it, and annotations are evaluated (no `from __future__`), or FastAPI would not find
their names there.
"""

import asyncio
import hashlib
import importlib
import json
import uuid
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.handle import DeploymentHandle

from pipeline.detectors import DETECTORS
from pipeline.hardware import Device
from pipeline.scratch import scratch
from pipeline.settings import Settings
from pipeline.types import Inspection
from serve import traces
from serve.api import Door, api, unwrapped
from serve.asking import FORMATS, read
from serve.config import Config
from serve.frames import Frames
from serve.guard import fetch, refuse_lists
from serve.isolated import Isolated
from serve.jobs import Jobs
from serve.keys import Holder, Keys, Scope
from serve.monitors import Monitors
from serve.page import Page
from serve.problems import ProblemError
from serve.scaling import BACKLOG, ByBacklog
from serve.store import Wanted
from serve.together import Together
from serve.watching import Watching

_PAGE = 100  # rows of a page
_LONGEST_KEY = 255  # characters
_LOGS = {"encoding": "JSON"}
# Seconds that a replica has to answer what it was asked and to give back its work: Serve looks
# every two of them whether it is still asked, and ends it without a word after that. Who listens
# to events asks until then.
_DRAINS = 30
_SANDBOX = "sandbox allow-scripts allow-downloads allow-popups"


@serve.deployment
class Runner:
    """A process that keeps accepted inspections, answers for them, and works on them.

    Args:
        config: of the service.
    """

    def __init__(self, config: Config) -> None:
        traces.configure()
        self._config = config
        self._jobs: Jobs | None = None

    def _there(self) -> Jobs:
        """The runner; made with the first request, inside the event loop."""
        if self._jobs is None:
            self._jobs = Jobs(self._config)
        return self._jobs

    async def check_health(self) -> None:
        """Starts the work, also where nobody asks for anything after a restart."""
        self._there()

    async def __del__(self) -> None:
        """Give back what is in work before the process ends; Serve waits for it.

        Serve asks for statistics meanwhile. They are of what has ended, whose store still answers:
        a runner made anew would claim work and die with it.
        """
        if self._jobs is not None:
            await self._jobs.close()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Seconds of inspections that wait for any runner; see serve/scaling.py."""
        return {BACKLOG: await self._there().backlog()}

    async def submit(
        self, owner: str, wanted: Wanted, key: str | None, digest: str
    ) -> tuple[str, bool]:
        """See Store.submit."""
        most = self._config.jobs_of_one_key
        submit = self._there().store.submit
        return await asyncio.to_thread(submit, owner, wanted, most=most, key=key, digest=digest)

    async def facts(self, name: str) -> dict[str, Any] | None:
        """See Store.facts."""
        return await asyncio.to_thread(self._there().store.facts, name)

    async def result(self, name: str) -> tuple[str, str | None] | None:
        """See Store.result."""
        return await asyncio.to_thread(self._there().store.result, name)

    async def page(self, owner: str | None, before: int | None, count: int) -> list[dict[str, Any]]:
        """See Store.page."""
        return await asyncio.to_thread(self._there().store.page, owner, before, count)

    async def cancel(self, name: str) -> bool:
        """See Store.cancel; what was uploaded for it is removed."""
        return await asyncio.to_thread(self._there().cancel, name)

    async def counts(self) -> dict[str, int]:
        """See Store.counts."""
        return await asyncio.to_thread(self._there().store.counts)

    async def report(self, name: str) -> str | None:
        """The report of an inspection, HTML."""
        path = self._there().reports / f"{name}.html"
        return path.read_text(encoding="utf-8") if path.is_file() else None


@serve.deployment
@serve.ingress(api)
class Api(Monitors, Frames, Page):
    """Answers requests, and scores what is waited for.

    Args:
        config: of the service.
        runner: does what is not waited for.
        watching: watches live streams.
    """

    def __init__(
        self, config: Config, runner: DeploymentHandle[Any], watching: DeploymentHandle[Any]
    ) -> None:
        # Serve writes into methods how routes get their `self`; those of the parts are taken to a
        # replica by name, and have it there once this module was imported too
        importlib.import_module("serve.app")
        traces.configure()
        keys = Keys(config.keys) if config.keys is not None else None
        door = Door(
            keys, config.scores_of_one_key, config.submits_at_once, config.submits_of_one_key
        )
        Monitors.__init__(self, config, door, watching, runner)
        self._isolated = Isolated()
        self._together: Together | None = None
        if config.scores_together:
            device: Device = "cuda" if config.gpus else "cpu"
            self._together = Together(
                config.score,
                self._isolated,
                places=config.scores_at_once,
                memory_bytes=config.together_memory_bytes,
                device=device,
            )
        self._free = asyncio.Semaphore(config.scores_at_once)
        self._waiting = 0
        self._seconds = 1.0  # that a score took of late
        registry = self._registry = CollectorRegistry()
        Frames.__init__(self, config, door, registry)
        self._scored = Counter(
            "vidette_scores", "scores asked for, by outcome", ["outcome"], registry=registry
        )
        self._took = Histogram(
            "vidette_score_seconds", "time that a score took, waiting included",
            buckets=(0.5, 1, 2, 5, 10, 20, 60), registry=registry,
        )  # fmt: skip

    async def check_health(self) -> None:
        """Raises where another replica should take over."""
        self.frames_health()

    async def _own(self, request: Request, name: str, scope: Scope) -> dict[str, Any]:
        """Facts of an inspection that this key may see."""
        holder = self._door.holder(request, scope)
        facts: dict[str, Any] | None = await self._runner.facts.remote(name)
        if facts is None or not (facts["owner"] == holder.name or holder.may("admin")):
            raise ProblemError(404, "not_found", "there is no such inspection")
        return facts

    # ------------------------------------------------------------------------------ scoring

    @api.post("/v1/score", response_model=Inspection, openapi_extra=FORMATS)
    async def score(self, request: Request) -> Response:
        """Inspect a short clip or a picture and answer with the result."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        with self._door.scoring(request):
            outcome = "problem"
            try:
                result = await self._score(request)
                outcome = "done"
            finally:
                self._scored.labels(outcome).inc()
                self._took.observe(loop.time() - started)
        return Response(result.model_dump_json(by_alias=True), media_type="application/json")

    async def _score(self, request: Request) -> Inspection:
        config = self._config
        if self._waiting >= config.scores_at_once + config.scores_waiting:
            detail = f"{self._waiting} requests are waiting already"
            raise ProblemError(429, "busy", detail, retry_after=self._scores_backlog())
        self._waiting += 1
        try:
            with scratch() as folder:
                path = folder / "asset"
                asked, name = await read(request, path, self._config.max_upload_bytes)
                settings = asked.chosen()
                if name is not None:
                    refuse_lists(path)
                else:
                    private, most = config.private_addresses, config.max_upload_bytes
                    with traces.span("fetch"):
                        seconds = min(config.score.seconds, config.fetch_seconds)
                        await fetch(asked.uri or "", path, most, seconds, private=private)
                async with self._free:
                    began = asyncio.get_running_loop().time()
                    result = await self._inspected(path, name or asked.uri or "", settings)
                    took = asyncio.get_running_loop().time() - began
                    self._seconds += 0.2 * (took - self._seconds)
                    return result
        finally:
            self._waiting -= 1

    async def _inspected(self, path: Path, name: str, settings: Settings) -> Inspection:
        if self._together is not None:
            return await self._together.inspect(path, name, settings)
        return await self._isolated.inspect(path, name, settings, self._config.score)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Seconds until what waits here is scored; see serve/scaling.py."""
        return {BACKLOG: self._scores_backlog() + self.frames_backlog()}

    def _scores_backlog(self) -> float:
        return self._waiting * self._seconds / self._config.scores_at_once

    # ------------------------------------------------------------------------------ jobs

    @api.post("/v1/inspections", status_code=202, openapi_extra=FORMATS)
    async def submit(self, request: Request) -> Response:
        """Accept an inspection; it is done whatever dies. Send an Idempotency-Key to ask again."""
        with self._door.submitting(request) as holder:
            return await self._accepted(request, holder)

    async def _accepted(self, request: Request, holder: Holder) -> Response:
        uploads = self._config.data / "uploads"
        uploads.mkdir(parents=True, exist_ok=True)
        path = uploads / uuid.uuid4().hex
        try:
            asked, name = await read(request, path, self._config.max_upload_bytes)
            digest = hashlib.sha256(asked.model_dump_json().encode())
            if name is not None:
                refuse_lists(path)
                digest.update(await asyncio.to_thread(path.read_bytes))
            wanted = Wanted(
                name=name or asked.uri or "",
                uri=asked.uri,
                upload=None if name is None else str(path),
                settings=asked.chosen().model_dump(mode="json"),
                labels=asked.labels,
                webhook=asked.webhook,
                trace=traces.carried(),
            )
            key = request.headers.get("idempotency-key")
            if key is not None and not 0 < len(key) <= _LONGEST_KEY:
                detail = f"an Idempotency-Key has 1 to {_LONGEST_KEY} characters"
                raise ProblemError(422, "invalid_request", detail)
            accepted, new = await unwrapped(
                self._runner.submit.remote(holder.name, wanted, key, digest.hexdigest())
            )
        except ProblemError:  # else it may be accepted: what nobody wants is swept away later
            path.unlink(missing_ok=True)
            raise
        if not new:
            path.unlink(missing_ok=True)
        facts = await self._runner.facts.remote(accepted)
        headers = {"Location": f"/v1/inspections/{accepted}", "Retry-After": "2"}
        return JSONResponse(facts, 202, headers)

    @api.get("/v1/inspections")
    async def list_inspections(
        self,
        request: Request,
        cursor: Annotated[int | None, Query(ge=1, le=2**62)] = None,
        limit: Annotated[int, Query(ge=1, le=_PAGE)] = 20,
    ) -> dict[str, Any]:
        """Inspections of this key (of all keys for an admin), the newest first."""
        holder = self._door.holder(request, "read")
        owner = None if holder.may("admin") else holder.name
        rows = await self._runner.page.remote(owner, cursor, limit)
        following = rows[-1]["cursor"] if len(rows) == limit else None
        for row in rows:
            del row["cursor"]
        return {"inspections": rows, "next": following}

    @api.get("/v1/inspections/{name}")
    async def one(self, request: Request, name: str) -> dict[str, Any]:
        """State and progress."""
        return await self._own(request, name, "read")

    @api.get("/v1/inspections/{name}/result", response_model=Inspection)
    async def result(self, request: Request, name: str) -> Response:
        """The whole result."""
        return Response(await self._result(request, name), media_type="application/json")

    async def _result(self, request: Request, name: str) -> str:
        await self._own(request, name, "read")
        known: tuple[str, str | None] | None = await self._runner.result.remote(name)
        state, text = known or ("gone", None)
        if text is None:
            again = 2.0 if state in ("queued", "running") else None
            raise ProblemError(409, "no_result", f"the inspection is {state}", retry_after=again)
        return text

    @api.get("/v1/inspections/{name}/defects")
    async def defects(
        self,
        request: Request,
        name: str,
        kind: str | None = None,
        cursor: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE)] = _PAGE,
    ) -> dict[str, Any]:
        """Defects, in order of time, in pages."""
        found = json.loads(await self._result(request, name))["defects"]
        found = [one for one in found if kind is None or one["kind"] == kind]
        following = cursor + limit if cursor + limit < len(found) else None
        return {"defects": found[cursor : cursor + limit], "next": following}

    @api.get("/v1/inspections/{name}/report", response_class=HTMLResponse)
    async def report(self, request: Request, name: str) -> Response:
        """The report, one HTML file."""
        await self._own(request, name, "read")
        text = await self._runner.report.remote(name)
        if text is None:
            raise ProblemError(409, "no_report", "there is no report (yet)", retry_after=2)
        # a report runs scripts of its own: away from the key of whoever opens it
        return HTMLResponse(text, headers={"Content-Security-Policy": _SANDBOX})

    @api.delete("/v1/inspections/{name}", status_code=204)
    async def cancel(self, request: Request, name: str) -> Response:
        """Cancel what is not finished."""
        await self._own(request, name, "submit")
        await self._runner.cancel.remote(name)
        return Response(status_code=204)

    # ------------------------------------------------------------------------------ about it

    @api.get("/v1/detectors")
    async def detectors(self, request: Request) -> list[dict[str, Any]]:
        """Every detector with its kinds of defects and its settings."""
        self._door.holder(request, "read")
        return [
            {
                "name": name,
                "version": detector.version,
                "summary": detector.summary,
                "kinds": [kind.value for kind in detector.kinds],
                "settings": detector.Settings.model_json_schema().get("properties", {}),
            }
            for name, detector in DETECTORS.items()
        ]

    @api.get("/health/live")
    async def live(self) -> dict[str, str]:
        """This process answers."""
        return {"status": "alive"}

    @api.get("/health/ready")
    async def ready(self) -> dict[str, str]:
        """Work is accepted: the store answers."""
        try:
            async with asyncio.timeout(5):
                await self._runner.counts.remote()
        except Exception as error:
            raise ProblemError(503, "not_ready", "the store does not answer", 2) from error
        return {"status": "ready"}

    @api.get("/metrics", response_class=PlainTextResponse)
    async def metrics(self, request: Request) -> Response:
        """For Prometheus: scores of this replica, inspections of the store by state."""
        self._door.holder(request, "read")
        counts = await self._runner.counts.remote()
        lines = ["# HELP vidette_inspections Accepted inspections by state.",
                 "# TYPE vidette_inspections gauge"]  # fmt: skip
        lines += [f'vidette_inspections{{state="{s}"}} {n}' for s, n in sorted(counts.items())]
        text = generate_latest(self._registry).decode() + "\n".join(lines) + "\n"
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


def build(config: Config) -> serve.Application:
    """The application, for `serve run`, `serve deploy` and `vidette serve`."""
    runner = Runner.options(  # type: ignore[attr-defined]
        autoscaling_config=_autoscaling(
            config, 1, config.max_runners, config.runner_backlog_seconds, shared=True
        ),
        ray_actor_options={"num_cpus": config.cpus},
        max_ongoing_requests=200,
        health_check_period_s=2,
        logging_config=_LOGS,
        graceful_shutdown_timeout_s=_DRAINS,
    ).bind(config)
    watching = Watching.options(  # type: ignore[attr-defined]
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},  # its workers count
        max_ongoing_requests=1000,
        health_check_period_s=2,
        logging_config=_LOGS,
        graceful_shutdown_timeout_s=_DRAINS,
    ).bind(config)
    application: serve.Application = Api.options(  # type: ignore[attr-defined]
        autoscaling_config=_autoscaling(
            config, config.min_replicas, config.max_replicas, config.backlog_seconds
        ),
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
        max_ongoing_requests=config.scores_at_once
        + config.scores_waiting
        + config.submits_at_once
        + config.listeners
        + 100,
        graceful_shutdown_timeout_s=max(_DRAINS, config.score.seconds + 10),
        logging_config=_LOGS,
    ).bind(config, runner, watching)
    return application


def _autoscaling(
    config: Config, least: int, most: int, target: float, *, shared: bool = False
) -> AutoscalingConfig:
    """Between so many replicas, by the seconds of work before each of them."""
    policy = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function=ByBacklog, policy_kwargs={"target": target, "shared": shared}
    )
    return AutoscalingConfig(
        min_replicas=least,
        initial_replicas=max(1, least),
        max_replicas=most,
        upscale_delay_s=config.grow_after,
        downscale_delay_s=config.shrink_after,
        policy=policy,
    )
