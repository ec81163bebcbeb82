"""What Ray Serve's proxy says by itself, as problem documents too.

The proxy answers before and after the application does: no such route, no replica, too late, a
replica that died. It says so in plain text, or nothing at all. `wrapped` names a middleware
of the proxy, which Serve loads where the environment of its node says so (`VARIABLE`); it touches
nothing but errors that are no problem document yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problems import MEDIA_TYPE, ProblemError, document

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK = "serve.proxy:wrapped"
_TEXT = 2000  # bytes of what the proxy said, at most, that are passed on
_ID = "x-request-id"


@dataclass(frozen=True)
class _Said:
    """How an answer of the proxy is told.

    Attributes:
        code: for machines.
        retry_after: seconds; None: it will not work later either.
    """

    code: str
    retry_after: float | None = None


_KNOWN = {
    404: _Said("not_found"),
    408: _Said("timeout", 1.0),
    429: _Said("busy", 1.0),
    500: _Said("no_answer", 1.0),  # our own are documents: whoever worked on it has died
    503: _Said("unavailable", 1.0),
}


def wrapped() -> list[Middleware]:
    """What Serve's proxy puts around itself."""
    return [Middleware(Problems)]


class Problems:
    """Turns errors into problem documents; what is none passes through as it comes.

    Args:
        app: answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        await self._app(scope, receive, answer.send)
        if not answer.started:  # the proxy says nothing where a replica dies; uvicorn would
            await answer.tell(500, Headers(scope=scope), "whoever worked on it is gone")


class _Answer:
    """What is sent for one request."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._start: Message | None = None  # of an error that is held back
        self._said = bytearray()
        self.started = False

    async def send(self, message: Message) -> None:
        """Send a message, or hold it back until the error is complete."""
        if message["type"] == "http.response.start":
            self.started = True
            if message["status"] >= 400 and not _is_document(message):
                self._start = message
                return
        if self._start is None:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._said += message.get("body", b"")[: _TEXT - len(self._said)]
            if not message.get("more_body", False):
                start, self._start = self._start, None
                said = self._said.decode(errors="replace").strip()
                await self.tell(start["status"], Headers(raw=start["headers"]), said)

    async def tell(self, status: int, about: Headers, said: str) -> None:
        """Send a problem.

        Args:
            status: of HTTP.
            about: headers that came with it.
            said: by the proxy.
        """
        known = _KNOWN.get(status) or _Said(HTTPStatus(status).name.lower())
        after = about.get("retry-after", "")
        again = float(after) if after.isdigit() else known.retry_after
        problem = ProblemError(status, known.code, said or known.code, again)
        body = json.dumps(document(problem, self._scope["path"])).encode()
        headers = MutableHeaders({"content-type": MEDIA_TYPE, "content-length": str(len(body))})
        if again is not None:
            headers["retry-after"] = str(max(1, round(again)))
        if _ID in about:
            headers[_ID] = about[_ID]
        start: dict[str, Any] = {"type": "http.response.start", "status": status}
        await self._send(start | {"headers": headers.raw})
        without = self._scope["method"] == "HEAD"
        await self._send({"type": "http.response.body", "body": b"" if without else body})


def _is_document(start: Message) -> bool:
    kind = Headers(raw=start.get("headers", [])).get("content-type", "")
    return kind.partition(";")[0].strip().lower() == MEDIA_TYPE
