"""`vidette watch` and `vidette status`: live streams, and how they are."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from commands.options import Address, Named, Set, chosen_settings, parse, split

app = typer.Typer()


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
    address: Address = None,
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
    only: Named = None,
    skip: Named = None,
    settings: Set = None,
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
        {name: str(value) for name, value in parse(labels or [], "--label").items()},
        webhooks or [],
        chosen_settings(None, split(only), split(skip), parse(settings or [])),
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
