"""`vidette schema`: the form of what is written."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


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
