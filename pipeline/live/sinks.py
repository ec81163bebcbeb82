"""Where events of live streams go: lines, JSON Lines, webhooks, Parquet.

All of them come after the store. A sink that is slow or dead holds nobody up.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import webhooks
from pipeline.live.event import Event
from pipeline.live.store import Store
from pipeline.uri import shown

log = logging.getLogger("vidette")
_WORDS = {"opened": "begins", "updated": "goes on", "closed": "ends"}
_LOOK_EVERY = 0.5  # seconds between looks for messages
_ANSWER = 10.0  # seconds that a receiver has to answer
_AT_ONCE = 50_000  # events in one Parquet file at most
_BLOCK = 1 << 16  # bytes
EVENTS = pa.schema(
    [
        ("id", pa.string()),
        ("stream", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("kind", pa.string()),
        ("start", pa.timestamp("ms", "UTC")),
        ("end", pa.timestamp("ms", "UTC")),
        ("pts", pa.float64()),  # of its start, seconds
        ("program_start", pa.timestamp("ms", "UTC")),  # when it was made, as the stream says
        ("program_end", pa.timestamp("ms", "UTC")),
        ("severity", pa.float64()),
        ("confidence", pa.float64()),
        ("outcome", pa.string()),  # ended, withdrawn or lost
        ("track", pa.int32()),
        ("detector", pa.string()),
        ("summary", pa.string()),
        ("evidence", pa.map_(pa.string(), pa.float64())),
    ]
)


def line(event: Event) -> str:
    """An event in a line of text."""
    seconds = (event.end - event.start).total_seconds()
    lasting = f" after {seconds:.1f} s" if event.change == "closed" else ""
    outcome = f" ({event.outcome})" if event.outcome in ("withdrawn", "lost") else ""
    return (
        f"{event.start.astimezone():%H:%M:%S} {event.stream}: {event.kind} "
        f"{_WORDS[event.change]}{lasting}{outcome}, severity {event.severity:.2f}: {event.summary}"
    )


class Lines:
    """A line of text for what begins and ends.

    Args:
        write: takes a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def take(self, events: Sequence[Event]) -> None:
        """See Sink."""
        for event in events:
            if event.change != "updated":
                self._write(line(event))


class JsonLines:
    """A file to which every event is added, once each; it may be moved away at any time.

    It is read on from the log: what could not be written, because the disk was full or the process
    died, is written later.

    Args:
        store: with the log.
        path: of the file.
    """

    def __init__(self, store: Store, path: Path) -> None:
        self._store, self._path = store, path
        self._reader = f"{socket.gethostname()}:{path.resolve()}"
        self._number: int | None = None  # in the log, of the last that is written; None: look
        self._failing = False

    def take(self, events: Sequence[Event]) -> None:  # noqa: ARG002 - it reads the log
        """See Sink."""
        self.write()

    def write(self) -> None:
        """Write what is not written yet; one that cannot says so, and is tried again."""
        try:
            self._write()
        except OSError as error:
            if not self._failing:
                log.error("events wait for %s: %s", self._path, error)
            self._failing, self._number = True, None
        else:
            self._failing = False

    def _write(self) -> None:
        if self._number is None:
            self._number = self._found()
        while told := self._store.lines_since(self._number):
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for _, line in told)
            self._number = told[-1][0]
            self._store.move_cursor(self._reader, self._number)

    def _found(self) -> int:
        """How far the file is: the last line may be one that the cursor does not know of."""
        number = self._store.cursor(self._reader)
        last = _last_line(self._path)
        at = number
        while last and (told := self._store.lines_since(at)):
            at = told[-1][0]
            number = max([number, *(n for n, line in told if line == last)])
        return number


def _last_line(path: Path) -> str:
    """The last whole line of a file; what was written of the next is taken off."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return ""
    with file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        while end and tail.count(b"\n") < 2:
            size = min(end, _BLOCK)
            end -= size
            file.seek(end)
            tail = file.read(size) + tail
        whole = tail.rpartition(b"\n")[0]
        file.truncate(end + len(whole) + 1 if b"\n" in tail else end)
    return whole.rpartition(b"\n")[2].decode()


class Parquet:
    """Files of closed events, by day, exactly one row each: the name says what is in a file.

    Args:
        store: to read from.
        folder: to write to.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder

    def export(self) -> int:
        """Write what closed since the last time; returns how many events."""
        names = (re.fullmatch(r"events-\d+-(\d+)", p.stem) for p in self._folder.rglob("*.parquet"))
        done = max((int(match[1]) for match in names if match), default=0)
        total = 0
        while told := self._store.since(done, _AT_ONCE):
            rows = [_row(event) for _, event in told if event.change == "closed"]
            if rows:
                day = self._folder / f"date={datetime.now(UTC):%Y-%m-%d}"
                day.mkdir(parents=True, exist_ok=True)
                part = day / f".events-{done + 1}-{told[-1][0]}.part"
                pq.write_table(pa.Table.from_pylist(rows, EVENTS), part, compression="zstd")
                part.replace(day / f"events-{done + 1}-{told[-1][0]}.parquet")
                total += len(rows)
            done = told[-1][0]
        return total


def _row(event: Event) -> dict[str, object]:
    return event.model_dump(include=set(EVENTS.names))


class Webhooks:
    """Sends what waits in the store, in a thread for each address.

    Args:
        store: with the messages.
        secret: whsec_..., to sign them with.
    """

    def __init__(self, store: Store, secret: str | None) -> None:
        self._store, self._secret = store, secret
        self._stop = False
        self._changed = threading.Condition()
        self._count = 0  # of what changed
        self._threads: dict[str, threading.Thread] = {}

    def take(self, events: Sequence[Event]) -> None:  # noqa: ARG002 - it reads the queue
        """See Sink."""
        self.look()
        self._wake()

    def _wake(self, *, stop: bool = False) -> None:
        with self._changed:
            self._count += 1
            self._stop |= stop
            self._changed.notify_all()

    def look(self) -> None:
        """See to it that each address that messages wait for has its thread."""
        for url in self._store.receivers():
            if url not in self._threads:
                thread = threading.Thread(
                    target=self._send, args=[url], name=f"webhook {shown(url)}", daemon=True
                )
                self._threads[url] = thread
                thread.start()

    def close(self, patience: float = 2.0) -> None:
        """Stop; what was not sent is sent the next time.

        Args:
            patience: seconds to give messages that are on their way.
        """
        until = time.monotonic() + patience
        while self._store.receivers() and time.monotonic() < until:
            time.sleep(0.05)
        self._wake(stop=True)
        for thread in self._threads.values():
            thread.join(_ANSWER)

    def _send(self, url: str) -> None:
        with httpx.Client(timeout=_ANSWER, trust_env=False) as client:
            seen = 0
            while not self._stop:
                with self._changed:
                    self._changed.wait_for(lambda: self._count != seen, _LOOK_EVERY)  # noqa: B023
                    seen = self._count
                for message in self._store.due(url, time.time()):
                    if self._stop:
                        return
                    if self._arrives(client, url, message.id, message.body):
                        self._store.delivered(message.number)
                        continue
                    wait = webhooks.next_try(message.attempts)
                    if wait is None:
                        log.error("webhook %s is given up: %s", message.id, shown(url))
                        self._store.delivered(message.number)
                        continue
                    self._store.put_off(message.number, time.time() + wait)
                    break  # the receiver may be down: the others wait for the next look

    def _arrives(self, client: httpx.Client, url: str, name: str, body: str) -> bool:
        try:
            response = client.post(
                url, content=body, headers=webhooks.headers(name, body, self._secret)
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("webhook %s: %s", name, error)
            return False
        if not response.is_success:
            log.warning("webhook %s: %s says %d", name, shown(url), response.status_code)
        return response.is_success
