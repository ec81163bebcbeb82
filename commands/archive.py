"""`vidette batch` and `vidette query`: archives, and questions about them."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.options import Address, Named, Set, chosen_settings, parse, split

app = typer.Typer()


@app.command(
    "batch",
    epilog="Exit status: 0 nothing found, 1 defects found, 2 an asset failed or could not be "
    "examined, 64 usage, 74 no room for results, 130 interrupted. Ask the tables afterwards: "
    "vidette query OUT",
)
def batch_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders, globs, URIs (s3://bucket/prefix), or manifests: CSV, JSON Lines "
            "or Parquet with a column `uri`; the other columns are labels.",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder or URI that takes results and tables.")
    ],
    run: Annotated[str, typer.Option(help="Name of this selection of assets.")] = "default",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0: as many as there is room for.")
    ] = 0,
    cpus: Annotated[
        float, typer.Option("--cpus-per-worker", min=0.1, help="As Ray counts them.")
    ] = 1.0,
    gpus: Annotated[
        float, typer.Option("--gpus-per-worker", min=0, help="A fraction shares a GPU.")
    ] = 0.0,
    address: Address = None,
    time_limit: Annotated[
        float, typer.Option(min=0, help="Seconds for one asset, or one range of it; 0: any.")
    ] = 0.0,
    memory_limit: Annotated[
        float, typer.Option(min=0, help="Megabytes of one worker; 0: any.")
    ] = 0.0,
    range_seconds: Annotated[
        float,
        typer.Option(
            "--range-seconds",
            min=0,
            help="Longer assets are cut at key frames into ranges of about so many seconds (whole "
            "minutes), which several workers decode and measure at once; the result is that of one "
            "piece. Shorter ranges use many cores better, longer ones cost a little less. Needs "
            "room in OUT for a while: about 1.8 MB for a second of 1080p25. 0: no asset is cut.",
        ),
    ] = 300.0,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Try again what failed before, and what may come out better now: what ran out of "
            "time, or could not be reached or opened.",
        ),
    ] = False,
    reports: Annotated[
        bool,
        typer.Option(
            "--reports",
            help="Give the page of each asset charts, pictures and sound of the worst moments, as "
            "`inspect --report` has them (2 MB and more each).",
        ),
    ] = False,
    only: Named = None,
    skip: Named = None,
    settings: Set = None,
    config: Annotated[Path | None, typer.Option(help="As for inspect.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> int:
    """Inspect an archive: many assets at once, on this machine or on a Ray cluster.

    What is done is kept: the same command goes on where it was interrupted, whatever died, and
    inspects again only what has changed.
    """
    from rich.console import Console

    from pipeline.batch.command import inspect_archive
    from pipeline.batch.driver import Plan
    from pipeline.batch.inspector import Bounds

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return inspect_archive(
        sources,
        out,
        run,
        chosen_settings(config, split(only), split(skip), parse(settings or [])),
        Plan(
            workers=workers,
            cpus=cpus,
            gpus=gpus,
            address=address,
            bounds=Bounds(time_limit, memory_limit),
            retry_failed=retry_failed,
            reports=reports,
            range_seconds=range_seconds,
        ),
        None if quiet else Console(stderr=True),
    )


class Answer(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command("query")
def query_command(
    out: Annotated[str, typer.Argument(help="What --out of `vidette batch` was.")],
    sql: Annotated[
        str,
        typer.Argument(
            help="SQL (DuckDB) over assets, defects and timeline, or over the views worst_assets, "
            "defects_by_kind and defects_by_label."
        ),
    ] = "SELECT * FROM worst_assets LIMIT 20",
    answer: Annotated[Answer, typer.Option("--format", "-f")] = Answer.TABLE,
) -> None:
    """Ask the tables of an archive.

    Columns: vidette query OUT "DESCRIBE assets". For example:
    vidette query OUT "SELECT * FROM defects_by_label WHERE label = 'cdn'"
    """
    from pipeline.batch.command import print_answer

    print_answer(out, sql, answer.value)
