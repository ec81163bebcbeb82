"""What an asset may reach: every file and address that FFmpeg asks for passes here.

A playlist is input from strangers. It may name the neighbours of its own file (same folder and
below) or its own web origin (same scheme, host and port); anything else is refused unless
`Limits` allow it. The same holds for redirects.

Reading happens in one daemon thread per open file, so that a server or a library that never
answers cannot hold the inspection beyond its time-outs. Failures do not cross FFmpeg as
exceptions: the file ends there, and `Reach.problems` says why.
"""

from __future__ import annotations

import base64
import io
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipeline.addresses import PublicHttp, PublicHttps
from pipeline.errors import SourceError
from pipeline.programme import ProgramTime, is_playlist
from pipeline.uri import local_path, scheme_of, shown

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from pipeline.source import Limits

ResultT = TypeVar("ResultT")

MAX_PROBLEMS = 20
MIN_BYTES = 1024  # per read time-out; a server that drips slower than this has stalled
SKIP = 1 << 18  # bytes worth reading over rather than asking the server anew
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_STAND_IN = ".fsspec.invalid"  # host under which FFmpeg sees an fsspec place, so that it resolves


class Readable(Protocol):
    """What is needed of an open file."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102
    def seek(self, offset: int, whence: int = 0, /) -> int: ...  # noqa: D102
    def tell(self) -> int: ...  # noqa: D102
    def seekable(self) -> bool: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Reach:
    """Opens what one asset asks for, or refuses. Given to FFmpeg as its `io_open`.

    Attributes:
        problems: reason and sentence of each, oldest first.
        programme: the dates of an HLS stream.
    """

    def __init__(self, uri: str, limits: Limits) -> None:
        self.programme = ProgramTime()
        self.problems: list[tuple[str, str]] = []
        self._limits = limits
        self._uri = uri
        path = local_path(uri)
        self._folder = path.resolve().parent if path is not None else None
        self._scheme = "file" if path is not None else scheme_of(uri)
        self._web = self._scheme in ("http", "https") and "::" not in uri
        self._name = uri if self._folder or self._web else self._stand_in(uri)

    def main(self) -> Readable:
        """The asset itself, open.

        Raises:
            SourceError: it cannot be opened.
        """
        factory = self._factory(self._uri)
        file = Patient(factory, self._name, self._uri, self._limits, self.note)
        return self.programme.passing(self._name, file) if is_playlist(self._name) else file

    def __call__(self, url: str, _flags: int, _options: Mapping[str, str]) -> Readable:
        """Open a file that the asset names; an empty one where that is refused or fails."""
        try:
            place = self._vet(url)
            file = Patient(self._factory(place), url, place, self._limits, self.note)
        except SourceError as error:
            self.note(error.reason, error.detail)
            return io.BytesIO()
        return self.programme.passing(url, file)

    def note(self, reason: str, detail: str) -> None:
        """Keep a problem for whoever reads the container."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append((reason, detail))

    def _factory(self, uri: str) -> Callable[[], Readable]:
        path = local_path(uri)
        if path is not None:
            return lambda: path.open("rb")
        if scheme_of(uri) in ("http", "https") and "::" not in uri:
            timeout = max(self._limits.open_timeout, self._limits.read_timeout)
            public = self._limits.public_addresses_only
            return lambda: WebFile(uri, timeout, self._vet, public=public)
        if self._limits.public_addresses_only:
            raise SourceError("refused_address", f"{shown(uri)}: neither http nor https")
        return lambda: open_remote(uri)

    def _vet(self, url: str) -> str:
        """The URI to open for a name that FFmpeg resolved, if it may be opened at all."""
        if url.startswith("crypto"):
            raise SourceError(
                "encrypted",
                "the playlist's segments are encrypted; they are read only where it is trusted "
                "(limits.allow_local_files and limits.allow_other_hosts)",
            )
        path = local_path(url)
        if path is not None:
            if self._folder is None or not (
                self._limits.allow_local_files or path.resolve().is_relative_to(self._folder)
            ):
                raise self._refused(url, "a local file outside its own folder", "allow_local_files")
            return str(path)
        if scheme_of(url) not in ("http", "https"):
            raise self._refused(url, "a protocol that playlists may not use", None)
        if self._folder is None and not self._web:
            back = self._from_stand_in(url)
            if back is not None:
                return back
        if not self._limits.allow_other_hosts and not (self._web and _same_origin(self._uri, url)):
            raise self._refused(url, "another host or port", "allow_other_hosts")
        return url

    def _refused(self, url: str, what: str, switch: str | None) -> SourceError:
        how = f"; limits.{switch} would allow it" if switch else ""
        prefix = self._stand_in(f"{self._scheme}://")
        if url.startswith(prefix):
            url = f"{self._scheme}://{url.removeprefix(prefix)}"
        return SourceError(
            "refused_reference", f"{shown(self._uri)} leads to {shown(url)}: {what}{how}"
        )

    def _stand_in(self, uri: str) -> str:
        return f"http://{self._scheme}{_STAND_IN}/{uri.partition('://')[2]}"

    def _from_stand_in(self, url: str) -> str | None:
        """The fsspec URI behind a name, if it is in the asset's own folder or below."""
        prefix = self._stand_in(f"{self._scheme}://")
        folder = self._name.rpartition("/")[0] + "/"
        plain = prefix + "/".join(_without_dots(url.removeprefix(prefix)))
        if not url.startswith(prefix) or not plain.startswith(folder):
            return None
        return f"{self._scheme}://{plain.removeprefix(prefix)}"


def _without_dots(path: str) -> list[str]:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return parts


def _same_origin(asset: str, other: str) -> bool:
    a, b = urllib.parse.urlsplit(asset), urllib.parse.urlsplit(other)
    try:
        ports = [u.port or _DEFAULT_PORTS[u.scheme] for u in (a, b)]
    except (ValueError, KeyError):
        return False
    if not a.hostname or a.hostname != b.hostname:
        return False
    # a step up to https on the standard ports is the same place
    return (a.scheme == b.scheme and ports[0] == ports[1]) or (
        (a.scheme, b.scheme) == ("http", "https") and ports == [80, 443]
    )


# --------------------------------------------------------------------------------------- patience


class Patient:
    """A file whose every operation ends in time: it is done in a thread that may be left behind.

    The first failure ends the file: `report` gets the reason, and reads give nothing from then on.

    Args:
        factory: opens it.
        name: what FFmpeg knows it by.
        place: what messages call it.
        limits: of time.
        report: is told of a failure, reason and sentence.
    """

    def __init__(
        self,
        factory: Callable[[], Readable],
        name: str,
        place: str,
        limits: Limits,
        report: Callable[[str, str], None],
    ) -> None:
        self.name = name
        self._place = place
        self._limits = limits
        self._report = report
        self._failed = False
        self._waited, self._got = 0.0, 0
        self._tasks: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="vidette-read", daemon=True).start()
        try:
            self._file = self._ask(factory, limits.open_timeout)
        except Exception as error:
            self._tasks.put(None)
            raise explain(error, place, limits.open_timeout, "open") from error

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; none at the end and after a failure."""
        started = time.monotonic()
        data = self._try(lambda: self._file.read(size), b"")
        self._waited += time.monotonic() - started
        self._got += len(data)
        if self._waited > self._limits.read_timeout:
            if self._got < MIN_BYTES and data:
                self._fail(TimeoutError())
                return b""
            self._waited, self._got = 0.0, 0
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; the new position."""
        return self._try(lambda: self._file.seek(offset, whence), -1)

    def tell(self) -> int:
        """The position."""
        return self._try(self._file.tell, -1)

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return self._try(self._file.seekable, False)

    def close(self) -> None:
        """Close in the background: nobody waits for it."""
        self._failed = True
        self._tasks.put(self._file.close)
        self._tasks.put(None)

    def _try(self, task: Callable[[], ResultT], otherwise: ResultT) -> ResultT:
        if self._failed:
            return otherwise
        try:
            return self._ask(task, self._limits.read_timeout)
        except Exception as error:
            self._fail(error)
            return otherwise

    def _fail(self, error: Exception) -> None:
        self._failed = True
        told = explain(error, self._place, self._limits.read_timeout, "read")
        self._report(told.reason, told.detail)

    def _ask(self, task: Callable[[], ResultT], timeout: float) -> ResultT:
        self._tasks.put(task)
        try:
            answer, error = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        result: ResultT = answer
        return result

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._answers.put((task(), None))
            except BaseException as error:
                self._answers.put((None, error))


def explain(error: Exception, name: str, timeout: float, doing: str) -> SourceError:
    """A reason and a sentence for a failure of the network or of a storage library."""
    if isinstance(error, SourceError):
        return error
    name = shown(name)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        codes = {401: "not_permitted", 403: "not_permitted", 404: "not_found", 410: "not_found"}
        return SourceError(
            codes.get(error.code, "http_error"), f"{name}: the server says {error.code}"
        )
    if isinstance(cause, TimeoutError):
        return SourceError(
            f"{doing}_timeout",
            f"{name} gave nothing for {timeout:g} seconds (limits.{doing}_timeout)",
        )
    reasons: list[tuple[type[BaseException], str]] = [
        (FileNotFoundError, "not_found"),
        (PermissionError, "not_permitted"),
        (IsADirectoryError, "is_directory"),
        (ConnectionRefusedError, "connection_refused"),
        (ConnectionError, "connection_failed"),
    ]
    other = "unreadable" if doing == "open" else "read_error"
    reason = next((word for kind, word in reasons if isinstance(cause, kind)), other)
    said = str(cause) or type(cause).__name__
    return SourceError(reason, f"{name}: {said}")


# -------------------------------------------------------------------------------------------- web


class _VettedRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, vet: Callable[[str], str]) -> None:
        self._vet = vet

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            self._vet(newurl)
        except SourceError:
            fp.close()
            raise
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and not _same_origin(req.full_url, newurl):
            made.remove_header("Authorization")  # the login is for nobody else
        return made


class WebFile:
    """A file on a web server, read by byte ranges where the server has them."""

    def __init__(
        self, url: str, timeout: float, vet: Callable[[str], str], *, public: bool = False
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        self._headers = {"User-Agent": "vidette", "Accept-Encoding": "identity"}
        if parts.username is not None:
            login = f"{urllib.parse.unquote(parts.username)}:"
            login += urllib.parse.unquote(parts.password or "")
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
            parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        self._url = urllib.parse.urlunsplit(parts._replace(fragment=""))
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_VettedRedirects(vet)]
        if public:  # a proxy would resolve names by itself
            handlers += [urllib.request.ProxyHandler({}), PublicHttp(), PublicHttps()]
        self._opener = urllib.request.build_opener(*handlers)
        self._position = 0  # of the next read
        self._at = 0  # of the response
        self._size: int | None = None
        self._ranges = False
        self._response: HTTPResponse | None = self._request(0)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, as soon as some are there."""
        if self._size is not None and self._position >= self._size:
            return b""
        response = self._response
        if response is None or not 0 <= self._position - self._at <= SKIP:
            if response is not None:
                response.close()
            response = self._response = self._request(self._position)
        while self._at < self._position:
            over = response.read1(self._position - self._at)
            if not over:
                break
            self._at += len(over)
        data = response.read1(size)
        self._at += len(data)
        if not data and self._size is not None and self._at < self._size:
            raise ConnectionError(f"the server stopped after {self._at} of {self._size} bytes")
        self._position = self._at
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; the server is asked at the next read."""
        base = (0, self._position, self._size or 0)[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seekable(self) -> bool:
        """Whether the server gave a size and a byte range."""
        return self._ranges and self._size is not None

    def close(self) -> None:
        """Hang up."""
        if self._response is not None:
            self._response.close()

    def _request(self, start: int) -> HTTPResponse:
        request = urllib.request.Request(  # noqa: S310 - http(s) only, see Reach
            self._url, headers=self._headers | {"Range": f"bytes={start}-"}
        )
        response: HTTPResponse = self._opener.open(request, timeout=self._timeout)
        self._at = start if response.status == 206 else 0
        if start == 0:
            self._ranges = response.status == 206
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            length = response.headers.get("Content-Length", "")
            known = total if self._ranges else length
            self._size = int(known) if known.isdigit() else None
        elif self._at != start:
            raise ConnectionError("the server does not keep its promise of byte ranges")
        return response


# ----------------------------------------------------------------------------------------- fsspec


def open_remote(uri: str) -> Readable:
    """Open an fsspec URI for reading.

    Raises:
        SourceError: the file system is unknown or its package is not installed.
    """
    files, path = _file_system(uri)
    opened: Readable = files.open(path, "rb")
    return opened


def list_remote(pattern: str) -> list[str]:
    """The URIs that match an fsspec glob, unsorted.

    Raises:
        SourceError: the file system cannot be listed.
    """
    files, path = _file_system(pattern)
    try:
        return [files.unstrip_protocol(found) for found in files.glob(path)]
    except Exception as error:
        raise explain(error, pattern, 0.0, "open") from error


def _file_system(uri: str) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415 - costs start-up time, most assets need none

    scheme = scheme_of(uri)
    try:
        files, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        how = f"pip install 'vidette[{extra}]'" if extra else str(error)
        raise SourceError(
            "missing_extra", f"{scheme}:// needs a package that is not installed: {how}"
        ) from error
    except ValueError as error:
        raise SourceError("unknown_scheme", f"{shown(uri)}: {error}") from error
    return files, str(path)
