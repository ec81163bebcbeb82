"""Opening: any URI to a demuxer, within limits of time, size and trust."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container
import av.error
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import SourceError


class Limits(BaseModel):
    """What an asset may cost, and what it may reach."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open_timeout: float = Field(default=10.0, gt=0, description="seconds to open and probe")
    read_timeout: float = Field(default=10.0, gt=0, description="seconds for one read")
    max_pixels: int = Field(default=64 * 2**20, gt=0, description="largest frame, in pixels")


@contextmanager
def open_source(uri: str, limits: Limits) -> Iterator[av.container.InputContainer]:
    """Open an asset for demuxing.

    Raises:
        SourceError: with the reason why it could not be opened.
    """
    if "://" not in uri and not Path(uri).exists():
        raise SourceError("not_found", f"there is no file {uri}")
    try:
        container = av.open(uri, timeout=(limits.open_timeout, limits.read_timeout))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError("unreadable", f"{uri}: {error}") from error
    with container:
        yield container
