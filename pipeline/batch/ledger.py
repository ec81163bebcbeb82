"""What is done: one file per asset, written at once or not at all.

A folder (or a bucket) holds everything of an archive:

    results/ID.json    an asset that was inspected, see `Record`
    failed/ID.json     one that could not be: it killed its worker twice, took too long, ...
    again/ID.json      one whose result may be another the next time, see `Record.may_differ`
    working/ID.json    one that a worker has now, and how far it is
    pieces/ID/         what was measured of the ranges of a long one, until they are joined
    runs/NAME.json     which assets a run covers, in order
    tables/            Parquet, see tables.py
    reports/ID.html    the page of an asset; with --reports, its whole report
    index.html         all assets, the worst first

ID is made of what decides on the result: the asset's URI, size and time of change (or ETag), the
versions of everything that judges, and the settings. A changed asset has another ID; nobody needs
to remember what was done with what.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

import httpx
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from pydantic import BaseModel, ConfigDict, Field

import models
from pipeline.detectors import DETECTORS
from pipeline.errors import UsageError
from pipeline.inspect import versions
from pipeline.ranges.measure import Range
from pipeline.scratch import scratch
from pipeline.settings import Settings
from pipeline.types import Inspection
from pipeline.uri import scheme_of

# what files, object stores and web servers call size, version and time of change
_STAMPS = (
    *("size", "ETag", "etag", "LastModified", "mtime", "updated"),
    *("content-length", "last-modified"),
)
_AT_ONCE, _READ_AHEAD = 16, 64  # records that are read; object stores answer many at a time
_PATIENCE = 5.0  # seconds for a web server to tell what it has
# Problems that may be over the next time
_OUTWARD = {
    *("time_limit", "read_timeout", "connection_refused", "connection_failed"),
    *("not_permitted", "not_found", "http_error", "read_error"),
}
Shelf = Literal["results", "failed", "again", "working", "runs", "pieces"]


class FullError(Exception):
    """Nothing more can be written where the results go."""


class Record(BaseModel):
    """One asset of an archive, as `results/` and `failed/` hold it."""

    model_config = ConfigDict(extra="forbid")

    schema_: Literal["vidette.record/1"] = Field(default="vidette.record/1", alias="schema")
    id: str
    uri: str
    labels: dict[str, str] = Field(default_factory=dict)
    state: Literal["done", "failed"]
    reason: str | None = Field(default=None, description="of a failure, for machines")
    detail: str | None = Field(default=None, description="of a failure, for people")
    attempts: int = 1
    ranges: int = Field(default=1, description="in which its pictures were measured in parallel")
    whole: str | None = Field(
        default=None, description="why an asset that is long was inspected in one piece"
    )
    inspection: Inspection | None = None

    @property
    def may_differ(self) -> bool:
        """Whether nothing could be examined, time was short, or a source got out of reach."""
        if self.inspection is None:
            return False
        coverage = self.inspection.coverage
        return coverage.state == "none" or any(p.reason in _OUTWARD for p in coverage.problems)


class Working(BaseModel):
    """An asset in work."""

    model_config = ConfigDict(extra="forbid")

    uri: str
    host: str
    pid: int
    attempt: int
    position: float = Field(default=0.0, description="seconds of presentation examined")
    duration: float | None = Field(default=None, description="of these, all that there are")
    reason: str | None = Field(default=None, description="why its worker gave itself up")


class Ledger:
    """The files of an archive.

    Args:
        out: a folder or an fsspec URI; made where it is not there.

    Raises:
        UsageError: it cannot be used.
    """

    def __init__(self, out: str) -> None:
        self.out = out
        try:
            fs, root = url_to_fs(out)
            fs.makedirs(root, exist_ok=True)
        except (ImportError, OSError, ValueError) as error:
            raise UsageError(f"{out} cannot be written to: {error}") from error
        self.fs: AbstractFileSystem = fs
        self.root: str = root.rstrip("/")
        protocols = fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)
        self.is_local = "file" in protocols

    def path(self, name: str) -> str:
        """The full path of a name in the folder."""
        return f"{self.root}/{name}"

    def ids(self, shelf: Shelf) -> set[str]:
        """Which assets a shelf holds."""
        self.fs.invalidate_cache()
        try:
            names = self.fs.ls(self.path(shelf), detail=False)
        except FileNotFoundError:
            return set()
        return {Path(name).stem for name in names if name.endswith(".json")}

    def read(self, shelf: Shelf, name: str) -> dict[str, Any] | None:
        """One file, as written; None where there is none (or half of one, of an older tool)."""
        try:
            made: dict[str, Any] = json.loads(self.fs.cat_file(self.path(f"{shelf}/{name}.json")))
        except (FileNotFoundError, ValueError):
            return None
        return made

    def record(self, name: str) -> Record | None:
        """What is known of an asset: its result, else its failure."""
        for shelf in ("results", "failed"):
            found = self.read(shelf, name)
            if found is not None:
                return Record.model_validate(found)
        return None

    def records(self, ids: Sequence[str]) -> Iterator[Record]:
        """What is known of assets, in order; those that nothing is known of are left out."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(ids), _READ_AHEAD):
                known = pool.map(self.record, ids[start : start + _READ_AHEAD])
                yield from (one for one in known if one is not None)

    def keep(self, record: Record) -> None:
        """Write what became of an asset; a result replaces a failure.

        Raises:
            FullError: there is no room.
        """
        shelf: Shelf = "results" if record.state == "done" else "failed"
        text = record.model_dump_json(by_alias=True)
        self.write(f"{shelf}/{record.id}.json", text.encode("utf-8", "backslashreplace"))
        if record.state == "done":
            self.remove(f"failed/{record.id}.json")
            if record.may_differ:
                self.write(f"again/{record.id}.json", b"{}")
            else:
                self.remove(f"again/{record.id}.json")
        self.remove(f"working/{record.id}.json")

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that nobody ever sees half of it.

        Raises:
            FullError: there is no room.
        """
        if not self.is_local:  # object stores show an object when it is whole
            self.fs.pipe_file(self.path(name), data)
            return
        with self.writing(name) as file:
            file.write(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write that is there when all of it is; nothing is where writing fails.

        Raises:
            FullError: there is no room.
        """
        place = self.path(name)
        part = Path(f"{place}.{uuid.uuid4().hex}.part")
        with ExitStack() as stack:
            if not self.is_local:
                part = stack.enter_context(scratch()) / "piece"
            try:
                part.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                if self.is_local:
                    part.replace(place)
                else:
                    self.fs.put_file(str(part), place)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise FullError(f"no room left for {place}") from error
                raise
            finally:
                part.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Whether a file is there now."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(name)))

    def open(self, name: str) -> IO[bytes]:
        """A file to read."""
        opened: IO[bytes] = self.fs.open(self.path(name), "rb")
        return opened

    def drop_pieces(self, name: str) -> None:
        """Remove what was measured of the ranges of an asset."""
        try:
            self.fs.rm(self.path(f"pieces/{name}"), recursive=True)
        except FileNotFoundError:
            return

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            self.fs.rm_file(self.path(name))
        except FileNotFoundError:
            return


def piece_name(name: str, part: Range) -> str:
    """The file of a range of an asset."""
    stop = "end" if part.stop is None else str(part.stop)
    return f"pieces/{name}/{part.first}-{stop}.piece"


def identity(uri: str, settings: Settings) -> str:
    """The ID of an asset under some settings, as it is now."""
    said = {
        "uri": uri,
        "stamp": _stamp(uri),
        "versions": _versions(),
        "settings": settings.model_dump(mode="json", exclude={"threads"}),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def _stamp(uri: str) -> list[str]:
    """What changes with the content of an asset; nothing where it does not tell in time."""
    try:
        if scheme_of(uri) in ("http", "https"):
            answer = httpx.head(uri, timeout=_PATIENCE, follow_redirects=True)
            facts = dict(answer.raise_for_status().headers)
        else:
            fs, path = url_to_fs(uri)
            facts = fs.info(path)
    except Exception:  # whatever is wrong with it, inspecting it will say so
        return []
    return [f"{name}={facts[name]}" for name in _STAMPS if facts.get(name) is not None]


@cache
def _versions() -> dict[str, str]:
    """Of everything that decides on a result."""
    weights = Path(models.__file__).parent / "weights"
    nets = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(weights.glob("*.safetensors"))
    }
    return versions() | nets | {name: detector.version for name, detector in DETECTORS.items()}
