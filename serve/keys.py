"""Bearer keys: made once, kept as hashes, each with what it may do."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.errors import UsageError

log = logging.getLogger("ray.serve.vidette")
_EVERY = 2.0  # seconds between looks at the file
Scope = Literal["read", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Holder:
    """Who asks.

    Attributes:
        name: of the key.
        scopes: what it may do; `admin` includes the others.
    """

    name: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether it may."""
        return scope in self.scopes or "admin" in self.scopes


ANYBODY = Holder("anybody", frozenset(SCOPES))  # where no keys are asked for: on loopback


class Keys:
    """The keys of a file, as it is now: a key that is taken out of it opens nothing any more.

    Raises:
        UsageError: it cannot be read, or is no file of keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows, self._stamp = self._read(), _stamp(path)
        self._looked = time.monotonic()

    def _read(self) -> list[tuple[str, Holder]]:
        try:
            return [
                (row["hash"], Holder(row["name"], frozenset(row["scopes"])))
                for row in _rows(self._path)
            ]
        except (KeyError, TypeError) as error:
            raise UsageError(f"the keys in {self._path} cannot be read: {error}") from error

    def _look(self) -> None:
        """Read the file again where it has changed; what cannot be read changes nothing."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._rows, self._stamp = self._read(), stamp
        except (OSError, UsageError) as error:
            log.error("the keys stay as they were: %s", error)

    def holder(self, key: str) -> Holder | None:
        """Who has this key. Takes the same time whichever key is presented."""
        self._look()
        presented = _hash(key)
        found = None
        for stored, holder in self._rows:
            if hmac.compare_digest(stored, presented):
                found = holder
        return found


def make_key(path: Path, name: str, scopes: Sequence[str]) -> str:
    """Add a key to a file and return it; it is stored nowhere else.

    Raises:
        UsageError: the name is taken, or a scope is none.
    """
    if unknown := set(scopes) - set(SCOPES):
        raise UsageError(f"no such scope: {', '.join(sorted(unknown))}; there are {SCOPES}")
    rows = _rows(path) if path.is_file() else []
    if any(row["name"] == name for row in rows):
        raise UsageError(f"there is a key of {name} already")
    key = f"vidette_{secrets.token_urlsafe(32)}"
    # a fast hash will do: nobody guesses 256 random bits
    rows.append({"name": name, "hash": _hash(key), "scopes": sorted(set(scopes))})
    _write(path, rows)
    return key


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of a file; services that run refuse it a few seconds later.

    Raises:
        UsageError: there is none of this name, or the file cannot be read.
    """
    rows = _rows(path)
    left = [row for row in rows if row["name"] != name]
    if len(left) == len(rows):
        raise UsageError(f"there is no key of {name} in {path}")
    _write(path, left)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"the keys in {path} cannot be read: {error}") from error
    return rows


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(rows, file, indent=1)
    part.replace(path)


def _stamp(path: Path) -> tuple[int, int, int]:
    known = path.stat()
    return known.st_mtime_ns, known.st_size, known.st_ino


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
