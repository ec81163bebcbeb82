"""A database that one process writes at a time: a SQLite file, or what a SQLAlchemy URL names.

Stores keep in it what must outlive their process. SQLite needs nothing and is for one machine; a
database server (PostgreSQL is what this is tested with) is for clusters whose head may be lost.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import psutil
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Double,
    Engine,
    Executable,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.schema import Column

from pipeline.errors import StoreError, UsageError

log = logging.getLogger("vidette")
PATIENCE = 60.0  # seconds that a server may be away before what asks it fails
_AGAIN = 0.5  # seconds between tries meanwhile
_IN_USE = 10.0  # seconds for which a file is waited for that others write to
_WRITES = "vidette_writes"
# File systems of several machines, as the kernel calls them; most others are FUSE's
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "virtiofs"}
_MAKERS = 10  # tries to make the tables, which others may be making at the same moment
_DRIVERS = {"postgresql": "postgresql+psycopg"}  # SQLAlchemy's own choice is the older psycopg2
NAME = String(255)
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # which counts up by itself
_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S", bound="HasDatabase")


def ticket(name: str, tables: MetaData) -> Table:
    """A table of one row, which whoever writes holds: then nobody else writes.

    Args:
        name: of the table.
        tables: that it joins.

    Returns:
        Columns `id`, `version` of the tables, `changes` for the store's own use, and who holds
        the store until when, see `Database.hold`.
    """
    return Table(
        name,
        tables,
        Column("id", Integer, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("changes", Integer, nullable=False),
        Column("holder", Text),
        Column("until", Double, nullable=False),
    )


class Database:
    """Tables, made where they are not there.

    Args:
        where: path of a SQLite file, or a URL such as `postgresql://user:$PASSWORD@host/name`;
            variables of the environment in it are put in (their values as URLs want them).
        tables: all that the store needs.
        turn: one of them, see `ticket`.
        version: of these tables; raised when they change.

    Raises:
        UsageError: no URL of a database, no driver for it, or tables of another version.
        StoreError: it cannot be used.
    """

    def __init__(self, where: Path | str, tables: MetaData, turn: Table, version: int) -> None:
        self._turn, self._version = turn, version
        self._engine = _engine(where)
        self.name = self._engine.url.render_as_string(hide_password=True)
        try:
            self._make(tables)
        except UsageError as error:
            self.close()
            raise UsageError(f"{self.name}: {error}") from error
        except DBAPIError as error:
            self.close()
            raise StoreError(f"{self.name} cannot be used: {error.orig}") from error

    def _make(self, tables: MetaData) -> None:
        turn = self._turn
        there = inspect(self._engine)
        # in this order: others make all of them at once
        if any(map(there.has_table, tables.tables)) and not there.has_table(turn.name):
            raise UsageError("its tables were made by an older version of Vidette")
        for n in range(_MAKERS):
            try:
                with self._engine.connect().execution_options(**{_WRITES: True}) as connection:
                    tables.create_all(connection)
                    if connection.execute(select(turn)).first() is None:
                        connection.execute(
                            insert(turn).values(id=1, version=self._version, changes=0, until=0.0)
                        )
                    connection.commit()
                break
            except (IntegrityError, ProgrammingError):  # another process makes them just now
                if n == _MAKERS - 1:
                    raise
                time.sleep(_AGAIN * random.random())  # noqa: S311 - no secret
        ((version,),) = self.ask(select(turn.c.version))
        if version != self._version:
            raise UsageError(
                f"its tables are of version {version}; this Vidette has {self._version}"
            )

    def ask(self, question: Executable) -> Sequence[Row[Any]]:
        """All rows of an answer.

        Raises:
            StoreError: the database does not answer.
        """

        def asked() -> Sequence[Row[Any]]:
            with self._engine.connect() as connection:
                return connection.execute(question).fetchall()

        return self._patiently(asked)

    def write(self, work: Callable[[Connection], _T]) -> _T:
        """Do all of some work or nothing, while nobody else writes.

        Args:
            work: done again from its start where the server was lost meanwhile.

        Raises:
            StoreError: the database does not answer.
        """

        def written() -> _T:
            with self._engine.connect().execution_options(**{_WRITES: True}) as connection:
                connection.execute(select(self._turn.c.id).with_for_update())  # SQLite: at BEGIN
                done = work(connection)
                connection.commit()
                return done

        return self._patiently(written)

    def changed(self, connection: Connection) -> None:
        """Count a change, for whoever looks for changes."""
        turn = self._turn
        connection.execute(update(turn).values(changes=turn.c.changes + 1))

    def changes(self) -> int:
        """How many there were."""
        ((number,),) = self.ask(select(self._turn.c.changes))
        return int(number)

    def hold(self, holder: str, seconds: float) -> str:
        """Be the one who works with this store for some seconds; to be said again before they end.

        Args:
            holder: a name; who comes back under the same name goes on.
            seconds: by the wall clocks of all who want to.

        Returns:
            Who holds it: this one, or another.
        """

        def work(writer: Connection) -> str:
            turn, now = self._turn, time.time()
            row = writer.execute(select(turn.c.holder, turn.c.until)).one()
            if row.holder not in (None, holder) and row.until > now:
                return str(row.holder)
            writer.execute(update(turn).values(holder=holder, until=now + seconds))
            return holder

        return self.write(work)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _patiently(self, work: Callable[[], _T]) -> _T:
        """Do it, again and again while the server is away."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return work()
            except DBAPIError as error:
                if not _is_lost(error, self._engine):
                    raise
                if time.monotonic() >= until:
                    raise StoreError(f"{self.name} does not answer: {error.orig}") from error
                log.warning("%s does not answer: %s", self.name, error.orig)
                time.sleep(_AGAIN)


def writing(
    method: Callable[Concatenate[_S, Connection, _P], _T],
) -> Callable[Concatenate[_S, _P], _T]:
    """A method of a store that is given a connection to write with; see Database.write."""

    @functools.wraps(method)
    def written(store: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return store.database.write(lambda connection: method(store, connection, *args, **kwargs))

    return written


class HasDatabase:
    """A store."""

    database: Database

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


def _engine(where: Path | str) -> Engine:
    try:
        url = URL.create("sqlite", database=str(where)) if isinstance(where, Path) else _url(where)
        if url.get_backend_name() == "sqlite":
            engine = create_engine(url, connect_args={"timeout": _IN_USE})
            _set_up_sqlite(engine)
            return engine
        # what is read after the turn was waited for is what the one before has written
        return create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(f"no URL of a database: {error}") from error
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the driver of this database is not installed: {error.name} "
            "(for PostgreSQL: pip install 'vidette[postgresql]')"
        ) from error


def _url(text: str) -> URL:
    url = make_url(os.path.expandvars(text))
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _set_up_sqlite(engine: Engine) -> None:
    """Begin transactions as they are meant: one that writes waits for its turn when it begins."""
    # the log of WAL is in memory that processes share: of one machine (sqlite.org/wal.html)
    journal = "DELETE" if _is_on_network(Path(engine.url.database or "")) else "WAL"

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        _keep_journal(connection, journal)
        connection.execute("PRAGMA synchronous = FULL")  # a power cut loses nothing

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        kind = "IMMEDIATE" if connection.get_execution_options().get(_WRITES) else ""
        connection.exec_driver_sql(f"BEGIN {kind}")


def _keep_journal(connection: sqlite3.Connection, kind: str) -> None:
    """Choose the journal of a file; SQLite itself waits for nobody who writes to it just now."""
    until = time.monotonic() + _IN_USE
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {kind}")
        except sqlite3.OperationalError as error:
            # the other bits of a code tell kinds of the same (sqlite.org/rescode.html)
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= until:
                raise
            time.sleep(_AGAIN * random.random())  # noqa: S311 - no secret
        else:
            return


def _is_on_network(path: Path) -> bool:
    """Whether a file lies where other machines may open it too."""
    folder = path.resolve().parent
    every = reversed(psutil.disk_partitions(all=True))  # of those at one place the last counts
    mounts = [mount for mount in every if folder.is_relative_to(mount.mountpoint)]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""
    return kind in _NETWORK or kind.startswith("fuse.")


def _is_lost(error: DBAPIError, engine: Engine) -> bool:
    """Whether it is the server that is away: a file is there, or cannot be opened at all."""
    if engine.dialect.name == "sqlite":
        return False
    return error.connection_invalidated or isinstance(error, OperationalError)
