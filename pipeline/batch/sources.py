"""Which assets an archive has: files, folders, globs, URIs, and manifests with labels."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from pipeline.errors import UsageError
from pipeline.uri import scheme_of

# fmt: off
EXTENSIONS = frozenset({
    "264", "265", "3gp", "aac", "ac3", "adts", "aif", "aiff", "asf", "avi", "bwf", "dv", "eac3",
    "f4v", "flac", "flv", "gif", "gxf", "h264", "h265", "hevc", "ivf", "m1v", "m2t", "m2ts", "m2v",
    "m3u8", "m4a", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpg", "mpv", "mts",
    "mxf", "nut", "oga", "ogg", "ogv", "opus", "rm", "rmvb", "ts", "vob", "wav", "webm", "wma",
    "wmv", "y4m",
})
# fmt: on
MANIFESTS = (".csv", ".jsonl", ".ndjson", ".parquet")
_GLOB = "*?["


@dataclass(frozen=True)
class Wanted:
    """One asset of an archive.

    Attributes:
        uri: a local path or an fsspec URI.
        labels: whatever the manifest says of it: channel, region, ...
    """

    uri: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)


def gather(sources: Sequence[str]) -> list[Wanted]:
    """The assets of sources, each once, in order.

    Args:
        sources: files, folders (all media files below), globs, URIs that fsspec knows, or
            manifests: CSV, JSON Lines or Parquet with a column `uri`; the other columns are labels.
            What a manifest names relatively lies beside it.

    Raises:
        UsageError: a source is not there or names no asset; a manifest lacks `uri`.
    """
    found: dict[str, Wanted] = {}
    for source in sources:
        some = False
        for wanted in _of(source):
            some = True
            found.setdefault(wanted.uri, wanted)
        if not some:
            raise UsageError(f"{source} names no media file")
    return list(found.values())


def _of(source: str) -> Iterable[Wanted]:
    if source.lower().endswith(MANIFESTS):
        return _manifest(source)
    if scheme_of(source) in ("http", "https"):
        return [Wanted(source)]
    try:
        fs, path = url_to_fs(source)
        if any(sign in source for sign in _GLOB) and not fs.exists(path):
            paths = sorted(one for one in fs.glob(path) if _is_media(one))
        elif fs.isdir(path):
            paths = sorted(one for one in fs.find(path) if _is_media(one))
        elif fs.exists(path):
            paths = [path]
        else:
            raise UsageError(f"there is no {source}")
    except (ImportError, OSError, ValueError) as error:
        raise UsageError(f"{source} cannot be listed: {error}") from error
    local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
    return [Wanted(one if local else fs.unstrip_protocol(one)) for one in paths]


def _is_media(path: str) -> bool:
    return PurePosixPath(path).suffix.lstrip(".").lower() in EXTENSIONS


def _manifest(source: str) -> Iterator[Wanted]:
    try:
        with fsspec.open(source, "rb") as file:
            data: bytes = file.read()
    except (ImportError, OSError, ValueError) as error:
        raise UsageError(f"the manifest {source} cannot be read: {error}") from error
    folder = source.rpartition("/")[0]
    for number, row in enumerate(_rows(source, data), 1):
        if not isinstance(row, dict) or None in row:  # the second: more fields than columns
            raise UsageError(f"row {number} of the manifest {source} does not fit its columns")
        uri = row.pop("uri", None)
        if not isinstance(uri, str) or not uri:
            raise UsageError(f"row {number} of the manifest {source} has no `uri`")
        if not scheme_of(uri) and not uri.startswith("/") and folder:
            uri = f"{folder}/{uri}"
        yield Wanted(uri, {key: str(value) for key, value in row.items() if value is not None})


def _rows(source: str, data: bytes) -> list[dict[str, Any]]:
    try:
        if source.lower().endswith(".parquet"):
            import pyarrow.parquet  # noqa: PLC0415 - half a second, and few manifests are Parquet

            rows: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
            return rows
        text = data.decode("utf-8-sig")
        if source.lower().endswith(".csv"):
            return [dict(row) for row in csv.DictReader(io.StringIO(text))]
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, csv.Error) as error:
        raise UsageError(f"the manifest {source} cannot be read: {error}") from error
