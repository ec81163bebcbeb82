"""Opening: any URI to a demuxer, within limits of time, size and trust.

Local files are read by FFmpeg itself, with nothing but its `file` protocol and without the formats
that name other files or hosts. Playlists, web addresses and fsspec URIs are read through
`pipeline.reach`, which decides about every file and address that the asset asks for. Live
protocols (rtsp, udp, ...) go to FFmpeg directly. docs/input.md has the whole table.
"""

from __future__ import annotations

import glob
import os
import select
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, cast

import av
import av.container
import av.error
from av.codec.hwaccel import HWAccel
from pydantic import BaseModel, ConfigDict, Field

from pipeline import ffmpeg_log
from pipeline.errors import SourceError
from pipeline.reach import Reach, Readable, list_remote
from pipeline.scratch import scratch
from pipeline.uri import STANDARD_INPUT, local_path, scheme_of, shown

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "tcp", "srt")
# Formats that name other files or hosts without asking `reach`, devices, and text shown as video.
_REFUSED_FORMATS = {
    *("concat", "image2", "imf", "dash", "webm_dash_manifest", "vobsub", "sdp", "rtsp", "rtp"),
    *("sap", "lavfi", "fbdev", "kmsgrab", "video4linux2,v4l2", "v4l2", "video4linux2", "x11grab"),
    *("alsa", "oss", "tty", "bin", "xbin", "adf", "idf"),
}
_REFERENCE_STARTS = (b"ffconcat", b"v=0\r\n", b"v=0\n")
_PLAYLIST_START = b"#EXTM3U"
_LIVE_PROTOCOLS = "rtsp,rtsps,rtmp,rtmps,rtmpt,udp,rtp,srtp,tcp,tls,srt,crypto"
LIVE_PROBE = 2_000_000  # microseconds; FFmpeg looks at five seconds of a transport stream
_LIVE_FIFO = 50_000  # packets of 188 bytes, about three seconds at 25 Mb/s
_OPEN_PROTOCOLS = "file,http,https,httpproxy,tcp,tls,crypto,data"
_SPOOL_CHUNK = 1 << 20


class Limits(BaseModel):
    """What an asset may cost, and what it may reach."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open_timeout: float = Field(default=10.0, gt=0, description="seconds to open and probe")
    read_timeout: float = Field(default=10.0, gt=0, description="seconds for one read")
    max_pixels: int = Field(default=64 * 2**20, gt=0, description="largest frame, in pixels")
    max_spool_bytes: int = Field(
        default=32 * 2**30, gt=0, description="largest copy of standard input, in bytes"
    )
    allow_local_files: bool = Field(
        default=False, description="a local playlist may read files outside its own folder"
    )
    allow_other_hosts: bool = Field(
        default=False, description="playlists and redirects may lead to other hosts"
    )
    public_addresses_only: bool = Field(
        default=False,
        description="hosts must have public addresses, whenever they are connected to; http(s), "
        "and live streams that are watched",
    )


@contextmanager
def open_source(
    uri: str, limits: Limits, hwaccel: HWAccel | None = None
) -> Iterator[av.container.InputContainer]:
    """Open an asset for demuxing.

    Args:
        uri: of the asset.
        limits: of time, size and trust.
        hwaccel: what is to decode it, see pipeline/hardware.py; None: the CPU.

    Raises:
        SourceError: with the reason why it could not be opened.
    """
    # closed in any case: a dropped container with callbacks takes the process with it
    with spooled(uri, limits) as place, _open(place, limits, hwaccel) as container:
        yield container


@contextmanager
def spooled(uri: str, limits: Limits) -> Iterator[str]:
    """Yield a URI that can be opened again and sought.

    For "-" and named pipes this is a temporary copy, in a folder of its own so that a playlist
    finds no neighbours; every other URI stays as it is.

    Raises:
        SourceError: nothing came within the time-out, or more than `limits.max_spool_bytes`.
    """
    pipe = local_path(uri)
    is_pipe = pipe is not None and pipe.is_fifo()
    if uri != STANDARD_INPUT and not is_pipe:
        yield uri
        return
    with ExitStack() as stack:
        try:
            place = stack.enter_context(scratch()) / "input"
            with place.open("wb") as out:
                if is_pipe:
                    descriptor = os.open(cast(Path, pipe), os.O_RDONLY | os.O_NONBLOCK)
                    with os.fdopen(descriptor, "rb", buffering=0) as source:
                        _spool(source, out, limits)
                else:
                    _spool(sys.stdin.buffer, out, limits)
        except OSError as error:
            raise SourceError(
                "spool_failed", f"copying the input to a temporary file failed: {error}"
            ) from error
        yield str(place)


def _spool(source: IO[bytes], out: IO[bytes], limits: Limits) -> None:
    try:
        descriptor = source.fileno()
    except OSError:  # no real file, for instance a BytesIO in its place
        descriptor = None
    done = 0
    while True:
        part = _next_part(source, descriptor, limits.read_timeout if done else limits.open_timeout)
        if not part:
            return
        done += len(part)
        if done > limits.max_spool_bytes:
            raise SourceError(
                "input_too_large",
                f"standard input is longer than {limits.max_spool_bytes} bytes "
                "(limits.max_spool_bytes)",
            )
        out.write(part)


def _next_part(source: IO[bytes], descriptor: int | None, timeout: float) -> bytes:
    """The next bytes of a pipe; none at its end. A writer may come within the time-out."""
    if descriptor is None:
        return source.read(_SPOOL_CHUNK)
    until = time.monotonic() + timeout
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(until - time.monotonic(), 0))
        if not ready:
            raise SourceError(
                "read_timeout", f"standard input gave nothing for {timeout:g} seconds"
            )
        try:
            return os.read(descriptor, _SPOOL_CHUNK)
        except BlockingIOError:
            continue


def expand(patterns: list[str]) -> list[str]:
    """Replace globs (`*`, `?`, `[...]`, `**`) by what matches them, sorted; the rest stays.

    Works for local paths and for fsspec URIs. A local name that exists is never a pattern, and web
    addresses have no globs (`?` starts their query).

    Raises:
        SourceError: a pattern matches nothing (`not_found`), or cannot be listed.
    """
    found: list[str] = []
    for pattern in patterns:
        scheme = scheme_of(pattern)
        if not glob.has_magic(pattern) or scheme in ("http", "https", *LIVE_SCHEMES):
            found.append(pattern)
            continue
        path = local_path(pattern)
        if path is not None and path.exists():
            found.append(pattern)
            continue
        if path is not None:
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - pathlib has no such
            matches = [name for name in names if Path(name).is_file()]
        else:
            matches = list_remote(pattern)
        if not matches:
            raise SourceError("not_found", f"nothing matches {pattern}")
        found += sorted(matches)
    return found


def _open(
    uri: str, limits: Limits, hwaccel: HWAccel | None
) -> AbstractContextManager[av.container.InputContainer]:
    path = local_path(uri)
    if path is not None:
        head = _local_head(path)
        if head.startswith(_PLAYLIST_START):
            return _open_reached(str(path.resolve()), limits, hwaccel)
        if head.startswith(_REFERENCE_STARTS):
            raise SourceError(
                "refused_reference",
                f"{uri} is a list of other files or addresses (concat, SDP), which is not opened",
            )
        return demux(f"file:{path.absolute()}", uri, limits, protocols="file", hwaccel=hwaccel)
    if scheme_of(uri) in LIVE_SCHEMES:
        if limits.public_addresses_only:
            raise SourceError("refused_address", f"{shown(uri)}: FFmpeg resolves the name itself")
        return demux_live(uri, uri, limits, hwaccel=hwaccel)
    return _open_reached(uri, limits, hwaccel)


def _local_head(path: Path) -> bytes:
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise SourceError("is_directory", f"{path} is a folder, not a file")
        if not stat.S_ISREG(kind.st_mode):
            raise SourceError("not_a_file", f"{path} is a device or a socket, not a file")
        if kind.st_size == 0:
            raise SourceError("empty", f"{path} is empty (0 bytes)")
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError as error:
        raise SourceError("not_found", f"there is no file {path}") from error
    except PermissionError as error:
        raise SourceError("not_permitted", f"no permission to read {path}") from error
    except (OSError, ValueError) as error:
        raise SourceError("unreadable", f"{path}: {error}") from error


@contextmanager
def _open_reached(
    uri: str, limits: Limits, hwaccel: HWAccel | None
) -> Iterator[av.container.InputContainer]:
    if limits.allow_local_files and limits.allow_other_hosts and local_path(uri) is not None:
        # asked to trust the playlist: FFmpeg follows it by itself, encrypted segments included
        with demux(uri, uri, limits, protocols=_OPEN_PROTOCOLS, hwaccel=hwaccel) as container:
            yield container
        return
    reach = Reach(uri, limits)
    with (
        closing(reach.main()) as file,  # PyAV closes only what FFmpeg opens itself
        demux(file, uri, limits, protocols=None, reach=reach, hwaccel=hwaccel) as container,
    ):
        yield container


def demux_live(
    place: str,
    uri: str,
    limits: Limits,
    extra: Mapping[str, str] | None = None,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open a stream of one of LIVE_SCHEMES.

    Args:
        place: what FFmpeg connects to.
        uri: what it is called in messages.
        limits: of time and size.
        extra: options of FFmpeg.
        hwaccel: what is to decode it; None: the CPU.

    Raises:
        SourceError: it cannot be opened.
    """
    extra = {"analyzeduration": str(LIVE_PROBE)} | dict(extra or {})
    if uri.lower().startswith("rtsp"):
        extra["rtsp_transport"] = "tcp"
    if scheme_of(uri) in ("udp", "rtp"):
        extra |= {"overrun_nonfatal": "1", "fifo_size": str(_LIVE_FIFO)}
    return demux(
        place, uri, limits, protocols=_LIVE_PROTOCOLS, live=True, extra=extra, hwaccel=hwaccel
    )


def demux(
    file: str | Readable,
    uri: str,
    limits: Limits,
    *,
    protocols: str | None,
    live: bool = False,
    reach: Reach | None = None,
    extra: dict[str, str] | None = None,
    hwaccel: HWAccel | None = None,
) -> av.container.InputContainer:
    """Open a demuxer on a file, within limits.

    Args:
        file: what FFmpeg opens itself, or an open file.
        uri: what it is called in messages.
        limits: of time and size.
        protocols: that FFmpeg itself may use; None: any that `reach` lets pass.
        live: one of LIVE_SCHEMES.
        reach: opens what the asset names.
        extra: options of FFmpeg.
        hwaccel: what is to decode it; None: the CPU.

    Raises:
        SourceError: it cannot be opened.
    """
    options = {"format_whitelist": _formats(live), "max_pixels": str(limits.max_pixels)}
    # connections that stay open would go round `reach`
    options |= {"http_persistent": "0", "http_multiple": "0"} | (extra or {})
    if protocols is not None:
        options["protocol_whitelist"] = protocols
    with ffmpeg_log.messages() as said:
        try:
            container = av.open(
                file,
                mode="r",
                options=options,
                metadata_errors="replace",
                buffer_size=1 << 17,
                timeout=(limits.open_timeout, limits.read_timeout),
                io_open=reach,
                hwaccel=hwaccel,
            )
        except (av.error.FFmpegError, OSError, ValueError, UnicodeError) as error:
            _raise_refusal(reach)
            raise _explain(error, uri, limits) from error
    try:
        _raise_refusal(reach)
        _raise_size(container, [text for _, _, text in said], limits)
    except SourceError:
        container.close()
        raise
    return container


def _raise_size(container: av.container.InputContainer, said: list[str], limits: Limits) -> None:
    """A size over the limit is dropped by FFmpeg while it probes, and only its log tells."""
    large = next((text.strip() for text in said if text.startswith("Picture size")), None)
    if large is not None and not container.streams.audio:
        raise SourceError("frame_too_large", f"{large} (limits.max_pixels {limits.max_pixels})")


def _raise_refusal(reach: Reach | None) -> None:
    """What went wrong behind FFmpeg's back while it opened the asset comes first."""
    if reach is not None and reach.problems:
        reason, detail = reach.problems[0]
        raise SourceError(reason, detail)


@cache
def _formats(live: bool) -> str:
    refused = _REFUSED_FORMATS - ({"rtsp", "rtp"} if live else set())
    refused |= {"hls"} if live else set()
    return ",".join(sorted(av.formats_available - refused))


def _explain(error: Exception, uri: str, limits: Limits) -> SourceError:
    """A reason and a sentence for what FFmpeg said while opening."""
    name = shown(uri)
    if isinstance(error, av.error.ExitError | TimeoutError | av.error.TimeoutError):
        return SourceError(
            "open_timeout",
            f"{name} could not be opened within {limits.open_timeout:g} seconds "
            "(limits.open_timeout)",
        )
    known: list[tuple[type[BaseException], str, str]] = [
        (FileNotFoundError, "not_found", "there is no such file"),
        (PermissionError, "not_permitted", "no permission to read it"),
        (ConnectionRefusedError, "connection_refused", "the connection was refused"),
        (ConnectionError, "connection_failed", "the connection broke"),
        (av.error.HTTPNotFoundError, "not_found", "the server has no such address (404)"),
        (av.error.HTTPForbiddenError, "not_permitted", "the server refuses access (403)"),
        (av.error.HTTPUnauthorizedError, "not_permitted", "the server wants a login (401)"),
        (av.error.InvalidDataError, "not_media", "no known media format, or damaged at its start"),
        (EOFError, "not_media", "it ends before any media begins"),
        (av.error.EOFError, "not_media", "it ends before any media begins"),
        (av.error.DemuxerNotFoundError, "not_media", "no demuxer for this format"),
        (av.error.ProtocolNotFoundError, "unknown_scheme", "FFmpeg does not know this scheme"),
        (av.error.ArgumentError, "refused_format", "a format that is not opened, or damaged"),
    ]
    for kind, reason, sentence in known:
        if isinstance(error, kind):
            return SourceError(reason, f"{name}: {sentence}")
    said = getattr(error, "strerror", None) or str(error)
    return SourceError("unreadable", f"{name}: {said}")
