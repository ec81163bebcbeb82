"""Connecting to live streams: HLS and HTTP through our own fetcher, the rest through FFmpeg."""

from __future__ import annotations

import io
import os
import select
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO, cast
from urllib.parse import urlsplit, urlunsplit

import av.container
from av.codec.hwaccel import HWAccel

from pipeline.addresses import public_addresses
from pipeline.errors import SourceError
from pipeline.live.gateway import Proxy, Tunnel
from pipeline.live.playlists import LiveReach, Playlists
from pipeline.reach import Reach, Readable
from pipeline.source import LIVE_PROBE, LIVE_SCHEMES, Limits, demux, demux_live
from pipeline.uri import local_path, scheme_of, shown

# What the FFmpeg in the PyAV wheel cannot open; the system's can.
_BY_CHILD = ("srt",)
_COPY_PROBE = 500_000  # microseconds: the child has looked at the stream already
_HELD = 30.0  # seconds: a read lasts until the next segment of a playlist is there
_CHILD_PROTOCOLS = {
    "srt": "srt,udp,pipe",
    "http": "http,https,httpproxy,tcp,tls,crypto,data,pipe",
    "https": "https,httpproxy,tls,tcp,crypto,data,pipe",
}
_DATAGRAMS = ("udp", "rtp")
_PLAIN = {"rtsps": "rtsp", "rtmps": "rtmp"}  # without TLS, which the tunnel speaks
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_LAST_WORDS = 3  # lines of what a child said when it ended


@contextmanager
def connected(
    uri: str,
    limits: Limits,
    playlists: Playlists,
    *,
    newest: bool,
    hwaccel: HWAccel | None = None,
) -> Iterator[av.container.InputContainer]:
    """Connect to a live stream.

    Args:
        uri: HLS, MPEG-TS over HTTP, UDP or RTP, RTSP, RTMP; SRT and DASH by the system's `ffmpeg`.
        limits: of opening and of what may be reached; reads may take 30 s and longer.
        playlists: remembers those of this stream from one connection to the next.
        newest: begin with the newest segment of a playlist, not with the third last.
        hwaccel: what is to decode it, see pipeline/hardware.py; None: the CPU.

    Raises:
        SourceError: it cannot be opened.
    """
    patient = limits.model_copy(update={"read_timeout": max(limits.read_timeout, _HELD)})
    scheme = scheme_of(uri)
    if scheme in LIVE_SCHEMES and scheme not in _BY_CHILD:
        with _pinned(uri, patient) as (place, more, told):
            try:
                container = demux_live(place, uri, patient, more, hwaccel)
            except SourceError as error:  # what FFmpeg could not be let do comes first
                raise (told[0] if told else error) from error
            with container:
                yield container
        return
    reach: Reach
    if scheme in _BY_CHILD or is_dash(uri):
        reach = _ChildReach(uri, patient)
        extra = {"analyzeduration": str(_COPY_PROBE)}
    else:
        reach = LiveReach(uri, patient, playlists)
        # a playlist that stands still for a while is not at its end
        extra = {"live_start_index": "-1" if newest else "-3", "max_reload": "100000"}
        extra |= {"m3u8_hold_counters": "100000"}
    with (
        closing(reach.main()) as file,  # PyAV closes only what FFmpeg opens itself
        demux(
            file, uri, patient, protocols=None, reach=reach, extra=extra, hwaccel=hwaccel
        ) as container,
    ):
        yield container


@contextmanager
def _pinned(uri: str, limits: Limits) -> Iterator[tuple[str, dict[str, str], list[SourceError]]]:
    """What FFmpeg is to connect to for a URI, options for that, and what was refused meanwhile.

    Raises:
        SourceError: the URI names a place that may not be reached.
    """
    refused: list[SourceError] = []
    if not limits.public_addresses_only:
        yield uri, {}, refused
        return
    scheme = scheme_of(uri)
    host, port = _place(uri)
    if scheme in _DATAGRAMS:
        yield _moved(uri, scheme, public_addresses(host, port)[0], port), {}, refused
        return
    public_addresses(host, port)  # what is wrong with it is told at once

    def note(reason: str, detail: str) -> None:
        refused.append(SourceError(reason, f"{shown(uri)}: {detail}"))

    plain = _PLAIN.get(scheme, scheme)
    tunnel = Tunnel(
        host, port, limits.read_timeout, note, tls=plain != scheme, rtsp=plain == "rtsp"
    )
    more = {"rtmp_tcurl": _application(uri)} if plain == "rtmp" else {}
    try:
        yield _moved(uri, plain, "127.0.0.1", tunnel.port), more, refused
    finally:
        tunnel.close()


def _place(uri: str) -> tuple[str, int]:
    """Host and port of a URI.

    Raises:
        SourceError: it names none.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme.lower(), 0)
    except ValueError as error:
        raise SourceError("unreadable", f"{shown(uri)}: {error}") from error
    if not host:
        raise SourceError("unknown_host", f"{shown(uri)} names no host")
    return host, port


def _moved(uri: str, scheme: str, host: str, port: int) -> str:
    """A URI with another scheme and place; the login, the path and the rest stay."""
    parts = urlsplit(uri)
    login, at, _ = parts.netloc.rpartition("@")
    address = f"[{host}]" if ":" in host else host
    return urlunsplit(
        parts._replace(scheme=scheme, netloc=f"{login}{at if login else ''}{address}:{port}")
    )


def _application(uri: str) -> str:
    """What an RTMP server is told that it is asked for: as FFmpeg makes it of the whole URI."""
    parts = urlsplit(uri)
    names = parts.path.lstrip("/").split("/")
    names = names[: 2 if len(names) > 2 and ":" not in names[1] else 1]
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}/{'/'.join(names)}"


def is_dash(uri: str) -> bool:
    """Whether a URI is that of a manifest of DASH."""
    return urlsplit(uri).path.endswith(".mpd")


def has_timestamps(uri: str) -> bool:
    """Whether what is presented has the timestamps of the stream.

    With RTSP and RTMP, and after FFmpeg's remuxing (SRT, DASH), they begin anew with each
    connection.
    """
    return scheme_of(uri) in ("http", "https", "udp", "rtp", "tcp", "file") and not is_dash(uri)


def is_live(uri: str) -> bool:
    """Whether a URI can be of something live: no local file, unless it is a playlist."""
    path = local_path(uri)
    return path is None or path.suffix.lower() in (".m3u8", ".m3u")


class _ChildReach(Reach):
    """Reads from a child that copies the stream as it is; nothing else may be reached."""

    def _factory(self, uri: str) -> Callable[[], Readable]:
        patience = self._limits.read_timeout
        if not self._limits.public_addresses_only:
            return lambda: _Child(uri, uri, patience)
        if scheme_of(uri) in _BY_CHILD:
            host, port = _place(uri)

            def pinned() -> _Child:
                address = public_addresses(host, port)[0]
                return _Child(_moved(uri, scheme_of(uri), address, port), uri, patience)

            return pinned
        # a manifest may name any address: the child reaches all of them through our proxy
        return lambda: _Child(uri, uri, patience, lambda: Proxy(patience, self.note))

    def _vet(self, url: str) -> str:
        raise self._refused(url, "another place", None)


class _Child:
    """The output of `ffmpeg -c copy`, which ends with whoever reads it.

    Args:
        place: what it connects to.
        uri: what that is called in messages.
        patience: seconds without a byte after which reading fails: FFmpeg itself asks a server of
            DASH that is gone again and again, without end.
        through: makes the proxy through which it may connect.
    """

    def __init__(
        self,
        place: str,
        uri: str,
        patience: float,
        through: Callable[[], Proxy] | None = None,
    ) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise SourceError(
                "missing_program",
                f"{shown(uri)}: SRT and DASH need the program `ffmpeg`, which is not installed",
            )
        scheme = scheme_of(uri)
        protocols = _CHILD_PROTOCOLS.get(scheme)
        if protocols is None:
            raise SourceError("unknown_scheme", f"{shown(uri)}: DASH is read from http(s) alone")
        command = [*_tied(), program, "-nostdin", "-loglevel", "error"]
        command += ["-protocol_whitelist", protocols, "-analyzeduration", str(LIVE_PROBE)]
        command += ["-i", place]
        command += ["-map", "0:v:0?", "-map", "0:a?", "-c", "copy", "-f", "nut", "pipe:1"]
        environment = dict(os.environ)
        self._proxy = proxy = None if through is None else through()
        if proxy is not None:  # for every connection that the child makes
            environment = {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
            environment["http_proxy"] = f"http://127.0.0.1:{proxy.port}"
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, the URI is the operator's
                command, bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=environment,
            )  # fmt: skip
        except OSError:
            if proxy is not None:
                proxy.close()
            raise
        self._said: deque[bytes] = deque(maxlen=_LAST_WORDS)
        self._listener = threading.Thread(target=self._listen, name="vidette-child", daemon=True)
        self._listener.start()
        self._position = 0
        self._patience = patience

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as some are there."""
        output = cast(io.FileIO, self._process.stdout)
        if not select.select([output], [], [], self._patience)[0]:
            raise TimeoutError
        data = output.read(size)
        if not data and self._process.wait() != 0:
            self._listener.join(1.0)
            said = b" ".join(self._said).decode("utf-8", "replace")
            raise ConnectionError(said or f"ffmpeg ended with status {self._process.returncode}")
        self._position += len(data)
        return data

    def seek(self, _offset: int, _whence: int = 0, /) -> int:
        """A pipe does not move."""
        return -1

    def tell(self) -> int:
        """Bytes so far."""
        return self._position

    def seekable(self) -> bool:
        """No."""
        return False

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        cast(io.FileIO, self._process.stdout).close()
        if self._proxy is not None:
            self._proxy.close()

    def _listen(self) -> None:
        with cast(IO[bytes], self._process.stderr) as words:
            for line in words:
                self._said.append(line.strip())


def _tied() -> list[str]:
    """What ends a child with its parent, even one that is killed, where the system has it."""
    program = shutil.which("setpriv")  # of util-linux
    return [] if program is None else [program, "--pdeathsig", "KILL"]


def wait(failures: int, chance: float) -> float:
    """Seconds to wait before the next try: 0.5 s, doubled up to 30 s, with jitter.

    Args:
        failures: tries in a row that failed, from 1 on.
        chance: 0 to 1; many streams of one server must not come back at the same instant.
    """
    return min(0.5 * 2.0 ** min(failures - 1, 6), 30.0) * (0.5 + chance)
