"""The live page: its files, and the cookie that stands in for a key in a browser.

A part of the ingress class, which Serve moves to other processes: annotations are evaluated.
"""

from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse

from serve.api import COOKIE, Door, api
from serve.problems import ProblemError

_FILES = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_LASTS = 30 * 86_400  # seconds


class Page:
    """The endpoints."""

    _door: Door

    @api.get("/", include_in_schema=False)
    async def page(self) -> Response:
        """The live page."""
        return FileResponse(_FILES / "index.html", media_type="text/html", headers=_HEADERS)

    @api.get("/static/{name}", include_in_schema=False)
    async def file(self, name: str) -> Response:
        """What the page is made of."""
        path = _FILES / name
        if path.suffix not in _TYPES or path.parent != _FILES or not path.is_file():
            raise ProblemError(404, "not_found", "there is no such file")
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=_HEADERS)

    @api.post("/v1/session", status_code=204)
    async def begin_session(self, request: Request) -> Response:
        """Keep the bearer key of this request in a cookie, for the live page."""
        self._door.holder(request, "read")
        answer = Response(status_code=204)
        key = request.headers.get("authorization", "").partition(" ")[2].strip()
        if key:
            answer.set_cookie(
                COOKIE, key, max_age=_LASTS, httponly=True, samesite="strict",
                secure=_is_secure(request),
            )  # fmt: skip
        return answer

    @api.delete("/v1/session", status_code=204)
    async def end_session(self) -> Response:
        """Forget it."""
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _is_secure(request: Request) -> bool:
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
