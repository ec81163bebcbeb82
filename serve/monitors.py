"""Live streams over HTTP: monitors, their events as they come, defects by label.

A part of the ingress class, which Serve moves to other processes: annotations are evaluated.
"""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from ray.serve.handle import DeploymentHandle
from sse_starlette import EventSourceResponse, ServerSentEvent

from pipeline.live.streams import Stream
from pipeline.settings import explain, of_the_operator
from pipeline.source import LIVE_SCHEMES
from pipeline.uri import shown
from serve.api import Door, api, unwrapped
from serve.asking import UNSPACED, Label, LabelName, Name, Value, read_json, refuse_labels
from serve.config import Config
from serve.guard import public_address
from serve.keys import ANYBODY, Holder
from serve.problems import ProblemError, document
from serve.tail import LateError, Message, Tail

log = logging.getLogger("ray.serve.vidette")
_PING = 15  # seconds between signs of life
_FULL = 10.0  # seconds until somebody may have stopped listening
_FOREVER = "private, max-age=31536000, immutable"
_UNFIT = re.compile(r"[^\w.:@-]+")
_PORTS = {"https": 443, "http": 80}
_LIVE = rf"^({'|'.join(('https?', *LIVE_SCHEMES))})://{UNSPACED}+$"


class Monitored(BaseModel):
    """A live stream that is to be watched."""

    model_config = ConfigDict(extra="forbid")

    uri: str = Field(
        max_length=4096, pattern=_LIVE, description="HLS, MPEG-TS, RTMP, RTSP, SRT, DASH"
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[^/?#%\x00-\x1f]{1,200}$",
        description="unlike that of any other; made of the URI where it is missing",
    )
    labels: dict[LabelName, Label] = Field(default_factory=dict, max_length=32)
    only: list[Name] = Field(default_factory=list, description="run these detectors alone")
    skip: list[Name] = Field(default_factory=list, description="run all detectors but these")
    settings: dict[Name, Value] = Field(
        default_factory=dict, description='by dotted names: {"freeze.min_duration": 0.5}'
    )


class Changed(BaseModel):
    """What is to be different of a monitor; what is missing stays."""

    model_config = ConfigDict(extra="forbid")

    uri: str | None = Field(default=None, max_length=4096, pattern=_LIVE)
    labels: dict[LabelName, Label] | None = Field(default=None, max_length=32)
    only: list[Name] | None = None
    skip: list[Name] | None = None
    settings: dict[Name, Value] | None = None
    pardoned: StrictBool | None = Field(default=None, description="true: out of quarantine")


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """How a request is described that is read once its key was looked at."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


class Monitors:
    """The endpoints.

    Args:
        config: of the service.
        door: lets in.
        watching: the deployment that watches.
        runner: that of inspections.
    """

    def __init__(
        self,
        config: Config,
        door: Door,
        watching: DeploymentHandle[Any],
        runner: DeploymentHandle[Any],
    ) -> None:
        self._config, self._door, self._watching, self._runner = config, door, watching, runner
        self._tail: Tail | None = None
        self._listening: Counter[str] = Counter()  # by name of the key

    # ------------------------------------------------------------------------------ monitors

    @api.post(
        "/v1/monitors", status_code=201, responses={200: {"description": "It is watched already"}},
        openapi_extra=_body(Monitored),
    )  # fmt: skip
    async def add_monitor(self, request: Request) -> Response:
        """Watch a live stream from now on; asking for the same again changes nothing."""
        holder = self._door.holder(request, "admin")
        asked = await read_json(request, Monitored)
        refuse_labels(asked.labels)
        made = _UNFIT.sub("-", shown(asked.uri).partition("://")[2]).strip("-")[:200]
        name = asked.name or made or "stream"
        fields = asked.model_dump(exclude={"name"}) | {"name": name, "owner": holder.name}
        stream = await self._stream(fields)
        new = await unwrapped(self._watching.add.remote(stream, replace=False))
        facts = await self._watching.monitor.remote(name, 3600.0)
        return JSONResponse(facts, 201 if new else 200, {"Location": f"/v1/monitors/{quote(name)}"})

    @api.get("/v1/monitors")
    async def list_monitors(self, request: Request) -> dict[str, Any]:
        """All live streams and how they are, the worst first."""
        self._door.holder(request, "read")
        return {"monitors": await self._watching.monitors.remote()}

    @api.get("/v1/monitors/{name}")
    async def one_monitor(
        self,
        request: Request,
        name: str,
        window: Annotated[float, Query(ge=1, le=604_800, description="seconds")] = 3600.0,
    ) -> dict[str, Any]:
        """A live stream, and what happened to it in the last seconds."""
        self._door.holder(request, "read")
        facts: dict[str, Any] = _there(await self._watching.monitor.remote(name, window))
        return facts

    @api.patch("/v1/monitors/{name}", openapi_extra=_body(Changed))
    async def change_monitor(self, request: Request, name: str) -> dict[str, Any]:
        """Change how a stream is watched, where it is, or let it out of quarantine."""
        self._door.holder(request, "admin")
        asked = await read_json(request, Changed)
        refuse_labels(asked.labels)
        old = _there(await self._watching.stream.remote(name))
        given = {
            field: value
            for field, value in asked.model_dump(exclude={"pardoned"}).items()
            if value is not None
        }
        if given:
            stream = await self._stream(old.model_dump() | given)
            await unwrapped(self._watching.add.remote(stream, replace=True))
        if asked.pardoned:
            await self._watching.pardon.remote(name)
        facts: dict[str, Any] = _there(await self._watching.monitor.remote(name, 3600.0))
        return facts

    @api.delete("/v1/monitors/{name}", status_code=204)
    async def remove_monitor(self, request: Request, name: str) -> Response:
        """Watch a stream no more."""
        self._door.holder(request, "admin")
        _there(await self._watching.remove.remote(name) or None)
        return Response(status_code=204)

    @api.get("/v1/monitors/{name}/picture", response_class=Response)
    async def picture(
        self,
        request: Request,
        name: str,
        event: Annotated[str, Query(max_length=64, description="of an event: its ID")] = "",
        at: Annotated[
            float | None, Query(description="its time; names it for those who keep pictures")
        ] = None,
    ) -> Response:
        """A small JPEG of a stream as it was last seen, or as it was when an event opened."""
        self._door.holder(request, "read")
        jpeg: bytes | None = await self._watching.picture.remote(name, event)
        keep = _FOREVER if event or at is not None else "no-store"
        return Response(_there(jpeg), media_type="image/jpeg", headers={"Cache-Control": keep})

    @api.get("/v1/analytics")
    async def analytics(
        self,
        request: Request,
        by: Annotated[str, Query(min_length=1, max_length=200, description="a label")],
        window: Annotated[float, Query(ge=1, le=604_800, description="seconds")] = 300.0,
    ) -> dict[str, Any]:
        """Time of defects by the values of a label, over all streams."""
        self._door.holder(request, "read")
        rows = await self._watching.rollup.remote(by, window)
        return {"by": by, "window": window, "rows": rows}

    async def _stream(self, fields: dict[str, Any]) -> Stream:
        """A stream that may be watched.

        Raises:
            ProblemError: 422.
        """
        if names := of_the_operator(fields["settings"]):
            raise ProblemError(422, "invalid_settings", f"not yours to set: {', '.join(names)}")
        try:
            stream = Stream.model_validate(fields)
        except ValidationError as error:
            raise ProblemError(422, "invalid_request", explain(error)) from error
        host, port = _host(stream.uri)
        await public_address(host, port, private=self._config.private_addresses)
        return stream

    # ------------------------------------------------------------------------------ events

    @api.get("/v1/events", response_class=EventSourceResponse)
    async def events(
        self,
        request: Request,
        monitor: Annotated[str | None, Query(description="of this one alone")] = None,
        after: Annotated[
            int | None,
            Query(ge=-1000, le=2**62, description="a number of the log; -50: the last 50 and on"),
        ] = None,
        states: Annotated[bool, Query(description="how monitors and inspections are, too")] = False,
    ) -> Response:
        """Events as they come (SSE).

        They are called `defect`; with `states` there are also `monitors` (those that changed),
        `gone` (names of those that are not watched any more) and `inspections`.

        The ID of a message is its number in the log: a browser that comes again sends it as
        Last-Event-ID and misses nothing. The first message is an ID alone: that of the last event
        before.
        """
        holder = self._door.holder(request, "read")
        self._refuse_many(holder)
        last = request.headers.get("last-event-id", "")
        number = int(last) if last.isdigit() and len(last) < 19 else after

        async def told() -> AsyncIterator[ServerSentEvent]:
            with suppress(LateError):
                async for message in self._messages(monitor, number, states, holder):
                    name = None if message.number is None else str(message.number)
                    if message.event == "start":  # an ID alone: browsers keep it, and tell nobody
                        yield ServerSentEvent(id=name)
                    else:
                        yield ServerSentEvent(message.data, event=message.event, id=name)

        return EventSourceResponse(
            told(), ping=_PING, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    @api.websocket("/v1/events/socket")
    async def events_socket(
        self,
        websocket: WebSocket,
        monitor: str | None = None,
        after: int | None = None,
        states: bool = False,
    ) -> None:
        """The same over a WebSocket: {"event": ..., "number": ..., "data": ...}.

        The first is `start`, with the number of the last event before.
        """
        try:
            holder = self._door.holder(websocket, "read")
            self._refuse_many(holder)
        except ProblemError as problem:
            await websocket.accept()
            await websocket.send_json(document(problem, websocket.url.path))
            await websocket.close(1008, problem.code)
            return
        await websocket.accept()
        gone = asyncio.create_task(_until_gone(websocket))
        with suppress(WebSocketDisconnect, LateError, RuntimeError):
            messages = self._messages(monitor, after, states, holder)
            while True:
                following = asyncio.ensure_future(anext(messages))
                await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    following.cancel()
                    with suppress(asyncio.CancelledError):
                        await following
                    break
                message = following.result()
                await websocket.send_json(
                    {
                        "event": message.event,
                        "number": message.number,
                        "data": json.loads(message.data),
                    }
                )
        gone.cancel()
        with suppress(RuntimeError):
            await websocket.close(1013)

    def _refuse_many(self, holder: Holder) -> None:
        """Refuse one listener more.

        Raises:
            ProblemError: 429, there are too many, or too many of this key.
        """
        if self._listening.total() >= self._config.listeners:
            detail = f"{self._listening.total()} listen to this replica already"
            raise ProblemError(429, "too_many_listeners", detail, retry_after=_FULL)
        own = self._listening[holder.name]
        if holder is not ANYBODY and own >= self._config.listeners_of_one_key:
            detail = f"this key listens {own} times already"
            raise ProblemError(429, "quota", detail, retry_after=_FULL)

    async def _messages(
        self, monitor: str | None, after: int | None, states: bool, holder: Holder
    ) -> AsyncIterator[Message]:
        if self._tail is None:
            watching = self._watching
            self._tail = Tail(watching.since.remote, watching.last.remote, watching.monitors.remote)
        queue: asyncio.Queue[Message | Exception] = asyncio.Queue(100)

        async def heard(tail: Tail) -> None:
            try:
                async for message in tail.listen(after):
                    if message.event == "defect":
                        if monitor in (None, message.stream):
                            await queue.put(message)
                    elif states or message.event == "start":
                        await queue.put(message)
            except Exception as error:
                await queue.put(error)

        tasks = [asyncio.create_task(heard(self._tail))]
        if states:
            owner = None if holder.may("admin") else holder.name
            tasks.append(asyncio.create_task(self._inspections(owner, queue)))
        self._listening[holder.name] += 1
        left = self._config.listener_bytes
        try:
            while True:
                message = await queue.get()
                if isinstance(message, Exception):
                    raise message
                yield message
                left -= len(message.data)
                if left < 0:  # Serve keeps what is not read, and does not say that it is not
                    raise LateError
        finally:
            self._listening[holder.name] -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _inspections(
        self, owner: str | None, queue: asyncio.Queue[Message | Exception]
    ) -> None:
        """Tell how the newest inspections of somebody are, when that changes."""
        known = ""
        while True:
            try:
                text = json.dumps(await self._runner.page.remote(owner, None, 20))
            except Exception:  # a runner has died, or the store is away: it is asked again
                log.warning("inspections could not be told", exc_info=True)
                text = known
            if text != known:
                known = text
                await queue.put(Message("inspections", text))
            await asyncio.sleep(1.0)


def _there(found: Any) -> Any:
    """What was found.

    Raises:
        ProblemError: 404, nothing.
    """
    if found is None:
        raise ProblemError(404, "not_found", "there is no such monitor")
    return found


def _host(uri: str) -> tuple[str, int]:
    """Host and port of a URI.

    Raises:
        ProblemError: 422, it has none.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 1)
    except ValueError as error:
        raise ProblemError(422, "invalid_uri", f"not a URI: {error}") from error
    if not host:
        raise ProblemError(422, "invalid_uri", "the URI names no host")
    return host, port


async def _until_gone(websocket: WebSocket) -> None:
    """Take what is sent, which means nothing, until the other side leaves."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await websocket.receive()
