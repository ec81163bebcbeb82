"""Databases of stores: one writer at a time, servers that go away, and what is none."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from pipeline import database as module
from pipeline.database import Database, ticket
from pipeline.errors import StoreError, UsageError
from tests.databases import at_once

TABLES = MetaData()
TURN = ticket("turn", TABLES)
NUMBERS = Table("numbers", TABLES, Column("n", Integer, primary_key=True))


def opened(tmp_path, url=None, version=1):
    return Database(url or tmp_path / "a.sqlite", TABLES, TURN, version)


def count_one(database):
    """Add the number after the last, which two writers at once would both find."""

    def work(writer):
        last = writer.scalar(select(NUMBERS.c.n).order_by(NUMBERS.c.n.desc()).limit(1)) or 0
        time.sleep(0.002)
        writer.execute(insert(NUMBERS).values(n=last + 1))

    database.write(work)


def test_one_writes_at_a_time(tmp_path, database):
    def work():
        own = opened(tmp_path, database)  # all of them make the tables, too
        for _ in range(10):
            count_one(own)
        own.close()

    at_once(work)
    own = opened(tmp_path, database)
    assert [n for (n,) in own.ask(select(NUMBERS.c.n))] == list(range(1, 41))
    own.close()


def test_who_comes_while_another_makes_the_file_waits(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.sqlite", check_same_thread=False)) as other:
        other.execute("CREATE TABLE others (n)")
        other.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.5, other.commit)
        later.start()
        own = opened(tmp_path)
        later.join()
    count_one(own)
    assert own.ask(select(NUMBERS.c.n)) == [(1,)]
    own.close()


def test_a_file_that_stays_in_use_is_an_error_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_IN_USE", 0.3)
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as other:
        other.execute("CREATE TABLE others (n)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            opened(tmp_path)


@pytest.mark.parametrize(("kind", "journal"), [("nfs4", "delete"), ("ext4", "wal")])
def test_a_file_of_several_machines_has_no_log_in_memory(tmp_path, monkeypatch, kind, journal):
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(tmp_path), fstype="autofs"),
        SimpleNamespace(mountpoint=str(tmp_path), fstype=kind),
    ]
    monkeypatch.setattr(module.psutil, "disk_partitions", lambda **_: mounts)
    one, other = opened(tmp_path), opened(tmp_path)
    for n in range(4):
        count_one((one, other)[n % 2])
    assert [n for (n,) in one.ask(select(NUMBERS.c.n))] == [1, 2, 3, 4]
    with sqlite3.connect(tmp_path / "a.sqlite") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == (journal,)
    plain.close()
    one.close()
    other.close()


def test_all_or_nothing_is_written(tmp_path, database):
    def work(writer):
        writer.execute(insert(NUMBERS).values(n=1))
        raise KeyError

    own = opened(tmp_path, database)
    with pytest.raises(KeyError):
        own.write(work)
    assert own.ask(select(NUMBERS.c.n)) == []
    count_one(own)
    assert len(own.ask(select(NUMBERS.c.n))) == 1
    own.close()


def test_a_server_that_is_away_for_a_while_is_waited_for(tmp_path, postgres):
    own = opened(tmp_path, postgres.fresh())
    count_one(own)
    postgres.stop()
    later = threading.Timer(1.0, postgres.start)
    later.start()
    count_one(own)
    later.join()
    assert len(own.ask(select(NUMBERS.c.n))) == 2
    own.close()


def test_a_server_that_stays_away_is_an_error_within_bounds(tmp_path, postgres, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    own = opened(tmp_path, url := postgres.fresh())
    postgres.stop()
    try:
        with pytest.raises(StoreError, match="does not answer"):
            count_one(own)
        with pytest.raises(StoreError, match="cannot be used"):
            opened(tmp_path, url)
    finally:
        postgres.start()
        own.close()


def test_a_password_is_not_told_and_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SECRET_OF_A_TEST", "swordfish")
    url = "postgresql://me:$SECRET_OF_A_TEST@127.0.0.1:1/x"
    assert module._url(url).password == "swordfish"
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1") as told:
        Database(url, TABLES, TURN, 1)
    assert "swordfish" not in str(told.value)


def test_one_holds_it_until_its_time_is_over(tmp_path, database):
    own, other = opened(tmp_path, database), opened(tmp_path, database)
    assert own.hold("a", 60.0) == "a"
    assert other.hold("b", 60.0) == "a"
    assert other.hold("a", 0.05) == "a"  # who comes back goes on
    time.sleep(0.06)
    assert other.hold("b", 60.0) == "b"
    assert own.hold("a", 60.0) == "b"
    own.close()
    other.close()


@pytest.mark.parametrize("url", ["nonsense", "what://is/this"])
def test_what_is_no_url_of_a_database(url):
    with pytest.raises(UsageError, match="no URL of a database"):
        Database(url, TABLES, TURN, 1)


def test_a_missing_driver_is_named():
    with pytest.raises(UsageError, match=r"driver .* not installed: MySQLdb"):
        Database("mysql://somewhere/x", TABLES, TURN, 1)


def test_tables_of_another_version_are_left_alone(tmp_path, database):
    opened(tmp_path, database).close()
    with pytest.raises(UsageError, match="version 1; this Vidette has 2"):
        opened(tmp_path, database, version=2)


def test_tables_from_before_there_were_versions_are_left_alone(tmp_path):
    old = sqlite3.connect(tmp_path / "a.sqlite")
    old.execute("CREATE TABLE numbers (n INTEGER)")
    old.close()
    with pytest.raises(UsageError, match="older version"):
        opened(tmp_path)


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "a.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        opened(tmp_path)
