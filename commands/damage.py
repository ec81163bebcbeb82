"""`vidette damage`: the opposite of inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()


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
