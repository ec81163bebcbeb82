"""All that is known of watched streams, in a database: it outlives whoever writes it.

The coordinator writes; other processes may read at any time, and may add and remove streams.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from pipeline.database import Database, HasDatabase, writing
from pipeline.errors import UsageError
from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.streams import Stream
from pipeline.live.tables import (
    COVERAGE,
    DELIVERIES,
    EVENTS,
    GLIMPSES,
    HISTORY,
    LABELS,
    LOG,
    STREAMS,
    TABLES,
    TURN,
    VERSION,
    rollup,
)
from pipeline.live.watcher import Status

NAME = "watch.sqlite"
KEPT = 7 * 86_400.0  # seconds for which what is over is kept
REMEMBERED = 6 * 3600.0  # seconds for which it is kept how a stream was
SLOT = 10.0  # seconds between points of that
PICTURES = 100  # of events, kept of each stream
JOIN = 0.5  # seconds between intervals of coverage that are one
_AT_ONCE = 1000  # names in a question
_PLACED = update(STREAMS).where(STREAMS.c.name == bindparam("of")).values(worker=bindparam("place"))
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


@dataclass(frozen=True)
class Known:
    """A stream as the store knows it."""

    stream: Stream
    status: Status | None
    worker: str | None
    deaths: int
    died: float
    quarantined: str | None


@dataclass(frozen=True)
class Delivery:
    """A message to a webhook."""

    number: int
    id: str
    body: str
    attempts: int


class Store(HasDatabase):
    """The database.

    Args:
        folder: that a SQLite file is in, made where it is not there.
        url: of another database, see pipeline.database; None: the file.
        must_exist: somebody must have watched something there before.

    Raises:
        UsageError: it must exist and does not, or is none that can be used.
        StoreError: it does not answer.
    """

    def __init__(self, folder: Path, url: str | None = None, *, must_exist: bool = False) -> None:
        path = folder / NAME
        if url is None and must_exist and not path.is_file():
            raise UsageError(f"nothing was watched in {folder}: there is no {NAME}")
        if url is None:
            folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(url or path, TABLES, TURN, VERSION)

    # ------------------------------------------------------------------------------------- streams

    @writing
    def add(self, writer: Connection, stream: Stream) -> bool:
        """Add a stream, or change one of this name; returns whether anything is new."""
        spec = stream.model_dump_json()
        this = STREAMS.c.name == stream.name
        old = writer.scalar(select(STREAMS.c.spec).where(this))
        if old == spec:
            return False
        if old is None:
            writer.execute(
                insert(STREAMS).values(
                    name=stream.name, spec=spec, added=time.time(), deaths=0, died=0.0
                )
            )
        else:
            writer.execute(
                update(STREAMS).where(this).values(spec=spec, deaths=0, quarantined=None)
            )
            writer.execute(delete(LABELS).where(LABELS.c.stream == stream.name))
        if stream.labels:
            writer.execute(
                insert(LABELS),
                [
                    {"stream": stream.name, "label": label, "value": value}
                    for label, value in stream.labels.items()
                ],
            )
        self.database.changed(writer)
        return True

    @writing
    def remove(self, writer: Connection, name: str) -> bool:
        """Watch a stream no more; returns whether there was one."""
        gone = writer.execute(delete(STREAMS).where(STREAMS.c.name == name))
        for table in (LABELS, HISTORY, GLIMPSES):
            writer.execute(delete(table).where(table.c.stream == name))
        if gone.rowcount:
            self.database.changed(writer)
        return gone.rowcount > 0

    @writing
    def pardon(self, writer: Connection, name: str) -> bool:
        """Try a stream again that was put in quarantine; returns whether it was."""
        freed = writer.execute(
            update(STREAMS)
            .where(STREAMS.c.name == name, STREAMS.c.quarantined.is_not(None))
            .values(quarantined=None, deaths=0)
        )
        if freed.rowcount:
            self.database.changed(writer)
        return freed.rowcount > 0

    def streams(self) -> dict[str, Known]:
        """All streams, by name."""
        rows = self.database.ask(select(STREAMS).order_by(STREAMS.c.name))
        return {row.name: _known(row) for row in rows}

    def wishes(self) -> int:
        """A number that changes when there are other streams to watch, whoever wished it."""
        return self.database.changes()

    @writing
    def placed(self, writer: Connection, places: Mapping[str, str | None]) -> None:
        """Who watches streams, by their names."""
        rows = [{"of": name, "place": place} for name, place in places.items()]
        if rows:
            writer.execute(_PLACED, rows)

    @writing
    def died(
        self, writer: Connection, names: Iterable[str], now: float, forget: float
    ) -> dict[str, int]:
        """A worker died that watched these; returns how often that happened to each of late.

        Args:
            writer: given by `writing`.
            names: of the streams.
            now: the time.
            forget: seconds after which an earlier death does not count any more.
        """
        counts = {}
        for name in names:
            this = STREAMS.c.name == name
            row = writer.execute(select(STREAMS.c.deaths, STREAMS.c.died).where(this)).first()
            if row is not None:
                counts[name] = 1 + (row.deaths if row.died > now - forget else 0)
                changed = update(STREAMS).where(this).values(deaths=counts[name], died=now)
                writer.execute(changed)
        return counts

    @writing
    def quarantine(self, writer: Connection, name: str, why: str) -> None:
        """Watch a stream no more until somebody pardons it."""
        writer.execute(update(STREAMS).where(STREAMS.c.name == name).values(quarantined=why))
        self.database.changed(writer)

    # -------------------------------------------------------------------------------------- events

    @writing
    def take(
        self,
        writer: Connection,
        events: Sequence[Event],
        coverage: Sequence[tuple[str, float, float]],
        statuses: Sequence[Status],
        webhooks: Sequence[str] = (),
        glimpses: Sequence[Glimpse] = (),
    ) -> list[Event]:
        """Keep what a worker tells; returns the events that are new.

        What was taken before is not taken again, so that a worker may tell it twice.
        """
        fresh = []
        for event in events:
            if _log(writer, event):
                fresh.append(event)
                for url in webhooks:
                    _deliver(writer, event, url)
        _cover(writer, coverage)
        _remember(writer, statuses)
        if glimpses:
            keys = [{"of": one.stream, "at": one.event} for one in glimpses]
            writer.execute(_NO_GLIMPSE, keys)
            newest = {(one.stream, one.event): one for one in glimpses}
            writer.execute(insert(GLIMPSES), [vars(one) for one in newest.values()])
        return fresh

    def standing(self, stream: str | None = None) -> list[Event]:
        """Events that are open, of one stream or of all."""
        question = select(EVENTS.c.event).where(EVENTS.c.is_open).order_by(EVENTS.c.start)
        if stream is not None:
            question = question.where(EVENTS.c.stream == stream)
        return self._events(question)

    def _events(self, question: Select[Any]) -> list[Event]:
        return [Event.model_validate_json(row.event) for row in self.database.ask(question)]

    def since(self, number: int, most: int = 1000) -> list[tuple[int, Event]]:
        """What was told after a number of the log, in order."""
        rows = self.database.ask(
            select(LOG.c.number, LOG.c.event)
            .where(LOG.c.number > number)
            .order_by(LOG.c.number)
            .limit(most)
        )
        return [(row.number, Event.model_validate_json(row.event)) for row in rows]

    def last_number(self) -> int:
        """The newest number of the log."""
        ((number,),) = self.database.ask(select(func.coalesce(func.max(LOG.c.number), 0)))
        return int(number)

    def closed(self, after: float, before: float) -> list[Event]:
        """Events that ended in an interval."""
        return self._events(
            select(EVENTS.c.event)
            .where(~EVENTS.c.is_open, EVENTS.c.end > after, EVENTS.c.end <= before)
            .order_by(EVENTS.c.start, EVENTS.c.id)
        )

    def coverage(self, stream: str) -> list[tuple[float, float]]:
        """When a stream was watched, in seconds since 1970."""
        rows = self.database.ask(
            select(COVERAGE.c.start, COVERAGE.c.end)
            .where(COVERAGE.c.stream == stream)
            .order_by(COVERAGE.c.start)
        )
        return [(row.start, row.end) for row in rows]

    def events_of(self, stream: str, most: int) -> list[Event]:
        """The newest events of a stream, open ones and others, the newest first."""
        return self._events(
            select(EVENTS.c.event)
            .where(EVENTS.c.stream == stream)
            .order_by(EVENTS.c.start.desc())
            .limit(most)
        )

    def history(self, stream: str, after: float) -> list[dict[str, float | None]]:
        """How a stream was: `time`, `luma`, `loudness` and `behind`, a point each SLOT seconds."""
        rows = self.database.ask(
            select(HISTORY)
            .where(HISTORY.c.stream == stream, HISTORY.c.slot > after / SLOT)
            .order_by(HISTORY.c.slot)
        )
        return [
            {
                "time": row.slot * SLOT,
                "luma": row.luma,
                "loudness": row.loudness,
                "behind": row.behind,
            }
            for row in rows
        ]

    def glimpse(self, stream: str, event: str = "") -> Glimpse | None:
        """The newest small picture of a stream, or that of an event."""
        rows = self.database.ask(
            select(GLIMPSES).where(GLIMPSES.c.stream == stream, GLIMPSES.c.event == event)
        )
        return Glimpse(**rows[0]._mapping) if rows else None

    def pictured(self, stream: str) -> list[str]:
        """IDs of the events of a stream that there are pictures of."""
        rows = self.database.ask(
            select(GLIMPSES.c.event).where(GLIMPSES.c.stream == stream, GLIMPSES.c.event != "")
        )
        return [row.event for row in rows]

    def glimpsed(self) -> dict[str, float]:
        """When the newest picture of each stream was made."""
        rows = self.database.ask(
            select(GLIMPSES.c.stream, GLIMPSES.c.time).where(GLIMPSES.c.event == "")
        )
        return {row.stream: row.time for row in rows}

    @writing
    def prune(self, writer: Connection, now: float) -> None:
        """Forget what was over long ago."""
        writer.execute(delete(HISTORY).where(HISTORY.c.slot < (now - REMEMBERED) / SLOT))
        age = (
            func.row_number()
            .over(partition_by=GLIMPSES.c.stream, order_by=GLIMPSES.c.time.desc())
            .label("age")
        )
        aged = select(GLIMPSES.c.stream, GLIMPSES.c.event, age).where(GLIMPSES.c.event != "")
        old = aged.subquery()
        writer.execute(
            delete(GLIMPSES).where(
                tuple_(GLIMPSES.c.stream, GLIMPSES.c.event).in_(
                    select(old.c.stream, old.c.event).where(old.c.age > PICTURES)
                )
            )
        )
        writer.execute(delete(LOG).where(LOG.c.time < now - KEPT))
        writer.execute(delete(EVENTS).where(~EVENTS.c.is_open, EVENTS.c.end < now - KEPT))
        writer.execute(delete(COVERAGE).where(COVERAGE.c.end < now - KEPT))

    def rollup(self, label: str, window: float, now: float) -> list[dict[str, Any]]:
        """Defects by a label over the last seconds, over all streams.

        Args:
            label: its name; streams without it count as "".
            window: seconds.
            now: the end of the window.

        Returns:
            One row per value of the label and kind of defect: `value`, `kind`, `streams` that
            have the value, `watched_s`, `affected` streams, `defect_s`, and `share` of the watched
            time. A value without defects has one row, whose kind is None.
        """
        rows = [dict(row._mapping) for row in self.database.ask(rollup(label, now - window, now))]
        for row in rows:
            watched = row["watched_s"]
            row["share"] = round(row["defect_s"] / watched, 4) if watched else None
        return rows

    # ------------------------------------------------------------------------------------ webhooks

    def due(self, url: str, now: float, most: int = 50) -> list[Delivery]:
        """Messages that are to be sent to an address now, in order."""
        rows = self.database.ask(
            select(DELIVERIES.c.number, DELIVERIES.c.id, DELIVERIES.c.body, DELIVERIES.c.attempts)
            .where(DELIVERIES.c.url == url, DELIVERIES.c.due <= now)
            .order_by(DELIVERIES.c.number)
            .limit(most)
        )
        return [Delivery(**row._mapping) for row in rows]

    def receivers(self) -> list[str]:
        """Addresses that messages wait for."""
        return [row.url for row in self.database.ask(select(DELIVERIES.c.url).distinct())]

    @writing
    def delivered(self, writer: Connection, number: int) -> None:
        """A message has arrived, or is given up."""
        writer.execute(delete(DELIVERIES).where(DELIVERIES.c.number == number))

    @writing
    def put_off(self, writer: Connection, number: int, until: float) -> None:
        """A message is to be sent again later, under the same ID."""
        writer.execute(
            update(DELIVERIES)
            .where(DELIVERIES.c.number == number)
            .values(attempts=DELIVERIES.c.attempts + 1, due=until)
        )


def _known(row: Row[Any]) -> Known:
    return Known(
        stream=Stream.model_validate_json(row.spec),
        status=Status.model_validate_json(row.status) if row.status else None,
        worker=row.worker,
        deaths=row.deaths,
        died=row.died,
        quarantined=row.quarantined,
    )


def _remember(writer: Connection, statuses: Sequence[Status]) -> None:
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


def _log(writer: Connection, event: Event) -> bool:
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
                id=event.id, stream=event.stream, kind=event.kind, start=event.start.timestamp(),
                **lasting,
            )
        )  # fmt: skip
    return True


def _deliver(writer: Connection, event: Event, url: str) -> None:
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


def _cover(writer: Connection, coverage: Sequence[tuple[str, float, float]]) -> None:
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
