"""The application of FastAPI, and who may ask it for what."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig
from starlette.requests import HTTPConnection

from serve import problems
from serve.keys import ANYBODY, Holder, Keys, Scope
from serve.problems import ProblemError

log = logging.getLogger("vidette.serve")
COOKIE = "vidette_key"  # of the live page: pictures and events of a browser carry no headers

_QUIET = ("/health/live", "/health/ready", "/metrics")  # asked all the time, by machines
_OPEN = {"/health/live": "get", "/health/ready": "get", "/v1/session": "delete"}  # to everybody


def _is_quiet(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request leaves no span."""
    return scope["type"] == "http" and scope["path"] in _QUIET


# spans of requests, which go on with the trace of `traceparent`; see serve/traces.py
TELEMETRY: TelemetryConfig = {
    "exclude": _is_quiet,
    "operation_spans": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}


class _Application(FastAPI):
    """Describes what needs no key as such."""

    def openapi(self) -> dict[str, Any]:
        """As FastAPI."""
        described = super().openapi()
        for path, method in _OPEN.items():
            described["paths"][path][method]["security"] = []
        return described


api = _Application(
    title="Vidette",
    description="Finds the defects that a viewer would notice in audio and video.",
    version="1",
    docs_url=None,
    redoc_url=None,
    # for the description alone: `Door` looks at the key
    dependencies=[Depends(HTTPBearer(auto_error=False))],
    responses=problems.RESPONSES,
    telemetry=TELEMETRY,
)
problems.install(api)


@api.middleware("http")
async def _logged(
    request: Request, following: Callable[[Request], Awaitable[Response]]
) -> Response:
    """A line in the log for every request, with the ID that Serve gives it and sends back."""
    response = await following(request)
    name = request.headers.get("x-request-id", "-")
    log.info("%s %s %s %d", name, request.method, request.url.path, response.status_code)
    return response


async def unwrapped(answer: Any) -> Any:
    """What a deployment answers; its problems as they were raised."""
    try:
        return await answer
    except ProblemError:
        raise
    except Exception as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ProblemError):
            raise cause from error
        raise


class Door:
    """Lets those in who have a key, as a bearer or in the cookie of the live page.

    Args:
        keys: None: nobody needs one.
    """

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys

    def holder(self, request: HTTPConnection, scope: Scope) -> Holder:
        """Who asks.

        Raises:
            ProblemError: 401 without a key, 403 where it does not suffice, or where another site
                makes a browser ask.
        """
        if self._keys is None:
            if _of_another_site(request):  # a page elsewhere, opened on this machine
                raise ProblemError(403, "cross_site", "pages of other sites may not ask for this")
            return ANYBODY
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            key = request.cookies.get(COOKIE, "")
            if key and _of_another_site(request):
                raise ProblemError(403, "cross_site", "pages of other sites may not use this key")
        holder = self._keys.holder(key.strip())
        if holder is None:
            raise ProblemError(401, "unauthorized", "send Authorization: Bearer KEY")
        if not holder.may(scope):
            raise ProblemError(403, "forbidden", f"this key has no scope {scope}")
        return holder


def _of_another_site(request: HTTPConnection) -> bool:
    """Whether a browser says that a page of another site asks for more than to look."""
    looks = request.scope["type"] == "http" and request.scope["method"] in ("GET", "HEAD")
    origin = request.headers.get("origin")
    if looks or origin is None:
        return False
    return origin.partition("://")[2] != request.headers.get("host")
