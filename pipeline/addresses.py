"""Addresses: which are on the internet, and connections to those alone.

A host is resolved where the connection is made, refused where any of its addresses is not public,
and the connection goes to an address that was looked at: a name server that answers differently
the next time changes nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.request
from typing import Any

from pipeline.errors import SourceError

# addresses of IPv4 inside of IPv6: what they carry decides
_PLATFORM = {ipaddress.ip_address("168.63.129.16")}  # of Azure, to its virtual machines alone
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address is on the internet, and nobody's own."""
    one = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(one, ipaddress.IPv6Address):
        inner = one.ipv4_mapped or one.sixtofour or (one.teredo and one.teredo[1])
        if inner is None and one in _NAT64:
            inner = ipaddress.IPv4Address(int(one) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    if isinstance(one, ipaddress.IPv6Address) and one.is_site_local:
        return False
    return one.is_global and not (one.is_multicast or one.is_reserved or one in _PLATFORM)


def public_addresses(host: str, port: int, *, private: bool = False) -> list[str]:
    """The addresses of a host.

    Args:
        host: its name.
        port: that is connected to.
        private: those that are not public will do.

    Raises:
        SourceError: it has none, or one that is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceError("unknown_host", f"{host} has no address") from error
    addresses = [str(one[4][0]) for one in found]
    if not private and not all(is_public(address) for address in addresses):
        raise SourceError("refused_address", f"{host} has an address that is not public")
    return addresses


def connect_public(
    place: tuple[str, int],
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
) -> socket.socket:
    """As `socket.create_connection`, to public addresses alone.

    Raises:
        SourceError: see `public_addresses`.
        OSError: none of them takes the connection.
    """
    host, port = place
    failed: OSError | None = None
    for address in public_addresses(host, port):
        try:
            return socket.create_connection((address, port), timeout, source_address)
        except OSError as error:
            failed = error
    raise failed or OSError("no address")


class _Connection(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._create_connection = connect_public


class _TlsConnection(http.client.HTTPSConnection):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._create_connection = connect_public


class PublicHttp(urllib.request.HTTPHandler):
    """Opens http URLs at public addresses; for an opener of urllib."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As HTTPHandler."""
        return self.do_open(_Connection, req)


class PublicHttps(urllib.request.HTTPSHandler):
    """Likewise https URLs."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As HTTPSHandler."""
        return self.do_open(_TlsConnection, req)
