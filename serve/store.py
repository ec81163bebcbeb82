"""Inspections that were accepted, in a SQLite file: nothing that was accepted is lost.

A row is claimed for a while (a lease); whoever works on it renews that. A lease that ran out means
that its worker is gone, and the row is claimed again, up to `ATTEMPTS` times in all.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serve.problems import ProblemError

ATTEMPTS = 5  # decoders die alone: a runner that dies is hardly ever the fault of what it has
LEASE = 20.0  # seconds
_KEYS_KEPT = 24 * 3600.0  # seconds for which an Idempotency-Key is remembered
_DIED = {"code": "worker_died", "detail": f"its worker died {ATTEMPTS} times"}
_TABLES = """
CREATE TABLE IF NOT EXISTS inspections (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, owner TEXT NOT NULL,
    state TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, lease REAL NOT NULL,
    attempts INTEGER NOT NULL, position REAL NOT NULL, duration REAL, wanted TEXT NOT NULL,
    problem TEXT, result TEXT
);
CREATE INDEX IF NOT EXISTS due ON inspections (state, lease);
CREATE TABLE IF NOT EXISTS idempotency (
    owner TEXT NOT NULL, key TEXT NOT NULL, hash TEXT NOT NULL, id TEXT NOT NULL,
    created REAL NOT NULL, PRIMARY KEY (owner, key)
);
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY, url TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL,
    due REAL NOT NULL
);
"""


class Wanted(BaseModel):
    """What an inspection is to do."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="by which the result calls the asset")
    uri: str | None = Field(default=None, description="to be fetched")
    upload: str | None = Field(default=None, description="path of what was uploaded")
    settings: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    webhook: str | None = None
    trace: dict[str, str] = Field(default_factory=dict, description="see serve.traces.carried")


class Delivery(BaseModel):
    """A message to a webhook."""

    id: str
    url: str
    body: str
    attempts: int


class Store:
    """The file.

    Args:
        path: of the file, made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def submit(
        self, owner: str, wanted: Wanted, *, most: int, key: str | None, digest: str
    ) -> tuple[str, bool]:
        """Accept an inspection; returns its ID, and whether it is a new one.

        Args:
            owner: name of the key that asks.
            wanted: what for.
            most: unfinished inspections of one owner.
            key: Idempotency-Key.
            digest: hash of the request; another one with the same key is refused.

        Raises:
            ProblemError: 422 for a key that was used for something else, 429 for too many.
        """
        now = time.time()
        with self._all_or_nothing():
            self._database.execute("DELETE FROM idempotency WHERE created < ?", [now - _KEYS_KEPT])
            if key is not None:
                known = self._database.execute(
                    "SELECT hash, id FROM idempotency WHERE owner = ? AND key = ?", [owner, key]
                ).fetchone()
                if known is not None and known["hash"] != digest:
                    detail = "this Idempotency-Key was used for another request"
                    raise ProblemError(422, "idempotency_mismatch", detail)
                if known is not None:
                    return known["id"], False
            (unfinished,) = self._database.execute(
                "SELECT count(*) FROM inspections WHERE owner = ? AND state IN ('queued', "
                "'running')", [owner],
            ).fetchone()  # fmt: skip
            if unfinished >= most:
                detail = f"{unfinished} inspections are not finished yet"
                raise ProblemError(429, "quota", detail, retry_after=10)
            name = uuid.uuid4().hex
            self._database.execute(
                "INSERT INTO inspections (id, owner, state, created, updated, lease, attempts, "
                "position, wanted) VALUES (?, ?, 'queued', ?, ?, 0, 0, 0, ?)",
                [name, owner, now, now, wanted.model_dump_json()],
            )
            if key is not None:
                self._database.execute(
                    "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)",
                    [owner, key, digest, name, now],
                )
        return name, True

    def claim(self) -> tuple[str, Wanted] | None:
        """The next inspection to work on, if there is one; it is this caller's for a while."""
        now = time.time()
        with self._all_or_nothing():
            self._database.execute(
                "UPDATE inspections SET state = 'failed', updated = ?, problem = ? "
                "WHERE state = 'running' AND lease < ? AND attempts >= ?",
                [now, json.dumps(_DIED), now, ATTEMPTS],
            )
            row = self._database.execute(
                "SELECT id, wanted FROM inspections WHERE state = 'queued' OR (state = 'running' "
                "AND lease < ?) ORDER BY number LIMIT 1", [now],
            ).fetchone()  # fmt: skip
            if row is None:
                return None
            self._database.execute(
                "UPDATE inspections SET state = 'running', attempts = attempts + 1, lease = ?, "
                "updated = ? WHERE id = ?",
                [now + LEASE, now, row["id"]],
            )
        return row["id"], Wanted.model_validate_json(row["wanted"])

    def renew(self, name: str, position: float, duration: float | None) -> bool:
        """Say how far it is; false where it was cancelled meanwhile."""
        changed = self._database.execute(
            "UPDATE inspections SET lease = ?, position = ?, duration = coalesce(?, duration), "
            "updated = ? WHERE id = ? AND state = 'running'",
            [time.time() + LEASE, position, duration, time.time(), name],
        )
        return changed.rowcount == 1

    def finish(
        self, name: str, *, result: str | None = None, problem: Mapping[str, Any] | None = None
    ) -> None:
        """Keep what came of it, unless it was cancelled, and the message that says so."""
        now = time.time()
        with self._all_or_nothing():
            state = "failed" if result is None else "done"
            changed = self._database.execute(
                "UPDATE inspections SET state = ?, updated = ?, result = ?, problem = ? "
                "WHERE id = ? AND state = 'running'",
                [state, now, result, json.dumps(problem) if problem else None, name],
            )
            row = self._row(name)
            if changed.rowcount and row is not None:
                self._tell(row, now)

    def cancel(self, name: str) -> bool:
        """Cancel what is not finished; whether there is such an inspection."""
        now = time.time()
        self._database.execute(
            "UPDATE inspections SET state = 'cancelled', updated = ? WHERE id = ? AND state IN "
            "('queued', 'running')", [now, name],
        )  # fmt: skip
        return self._row(name) is not None

    def _row(self, name: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM inspections WHERE id = ?", [name]
        ).fetchone()
        return row

    def facts(self, name: str) -> dict[str, Any] | None:
        """What may be told of an inspection, without its result."""
        row = self._row(name)
        return None if row is None else _facts(row)

    def result(self, name: str) -> tuple[str, str | None] | None:
        """State and result of an inspection."""
        row = self._row(name)
        return None if row is None else (row["state"], row["result"])

    def page(self, owner: str | None, before: int | None, count: int) -> list[dict[str, Any]]:
        """Inspections, the newest first; of all owners where none is given."""
        rows = self._database.execute(
            "SELECT * FROM inspections WHERE (?1 IS NULL OR owner = ?1) AND "
            "(?2 IS NULL OR number < ?2) ORDER BY number DESC LIMIT ?3",
            [owner, before, count],
        )
        return [_facts(row) | {"cursor": row["number"]} for row in rows]

    def uploads(self) -> set[str]:
        """Paths of uploads that are still wanted."""
        rows = self._database.execute(
            "SELECT wanted FROM inspections WHERE state IN ('queued', 'running')"
        )
        wanted = (Wanted.model_validate_json(row["wanted"]) for row in rows)
        return {one.upload for one in wanted if one.upload is not None}

    def counts(self) -> dict[str, int]:
        """Inspections by state."""
        rows = self._database.execute("SELECT state, count(*) FROM inspections GROUP BY state")
        return {row[0]: row[1] for row in rows}

    def _tell(self, row: sqlite3.Row, now: float) -> None:
        wanted = Wanted.model_validate_json(row["wanted"])
        if wanted.webhook is None:
            return
        body = {"type": f"inspection.{row['state']}", "timestamp": now, "data": _facts(row)}
        self._database.execute(
            "INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, 0, ?)",
            [f"msg_{row['id']}", wanted.webhook, json.dumps(body), now],
        )

    def due(self) -> list[Delivery]:
        """Messages that are to be sent now."""
        rows = self._database.execute(
            "SELECT id, url, body, attempts FROM deliveries WHERE due <= ? ORDER BY due LIMIT 20",
            [time.time()],
        )
        return [Delivery(**dict(row)) for row in rows]

    def delivered(self, name: str) -> None:
        """A message has arrived, or is given up."""
        self._database.execute("DELETE FROM deliveries WHERE id = ?", [name])

    def put_off(self, name: str, seconds: float) -> None:
        """A message is to be sent again later, with the same ID."""
        self._database.execute(
            "UPDATE deliveries SET attempts = attempts + 1, due = ? WHERE id = ?",
            [time.time() + seconds, name],
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _facts(row: sqlite3.Row) -> dict[str, Any]:
    wanted = Wanted.model_validate_json(row["wanted"])
    share = None
    if row["state"] == "done":
        share = 1.0
    elif row["duration"]:
        share = round(min(row["position"] / row["duration"], 1.0), 4)
    return {
        "id": row["id"],
        "owner": row["owner"],
        "state": row["state"],
        "name": wanted.name,
        "labels": wanted.labels,
        "created": row["created"],
        "updated": row["updated"],
        "position": row["position"],
        "progress": share,
        "attempts": row["attempts"],
        "problem": json.loads(row["problem"]) if row["problem"] else None,
    }
