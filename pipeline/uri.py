"""URIs: what kind of place one names, and how it may be shown."""

from __future__ import annotations

from pathlib import Path

STANDARD_INPUT = "-"


def scheme_of(uri: str) -> str:
    """The scheme of a URI in lower case; "" for a plain path."""
    head, separator, _ = uri.partition("://")
    if not separator or not head.replace("+", "").replace("-", "").replace("_", "").isalnum():
        return ""
    return head.lower()


def local_path(uri: str) -> Path | None:
    """The path of a local file, None for any other URI."""
    scheme = scheme_of(uri)
    if "::" in uri and scheme:  # chained fsspec URIs
        return None
    if scheme == "file":
        return Path(uri.partition("://")[2])
    if uri.startswith("file:/"):
        return Path(uri.removeprefix("file:"))
    return None if scheme or uri == STANDARD_INPUT else Path(uri)


def shown(uri: str) -> str:
    """A URI without the parts that may be secret: credentials and, on the web, the query."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    place, slash, path = rest.partition("/")
    if scheme.lower() in ("http", "https"):
        path = path.partition("?")[0]
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
