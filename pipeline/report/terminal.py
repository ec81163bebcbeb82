"""Results on a terminal: tables for people, JSON for programs, and a bar while it takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from pipeline import words
from pipeline.types import Inspection

if TYPE_CHECKING:
    from pipeline.inspect import Progress as InspectionProgress


@contextmanager
def sink(output: Path | None) -> Iterator[IO[str]]:
    """Where results go. A file appears only when it is whole."""
    if output is None:
        yield sys.stdout
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    growing = output.with_name(f".{output.name}.part")
    with growing.open("w", encoding="utf-8") as file:
        yield file
    growing.replace(output)


def progress_bar(screen: Console, quiet: bool) -> RichProgress:
    """A bar for each asset, of which nothing stays; none where nobody looks, or where `quiet`."""
    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[position]}  {task.fields[speed]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[found]}", markup=False),
        console=screen,
        disable=quiet or not screen.is_terminal,
        transient=True,
    )


class Bar:
    """Shows the progress of one asset."""

    def __init__(self, bar: RichProgress, name: str) -> None:
        self._bar = bar
        label = name if len(name) <= 40 else "…" + name[-39:]
        self._task = bar.add_task(label, total=None, position="", speed="", found="")

    def __call__(self, now: InspectionProgress) -> None:
        """Show how far it is."""
        total = None if now.duration is None else max(now.duration, now.position)
        self._bar.update(
            self._task,
            total=total,
            completed=now.position,
            position=words.timecode(now.position),
            speed=f"{now.speed:.1f}× real time",
            found=f"{now.defects} found" if now.defects else "",
        )


def print_result(
    result: Inspection, output_format: Literal["table", "json", "jsonl"], sink: IO[str]
) -> None:
    """Print one result: a table for people, an object over many lines, or a line of JSON."""
    if output_format == "json":
        sink.write(result.model_dump_json(by_alias=True, indent=2) + "\n")
    elif output_format == "jsonl":
        sink.write(result.model_dump_json(by_alias=True) + "\n")
    else:
        _table(result, sink)
    sink.flush()


def _table(result: Inspection, sink: IO[str]) -> None:
    console = Console(file=sink, highlight=False, width=None if sink.isatty() else 160)
    console.print(Text(result.uri, style="bold"), soft_wrap=True)
    console.print(Text(_facts(result)), soft_wrap=True)
    for track in result.asset.video:
        if track.no_hardware is not None:
            said = f"Decoded in software, not by a GPU: {track.no_hardware}"
            console.print(Text(said, style="yellow"), soft_wrap=True)
    for problem in result.coverage.problems:
        at = "" if problem.time is None else f" at {words.timecode(problem.time)}"
        line = f"Not examined{at}: {problem.detail} ({problem.reason})"
        console.print(Text(line, style="yellow"), soft_wrap=True)
    if result.defects:
        table = Table("Kind", "Start", "End", "Severity", "Conf.", "Evidence")
        for defect in result.defects:
            table.add_row(
                defect.kind,
                words.timecode(defect.start),
                words.timecode(defect.end),
                Text(f"{defect.severity:.2f} {words.severity_word(defect.severity)}"),
                f"{defect.confidence:.2f}",
                Text(defect.summary),
            )
        console.print(table)
    elif result.coverage.state == "complete":
        console.print(Text("No defects found.", style="green"))
    elif result.coverage.state == "partial":
        console.print(Text("No defects found in what could be examined.", style="yellow"))
    console.print()


def _facts(result: Inspection) -> str:
    asset, coverage = result.asset, result.coverage
    parts = [f"{asset.container or 'not opened'}, {words.timecode(asset.duration)}"]
    for video in asset.video:
        rate = f" {video.frame_rate:.5g} fps" if video.frame_rate else ""
        parts.append(f"{video.codec} {video.width}x{video.height}{rate}")
    for audio in asset.audio:
        layout = audio.layout or f"{audio.channels} channels"
        parts.append(f"{audio.codec} {audio.sample_rate} Hz {layout}")
    sync = result.av_sync
    if sync is not None and sync.offset_ms is not None:
        parts.append(f"sound {sync.offset_ms:+.0f} ms against lips (+: early)")
    examined = sum(end - start for start, end in coverage.examined)
    parts.append(f"examined {coverage.state}: {examined:.1f} s")
    wall = result.timings.get("wall", 0.0)
    if wall > 0 and examined > 0:
        parts.append(f"{examined / wall:.1f}× real time")
    return " · ".join(parts)


def print_detectors(facts: list[dict[str, Any]], console: Console) -> None:
    """A table for each detector: its settings with units, defaults and sources.

    Args:
        facts: as `Detector.facts` has them.
        console: where to print.
    """
    for fact in facts:
        head = f"{fact['name']} (version {fact['version']}, reads {fact['reads']})"
        table = Table(
            "Setting", "Default", "Unit", "Meaning", "Source", title=head, title_justify="left"
        )
        table.caption = f"{fact['summary']} Finds: {', '.join(fact['finds'])}."
        table.caption_justify = "left"
        for key, one in fact["settings"].items():
            row = (f"{fact['name']}.{key}", str(one["default"]), one["unit"])
            table.add_row(*(Text(cell) for cell in (*row, one["description"], one["source"])))
        console.print(table)
        console.print()
