"""What requests for an inspection say: JSON with a URI, or a form with a file."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from pipeline.errors import UsageError
from pipeline.settings import Settings, chosen, of_the_operator
from serve.problems import ProblemError

# of a URI; `\s` is not the same everywhere: Rust has U+0085 in it, JSON Schema has not
UNSPACED = r"[^\x00-\x20\x7f-\xa0]"
_FORM = 1 << 20  # bytes that a form may have beside its file


class Asked(BaseModel):
    """What is asked for, as JSON; with an upload the same fields come as parts of the form."""

    model_config = ConfigDict(extra="forbid")

    uri: str | None = Field(
        default=None,
        max_length=4096,
        pattern=rf"^https?://{UNSPACED}+$",
        description="http or https",
    )
    only: list[str] = Field(default_factory=list, description="run these detectors alone")
    skip: list[str] = Field(default_factory=list, description="run all detectors but these")
    settings: dict[str, float | int | str | bool] = Field(
        default_factory=dict, description='by dotted names: {"freeze.min_duration": 0.5}'
    )
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    webhook: str | None = Field(default=None, max_length=4096, description="told when it is over")

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
        # a process of its own, with limits of memory, has no part in the context of a GPU
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


async def read(request: Request, into: Path, most: int) -> tuple[Asked, str | None]:
    """What is asked for; an upload is copied, and its name returned.

    Args:
        request: of HTTP.
        into: where an upload goes.
        most: bytes of it.

    Raises:
        ProblemError: 413, 415, 422.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most + _FORM:
        raise ProblemError(413, "too_large", f"more than {most} bytes; give a URI instead")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            asked = Asked.model_validate_json(await request.body())
            if asked.uri is None:
                raise ProblemError(422, "invalid_request", "`uri` is missing")
            return asked, None
        if kind != "multipart/form-data":
            detail = "send application/json, or multipart/form-data with `file`"
            raise ProblemError(415, "unsupported_media_type", detail)
        async with request.form(max_files=1, max_fields=8, max_part_size=_FORM) as form:
            file, text = form.get("file"), form.get("request", "{}")
            if unknown := set(form) - {"file", "request"}:
                detail = f"the form has fields that nobody knows: {', '.join(unknown)}"
                raise ProblemError(422, "invalid_request", detail)
            if not isinstance(file, UploadFile) or not isinstance(text, str):
                raise ProblemError(422, "invalid_request", "the form has no `file`")
            asked = Asked.model_validate_json(text or "{}")
            if asked.uri is not None:
                raise ProblemError(422, "invalid_request", "either `file` or `uri`")
            if (file.size or 0) > most:
                detail = f"more than {most} bytes; give a URI instead"
                raise ProblemError(413, "too_large", detail)
            with into.open("wb") as out:
                await asyncio.to_thread(shutil.copyfileobj, file.file, out)
            return asked, Path(file.filename or "upload").name
    except ValidationError as error:
        said = "; ".join(f"{one['loc']}: {one['msg']}" for one in error.errors())
        raise ProblemError(422, "invalid_request", said) from error
