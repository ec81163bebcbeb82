"""Stands on the loopback between FFmpeg, which resolves names by itself, and the internet.

FFmpeg is given an address of the loopback. Whoever listens there resolves the name, looks at what
comes of it, connects to exactly that (`pipeline.addresses`), and passes on what is said.
"""

from __future__ import annotations

import re
import selectors
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

from pipeline.addresses import connect_public
from pipeline.errors import SourceError

Note = Callable[[str, str], None]  # is told the reason and the sentence of what is refused
_CHUNK = 1 << 16
_HEAD = 1 << 16  # bytes of a head at most
_LINE = 8192  # bytes: FFmpeg takes no line that is longer
_REDIRECT = re.compile(rb"RTSP/(?:(?!RTSP/)\S){0,1024}+\s{1,4096}+\+?0{0,1024}+3\d\d")
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Gateway(ABC):
    """Listens until it is closed; each connection has a thread.

    Args:
        timeout: seconds to connect, and without a byte in either direction.
        note: is told what is refused.
    """

    def __init__(self, timeout: float, note: Note) -> None:
        self._timeout, self._note = timeout, note
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="vidette-gateway", daemon=True).start()

    def close(self) -> None:
        """End all connections, too."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        with self._lock:
            opened = list(self._open)
        for one in opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                near.settimeout(self._timeout)
                threading.Thread(
                    target=self._serve, args=[near], name="vidette-gateway", daemon=True
                ).start()

    def _serve(self, near: socket.socket) -> None:
        far: socket.socket | None = None
        with self._lock:
            self._open.add(near)
        try:
            far = self._connected(near)
            if far is not None:
                with self._lock:
                    self._open.add(far)
                with suppress(OSError):  # one side has ended
                    self._pass(near, far)
        except SourceError as error:
            self._note(error.reason, error.detail)
        except OSError as error:  # FFmpeg sees a connection that ends
            self._note("connection_failed", str(error) or type(error).__name__)
        finally:
            for one in (near, far):
                if one is not None:
                    with self._lock:
                        self._open.discard(one)
                    one.close()

    @abstractmethod
    def _connected(self, near: socket.socket) -> socket.socket | None:
        """The other side, after what had to be said before; None: nothing follows."""

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        """Pass on what both sides say until one of them ends."""
        with selectors.DefaultSelector() as selector:
            for one in (near, far):
                selector.register(one, selectors.EVENT_READ, one)
            while True:
                # what TLS has read already is not seen by the selector
                waiting = isinstance(far, ssl.SSLSocket) and far.pending() > 0
                ready = [far] if waiting else [k.data for k, _ in selector.select(self._timeout)]
                if not ready:
                    return
                for one in ready:
                    data = one.recv(_CHUNK)
                    if not data:
                        return
                    if one is far:
                        self._look(data)
                    (near if one is far else far).sendall(data)

    def _look(self, data: bytes) -> None:  # noqa: B027 - most have nothing to look at
        """At what the other side says, before it is passed on."""


class Tunnel(Gateway):
    """To one place. An RTSP server must not lead elsewhere: FFmpeg would follow, past this.

    Args:
        host: of the place.
        port: likewise.
        timeout: see Gateway.
        note: see Gateway.
        tls: speak TLS there; certificates are not looked at, as FFmpeg does not.
        rtsp: what is said is RTSP.
    """

    def __init__(
        self, host: str, port: int, timeout: float, note: Note, *, tls: bool, rtsp: bool
    ) -> None:
        self._place, self._tls, self._rtsp = (host, port), tls, rtsp
        self._said = b""
        super().__init__(timeout, note)

    def _connected(self, near: socket.socket) -> socket.socket | None:  # noqa: ARG002
        far = connect_public(self._place, self._timeout)
        if not self._tls:
            return far
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            return context.wrap_socket(far, server_hostname=self._place[0])
        except OSError:
            far.close()
            raise

    def _look(self, data: bytes) -> None:
        """Find a redirect, wherever it stands: where FFmpeg sees answers is not ours to guess.

        Raises:
            SourceError: there is one.
        """
        if self._rtsp:
            said = self._said + data.replace(b"\r", b"")  # which FFmpeg passes over
            if _REDIRECT.search(said):
                raise SourceError("refused_reference", "the RTSP server leads to another place")
            self._said = said[-_LINE:]


class Proxy(Gateway):
    """An HTTP proxy, to any public place: GET for http, CONNECT for https."""

    def _connected(self, near: socket.socket) -> socket.socket | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = near.recv(_CHUNK)
            if not data or len(head) > _HEAD:
                return None
            head += data
        first, _, rest = head.partition(b"\r\n")
        method, target, _ = [*first.decode("latin-1").split(" "), "", ""][:3]
        try:
            parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            host, port = None, 0
        if host is None or (method != "CONNECT" and (method, parts.scheme) != ("GET", "http")):
            near.sendall(_REFUSED)
            return None
        try:
            far = connect_public((host, port), self._timeout)
        except (SourceError, OSError):
            near.sendall(_REFUSED)
            raise
        if method == "CONNECT":
            near.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:  # one request a connection: the next may be to another place
            path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            kept = [
                line for line in rest.split(b"\r\n")
                if not line.lower().startswith((b"connection:", b"proxy-"))
            ]  # fmt: skip
            start = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode("latin-1")
            far.sendall(start + b"\r\n".join(kept))
        return far
