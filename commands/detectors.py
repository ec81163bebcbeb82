"""`vidette detectors`: what there is to find, and its settings."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import Format

app = typer.Typer()


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
