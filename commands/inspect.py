"""`vidette inspect`: assets one after the other, in this process."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.options import (
    CLEAN,
    DEFECTS,
    NOT_EXAMINED,
    Format,
    chosen_settings,
    parse,
    split,
)  # fmt: skip

if TYPE_CHECKING:
    from pipeline.inspect import ProgressCallback
    from pipeline.settings import Settings
    from pipeline.types import Inspection

app = typer.Typer()


@app.command(
    "inspect",
    epilog="Exit status: 0 nothing found, 1 defects found, 2 not examined, wholly or in part "
    "(see --allow-partial), 64 usage.",
)
def inspect_command(
    uris: Annotated[
        list[str],
        typer.Argument(
            metavar="URI...",
            help="Files, globs, '-' for standard input, or URIs (https://, s3://, gs://, rtsp://).",
        ),
    ],
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            "-f",
            help="table for people; json: one object per asset; jsonl: one line per asset.",
        ),
    ] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there instead of to the screen.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write an HTML report that opens offline. With several assets: a folder that "
            "takes one report each."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run these detectors alone (repeat, or separate by commas)."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Run all detectors but these (likewise).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting, for instance freeze.min_duration=0.5 or limits.read_timeout=30; "
            "`vidette detectors` lists them. device=cuda decodes and measures on an NVIDIA GPU.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file of settings; VIDETTE_* variables override it.")
    ] = None,
    min_severity: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Leave out what is less severe: 0.25 very subtle, 0.5 subtle, 0.75 noticeable, "
            "1 very noticeable.",
        ),
    ] = 0.0,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="An asset examined only in part does not give exit status 2."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Inspect assets and list their defects.

    Times are h:mm:ss.mmm from the start of the presentation. Ctrl-C stops early and still writes
    what was found, marked partial.
    """
    from rich.console import Console

    from pipeline.report.terminal import Bar, print_result, progress_bar, sink
    from pipeline.source import expand

    chosen = chosen_settings(config, split(only), split(skip), parse(settings or []))
    names = expand(uris)
    if report is not None and len(names) > 1:
        report.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status, reports = CLEAN, set[Path]()
    screen = Console(stderr=True)
    with sink(output) as results, progress_bar(screen, quiet) as bar:
        for name in names:
            place = report
            if report is not None and len(names) > 1:
                place = _report_name(report, name, reports)
            result = examine(name, chosen, place, Bar(bar, name))
            result.defects = [d for d in result.defects if d.severity >= min_severity]
            print_result(result, output_format.value, results)
            if place is not None:
                screen.print(f"Report: {place}", highlight=False, soft_wrap=True)
            status = max(status, _status(result, allow_partial))
            if any(problem.reason == "interrupted" for problem in result.coverage.problems):
                break
    raise typer.Exit(status)


def examine(
    uri: str, settings: Settings, report: Path | None, progress: ProgressCallback | None
) -> Inspection:
    """Inspect one asset, "-" for standard input, and write its report if asked to; never raises.

    Args:
        uri: as it was named.
        settings: of the run.
        report: where to write the HTML report, if anywhere.
        progress: called about once per second of presentation.
    """
    from pipeline.errors import SourceError
    from pipeline.inspect import failed
    from pipeline.inspect import inspect as inspect_asset
    from pipeline.source import spooled

    place = None
    try:
        with spooled(uri, settings.limits) as place:
            result = inspect_asset(place, settings, progress, name=uri)
            if report is not None:
                _write_report(result, report, place, settings)
    except SourceError as error:  # standard input did not come, or too much of it
        result = failed(uri, settings, error)
        if report is not None:
            _write_report(result, report, place, settings)
    return result


def _write_report(result: Inspection, report: Path, place: str | None, settings: Settings) -> None:
    from pipeline.report import write_report
    from pipeline.types import Problem

    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_report(result, report, place, settings.limits)
    except OSError as error:  # likewise
        typer.echo(f"the report could not be written: {error}", err=True)
    except KeyboardInterrupt:  # what was found is still printed
        detail = "stopped by the user before the report was written"
        result.coverage.problems.append(Problem(reason="interrupted", detail=detail))


def _status(result: Inspection, allow_partial: bool) -> int:
    state = result.coverage.state
    if state == "none" or (state == "partial" and not allow_partial):
        return NOT_EXAMINED
    return DEFECTS if result.defects else CLEAN


def _report_name(folder: Path, uri: str, taken: set[Path]) -> Path:
    stem = Path(uri.rstrip("/")).name or "asset"
    place, n = folder / f"{stem}.html", 1
    while place in taken:
        n += 1
        place = folder / f"{stem}-{n}.html"
    taken.add(place)
    return place
