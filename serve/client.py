"""A client of the service: what `curl` can do, with types and with errors that say why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from pipeline.types import Defect, Inspection

_PATIENCE = httpx.Timeout(10.0, read=120.0)


class ServiceError(Exception):
    """The service answered with a problem.

    Attributes:
        status: of HTTP.
        code: of the problem, for machines.
        retry_after: seconds after which another try may work; None: it will not.
    """

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None) -> None:
        super().__init__(f"{detail} ({code})")
        self.status, self.code, self.retry_after = status, code, retry_after


class Client:
    """Talks to one service::

        with Client("http://127.0.0.1:8000", key) as service:
            result = service.score(Path("clip.mp4"))

    Args:
        url: of the service.
        key: bearer key, where it asks for one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def score(self, asset: Path | str, **request: Any) -> Inspection:
        """Inspect a short clip and wait for the result.

        Args:
            asset: a file, or a URI that the service fetches.
            request: only, skip, settings: see `serve.app.Asked`.

        Raises:
            ServiceError: it was not done.
        """
        return Inspection.model_validate(self._posted("/v1/score", asset, request, {}).json())

    def submit(
        self, asset: Path | str, *, idempotency_key: str | None = None, **request: Any
    ) -> str:
        """Have an asset inspected; returns the ID of the inspection.

        Args:
            asset: a file, or a URI that the service fetches.
            idempotency_key: the same key and request give the same inspection.
            request: only, skip, settings, labels, webhook: see `serve.app.Asked`.

        Raises:
            ServiceError: it was not accepted.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return str(self._posted("/v1/inspections", asset, request, headers).json()["id"])

    def facts(self, name: str) -> dict[str, Any]:
        """State and progress of an inspection."""
        facts: dict[str, Any] = self._got(f"/v1/inspections/{name}").json()
        return facts

    def wait(
        self,
        name: str,
        seconds: float = 3600.0,
        told: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Wait for an inspection to be over; returns its facts.

        Raises:
            TimeoutError: it is not.
        """
        until = time.monotonic() + seconds
        while True:
            facts = self.facts(name)
            told(facts)
            if facts["state"] not in ("queued", "running"):
                return facts
            if time.monotonic() > until:
                raise TimeoutError(f"inspection {name} is {facts['state']} after {seconds:g} s")
            time.sleep(0.5)

    def result(self, name: str) -> Inspection:
        """The result of an inspection that is done."""
        return Inspection.model_validate(self._got(f"/v1/inspections/{name}/result").json())

    def defects(self, name: str, kind: str | None = None) -> Iterator[Defect]:
        """Defects of an inspection that is done, page by page."""
        cursor: int | None = 0
        while cursor is not None:
            asked: dict[str, Any] = {"cursor": cursor} | ({"kind": kind} if kind else {})
            page = self._got(f"/v1/inspections/{name}/defects", asked).json()
            yield from map(Defect.model_validate, page["defects"])
            cursor = page["next"]

    def report(self, name: str) -> str:
        """The report of an inspection, HTML."""
        return self._got(f"/v1/inspections/{name}/report").text

    def cancel(self, name: str) -> None:
        """Cancel an inspection."""
        _checked(self._http.delete(f"/v1/inspections/{name}"))

    def _got(self, path: str, asked: Mapping[str, Any] | None = None) -> httpx.Response:
        return _checked(self._http.get(path, params=asked))

    def _posted(
        self, path: str, asset: Path | str, request: Mapping[str, Any], headers: Mapping[str, str]
    ) -> httpx.Response:
        if isinstance(asset, str):
            body = {"uri": asset, **request}
            return _checked(self._http.post(path, json=body, headers=headers))
        with asset.open("rb") as file:
            return _checked(
                self._http.post(
                    path,
                    files={"file": (asset.name, file)},
                    data={"request": json.dumps(request)},
                    headers=headers,
                )
            )


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):  # a proxy before the service
        code, detail = "http_error", f"the service answered {response.status_code}"
    after = response.headers.get("retry-after", "")
    raise ServiceError(
        response.status_code, code, detail, float(after) if after.isdigit() else None
    )
