"""A client of the service: what `curl` can do, with types and with errors that say why."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from httpx_sse import connect_sse

from pipeline.live.event import Event
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
            request: only, skip, settings: see `serve.asking.Asked`.

        Raises:
            ServiceError: it was not done.
        """
        return Inspection.model_validate(self._posted("/v1/score", asset, request, {}).json())

    def score_frames(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """How probably tiles of 16x16 luma samples are corrupt, and blocky.

        Args:
            frames: [T, H, W, 3], RGB, or [T, H, W], luma in limited range; they follow each other.

        Returns:
            [T, 2, ceil(H/16), ceil(W/16)], probabilities of corruption and of blockiness.

        Raises:
            ServiceError: it was not done.
        """
        body = io.BytesIO()
        np.save(body, frames, allow_pickle=False)
        headers = {"Content-Type": "application/x-npy"}
        url = "/v1/score/frames"
        answer = _checked(self._http.post(url, content=body.getvalue(), headers=headers))
        maps: npt.NDArray[np.float32] = np.load(io.BytesIO(answer.content), allow_pickle=False)
        return maps

    def submit(
        self, asset: Path | str, *, idempotency_key: str | None = None, **request: Any
    ) -> str:
        """Have an asset inspected; returns the ID of the inspection.

        Args:
            asset: a file, or a URI that the service fetches.
            idempotency_key: the same key and request give the same inspection.
            request: only, skip, settings, labels, webhook: see `serve.asking.Asked`.

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

    def watch(self, uri: str, name: str | None = None, **request: Any) -> dict[str, Any]:
        """Have a live stream watched; returns how it is.

        Args:
            uri: of the stream.
            name: unlike that of any other; made of the URI where it is missing.
            request: labels, only, skip, settings: see `serve.monitors.Monitored`.

        Raises:
            ServiceError: it is not.
        """
        body = {"uri": uri, "name": name, **request}
        facts: dict[str, Any] = _checked(self._http.post("/v1/monitors", json=body)).json()
        return facts

    def monitors(self) -> list[dict[str, Any]]:
        """All live streams and how they are, the worst first."""
        found: list[dict[str, Any]] = self._got("/v1/monitors").json()["monitors"]
        return found

    def monitor(self, name: str, window: float = 3600.0) -> dict[str, Any]:
        """A live stream, and what happened to it in the last seconds."""
        facts: dict[str, Any] = self._got(f"/v1/monitors/{name}", {"window": window}).json()
        return facts

    def picture(self, name: str, event: str = "") -> bytes:
        """A small JPEG of a live stream, or of one of its events."""
        return self._got(f"/v1/monitors/{name}/picture", {"event": event}).content

    def change(self, name: str, **changes: Any) -> dict[str, Any]:
        """Change how a live stream is watched: see `serve.monitors.Changed`."""
        answer = _checked(self._http.patch(f"/v1/monitors/{name}", json=changes))
        facts: dict[str, Any] = answer.json()
        return facts

    def unwatch(self, name: str) -> None:
        """Have a live stream watched no more."""
        _checked(self._http.delete(f"/v1/monitors/{name}"))

    def analytics(self, by: str, window: float = 300.0) -> list[dict[str, Any]]:
        """Time of defects by the values of a label, over all live streams."""
        rows: list[dict[str, Any]] = self._got(
            "/v1/analytics", {"by": by, "window": window}
        ).json()["rows"]
        return rows

    def events(
        self, monitor: str | None = None, after: int | None = None
    ) -> Iterator[tuple[int, Event]]:
        """Events of live streams as they come, with their numbers; never ends by itself.

        Where the connection breaks, it is made again and nothing is missed.

        Args:
            monitor: of this one alone.
            after: a number: what came after it as well.

        Raises:
            ServiceError: they may not be heard.
        """
        patient = httpx.Timeout(10.0, read=60.0)  # the service gives a sign of life every 15 s
        while True:
            asked = {"monitor": monitor, "after": after}
            query = {key: value for key, value in asked.items() if value is not None}
            try:
                with connect_sse(
                    self._http, "GET", "/v1/events", params=query, timeout=patient
                ) as source:
                    if not source.response.is_success:
                        source.response.read()
                        _checked(source.response)
                    for message in source.iter_sse():
                        after = int(message.id)  # that of the last event before, at first
                        if message.event == "defect":
                            yield after, Event.model_validate_json(message.data)
            except httpx.TransportError:
                time.sleep(1.0)

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
