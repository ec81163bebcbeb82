"""`vidette calibrate`: thresholds from clean media of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


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
