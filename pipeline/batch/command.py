"""What `vidette batch` and `vidette query` do, from sources to exit status."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline import words
from pipeline.batch.driver import Plan, State, run
from pipeline.batch.index import write_index
from pipeline.batch.ledger import FullError, Ledger
from pipeline.batch.query import ask, connect
from pipeline.batch.sources import gather
from pipeline.batch.tables import write_tables
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.uri import shown

CLEAN, DEFECTS, NOT_EXAMINED, NO_ROOM, INTERRUPTED = 0, 1, 2, 74, 130
_LINE_EVERY = 30.0  # seconds between lines where no bar can be drawn
_WORST = 5  # assets in the summary


def inspect_archive(
    sources: Sequence[str],
    out: str,
    name: str,
    settings: Settings,
    plan: Plan,
    screen: Console | None,
) -> int:
    """Inspect what is not done, write tables and index, tell; returns the exit status.

    Args:
        sources: see `sources.gather`.
        out: a folder or an fsspec URI.
        name: of the run.
        settings: of all assets.
        plan: how.
        screen: where progress and summary go; None: nowhere.

    Raises:
        UsageError: sources, place or cluster cannot be used.
        WorkersError: Ray has died; what was finished is kept.
    """
    if not name or not all(sign.isalnum() or sign in "-_." for sign in name):
        raise UsageError(f"a run is named by letters, digits, '-', '_' and '.', not {name!r}")
    wanted = gather(sources)
    ledger = Ledger(out)
    try:
        with _shown(screen, len(wanted)) as told:
            ids, state = run(wanted, ledger, settings, plan, told)
        listed = {"run": name, "assets": ids}
        ledger.write(f"runs/{name}.json", (json.dumps(listed, indent=1) + "\n").encode())
        write_tables(ledger, name, ids)
        write_index(ledger, name, ids, _reports(ledger))
    except FullError as error:
        if screen is not None:
            screen.print(f"{error}. What was finished is kept; the same command goes on.")
        return NO_ROOM
    counts = _counts(ledger, name)
    if screen is not None:
        _summary(screen, ledger, name, ids, state, counts)
    if state.interrupted:
        return INTERRUPTED
    if counts["failed"] or counts["unseen"]:
        return NOT_EXAMINED
    return DEFECTS if counts["defects"] else CLEAN


def _reports(ledger: Ledger) -> set[str]:
    try:
        names = ledger.fs.ls(ledger.path("reports"), detail=False)
    except FileNotFoundError:
        return set()
    return {str(name).rpartition("/")[2].removesuffix(".html") for name in names}


def _counts(ledger: Ledger, name: str) -> dict[str, float]:
    """Over all assets of the run, also those of earlier sessions."""
    row = (
        connect(ledger)
        .execute(
            "SELECT count(*) FILTER (state = 'failed'), count(*) FILTER (coverage = 'none'), "
            "coalesce(sum(defects), 0), count(*), coalesce(sum(seconds), 0) "
            "FROM assets WHERE run = ?",
            [name],
        )
        .fetchone()
    )
    return dict(zip(("failed", "unseen", "defects", "assets", "seconds"), row or (), strict=True))


def _summary(
    screen: Console,
    ledger: Ledger,
    name: str,
    ids: Sequence[str],
    state: State,
    counts: dict[str, float],
) -> None:
    took = time.monotonic() - state.started
    screen.print(
        f"{counts['assets']:.0f} assets, {words.seconds_words(counts['seconds'])}: "
        f"{counts['defects']:.0f} defects, {counts['failed']:.0f} failed"
        + (f", {counts['unseen']:.0f} could not be examined" if counts["unseen"] else "")
        + (f", {state.left} left" if state.left else "")
    )
    if state.done or state.failed:
        screen.print(
            f"This time {state.done + state.failed} in {words.seconds_words(took)} "
            f"({state.speed:.1f} × real time); {state.there} were done before."
        )
    else:
        screen.print("Nothing was left to do.")
    shelves = (ledger.ids(shelf) for shelf in ("failed", "again"))
    again = len(set().union(*shelves).intersection(ids))
    if again:
        screen.print(f"--retry-failed tries {again} again that failed or may come out better.")
    answer = connect(ledger).execute(
        "SELECT uri, defects, badness, coalesce(reason, '') FROM worst_assets "
        "WHERE run = ? AND (defects > 0 OR reason IS NOT NULL) LIMIT ?",
        [name, _WORST],
    )
    table = Table(box=None)
    for column in ("worst assets", "defects", "badness", "not examined"):
        table.add_column(column, overflow="fold")
    for uri, defects, bad, reason in answer.fetchall():
        table.add_row(
            shown(uri),
            "–" if defects is None else str(defects),
            "–" if bad is None else f"{bad:.1f}",
            words.reason(reason) if reason else "",
        )
    if table.row_count:
        screen.print(table)
    screen.print(f"Look: {ledger.path('index.html')}\nAsk: vidette query {ledger.out}")


@contextmanager
def _shown(screen: Console | None, total: int) -> Iterator[Callable[[State], None]]:
    """Shows how far a run is: a bar on a terminal, a line now and then elsewhere."""
    if screen is None:
        yield lambda _: None
        return
    if not screen.is_terminal:
        said = 0.0

        def tell(state: State) -> None:
            nonlocal said
            if time.monotonic() - said >= _LINE_EVERY or not state.left:
                said = time.monotonic()
                screen.print(f"{total - state.left} of {total} assets, {_facts(state)}")

        yield tell
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task("starting", total=total)

        def move(state: State) -> None:
            bar.update(task, completed=total - state.left, description=_facts(state))

        yield move


def _facts(state: State) -> str:
    facts = [f"{state.defects} defects", f"{state.speed:.1f} × real time"]
    if state.failed:
        facts.insert(0, f"{state.failed} failed")
    if state.parts[1]:
        facts.append(f"{state.parts[0]} of {state.parts[1]} ranges of long ones")
    if state.time_left is not None:
        facts.append(f"{words.seconds_words(state.time_left)} left")
    return ", ".join(facts)


def print_answer(out: str, sql: str, answer_format: str) -> None:
    """Print the answer to a question as a table, CSV or JSON Lines.

    Raises:
        UsageError: there are no tables, or the question is not one.
    """
    answer = ask(connect(Ledger(out)), sql)
    rows = answer.fetchall()
    if answer_format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows(rows)
        return
    if answer_format == "json":
        for row in rows:
            print(json.dumps(dict(zip(answer.columns, row, strict=True)), default=str))
        return
    table = Table(box=None)
    for column in answer.columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)
