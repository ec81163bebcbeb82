"""Errors as RFC 9457 problem documents, whatever raised them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

log = logging.getLogger("ray.serve.vidette")  # under that of Serve: JSON, with the request's ID
MEDIA_TYPE = "application/problem+json"


_DOCUMENT = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "for people"},
        "instance": {"type": "string", "description": "the path that was asked"},
        "code": {"type": "string", "description": "for machines, stable"},
        "retryable": {"type": "boolean", "description": "another try may work, see Retry-After"},
    },
}
# what every operation may answer, for its description
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": said, "content": {MEDIA_TYPE: {"schema": _DOCUMENT}}}
    for status, said in (
        ("422", "What was asked is not valid"),
        ("4XX", "It was not done: the document says why"),
        ("5XX", "It could not be done"),
    )
}


class ProblemError(Exception):
    """An answer that is not the one that was asked for.

    Args:
        status: of HTTP.
        code: for machines, stable.
        detail: for people.
        retry_after: seconds after which another try may work; None: it will not.
    """

    def __init__(
        self, status: int, code: str, detail: str, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after

    def __reduce__(self) -> tuple[Any, ...]:  # crosses processes
        return (ProblemError, (self.status, self.code, self.detail, self.retry_after))


def document(problem: ProblemError, path: str) -> dict[str, Any]:
    """The document of a problem, about a path."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        "code": problem.code,
        "retryable": problem.retry_after is not None,
    }


def answer(
    problem: ProblemError, request: Request, headers: Mapping[str, str] | None = None
) -> Response:
    """The response of a problem."""
    sent = dict(headers or {})
    if problem.retry_after is not None:
        sent["Retry-After"] = str(max(1, round(problem.retry_after)))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Bearer"
    body = document(problem, request.url.path)
    return JSONResponse(body, problem.status, sent, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make an application answer with problems only."""

    @app.exception_handler(ProblemError)
    async def known(request: Request, problem: ProblemError) -> Response:
        return answer(problem, request)

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> Response:
        code = HTTPStatus(error.status_code).name.lower()
        problem = ProblemError(error.status_code, code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            methods = ", ".join(sorted(_methods(request)))
            headers = {"Allow": methods or headers.get("Allow", "")}
        return answer(problem, request, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()
        )
        return answer(ProblemError(422, "invalid_request", said), request)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(ProblemError(500, "internal_error", "something went wrong here"), request)


def _methods(request: Request) -> set[str]:
    """All methods of a path, as described; the framework names those of its first route alone."""
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].fullmatch(request.url.path):
            return {method.upper() for method in operations}
    return set()
