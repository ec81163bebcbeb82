"""What `vidette watch` and `vidette status` do, from streams to exit status."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline import words
from pipeline.cluster import Session
from pipeline.errors import UsageError
from pipeline.live.coordinator import WorkerFacts
from pipeline.live.desk import STEP, Desk
from pipeline.live.sinks import Lines
from pipeline.live.store import Known, Store
from pipeline.live.streams import Stream, Watch, check, read_watch
from pipeline.live.suspects import APART
from pipeline.settings import Settings

log = logging.getLogger("vidette")
_REFRESH = 1.0  # seconds between looks at the screen and at the file of streams
_ROWS = 20  # streams on the screen
_BAD_FIRST = {"outage": 0, "connecting": 1, "watching": 2, "ended": 3, "stopped": 4}


@dataclass(frozen=True)
class Plan:
    """How to watch.

    Attributes:
        address: of a Ray cluster; None: start one here.
        workers: at most, of a pool that does not say so; 0: one a core here, any number elsewhere.
        standby: workers that are warm and take over when another dies.
        secret: to sign webhooks with.
        seconds: to watch; 0: until interrupted.
        metrics_port: where Prometheus finds figures; a cluster has its own.
        database: see Store.
    """

    address: str | None = None
    workers: int = 0
    standby: int = 1
    secret: str | None = None
    seconds: float = 0.0
    metrics_port: int | None = None
    database: str | None = None


def watch_streams(
    watch: Watch, config: Path | None, out: Path, settings: Settings, plan: Plan, screen: Console
) -> int:
    """Watch until interrupted, until the time is over, or until all streams have ended.

    Args:
        watch: what; a stream that the store has and this has not is watched no more.
        config: the file that it was read from, which is read again when it changes.
        out: the folder of store and events.
        settings: of all streams.
        plan: how.
        screen: where lines and the table go.

    Returns:
        The exit status: 0.

    Raises:
        UsageError: there is nothing to watch, or no cluster.
        WorkersError: workers do not start, or Ray has died.
    """
    if not watch.streams and config is None:
        raise UsageError("there is nothing to watch: name streams, or a file with --config")
    cores = len(os.sched_getaffinity(0))
    # our own Ray counts more CPUs than there are: workers that stand by use none
    most = plan.workers or (cores if plan.address is None else 0)
    room = sum((pool.most or most) * pool.cpus for pool in watch.pools.values())
    apart = APART * sum(pool.cpus for pool in watch.pools.values())
    own = None if plan.address else room + plan.standby + apart
    with (
        Desk.lock(out),
        Session(plan.address, own, plan.metrics_port) as session,
        _shown(screen) as table,
    ):
        desk = Desk(
            out,
            settings,
            watch.pools,
            [Lines(screen.print)],
            watch.webhooks,
            standby=plan.standby,
            most=most + plan.standby if most else 0,
            secret=plan.secret,
            database=plan.database,
        )
        try:
            _run(watch, config, settings, desk, plan, table, session)
        finally:
            desk.close()
    return 0


class _Screen:
    """The table of streams, on a terminal."""

    def __init__(self, live: Live | None) -> None:
        self._live = live

    def show(self, store: Store, workers: Sequence[WorkerFacts]) -> None:
        """Bring it up to date."""
        if self._live is not None:
            self._live.update(streams_table(store, workers), refresh=True)


@contextmanager
def _shown(screen: Console) -> Iterator[_Screen]:
    if not screen.is_terminal:
        yield _Screen(None)
        return
    with Live(Text("starting workers"), console=screen, auto_refresh=False) as live:
        yield _Screen(live)


def _run(
    watch: Watch,
    config: Path | None,
    settings: Settings,
    desk: Desk,
    plan: Plan,
    table: _Screen,
    session: Session,
) -> None:
    store = desk.store
    _sync(store, watch.streams)
    changed = _changed(config)
    begun = time.monotonic()
    refreshed = 0.0
    try:
        while not plan.seconds or time.monotonic() - begun < plan.seconds:
            desk.step()
            if time.monotonic() - refreshed >= _REFRESH:
                refreshed = time.monotonic()
                session.check()
                table.show(store, desk.workers)
                if config is not None and _changed(config) != changed:
                    changed = _changed(config)
                    _reread(config, store, watch, settings)
                if config is None and _are_over(store.streams()):
                    return
            time.sleep(STEP)
    except KeyboardInterrupt:
        return


def _sync(store: Store, streams: Sequence[Stream]) -> None:
    """Let the store have these streams and no others."""
    for name in store.streams():
        if not any(stream.name == name for stream in streams):
            store.remove(name)
    for stream in streams:
        store.add(stream)


def _reread(config: Path, store: Store, before: Watch, settings: Settings) -> None:
    try:
        watch = read_watch(config)
        check(watch, settings)
    except UsageError as error:
        log.error("%s; what was asked before goes on", error)
        return
    if (watch.pools, watch.settings, watch.webhooks) != (
        before.pools, before.settings, before.webhooks
    ):  # fmt: skip
        log.warning("pools, settings and webhooks change when the watch is started again")
    _sync(store, watch.streams)


def _changed(config: Path | None) -> float:
    try:
        return config.stat().st_mtime if config is not None else 0.0
    except OSError:
        return 0.0


def _are_over(streams: dict[str, Known]) -> bool:
    return all(
        known.quarantined or (known.status is not None and known.status.state == "ended")
        for known in streams.values()
    )


# -------------------------------------------------------------------------------------- for people


def streams_table(store: Store, workers: Sequence[WorkerFacts] = ()) -> Table:
    """The streams, worst first."""
    standing: dict[str, list[str]] = {}
    for event in store.standing():
        standing.setdefault(event.stream, []).append(str(event.kind))
    known = store.streams()
    table = Table(box=None, title_justify="left")
    for column in ("stream", "state", "for", "behind", "now", "detail"):
        table.add_column(column, overflow="fold")

    def badness(name: str) -> tuple[int, int, str]:
        status = known[name].status
        state = -1 if known[name].quarantined else _BAD_FIRST[status.state] if status else 1
        return state, -len(standing.get(name, [])), name

    now = time.time()
    for name in sorted(known, key=badness)[:_ROWS]:
        one, status = known[name], known[name].status
        kinds = ", ".join(sorted(standing.get(name, []))) or "–"
        if one.quarantined or status is None:
            state = "quarantined" if one.quarantined else "waiting"
            table.add_row(name, state, "", "", kinds, one.quarantined or "for a worker")
            continue
        table.add_row(
            name,
            status.state,
            words.seconds_words(max(now - status.since, 0.0)),
            f"{status.behind:.1f} s" if status.state == "watching" else "",
            kinds,
            status.detail,
        )
    if len(known) > _ROWS:
        table.add_row(f"and {len(known) - _ROWS} more")
    if workers:
        there = [worker for worker in workers if worker.place]
        cpu = sum(worker.cpu for worker in there)
        memory = sum(worker.memory for worker in there) / 2**20
        table.caption = (
            f"{len(known)} streams, {len(there)} workers ({len(workers) - len(there)} starting), "
            f"{cpu:.2f} CPUs, {memory:.0f} MiB"
        )
    return table


def pardon_stream(out: Path, database: str | None, name: str) -> None:
    """Let a stream out of quarantine.

    Args:
        out: the folder that it is watched into.
        database: see Store.
        name: of the stream.

    Raises:
        UsageError: it is not in quarantine.
    """
    store = Store(out, database, must_exist=True)
    try:
        if not store.pardon(name):
            raise UsageError(f"no stream {name!r} is in quarantine")
    finally:
        store.close()


def print_status(
    out: Path, database: str | None, by: str | None, window: float, as_json: bool, screen: Console
) -> None:
    """Print how streams are, or defects by a label.

    Args:
        out: the folder that something is, or was, watched into.
        database: see Store.
        by: a label; None: the streams themselves.
        window: seconds that defects by a label are counted over.
        as_json: JSON Lines in place of a table.
        screen: where to.

    Raises:
        UsageError: nothing was watched there.
    """
    store = Store(out, database, must_exist=True)
    try:
        if by is None and as_json:
            for known in store.streams().values():
                print(
                    json.dumps(
                        {
                            "stream": known.stream.model_dump(mode="json"),
                            "status": known.status.model_dump(mode="json")
                            if known.status
                            else None,
                            "worker": known.worker,
                            "quarantined": known.quarantined,
                            "standing": [
                                event.model_dump(mode="json", by_alias=True)
                                for event in store.standing(known.stream.name)
                            ],
                        }
                    )
                )
        elif by is None:
            screen.print(streams_table(store))
        else:
            rows = store.rollup(by, window, time.time())
            if as_json:
                for row in rows:
                    print(json.dumps({by: row.pop("value")} | row))
            else:
                screen.print(_rollup_table(by, rows))
    finally:
        store.close()


def _rollup_table(by: str, rows: Sequence[dict[str, object]]) -> Table:
    table = Table(box=None)
    for column in (by, "defect", "share of the time", "streams affected", "of"):
        table.add_column(column, overflow="fold")
    for row in rows:
        share = row["share"]
        table.add_row(
            str(row["value"]) or "–",
            str(row["kind"] or "none"),
            f"{share:.1%}" if isinstance(share, float) and row["kind"] else "",
            str(row["affected"]) if row["kind"] else "",
            str(row["streams"]),
        )
    return table
