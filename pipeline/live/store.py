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
from pipeline.live import telling
from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.streams import Stream
from pipeline.live.tables import (
    COVERAGE,
    CURSORS,
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
from pipeline.live.telling import SLOT
from pipeline.live.watcher import UNSEEN, Status

NAME = "watch.sqlite"
KEPT = 7 * 86_400.0  # seconds for which what is over is kept
REMEMBERED = 6 * 3600.0  # seconds for which it is kept how a stream was
PICTURES = 100  # of events, kept of each stream
_PLACED = update(STREAMS).where(STREAMS.c.name == bindparam("of")).values(worker=bindparam("place"))


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
class Figures:
    """A stream in short; `behind` and `cost` as in Status, None where nobody watches it."""

    name: str
    state: str
    behind: float | None
    cost: float | None


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

    def figures(self) -> list[Figures]:
        """How all streams are, in short: thousands are asked for every few seconds."""
        columns = STREAMS.c.name, STREAMS.c.status, STREAMS.c.quarantined
        made = []
        for row in self.database.ask(select(*columns)):
            status = json.loads(row.status) if row.status else {}
            state = "quarantined" if row.quarantined else status.get("state", "waiting")
            made.append(Figures(row.name, state, status.get("behind"), status.get("cost")))
        return made

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
            if telling.log_event(writer, event):
                fresh.append(event)
                for url in webhooks:
                    telling.deliver(writer, event, url)
        telling.cover(writer, coverage)
        telling.remember(writer, statuses)
        telling.picture(writer, glimpses)
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
        return [
            (at, Event.model_validate_json(text)) for at, text in self.lines_since(number, most)
        ]

    def lines_since(self, number: int, most: int = 1000) -> list[tuple[int, str]]:
        """Likewise, as JSON."""
        rows = self.database.ask(
            select(LOG.c.number, LOG.c.event)
            .where(LOG.c.number > number)
            .order_by(LOG.c.number)
            .limit(most)
        )
        return [(row.number, row.event) for row in rows]

    def cursor(self, reader: str) -> int:
        """How far somebody has read the log; 0 for who has not begun."""
        rows = self.database.ask(select(CURSORS.c.number).where(CURSORS.c.reader == reader))
        return int(rows[0].number) if rows else 0

    @writing
    def move_cursor(self, writer: Connection, reader: str, number: int) -> None:
        """Note how far somebody has read the log."""
        writer.execute(delete(CURSORS).where(CURSORS.c.reader == reader))
        writer.execute(insert(CURSORS).values(reader=reader, number=number))

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
            One row per value of the label and kind of defect, the worst first: `value`, `kind`,
            `streams` that have the value, `watched_s`, `affected` streams, `defect_s`, and `share`
            of the watched time; of outages and stale playlists, of that time and their own, in
            which there was nothing to watch. A value without defects has one row, whose kind is
            None.
        """
        rows = [dict(row._mapping) for row in self.database.ask(rollup(label, now - window, now))]
        for row in rows:
            whole = row["watched_s"] + (row["defect_s"] if row["kind"] in UNSEEN else 0.0)
            row["share"] = round(row["defect_s"] / whole, 4) if whole else None
        return sorted(rows, key=lambda row: (-(row["share"] or 0.0), row["value"]))

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
