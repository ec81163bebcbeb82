"""All that is known of watched streams, in a SQLite file: it outlives whoever writes it.

The coordinator writes; other processes may read at any time, and may add and remove streams.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.streams import Stream
from pipeline.live.watcher import Status

NAME = "watch.sqlite"
KEPT = 7 * 86_400.0  # seconds for which what is over is kept
HISTORY = 6 * 3600.0  # seconds for which it is kept how a stream was
SLOT = 10.0  # seconds between points of that
PICTURES = 100  # of events, kept of each stream
JOIN = 0.5  # seconds between intervals of coverage that are one
_TABLES = """
CREATE TABLE IF NOT EXISTS streams (
    name TEXT PRIMARY KEY, spec TEXT NOT NULL, added REAL NOT NULL, status TEXT,
    worker TEXT, deaths INTEGER NOT NULL DEFAULT 0, died REAL NOT NULL DEFAULT 0,
    quarantined TEXT
);
CREATE TABLE IF NOT EXISTS wishes (number INTEGER NOT NULL);
INSERT INTO wishes SELECT 0 WHERE NOT EXISTS (SELECT * FROM wishes);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON streams
BEGIN UPDATE wishes SET number = number + 1; END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON streams
BEGIN UPDATE wishes SET number = number + 1; END;
CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE OF spec, quarantined ON streams
BEGIN UPDATE wishes SET number = number + 1; END;
CREATE TABLE IF NOT EXISTS log (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, id TEXT NOT NULL,
    change TEXT NOT NULL, stream TEXT NOT NULL, event TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS once ON log (id, change) WHERE change != 'updated';
CREATE INDEX IF NOT EXISTS log_time ON log (time);
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, kind TEXT NOT NULL, start REAL NOT NULL,
    end REAL NOT NULL, is_open INTEGER NOT NULL, event TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_end ON events (is_open, end);
CREATE TABLE IF NOT EXISTS coverage (
    stream TEXT NOT NULL, start REAL NOT NULL, end REAL NOT NULL, PRIMARY KEY (stream, start)
);
CREATE INDEX IF NOT EXISTS coverage_end ON coverage (end);
CREATE TABLE IF NOT EXISTS history (
    stream TEXT NOT NULL, slot INTEGER NOT NULL, luma REAL, loudness REAL, behind REAL NOT NULL,
    PRIMARY KEY (stream, slot)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS glimpses (
    stream TEXT NOT NULL, event TEXT NOT NULL, time REAL NOT NULL, jpeg BLOB NOT NULL,
    PRIMARY KEY (stream, event)
);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, url TEXT NOT NULL,
    body TEXT NOT NULL, attempts INTEGER NOT NULL, due REAL NOT NULL
);
"""


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


class Store:
    """The file.

    Args:
        folder: that it lies in, made where it is not there.
        must_exist: somebody must have watched something there before.

    Raises:
        UsageError: it must exist and does not.
    """

    def __init__(self, folder: Path, *, must_exist: bool = False) -> None:
        path = folder / NAME
        if must_exist and not path.is_file():
            raise UsageError(f"nothing was watched in {folder}: there is no {NAME}")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA busy_timeout = 10000")
        self._database.executescript(_TABLES)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _ask(self, question: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(question, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # ------------------------------------------------------------------------------------- streams

    def add(self, stream: Stream) -> bool:
        """Add a stream, or change one of this name; returns whether anything is new."""
        spec = stream.model_dump_json()
        with self._all_or_nothing() as database:
            changed = database.execute(
                "INSERT INTO streams (name, spec, added) VALUES (?1, ?2, ?3) ON CONFLICT (name) "
                "DO UPDATE SET spec = ?2, deaths = 0, quarantined = NULL WHERE spec != ?2",
                [stream.name, spec, time.time()],
            )
        return changed.rowcount > 0

    def remove(self, name: str) -> bool:
        """Watch a stream no more; returns whether there was one."""
        with self._all_or_nothing() as database:
            gone = database.execute("DELETE FROM streams WHERE name = ?", [name])
            for table in ("history", "glimpses"):
                database.execute(f"DELETE FROM {table} WHERE stream = ?", [name])  # noqa: S608
        return gone.rowcount > 0

    def pardon(self, name: str) -> bool:
        """Try a stream again that was put in quarantine; returns whether it was."""
        with self._all_or_nothing() as database:
            freed = database.execute(
                "UPDATE streams SET quarantined = NULL, deaths = 0 "
                "WHERE name = ? AND quarantined IS NOT NULL",
                [name],
            )
        return freed.rowcount > 0

    def streams(self) -> dict[str, Known]:
        """All streams, by name."""
        rows = self._ask("SELECT * FROM streams ORDER BY name")
        return {row["name"]: _known(row) for row in rows}

    def wishes(self) -> int:
        """A number that changes when there are other streams to watch, whoever wished it."""
        ((number,),) = self._ask("SELECT number FROM wishes")
        return int(number)

    def placed(self, name: str, worker: str | None) -> None:
        """Who watches a stream."""
        with self._all_or_nothing() as database:
            database.execute("UPDATE streams SET worker = ? WHERE name = ?", [worker, name])

    def died(self, names: Iterable[str], now: float, forget: float) -> dict[str, int]:
        """A worker died that watched these; returns how often that happened to each of late.

        Args:
            names: of the streams.
            now: the time.
            forget: seconds after which an earlier death does not count any more.
        """
        counts = {}
        with self._all_or_nothing() as database:
            for name in names:
                row = database.execute(
                    "UPDATE streams SET deaths = 1 + iif(died > ?, deaths, 0), died = ? "
                    "WHERE name = ? RETURNING deaths",
                    [now - forget, now, name],
                ).fetchone()
                if row is not None:
                    counts[name] = row["deaths"]
        return counts

    def quarantine(self, name: str, why: str) -> None:
        """Watch a stream no more until somebody pardons it."""
        with self._all_or_nothing() as database:
            database.execute("UPDATE streams SET quarantined = ? WHERE name = ?", [why, name])

    # -------------------------------------------------------------------------------------- events

    def take(
        self,
        events: Sequence[Event],
        coverage: Sequence[tuple[str, float, float]],
        statuses: Iterable[Status],
        webhooks: Sequence[str] = (),
        glimpses: Iterable[Glimpse] = (),
    ) -> list[Event]:
        """Keep what a worker tells; returns the events that are new.

        What was taken before is not taken again, so that a worker may tell it twice.
        """
        fresh = []
        with self._all_or_nothing() as database:
            for event in events:
                if _log(database, event):
                    fresh.append(event)
                    for url in webhooks:
                        _deliver(database, event, url)
            for name, start, end in coverage:
                _cover(database, name, start, end)
            for status in statuses:
                database.execute(
                    "UPDATE streams SET status = ? WHERE name = ?",
                    [status.model_dump_json(), status.stream],
                )
                if status.state == "watching" and status.seen is not None:
                    _remember(database, status, status.seen)
            for glimpse in glimpses:
                database.execute(
                    "INSERT OR REPLACE INTO glimpses VALUES (?, ?, ?, ?)",
                    [glimpse.stream, glimpse.event, glimpse.time, glimpse.jpeg],
                )
        return fresh

    def standing(self, stream: str | None = None) -> list[Event]:
        """Events that are open, of one stream or of all."""
        rows = self._ask(
            "SELECT event FROM events WHERE is_open AND (?1 IS NULL OR stream = ?1) ORDER BY start",
            [stream],
        )
        return [Event.model_validate_json(row["event"]) for row in rows]

    def since(self, number: int, most: int = 1000) -> list[tuple[int, Event]]:
        """What was told after a number of the log, in order."""
        rows = self._ask(
            "SELECT number, event FROM log WHERE number > ? ORDER BY number LIMIT ?", [number, most]
        )
        return [(row["number"], Event.model_validate_json(row["event"])) for row in rows]

    def last_number(self) -> int:
        """The newest number of the log."""
        ((number,),) = self._ask("SELECT coalesce(max(number), 0) FROM log")
        return int(number)

    def closed(self, after: float, before: float) -> list[Event]:
        """Events that ended in an interval."""
        rows = self._ask(
            "SELECT event FROM events WHERE NOT is_open AND end > ? AND end <= ? "
            "ORDER BY start, id",
            [after, before],
        )
        return [Event.model_validate_json(row["event"]) for row in rows]

    def coverage(self, stream: str) -> list[tuple[float, float]]:
        """When a stream was watched, in seconds since 1970."""
        rows = self._ask(
            "SELECT start, end FROM coverage WHERE stream = ? ORDER BY start", [stream]
        )
        return [(row["start"], row["end"]) for row in rows]

    def events_of(self, stream: str, most: int) -> list[Event]:
        """The newest events of a stream, open ones and others, the newest first."""
        rows = self._ask(
            "SELECT event FROM events WHERE stream = ? ORDER BY start DESC LIMIT ?", [stream, most]
        )
        return [Event.model_validate_json(row["event"]) for row in rows]

    def history(self, stream: str, after: float) -> list[dict[str, float | None]]:
        """How a stream was: `time`, `luma`, `loudness` and `behind`, a point each SLOT seconds."""
        rows = self._ask(
            "SELECT slot * ?1 AS time, luma, loudness, behind FROM history "
            "WHERE stream = ?2 AND slot * ?1 > ?3 ORDER BY slot",
            [SLOT, stream, after],
        )
        return [dict(row) for row in rows]

    def glimpse(self, stream: str, event: str = "") -> Glimpse | None:
        """The newest small picture of a stream, or that of an event."""
        rows = self._ask("SELECT * FROM glimpses WHERE stream = ? AND event = ?", [stream, event])
        return Glimpse(**dict(rows[0])) if rows else None

    def pictured(self, stream: str) -> list[str]:
        """IDs of the events of a stream that there are pictures of."""
        rows = self._ask("SELECT event FROM glimpses WHERE stream = ? AND event != ''", [stream])
        return [row["event"] for row in rows]

    def glimpsed(self) -> dict[str, float]:
        """When the newest picture of each stream was made."""
        return {
            r["stream"]: r["time"]
            for r in self._ask("SELECT stream, time FROM glimpses WHERE event = ''")
        }

    def prune(self, now: float) -> None:
        """Forget what was over long ago."""
        with self._all_or_nothing() as database:
            database.execute("DELETE FROM history WHERE slot < ?", [(now - HISTORY) / SLOT])
            database.execute(
                "DELETE FROM glimpses WHERE rowid IN (SELECT rowid FROM (SELECT rowid, "
                "row_number() OVER (PARTITION BY stream ORDER BY time DESC) AS age "
                "FROM glimpses WHERE event != '') WHERE age > ?)",
                [PICTURES],
            )
            for question in (
                "DELETE FROM log WHERE time < ?",
                "DELETE FROM events WHERE NOT is_open AND end < ?",
                "DELETE FROM coverage WHERE end < ?",
            ):
                database.execute(question, [now - KEPT])

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
        first = now - window
        rows = self._ask(
            """
            WITH labelled AS (
                SELECT name, coalesce(json_extract(spec, '$.labels'), '{}') AS labels FROM streams
            ), valued AS (
                SELECT name, coalesce(
                    (SELECT label.value FROM json_each(labels) AS label WHERE label.key = ?1), ''
                ) AS value FROM labelled
            ), watched AS (
                SELECT value, count(DISTINCT name) AS streams,
                    sum(max(0, min(coalesce(end, ?3), ?3) - max(coalesce(start, ?3), ?2)))
                        AS seconds
                FROM valued LEFT JOIN coverage ON stream = name AND end > ?2 GROUP BY value
            ), defects AS (
                SELECT value, kind, count(DISTINCT name) AS affected,
                    sum(min(end, ?3) - max(start, ?2)) AS seconds
                FROM valued JOIN events ON stream = name
                WHERE end > ?2 AND start < ?3 AND coalesce(json_extract(event, '$.outcome'), '')
                    != 'withdrawn'
                GROUP BY value, kind
            )
            SELECT watched.value, kind, streams, watched.seconds AS watched_s,
                coalesce(affected, 0) AS affected, coalesce(defects.seconds, 0) AS defect_s
            FROM watched LEFT JOIN defects USING (value)
            ORDER BY coalesce(defects.seconds, 0) / max(watched.seconds, 1) DESC, watched.value
            """,
            [label, first, now],
        )
        return [
            dict(row) | {"share": round(row["defect_s"] / max(row["watched_s"], 1e-9), 4)}
            if row["watched_s"]
            else dict(row) | {"share": None}
            for row in rows
        ]

    # ------------------------------------------------------------------------------------ webhooks

    def due(self, url: str, now: float, most: int = 50) -> list[Delivery]:
        """Messages that are to be sent to an address now, in order."""
        rows = self._ask(
            "SELECT number, id, body, attempts FROM deliveries WHERE url = ? AND due <= ? "
            "ORDER BY number LIMIT ?", [url, now, most],
        )  # fmt: skip
        return [Delivery(**dict(row)) for row in rows]

    def receivers(self) -> list[str]:
        """Addresses that messages wait for."""
        return [row["url"] for row in self._ask("SELECT DISTINCT url FROM deliveries")]

    def delivered(self, number: int) -> None:
        """A message has arrived, or is given up."""
        with self._all_or_nothing() as database:
            database.execute("DELETE FROM deliveries WHERE number = ?", [number])

    def put_off(self, number: int, until: float) -> None:
        """A message is to be sent again later, under the same ID."""
        with self._all_or_nothing() as database:
            database.execute(
                "UPDATE deliveries SET attempts = attempts + 1, due = ? WHERE number = ?",
                [until, number],
            )


def _known(row: sqlite3.Row) -> Known:
    return Known(
        stream=Stream.model_validate_json(row["spec"]),
        status=Status.model_validate_json(row["status"]) if row["status"] else None,
        worker=row["worker"],
        deaths=row["deaths"],
        died=row["died"],
        quarantined=row["quarantined"],
    )


def _remember(database: sqlite3.Connection, status: Status, seen: float) -> None:
    database.execute(
        "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?)",
        [status.stream, int(seen / SLOT), status.luma, status.loudness, status.behind],
    )


def _log(database: sqlite3.Connection, event: Event) -> bool:
    """Write down an event, unless it is known already or was over before."""
    closed = event.change == "closed"
    over = database.execute(
        "SELECT 1 FROM events WHERE id = ? AND NOT is_open", [event.id]
    ).fetchone()
    if over is not None:
        return False
    text = event.model_dump_json(by_alias=True)
    logged = database.execute(
        "INSERT OR IGNORE INTO log (time, id, change, stream, event) VALUES (?, ?, ?, ?, ?)",
        [time.time(), event.id, event.change, event.stream, text],
    )
    if not logged.rowcount:
        return False
    database.execute(
        "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
        "ON CONFLICT (id) DO UPDATE SET end = ?5, is_open = ?6, event = ?7",
        [
            event.id, event.stream, event.kind, event.start.timestamp(), event.end.timestamp(),
            not closed, text,
        ],
    )  # fmt: skip
    return True


def _deliver(database: sqlite3.Connection, event: Event, url: str) -> None:
    body: Mapping[str, Any] = {
        "type": f"defect.{event.change}",
        "timestamp": event.end.isoformat(),
        "data": event.model_dump(mode="json", by_alias=True),
    }
    cursor = database.execute(
        "INSERT INTO deliveries (id, url, body, attempts, due) VALUES ('', ?, ?, 0, 0)",
        [url, json.dumps(body)],
    )
    number = cursor.lastrowid
    database.execute(
        "UPDATE deliveries SET id = ? WHERE number = ?", [f"msg_{event.id}_{number}", number]
    )


def _cover(database: sqlite3.Connection, name: str, start: float, end: float) -> None:
    last = database.execute(
        "SELECT start, end FROM coverage WHERE stream = ? ORDER BY start DESC LIMIT 1", [name]
    ).fetchone()
    if last is not None and last["start"] <= start <= last["end"] + JOIN:
        database.execute(
            "UPDATE coverage SET end = max(end, ?) WHERE stream = ? AND start = ?",
            [end, name, last["start"]],
        )
    elif last is None or end > last["end"]:
        database.execute("INSERT OR IGNORE INTO coverage VALUES (?, ?, ?)", [name, start, end])
