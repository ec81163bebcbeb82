"""Inspections that were accepted, in a database: nothing that was accepted is lost.

A row is claimed for a while (a lease); whoever works on it renews that. A lease that ran out means
that its worker is gone, and the row is claimed again, up to `ATTEMPTS` times in all. Messages to
webhooks are claimed likewise.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import (
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from pipeline.database import NAME, NUMBER, Database, HasDatabase, ticket, writing
from serve.problems import ProblemError

FILE = "inspections.sqlite"
ATTEMPTS = 5  # decoders die alone: a runner that dies is hardly ever the fault of what it has
LEASE = 20.0  # seconds
_POSTING = 60.0  # seconds that a message is somebody's to send
_PRUNED_AT_ONCE = 500  # rows: a writer keeps the others waiting
_KEYS_KEPT = 24 * 3600.0  # seconds for which an Idempotency-Key is remembered
_DIED = {"code": "worker_died", "detail": f"its worker died {ATTEMPTS} times"}
_UNFINISHED = ("queued", "running")

_VERSION = 1
_TABLES = MetaData()
_TURN = ticket("work", _TABLES)
_INSPECTIONS = Table(
    "inspections",
    _TABLES,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("id", NAME, unique=True, nullable=False),
    Column("owner", NAME, nullable=False),
    Column("state", NAME, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("lease", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("position", Double, nullable=False),
    Column("duration", Double),
    Column("wanted", Text, nullable=False),
    Column("problem", Text),
    Column("result", Text),
    Index("inspections_due", "state", "lease"),
    sqlite_autoincrement=True,
)
_IDEMPOTENCY = Table(
    "idempotency",
    _TABLES,
    Column("owner", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("hash", NAME, nullable=False),
    Column("id", NAME, nullable=False),
    Column("created", Double, nullable=False),
)
_MESSAGES = Table(
    "inspection_messages",
    _TABLES,
    Column("id", NAME, primary_key=True),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Double, nullable=False),
)


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


class Message(BaseModel):
    """A message to a webhook."""

    id: str
    url: str
    body: str
    attempts: int


@dataclass(frozen=True)
class Claimed:
    """An inspection that is the caller's to work on.

    Attributes:
        name: its ID.
        wanted: what it is to do.
        attempt: which one this is; whoever claims it next has another.
    """

    name: str
    wanted: Wanted
    attempt: int


class Store(HasDatabase):
    """The database.

    Args:
        folder: that a SQLite file is in, made where it is not there.
        url: of another database, see pipeline.database; None: the file.

    Raises:
        UsageError: it is none that can be used.
        StoreError: it does not answer.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(url or folder / FILE, _TABLES, _TURN, _VERSION)

    @writing
    def submit(
        self,
        writer: Connection,
        owner: str,
        wanted: Wanted,
        *,
        most: int,
        key: str | None,
        digest: str,
    ) -> tuple[str, bool]:
        """Accept an inspection; returns its ID, and whether it is a new one.

        Args:
            writer: given by `writing`.
            owner: name of the key that asks.
            wanted: what for.
            most: unfinished inspections of one owner.
            key: Idempotency-Key.
            digest: hash of the request; another one with the same key is refused.

        Raises:
            ProblemError: 422 for a key that was used for something else, 429 for too many.
        """
        now = time.time()
        known, rows = _IDEMPOTENCY.c, _INSPECTIONS.c
        writer.execute(delete(_IDEMPOTENCY).where(known.created < now - _KEYS_KEPT))
        if key is not None:
            old = writer.execute(
                select(known.hash, known.id).where(known.owner == owner, known.key == key)
            ).first()
            if old is not None and old.hash != digest:
                detail = "this Idempotency-Key was used for another request"
                raise ProblemError(422, "idempotency_mismatch", detail)
            if old is not None:
                return old.id, False
        unfinished = writer.scalar(
            select(func.count()).where(rows.owner == owner, rows.state.in_(_UNFINISHED))
        )
        if unfinished is not None and unfinished >= most:
            detail = f"{unfinished} inspections are not finished yet"
            raise ProblemError(429, "quota", detail, retry_after=10)
        name = uuid.uuid4().hex
        writer.execute(
            insert(_INSPECTIONS).values(
                id=name, owner=owner, state="queued", created=now, updated=now, lease=0.0,
                attempts=0, position=0.0, wanted=wanted.model_dump_json(),
            )
        )  # fmt: skip
        if key is not None:
            writer.execute(
                insert(_IDEMPOTENCY).values(owner=owner, key=key, hash=digest, id=name, created=now)
            )
        return name, True

    @writing
    def claim(self, writer: Connection) -> Claimed | None:
        """The next inspection to work on, if there is one; it is this caller's for a while."""
        now = time.time()
        rows = _INSPECTIONS.c
        left = and_(rows.state == "running", rows.lease < now)  # by whoever had it
        given_up = and_(left, rows.attempts >= ATTEMPTS)
        for (name,) in writer.execute(select(rows.id).where(given_up)).all():
            writer.execute(
                update(_INSPECTIONS)
                .where(rows.id == name)
                .values(state="failed", updated=now, problem=json.dumps(_DIED))
            )
            _announce(writer, name)
        row = writer.execute(
            select(rows.id, rows.wanted, rows.attempts)
            .where(or_(rows.state == "queued", left))
            .order_by(rows.number)
            .limit(1)
        ).first()
        if row is None:
            return None
        attempt = row.attempts + 1
        writer.execute(
            update(_INSPECTIONS)
            .where(rows.id == row.id)
            .values(state="running", attempts=attempt, lease=now + LEASE, updated=now)
        )
        return Claimed(row.id, Wanted.model_validate_json(row.wanted), attempt)

    @writing
    def renew(
        self, writer: Connection, claimed: Claimed, position: float, duration: float | None
    ) -> bool:
        """Say how far it is; false where it was cancelled meanwhile, or is somebody else's."""
        now = time.time()
        values = {"lease": now + LEASE, "position": position, "updated": now}
        if duration is not None:
            values["duration"] = duration
        changed = writer.execute(update(_INSPECTIONS).where(_still(claimed)).values(**values))
        return changed.rowcount == 1

    @writing
    def finish(
        self,
        writer: Connection,
        claimed: Claimed,
        *,
        result: str | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what came of it, and the message that says so; not where it is nobody's any more."""
        now = time.time()
        changed = writer.execute(
            update(_INSPECTIONS)
            .where(_still(claimed))
            .values(
                state="failed" if result is None else "done",
                updated=now,
                result=result,
                problem=json.dumps(problem) if problem else None,
            )
        )
        if changed.rowcount:
            _announce(writer, claimed.name)

    @writing
    def release(self, writer: Connection, claimed: Claimed) -> None:
        """Let somebody else begin it again: whoever had it ends, through no fault of it."""
        writer.execute(
            update(_INSPECTIONS)
            .where(_still(claimed))
            .values(state="queued", attempts=claimed.attempt - 1, updated=time.time())
        )

    @writing
    def cancel(self, writer: Connection, name: str) -> bool:
        """Cancel what is not finished; whether there is such an inspection."""
        rows = _INSPECTIONS.c
        writer.execute(
            update(_INSPECTIONS)
            .where(rows.id == name, rows.state.in_(_UNFINISHED))
            .values(state="cancelled", updated=time.time())
        )
        return writer.execute(select(rows.id).where(rows.id == name)).first() is not None

    def _row(self, name: str) -> Row[Any] | None:
        rows = self.database.ask(select(_INSPECTIONS).where(_INSPECTIONS.c.id == name))
        return rows[0] if rows else None

    def facts(self, name: str) -> dict[str, Any] | None:
        """What may be told of an inspection, without its result."""
        row = self._row(name)
        return None if row is None else _facts(row)

    def result(self, name: str) -> tuple[str, str | None] | None:
        """State and result of an inspection."""
        row = self._row(name)
        return None if row is None else (row.state, row.result)

    def page(self, owner: str | None, before: int | None, count: int) -> list[dict[str, Any]]:
        """Inspections, the newest first; of all owners where none is given."""
        question = select(_INSPECTIONS).order_by(_INSPECTIONS.c.number.desc()).limit(count)
        if owner is not None:
            question = question.where(_INSPECTIONS.c.owner == owner)
        if before is not None:
            question = question.where(_INSPECTIONS.c.number < before)
        return [_facts(row) | {"cursor": row.number} for row in self.database.ask(question)]

    def upload(self, name: str) -> str | None:
        """Path of what was uploaded for an inspection."""
        row = self._row(name)
        return None if row is None else Wanted.model_validate_json(row.wanted).upload

    def uploads(self) -> set[str]:
        """Paths of uploads that are still wanted."""
        rows = self.database.ask(
            select(_INSPECTIONS.c.wanted).where(_INSPECTIONS.c.state.in_(_UNFINISHED))
        )
        wanted = (Wanted.model_validate_json(row.wanted) for row in rows)
        return {one.upload for one in wanted if one.upload is not None}

    @writing
    def prune(self, writer: Connection, before: float) -> list[str]:
        """Forget some inspections that were over by then, oldest first; returns their IDs."""
        rows = _INSPECTIONS.c
        names = [
            name
            for (name,) in writer.execute(
                select(rows.id)
                .where(rows.state.not_in(_UNFINISHED), rows.updated < before)
                .order_by(rows.number)
                .limit(_PRUNED_AT_ONCE)
            )
        ]
        writer.execute(delete(_INSPECTIONS).where(rows.id.in_(names)))
        return names

    def counts(self) -> dict[str, int]:
        """Inspections by state."""
        state = _INSPECTIONS.c.state
        rows = self.database.ask(select(state, func.count().label("many")).group_by(state))
        return {row.state: row.many for row in rows}

    @writing
    def due(self, writer: Connection) -> list[Message]:
        """Messages to send now; they are this caller's for a while."""
        now = time.time()
        rows = writer.execute(
            select(_MESSAGES.c.id, _MESSAGES.c.url, _MESSAGES.c.body, _MESSAGES.c.attempts)
            .where(_MESSAGES.c.due <= now)
            .order_by(_MESSAGES.c.due)
            .limit(20)
        ).all()
        names = [row.id for row in rows]
        if names:
            writer.execute(
                update(_MESSAGES).where(_MESSAGES.c.id.in_(names)).values(due=now + _POSTING)
            )
        return [Message(**row._mapping) for row in rows]

    @writing
    def delivered(self, writer: Connection, name: str) -> None:
        """A message has arrived, or is given up."""
        writer.execute(delete(_MESSAGES).where(_MESSAGES.c.id == name))

    @writing
    def put_off(self, writer: Connection, name: str, seconds: float) -> None:
        """A message is to be sent again later, with the same ID."""
        writer.execute(
            update(_MESSAGES)
            .where(_MESSAGES.c.id == name)
            .values(attempts=_MESSAGES.c.attempts + 1, due=time.time() + seconds)
        )


def _announce(writer: Connection, name: str) -> None:
    """Put the message that an inspection is over into the queue, if somebody wants it."""
    row = writer.execute(select(_INSPECTIONS).where(_INSPECTIONS.c.id == name)).one()
    webhook = Wanted.model_validate_json(row.wanted).webhook
    if webhook is None:
        return
    now = time.time()
    body = {"type": f"inspection.{row.state}", "timestamp": now, "data": _facts(row)}
    writer.execute(
        insert(_MESSAGES).values(
            id=f"msg_{name}", url=webhook, body=json.dumps(body), attempts=0, due=now
        )
    )


def _still(claimed: Claimed) -> Any:
    """Whether it is still the inspection that was claimed."""
    rows = _INSPECTIONS.c
    return and_(rows.id == claimed.name, rows.state == "running", rows.attempts == claimed.attempt)


def _facts(row: Row[Any]) -> dict[str, Any]:
    wanted = Wanted.model_validate_json(row.wanted)
    share = None
    if row.state == "done":
        share = 1.0
    elif row.duration:
        share = round(min(row.position / row.duration, 1.0), 4)
    return {
        "id": row.id,
        "owner": row.owner,
        "state": row.state,
        "name": wanted.name,
        "labels": wanted.labels,
        "created": row.created,
        "updated": row.updated,
        "position": row.position,
        "progress": share,
        "attempts": row.attempts,
        "problem": json.loads(row.problem) if row.problem else None,
    }
