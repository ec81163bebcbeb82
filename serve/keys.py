"""Bearer keys: made once, kept as hashes, each with what it may do."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pipeline.errors import UsageError

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
    """The keys of a file.

    Raises:
        UsageError: it cannot be read, or is no file of keys.
    """

    def __init__(self, path: Path) -> None:
        try:
            rows = json.loads(path.read_text())
            self._rows = [
                (row["hash"], Holder(row["name"], frozenset(row["scopes"]))) for row in rows
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"the keys in {path} cannot be read: {error}") from error

    def holder(self, key: str) -> Holder | None:
        """Who has this key. Takes the same time whichever key is presented."""
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
    rows = json.loads(path.read_text()) if path.is_file() else []
    if any(row["name"] == name for row in rows):
        raise UsageError(f"there is a key of {name} already")
    key = f"vidette_{secrets.token_urlsafe(32)}"
    # a fast hash will do: nobody guesses 256 random bits
    rows.append({"name": name, "hash": _hash(key), "scopes": sorted(set(scopes))})
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(rows, file, indent=1)
    part.replace(path)
    return key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
