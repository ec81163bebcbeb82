"""Vidette: finds the defects that a viewer would notice in audio and video.

The command line (`vidette --help`) and the public API::

    import vidette

    result = vidette.inspect("programme.mp4")
    for defect in result.defects:
        print(defect.kind, defect.start, defect.end, defect.severity, defect.summary)
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.inspect import ProgressCallback
    from pipeline.settings import Settings
    from pipeline.types import Inspection

__all__ = ["inspect", "main"]

CLEAN, DEFECTS, NOT_EXAMINED, USAGE = 0, 1, 2, 64  # exit statuses; 64 is EX_USAGE of sysexits.h


def inspect(
    uri: str | Path,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    report: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Inspection:
    """Inspect one asset from beginning to end.

    Args:
        uri: a local path, anything FFmpeg opens, an fsspec URI, or "-" for standard input.
        only: names of the detectors to run; all where empty.
        skip: names of detectors not to run.
        settings: dotted names to values, as with `--set`: {"freeze.min_duration": 0.5}.
        config: a YAML file with the same fields as `pipeline.settings.Settings`.
        report: where to write the HTML report, if anywhere.
        progress: called about once per second of presentation.

    Returns:
        What was found, and how much could be examined. What is wrong with the asset is in the
        result (`coverage`, `defects`), it is not raised.

    Raises:
        pipeline.errors.UsageError: an unknown detector or setting, or a value out of range.
    """
    chosen = _settings(config, only, skip, dict(settings or {}))
    return _inspect(str(uri), chosen, None if report is None else Path(report), progress)


def _inspect(
    uri: str, settings: Settings, report: Path | None, progress: ProgressCallback | None
) -> Inspection:
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


def _settings(
    config: str | Path | None, only: Iterable[str], skip: Iterable[str], values: dict[str, Any]
) -> Settings:
    from pipeline.settings import chosen

    return chosen(config, only, skip, values)


# ------------------------------------------------------------------------------- command line

# Typer carries its own copy of Click and exports none of the base of its usage errors.
_CommandLineError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="vidette",
    help="Finds the defects that a viewer would notice in audio and video: what, when, where and "
    "how badly.",
    epilog="Start with: vidette inspect programme.mp4 --report report.html",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


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

    chosen = _settings(config, _split(only), _split(skip), _parse(settings or []))
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
            result = _inspect(name, chosen, place, Bar(bar, name))
            result.defects = [d for d in result.defects if d.severity >= min_severity]
            print_result(result, output_format.value, results)
            if place is not None:
                screen.print(f"Report: {place}", highlight=False, soft_wrap=True)
            status = max(status, _status(result, allow_partial))
            if any(problem.reason == "interrupted" for problem in result.coverage.problems):
                break
    raise typer.Exit(status)


@app.command()
def detectors(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Show these alone.")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="table, json or jsonl.")
    ] = Format.TABLE,
) -> None:
    """List every detector with its settings, their units, defaults and sources."""
    import json

    from rich.console import Console

    from pipeline.detectors import DETECTORS
    from pipeline.errors import UsageError
    from pipeline.report.terminal import print_detectors

    unknown = [name for name in names or [] if name not in DETECTORS]
    if unknown:
        raise UsageError(f"there is no detector {unknown[0]!r}; `vidette detectors` lists them")
    facts = [DETECTORS[name].facts() for name in names or DETECTORS]
    if output_format is Format.TABLE:
        print_detectors(facts, Console())
    elif output_format is Format.JSON:
        print(json.dumps(facts, indent=2))
    else:
        for fact in facts:
            print(json.dumps(fact))


@app.command(
    "damage",
    epilog="Example: vidette damage clean.mp4 damaged.mp4 --fault freeze --at 12.0-14.5 "
    "--severity noticeable --seed 7. The truth goes to damaged.mp4.truth.json.",
)
def damage_command(
    source: Annotated[str | None, typer.Argument(metavar="IN", help="A clean asset.")] = None,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="The damaged file; its suffix chooses the container."),
    ] = None,
    fault: Annotated[
        str | None, typer.Option(help="What to put in; --list shows all faults.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="START-END", help="Where, in seconds; drawn from the seed otherwise."),
    ] = None,
    severity: Annotated[
        str,
        typer.Option(help="How badly: very_noticeable, noticeable, subtle or very_subtle."),
    ] = "noticeable",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    random: Annotated[
        bool, typer.Option("--random", help="Several faults of drawn kinds and severities.")
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="With --random: how many of picture and of sound each."),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the faults and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Damage a clean asset on purpose and write down the truth: the opposite of inspect.

    The damaged file is encoded near transparently, so that the fault is what shows. OUT.truth.json
    says what was done, when and how badly; OUT.mask.npz, where there is one, says where.
    """
    from rich.console import Console

    from faults.base import FaultError
    from faults.damage import damage, mix, place
    from faults.media import Clean
    from faults.truth import Severity
    from pipeline.errors import UsageError
    from pipeline.report.terminal import progress_bar

    if show:
        _fault_table(Console())
        return
    if source is None or target is None or (fault is None) != random:
        raise UsageError("damage takes IN, OUT and either --fault NAME or --random")
    if severity not in list(Severity):
        raise UsageError(f"--severity is one of {', '.join(Severity)}, not {severity!r}")
    try:
        clean = Clean(source)
        orders = (
            [place(fault, Severity(severity), clean, seed, _interval(at))]
            if fault is not None
            else mix(clean, seed, count)
        )
        with progress_bar(Console(stderr=True), quiet) as bar:
            task = bar.add_task(target.name, total=clean.duration, position="", speed="", found="")
            truth = damage(
                clean,
                target,
                orders,
                progress=lambda time: bar.update(task, completed=time),
                lenient=random,
            )
    except FaultError as error:
        raise UsageError(str(error)) from error
    beside = target.with_name(f"{target.name}.truth.json")
    beside.write_text(truth.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
    for one in truth.truths:
        print(f"{one.start:9.3f} - {one.end:9.3f} s  {one.kind}  {one.severity}")
    print(f"{target}\n{beside}")


@app.command(
    "calibrate",
    epilog="Example: vidette calibrate ~/our-clean-programmes --rate 0.2, then "
    "vidette inspect --config vidette-calibrated.yaml programme.mp4",
)
def calibrate_command(
    media: Annotated[
        list[Path], typer.Argument(metavar="MEDIA...", help="Folders of clean media.")
    ],
    rate: Annotated[
        float, typer.Option(min=0, help="Wanted false alarms per hour, of each kind.")
    ] = 0.5,
    config: Annotated[Path, typer.Option(help="The configuration to write.")] = Path(
        "vidette-calibrated.yaml"
    ),
    per_source: Annotated[
        int | None, typer.Option(min=1, help="Clips of each kind and source; 3 or 4 otherwise.")
    ] = None,
    damaged: Annotated[
        bool, typer.Option(help="Also damage copies, to tell what the thresholds cost.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the damage.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    work: Annotated[
        Path | None, typer.Option(help="Keep clips and results there, to go on after a break.")
    ] = None,
) -> None:
    """Propose thresholds for a wanted rate of false alarms, from clean media of your own.

    All that is reported on them counts as false. Writes a least confidence per kind as a
    configuration, and says how many defects put into copies of the same media it costs.

    A source is a folder in MEDIA. Of a file ten seconds are taken, and inspecting a minute of them
    takes one to two minutes with one worker. One false alarm in two hours takes two hours of clips
    to tell; with less, whatever was reported is not let through, and the report says so.
    """
    import tempfile

    from bench.accuracy.calibrate import run
    from pipeline.errors import UsageError

    missing = [folder for folder in media if not folder.is_dir()]
    if missing:
        raise UsageError(f"there is no folder {missing[0]}")
    place = work or Path(tempfile.gettempdir()) / "vidette-calibrate"
    try:
        text = run(
            media,
            rate,
            config,
            work=place,
            per_source=per_source,
            damaged=damaged,
            seed=seed,
            workers=workers,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(text)
    print(f"Use it: vidette inspect --config {config} FILE")


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
    address: Annotated[
        str | None,
        typer.Option(help="Join this Ray cluster ('auto': the one here) and start none."),
    ] = None,
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
    only: Annotated[list[str] | None, typer.Option(help="As for inspect.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="As for inspect.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="As for inspect.")
    ] = None,
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
        _settings(config, _split(only), _split(skip), _parse(settings or [])),
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


@app.command(
    "watch",
    epilog="Example: vidette watch https://example.com/live.m3u8 --out watched --label cdn=a",
)
def watch_command(
    uris: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URI]...",
            help="Live streams: HLS, MPEG-TS (UDP, RTP, HTTP), RTSP, RTMP; SRT and DASH where the "
            "program ffmpeg is installed.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the state and of what was found.")
    ] = Path("watched"),
    config: Annotated[
        Path | None,
        typer.Option(help="YAML with streams, settings, pools and webhooks; see docs/watch.md."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Of the streams named here."),
    ] = None,
    webhooks: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook", metavar="URL", help="Gets every event, signed by VIDETTE_WEBHOOK_SECRET."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="At most so many; 0: one a core here, any on a cluster.")
    ] = 0,
    standby: Annotated[
        int, typer.Option(min=0, help="Workers kept warm, to take over from one that dies.")
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option(help="Join this Ray cluster ('auto': the one here) and start none."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--for", min=0, help="Seconds to watch; 0: until interrupted.")
    ] = 0.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve figures for Prometheus at :PORT/metrics."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="VIDETTE_DATABASE",
            metavar="URL",
            help="Keep the state there (postgresql://user:$PASSWORD@host/name), not in OUT.",
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="As for inspect.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="As for inspect.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="As for inspect.")
    ] = None,
) -> int:
    """Watch live streams, and say what is wrong with them while it is.

    Events go to the screen, to OUT/events.jsonl, to OUT/events/ (Parquet) and to webhooks. The
    state is in OUT: the same command goes on with it. `vidette status OUT` shows it meanwhile.
    """
    import os

    from rich.console import Console

    from pipeline.live.command import Plan, watch_streams
    from pipeline.live.streams import asked

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watch, chosen = asked(
        uris or [],
        config,
        {name: str(value) for name, value in _parse(labels or []).items()},
        webhooks or [],
        _settings(None, _split(only), _split(skip), _parse(settings or [])),
    )
    secret = os.environ.get("VIDETTE_WEBHOOK_SECRET")
    plan = Plan(address, workers, standby, secret, seconds, metrics_port, database)
    return watch_streams(watch, config, out, chosen, plan, Console(stderr=True))


@app.command("status", epilog="Example: vidette status watched --by cdn --window 300")
def status_command(
    out: Annotated[Path, typer.Argument(help="The folder that `vidette watch` writes.")],
    by: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Defects by this label, over all streams.")
    ] = None,
    window: Annotated[
        float, typer.Option(min=1, help="Seconds up to now that defects are counted over.")
    ] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON Lines.")] = False,
    pardon: Annotated[
        str | None, typer.Option(metavar="STREAM", help="Let it out of quarantine.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(envvar="VIDETTE_DATABASE", metavar="URL", help="As for watch."),
    ] = None,
) -> None:
    """Show how watched streams are, or which label the defects of the last minutes belong to."""
    from rich.console import Console

    from pipeline.live.command import pardon_stream, print_status

    if pardon is not None:
        pardon_stream(out, database, pardon)
    print_status(out, database, by, window, as_json, Console())


@app.command(
    "serve",
    epilog="Try it: curl -F file=@clip.mp4 http://127.0.0.1:8000/v1/score",
)
def serve_command(
    data: Annotated[
        Path, typer.Option(help="Folder of accepted work, uploads and reports; kept.")
    ] = Path("vidette-data"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    keys: Annotated[
        Path | None, typer.Option(help="File of bearer keys; without one nobody is asked for one.")
    ] = None,
    make_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Add a key to --keys, print it, and do nothing else."),
    ] = None,
    revoke_key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take a key out of --keys, and do nothing else; services that run notice.",
        ),
    ] = None,
    scopes: Annotated[
        str, typer.Option(help="Of --make-key: read, submit, admin, with commas between.")
    ] = "read,submit",
    replicas: Annotated[
        str, typer.Option(metavar="MIN:MAX", help="Processes that score; they grow with the load.")
    ] = "1:2",
    address: Annotated[
        str | None, typer.Option(help="Join this Ray cluster ('auto': the one here).")
    ] = None,
    private_addresses: Annotated[
        bool,
        typer.Option(
            "--private-addresses",
            help="Fetch URIs and post webhooks to addresses that are not public too.",
        ),
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="VIDETTE_DATABASE",
            metavar="URL",
            help="Keep what was accepted there (postgresql://user:$PASSWORD@host/name), not in "
            "files of --data.",
        ),
    ] = None,
) -> None:
    """Answer over HTTP: score clips at once, inspect assets as jobs, watch live streams.

    The address itself is a page that shows all of it. Ctrl-C finishes what is being answered;
    accepted inspections and live streams go on at the next start.
    """
    from pipeline.errors import UsageError

    if make_key is not None:
        from serve.keys import make_key as add

        if keys is None:
            raise UsageError("--make-key needs --keys FILE")
        print(add(keys, make_key, _split([scopes])))
        return
    if revoke_key is not None:
        from serve.keys import revoke_key as remove

        if keys is None:
            raise UsageError("--revoke-key needs --keys FILE")
        remove(keys, revoke_key)
        return
    from serve.run import serve_forever

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve_forever(data, host, port, keys, replicas, address, private_addresses, database)


@app.command()
def schema(
    event: Annotated[bool, typer.Option("--event", help="Of an event of `vidette watch`.")] = False,
) -> None:
    """Print the JSON Schema of an inspection result."""
    import json

    from pipeline.live.event import Event
    from pipeline.types import Inspection

    shown = Event if event else Inspection
    print(json.dumps(shown.model_json_schema(by_alias=True), indent=2))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"vidette {version_of('vidette')}")
        raise typer.Exit(CLEAN)


def main(arguments: Sequence[str] | None = None) -> None:
    """The `vidette` command: runs and exits with 0, 1, 2 or 64 (see `vidette inspect --help`)."""
    from pipeline.errors import SourceError, StoreError, UsageError, WorkersError

    try:
        status = app(
            args=None if arguments is None else list(arguments),
            prog_name="vidette",
            standalone_mode=False,
        )
    except _CommandLineError as error:
        error.show()
        sys.exit(USAGE)
    except UsageError as error:
        print(f"vidette: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except (SourceError, StoreError, WorkersError) as error:
        print(f"vidette: {error}", file=sys.stderr)
        sys.exit(NOT_EXAMINED)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(status or CLEAN)


def _status(result: Inspection, allow_partial: bool) -> int:
    state = result.coverage.state
    if state == "none" or (state == "partial" and not allow_partial):
        return NOT_EXAMINED
    return DEFECTS if result.defects else CLEAN


def _split(names: list[str] | None) -> list[str]:
    return [part.strip() for name in names or [] for part in name.split(",") if part.strip()]


def _parse(pairs: list[str]) -> dict[str, Any]:
    import yaml

    from pipeline.errors import UsageError

    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set wants NAME=VALUE, not {pair!r}")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {pair}: the value is no YAML") from error
    return values


def _interval(at: str | None) -> tuple[float, float] | None:
    from pipeline.errors import UsageError

    if at is None:
        return None
    start, _, end = at.partition("-")
    try:
        return float(start), float(end)
    except ValueError:
        raise UsageError(
            f"--at wants START-END in seconds, for instance 12.0-14.5, not {at!r}"
        ) from None


def _fault_table(console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from faults import FAULTS
    from faults.truth import Severity

    table = Table("Fault", "Damages", "Kind", "What it does", "Severities, worst first")
    for name, fault in FAULTS.items():
        ladder = "; ".join(
            ", ".join(f"{key} {value}" for key, value in fault.ladder[step].items())
            for step in Severity
        )
        row = (name, fault.reads, fault.kind, fault.summary, ladder)
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _report_name(folder: Path, uri: str, taken: set[Path]) -> Path:
    stem = Path(uri.rstrip("/")).name or "asset"
    place, n = folder / f"{stem}.html", 1
    while place in taken:
        n += 1
        place = folder / f"{stem}-{n}.html"
    taken.add(place)
    return place


if __name__ == "__main__":
    main()
