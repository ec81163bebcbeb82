"""What workers tell of streams, as rows: events once, coverage joined, statuses, pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.tables import (
    COVERAGE,
    DELIVERIES,
    EVENTS,
    GLIMPSES,
    HISTORY,
    LOG,
    STREAMS,
)
from pipeline.live.watcher import JOIN, Status

SLOT = 10.0  # seconds between points of how a stream was
_AT_ONCE = 1000  # names in a question
_STATUS = update(STREAMS).where(STREAMS.c.name == bindparam("of")).values(status=bindparam("said"))
_NO_POINT = delete(HISTORY).where(
    HISTORY.c.stream == bindparam("of"), HISTORY.c.slot == bindparam("at")
)
_NO_GLIMPSE = delete(GLIMPSES).where(
    GLIMPSES.c.stream == bindparam("of"), GLIMPSES.c.event == bindparam("at")
)
_LONGER = (
    update(COVERAGE)
    .where(COVERAGE.c.stream == bindparam("of"), COVERAGE.c.start == bindparam("at"))
    .values(end=bindparam("until"))
)


def log_event(writer: Connection, event: Event) -> bool:
    """Write down an event, unless it is known already or was over before."""
    is_open = writer.scalar(select(EVENTS.c.is_open).where(EVENTS.c.id == event.id))
    if is_open is False:
        return False
    if event.change != "updated":
        again = select(LOG.c.number).where(LOG.c.id == event.id, LOG.c.change == event.change)
        if writer.execute(again).first() is not None:
            return False
    text = event.model_dump_json(by_alias=True)
    writer.execute(
        insert(LOG).values(
            time=time.time(), id=event.id, change=event.change, stream=event.stream, event=text
        )
    )
    lasting = {
        "start": event.start.timestamp(),  # moves where a clock was corrected
        "end": event.end.timestamp(),
        "is_open": event.change != "closed",
        "outcome": event.outcome,
        "event": text,
    }
    if is_open is not None:
        writer.execute(update(EVENTS).where(EVENTS.c.id == event.id).values(**lasting))
    else:
        writer.execute(
            insert(EVENTS).values(
                id=event.id, stream=event.stream, kind=event.kind, **lasting
            )
        )  # fmt: skip
    return True


def deliver(writer: Connection, event: Event, url: str) -> None:
    """Put a message of an event into the queue of a webhook."""
    body: Mapping[str, Any] = {
        "type": f"defect.{event.change}",
        "timestamp": event.end.isoformat(),
        "data": event.model_dump(mode="json", by_alias=True),
    }
    message = insert(DELIVERIES).values(id="", url=url, body=json.dumps(body), attempts=0, due=0.0)
    (number,) = writer.execute(message).inserted_primary_key or (None,)
    writer.execute(
        update(DELIVERIES)
        .where(DELIVERIES.c.number == number)
        .values(id=f"msg_{event.id}_{number}")
    )


def cover(writer: Connection, coverage: Sequence[tuple[str, float, float]]) -> None:
    """Join intervals to the last ones of their streams, or begin new ones."""
    names = sorted({name for name, _, _ in coverage})
    last: dict[str, tuple[float, float]] = {}
    for first in range(0, len(names), _AT_ONCE):
        newest = (
            select(COVERAGE.c.stream, func.max(COVERAGE.c.start).label("start"))
            .where(COVERAGE.c.stream.in_(names[first : first + _AT_ONCE]))
            .group_by(COVERAGE.c.stream)
            .subquery()
        )
        join = and_(newest.c.stream == COVERAGE.c.stream, newest.c.start == COVERAGE.c.start)
        found = writer.execute(select(COVERAGE).select_from(COVERAGE.join(newest, join)))
        last |= {row.stream: (row.start, row.end) for row in found}
    begun: dict[tuple[str, float], float] = {}
    longer: dict[tuple[str, float], float] = {}
    for name, start, end in coverage:
        since, until = last.get(name, (float("inf"), float("-inf")))
        if end <= until:
            continue  # told again
        if start <= until + JOIN:
            start = since  # noqa: PLW2901 - the interval is that one
        known = begun if (name, start) in begun or start != since else longer
        known[name, start] = end
        last[name] = start, end
    if longer:
        rows = [{"of": name, "at": start, "until": end} for (name, start), end in longer.items()]
        writer.execute(_LONGER, rows)
    if begun:
        writer.execute(
            insert(COVERAGE),
            [{"stream": name, "start": start, "end": end} for (name, start), end in begun.items()],
        )


def remember(writer: Connection, statuses: Sequence[Status]) -> None:
    """How streams are, and how they were: one point each SLOT seconds, its last."""
    if not statuses:
        return
    rows = [{"of": one.stream, "said": one.model_dump_json()} for one in statuses]
    writer.execute(_STATUS, rows)
    points = {
        (one.stream, int(one.seen / SLOT)): one
        for one in statuses
        if one.state == "watching" and one.seen is not None
    }
    if points:
        writer.execute(_NO_POINT, [{"of": name, "at": slot} for name, slot in points])
        writer.execute(
            insert(HISTORY),
            [
                {
                    "stream": name,
                    "slot": slot,
                    "luma": one.luma,
                    "loudness": one.loudness,
                    "behind": one.behind,
                }
                for (name, slot), one in points.items()
            ],
        )


def picture(writer: Connection, glimpses: Sequence[Glimpse]) -> None:
    """Keep the newest picture of each stream, and those of events."""
    if not glimpses:
        return
    writer.execute(_NO_GLIMPSE, [{"of": one.stream, "at": one.event} for one in glimpses])
    newest = {(one.stream, one.event): one for one in glimpses}
    writer.execute(insert(GLIMPSES), [vars(one) for one in newest.values()])
