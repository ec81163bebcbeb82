"""The tables of watched streams: columns, and the question that rolls defects up by label."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    case,
    distinct,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.sql import ColumnElement

from pipeline.database import NAME, NUMBER, ticket

VERSION = 1
TABLES = MetaData()
TURN = ticket("watch", TABLES)

STREAMS = Table(
    "watch_streams",
    TABLES,
    Column("name", NAME, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("added", Double, nullable=False),
    Column("status", Text),
    Column("worker", Text),
    Column("deaths", Integer, nullable=False),
    Column("died", Double, nullable=False),
    Column("quarantined", Text),
)
LABELS = Table(
    "watch_labels",
    TABLES,
    Column("stream", NAME, primary_key=True),
    Column("label", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)
LOG = Table(
    "watch_log",
    TABLES,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False, index=True),
    Column("id", NAME, nullable=False),
    Column("change", NAME, nullable=False),
    Column("stream", NAME, nullable=False),
    Column("event", Text, nullable=False),
    Index("watch_log_id", "id", "change"),
    sqlite_autoincrement=True,  # a number is never used again
)
EVENTS = Table(
    "watch_events",
    TABLES,
    Column("id", NAME, primary_key=True),
    Column("stream", NAME, nullable=False),
    Column("kind", NAME, nullable=False),
    Column("start", Double, nullable=False),
    Column("end", Double, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("outcome", NAME),
    Column("event", Text, nullable=False),
    Index("watch_events_end", "is_open", "end"),
)
COVERAGE = Table(
    "watch_coverage",
    TABLES,
    Column("stream", NAME, primary_key=True),
    Column("start", Double, primary_key=True),
    Column("end", Double, nullable=False, index=True),
)
HISTORY = Table(
    "watch_history",
    TABLES,
    Column("stream", NAME, primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("luma", Double),
    Column("loudness", Double),
    Column("behind", Double, nullable=False),
    sqlite_with_rowid=False,
)
GLIMPSES = Table(
    "watch_glimpses",
    TABLES,
    Column("stream", NAME, primary_key=True),
    Column("event", NAME, primary_key=True),
    Column("time", Double, nullable=False),
    Column("jpeg", LargeBinary(2**24 - 1), nullable=False),
)
DELIVERIES = Table(
    "watch_deliveries",
    TABLES,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("id", NAME, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Double, nullable=False),
    sqlite_autoincrement=True,
)
CURSORS = Table(  # how far in the log those are who read it on
    "watch_cursors",
    TABLES,
    Column("reader", NAME, primary_key=True),
    Column("number", NUMBER, nullable=False),
)


def rollup(label: str, first: float, now: float) -> Select[Any]:
    """Defects by a label between two times: a row per value and kind, see Store.rollup."""
    valued = (
        select(STREAMS.c.name, func.coalesce(LABELS.c.value, "").label("value"))
        .select_from(
            STREAMS.outerjoin(
                LABELS, and_(LABELS.c.stream == STREAMS.c.name, LABELS.c.label == label)
            )
        )
        .cte("valued")
    )
    start, end = COVERAGE.c.start, COVERAGE.c.end
    seconds = _least(end, now) - _greatest(start, first)
    watched = (
        select(
            valued.c.value,
            func.count(distinct(valued.c.name)).label("streams"),
            func.coalesce(
                func.sum(case((and_(end.is_not(None), seconds > 0), seconds), else_=0.0)), 0.0
            ).label("seconds"),
        )
        .select_from(
            valued.outerjoin(COVERAGE, and_(COVERAGE.c.stream == valued.c.name, end > first))
        )
        .group_by(valued.c.value)
        .cte("watched")
    )
    start, end, outcome = EVENTS.c.start, EVENTS.c.end, EVENTS.c.outcome
    defects = (
        select(
            valued.c.value,
            EVENTS.c.kind,
            func.count(distinct(valued.c.name)).label("affected"),
            func.sum(_least(end, now) - _greatest(start, first)).label("seconds"),
        )
        .select_from(valued.join(EVENTS, EVENTS.c.stream == valued.c.name))
        .where(end > first, start < now, or_(outcome.is_(None), outcome != "withdrawn"))
        .group_by(valued.c.value, EVENTS.c.kind)
        .cte("defects")
    )
    defect_s = func.coalesce(defects.c.seconds, 0.0)
    return select(
        watched.c.value,
        defects.c.kind,
        watched.c.streams,
        watched.c.seconds.label("watched_s"),
        func.coalesce(defects.c.affected, 0).label("affected"),
        defect_s.label("defect_s"),
    ).select_from(watched.outerjoin(defects, defects.c.value == watched.c.value))


def _least(column: ColumnElement[float], value: float) -> ColumnElement[float]:
    return case((column < value, column), else_=literal(value))


def _greatest(column: ColumnElement[float], value: float) -> ColumnElement[float]:
    return case((column > value, column), else_=literal(value))
