"""What requests for an inspection say: JSON with a URI, or a form with a file."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.types import Message

from pipeline.errors import UsageError
from pipeline.settings import Settings, chosen, of_the_operator
from serve.problems import ProblemError

# of a URI; `\s` is not the same everywhere: Rust has U+0085 in it, JSON Schema has not
UNSPACED = r"[^\x00-\x20\x7f-\xa0]"
_FORM = 1 << 20  # bytes that a form may have beside its file
_JSON = 1 << 18  # bytes of a request without a file
# Seconds that a body may pause, and the pace that it must keep as a whole: bytes a second
_PAUSE, _SLOWEST = 30.0, 1 << 16
_NAMES = 100  # of detectors
Label = Annotated[str, Field(max_length=1000)]
LabelName = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(max_length=200)]  # of a detector or a setting
Value = float | int | Annotated[str, Field(max_length=4096)] | bool
AskedModel = TypeVar("AskedModel", bound=BaseModel)


class Asked(BaseModel):
    """What is asked for, as JSON; with an upload the same fields come as parts of the form."""

    model_config = ConfigDict(extra="forbid")

    uri: str | None = Field(
        default=None,
        max_length=4096,
        pattern=rf"^https?://{UNSPACED}+$",
        description="http or https",
    )
    only: list[Name] = Field(
        default_factory=list, max_length=_NAMES, description="run these detectors alone"
    )
    skip: list[Name] = Field(
        default_factory=list, max_length=_NAMES, description="run all detectors but these"
    )
    settings: dict[Name, Value] = Field(
        default_factory=dict, description='by dotted names: {"freeze.min_duration": 0.5}'
    )
    labels: dict[LabelName, Label] = Field(default_factory=dict, max_length=32)
    webhook: str | None = Field(
        default=None,
        max_length=4096,
        pattern=rf"^https?://{UNSPACED}+$",
        description="told when it is over",
    )

    def chosen(self) -> Settings:
        """The settings.

        Raises:
            ProblemError: 422.
        """
        if names := of_the_operator(self.settings):
            raise ProblemError(422, "invalid_settings", f"not yours to set: {', '.join(names)}")
        try:
            settings = chosen(None, self.only, self.skip, self.settings)
        except UsageError as error:
            raise ProblemError(422, "invalid_settings", str(error)) from error
        # a process of its own has no part in the context of a GPU; serve/together.py knows better
        return settings.model_copy(update={"device": "cpu"})


def _without_uri() -> dict[str, Any]:
    schema = Asked.model_json_schema()
    del schema["properties"]["uri"]
    return schema


def _with_uri() -> dict[str, Any]:
    schema = Asked.model_json_schema()
    uri = schema["properties"]["uri"]
    (there,) = [one for one in uri.pop("anyOf") if one["type"] == "string"]
    del uri["default"]
    schema["properties"]["uri"] = there | uri
    return schema | {"required": ["uri"]}


FORMATS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _with_uri()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "request": _without_uri(),
                    },
                },
                "encoding": {"request": {"contentType": "application/json"}},
            },
        },
    }
}


def is_place(uri: str) -> bool:
    """Whether a URI names a host, and a port that there can be."""
    try:
        url = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError):
        return False
    return bool(url.host) and (url.port is None or 0 < url.port < 1 << 16)


def bounded(request: Request, most: int) -> Request:
    """The same request, whose body may neither be longer than so many bytes nor come too slowly.

    Reading it raises ProblemError: 413, 408.
    """
    size, until = 0, time.monotonic() + _PAUSE + most / _SLOWEST

    async def receive() -> Message:
        nonlocal size
        try:
            async with asyncio.timeout(min(_PAUSE, until - time.monotonic())):
                message = await request.receive()
        except TimeoutError as error:
            raise ProblemError(408, "too_slow", "the body of the request does not come") from error
        size += len(message.get("body", b""))
        if size > most:
            raise ProblemError(413, "too_large", f"more than {most} bytes")
        return message

    return Request(request.scope, receive)


def refuse(asked: Asked) -> None:
    """Refuse what no description can tell apart.

    Raises:
        ProblemError: 422.
    """
    refuse_labels(asked.labels)
    for uri in (asked.uri, asked.webhook):
        if uri is not None and not is_place(uri):
            raise ProblemError(422, "invalid_uri", f"{uri[:100]} is no address of a web server")


def refuse_labels(labels: Mapping[str, str] | None) -> None:
    """Refuse labels that not every database keeps.

    Raises:
        ProblemError: 422.
    """
    if any("\0" in text for pair in (labels or {}).items() for text in pair):
        raise ProblemError(422, "invalid_labels", "a label holds a NUL")


async def read_json(request: Request, model: type[AskedModel]) -> AskedModel:
    """What a request without a file says.

    Raises:
        ProblemError: 408, 413, 415, 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "unsupported_media_type", "send application/json")
    try:
        return model.model_validate_json(await bounded(request, _JSON).body())
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> ProblemError:
    said = "; ".join(f"{one['loc']}: {one['msg']}" for one in error.errors())
    return ProblemError(422, "invalid_request", said)


async def read(request: Request, into: Path, most: int) -> tuple[Asked, str | None]:
    """What is asked for; an upload is copied, and its name returned.

    Args:
        request: of HTTP.
        into: where an upload goes.
        most: bytes of it.

    Raises:
        ProblemError: 408, 413, 415, 422.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most + _FORM:
        raise ProblemError(413, "too_large", f"more than {most} bytes; give a URI instead")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            asked = await read_json(request, Asked)
            if asked.uri is None:
                raise ProblemError(422, "invalid_request", "`uri` is missing")
            refuse(asked)
            return asked, None
        if kind != "multipart/form-data":
            detail = "send application/json, or multipart/form-data with `file`"
            raise ProblemError(415, "unsupported_media_type", detail)
        form_of = bounded(request, most + _FORM).form
        async with form_of(max_files=1, max_fields=8, max_part_size=_FORM) as form:
            file, text = form.get("file"), form.get("request", "{}")
            if unknown := set(form) - {"file", "request"}:
                detail = f"the form has fields that nobody knows: {', '.join(unknown)}"
                raise ProblemError(422, "invalid_request", detail)
            if not isinstance(file, UploadFile) or not isinstance(text, str):
                raise ProblemError(422, "invalid_request", "the form has no `file`")
            asked = Asked.model_validate_json(text or "{}")
            if asked.uri is not None:
                raise ProblemError(422, "invalid_request", "either `file` or `uri`")
            refuse(asked)
            if (file.size or 0) > most:
                detail = f"more than {most} bytes; give a URI instead"
                raise ProblemError(413, "too_large", detail)
            with into.open("wb") as out:
                await asyncio.to_thread(shutil.copyfileobj, file.file, out)
            return asked, Path(file.filename or "upload").name
    except ValidationError as error:
        raise _invalid(error) from error
