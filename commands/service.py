"""`vidette serve`: the service over HTTP, and its keys."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from commands.options import split

app = typer.Typer()


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
        print(add(keys, make_key, split([scopes])))
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
