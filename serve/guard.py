"""Fetching what strangers name: from public web addresses only, and never a playlist.

FFmpeg is given a file on disk and no network: every byte comes through here. A host is resolved
once, refused where any of its addresses is not public, and the connection goes to the address that
was looked at, so that a second answer of the name server changes nothing. Each redirect is looked
at in the same way.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import httpx

from pipeline.addresses import public_addresses
from pipeline.errors import SourceError
from serve.problems import ProblemError

_REDIRECTS = 5
_HEAD = 512  # bytes that tell a playlist
_TIMEOUT = httpx.Timeout(10.0)
_RESOLVE = 10.0  # seconds
# Threads of their own: a name server that is silent must not stop what other threads do. Receivers
# of webhooks are looked up all the time, many at once, and apart from what is to be fetched.
_NAMES = ThreadPoolExecutor(16, "names")
RECEIVERS = ThreadPoolExecutor(16, "receivers")
# how lists of other files begin; "<": DASH, SMIL, ASX, and a comment before any of them
_LISTS = (b"#EXTM3U", b"ffconcat", b"<", b"v=0", b"[playlist]", b"[Reference]")


async def fetch(uri: str, into: Path, most: int, seconds: float, *, private: bool = False) -> None:
    """Copy what a URI names to a file.

    Args:
        uri: http or https.
        into: the file.
        most: bytes.
        seconds: that all of it may take.
        private: take it from addresses that are not public too.

    Raises:
        ProblemError: 422 where the address is refused or does not answer, 413 where it is too much,
            415 where it is a playlist.
    """
    try:
        async with asyncio.timeout(seconds):
            await _followed(uri, into, most, private)
    except TimeoutError as error:
        raise ProblemError(422, "not_fetched", f"it took more than {seconds:g} s") from error
    refuse_lists(into)


async def _followed(uri: str, into: Path, most: int, private: bool) -> None:
    for _ in range(_REDIRECTS + 1):
        following = await _once(uri, into, most, private)
        if following is None:
            return
        uri = following
    raise ProblemError(422, "too_many_redirects", f"more than {_REDIRECTS} redirects")


async def _once(uri: str, into: Path, most: int, private: bool) -> str | None:
    """Copy, or say where to go on."""
    try:
        url = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError) as error:
        raise ProblemError(422, "invalid_uri", f"not a URI: {error}") from error
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise ProblemError(422, "invalid_uri", f"there is no port {url.port}")
    if url.scheme not in ("http", "https") or not url.host:
        raise ProblemError(422, "refused_scheme", "only http and https URIs are fetched")
    if url.userinfo:
        raise ProblemError(422, "refused_credentials", "URIs with credentials are not fetched")
    address = await public_address(url.host, url.port or _port(url.scheme), private=private)
    pinned = url.copy_with(host=address)
    headers = {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": "vidette",
        "Accept-Encoding": "identity",
    }
    try:
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client,
            client.stream(
                "GET", pinned, headers=headers, extensions={"sni_hostname": url.host}
            ) as response,
        ):
            if response.is_redirect:
                try:
                    return str(urljoin(uri, response.headers.get("location", "")))
                except ValueError as error:
                    raise ProblemError(422, "invalid_uri", f"redirected to {error}") from error
            if response.status_code != 200:
                detail = f"the host answered {response.status_code}"
                raise ProblemError(422, "not_fetched", detail)
            await _copy(response, into, most)
    except httpx.HTTPError as error:
        detail = f"it could not be fetched: {type(error).__name__}"
        raise ProblemError(422, "not_fetched", detail) from error
    return None


async def _copy(response: httpx.Response, into: Path, most: int) -> None:
    """Copy the body as it was sent: what it would unpack to has no bound."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise ProblemError(422, "not_fetched", f"the host sent it packed ({coding[:50]})")
    copied = 0
    with into.open("wb") as file:
        async for part in response.aiter_raw():
            copied += len(part)
            if copied > most:
                raise ProblemError(413, "too_large", f"more than {most} bytes")
            file.write(part)


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


async def public_address(
    host: str, port: int, *, private: bool = False, threads: ThreadPoolExecutor = _NAMES
) -> str:
    """The address to connect to.

    Args:
        host: its name.
        port: to connect to.
        private: it may be an address that is not public.
        threads: that ask the name server.

    Raises:
        ProblemError: the host has none, or one that is not public, or the name server is silent.
    """
    asked = partial(public_addresses, host, port, private=private)
    try:
        async with asyncio.timeout(_RESOLVE):
            found = await asyncio.get_running_loop().run_in_executor(threads, asked)
    except SourceError as error:
        raise ProblemError(422, error.reason, error.detail) from error
    except TimeoutError as error:
        detail = f"the name of {host} was not resolved within {_RESOLVE:g} s"
        raise ProblemError(422, "not_resolved", detail) from error
    return found[0]


def refuse_lists(path: Path) -> None:
    """Refuse a file that names other files.

    Raises:
        ProblemError: 415, it is one.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.lower().startswith(tuple(one.lower() for one in _LISTS)):
        raise ProblemError(415, "refused_playlist", "playlists are not taken, only media files")
