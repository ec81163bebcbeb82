"""The application of FastAPI, and who may ask it for what."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig
from starlette.requests import HTTPConnection

from serve import problems
from serve.keys import ANYBODY, Holder, Keys, Scope
from serve.problems import ProblemError

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
        scores: of one key at a time; None: any number.
        submits: requests for inspections that are read at a time, with any key.
        own_submits: likewise, with one key.
    """

    def __init__(
        self,
        keys: Keys | None,
        scores: int | None = None,
        submits: int | None = None,
        own_submits: int | None = None,
    ) -> None:
        self._keys, self._scores = keys, scores
        self._submits, self._own_submits = submits, own_submits
        self._scoring: Counter[str] = Counter()  # by name of the key
        self._submitting: Counter[str] = Counter()

    def holder(self, request: HTTPConnection, scope: Scope) -> Holder:
        """Who asks.

        Raises:
            ProblemError: 401 without a key, 403 where it does not suffice, or where another site
                makes a browser ask.
        """
        if self._keys is None:
            if not _is_here(request):  # another site whose name was made to lead here
                raise ProblemError(403, "wrong_host", "without keys, ask at 127.0.0.1 or localhost")
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

    @contextmanager
    def scoring(self, request: Request) -> Iterator[Holder]:
        """While a score is made for whoever asks: one that waits counts as well.

        Raises:
            ProblemError: see `holder`; 429 where the key has as many already as one may have.
        """
        holder = self.holder(request, "submit")
        with _counted(self._scoring, holder, self._scores, "scores waiting or in work"):
            yield holder

    @contextmanager
    def submitting(self, request: Request) -> Iterator[Holder]:
        """While a request for an inspection is read: it may come slowly.

        Raises:
            ProblemError: see `holder`; 429 where as many are read already as may be.
        """
        holder = self.holder(request, "submit")
        many = self._submitting.total()
        if self._submits is not None and many >= self._submits:
            detail = f"{many} requests for inspections are being read already"
            raise ProblemError(429, "busy", detail, retry_after=5)
        with _counted(self._submitting, holder, self._own_submits, "uploads on their way"):
            yield holder


@contextmanager
def _counted(counts: Counter[str], holder: Holder, most: int | None, what: str) -> Iterator[None]:
    """Count one more of a key, where it has fewer than it may.

    Raises:
        ProblemError: 429.
    """
    many = counts[holder.name]
    if most is not None and holder is not ANYBODY and many >= most:
        raise ProblemError(429, "quota", f"this key has {many} {what} already", retry_after=2)
    counts[holder.name] += 1
    try:
        yield
    finally:
        counts[holder.name] -= 1
        if not counts[holder.name]:
            del counts[holder.name]


def _is_here(request: HTTPConnection) -> bool:
    """Whether this machine was asked by a name of its own: any other may be a stranger's."""
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _of_another_site(request: HTTPConnection) -> bool:
    """Whether a browser says that a page of another site asks for more than to look."""
    looks = request.scope["type"] == "http" and request.scope["method"] in ("GET", "HEAD")
    origin = request.headers.get("origin")
    if looks or origin is None:
        return False
    return origin.partition("://")[2] != request.headers.get("host")
