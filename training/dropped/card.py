"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.dropped import WEIGHTS
from pipeline.detectors.leaps import LIKELY
from training.dropped.evaluate import FOLDS, NUMBERS

CARD = WEIGHTS.with_suffix(".md")


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.dropped`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    seconds = note["figures"]["seconds"]
    return f"""# Model card: dropped

Tells of a frame at which tiles of the picture leap whether frames are missing before it: cuts,
flashes, subtitles, quick moves, key frames of coarse coding and other damage make tiles leap as
well. Several small nets, whose mean counts: {note["parameters"]:,} parameters, `{WEIGHTS.name}`;
architecture and inputs in `models/dropped.py`. The detector `cadence` asks it for log odds of
{LIKELY:g} at least, where its rules do not already see a jump.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch`
gathers):

    python -m training.dropped MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --alike {note["alike"]} --others {note["others"]}

{note["minutes"]:.1f} minutes of fitting on {note["device"]}.

## Data

{note["joins"]:,} places in clips of the sources below where 2 to 16 frames were taken out and a
viewer sees it (`faults/cadence.py`), and {note["candidates"]:,} other frames at which tiles leap:
of the same clips, of look-alikes and of clips with other damage, all coded as services deliver
them.

Sources, all of the development split: {", ".join(note["fitted"])}.

Licences: `CATALOG.tsv` of the media folder names the licence of every file, the copyright file of
each Debian package that of the package. No media is part of the weights or of the repository.

## Figures

By the least log odds, each source judged by one of {FOLDS} sets of nets that were not fitted on it.
*Wrong*: reports in {seconds["clean"] / 60:.0f} minutes of clean clips and in
{seconds["others"] / 60:.0f} minutes of look-alikes and other damage. *Found*: of the places where
so many frames were taken out.

{table(note["figures"])}

## Limits

- What it takes was chosen from more figures on the same sources, and so was the limit: other
  sources are likely to do somewhat worse.
- Fitted on few sources: of natural motion it knows {seconds["clean"] / 60:.0f} minutes.
- Cuts within an inset, and quick moves of what comes near the camera, look like missing frames.
"""


def table(figures: dict[str, Any]) -> str:
    """Markdown of `evaluate.figures`."""
    head = [f"found, {first} to {last} frames" for first, last in NUMBERS]
    lines = [
        "| log odds | wrong, clean | wrong, others | " + " | ".join(head) + " |",
        "| --- " * (3 + len(head)) + "|",
    ]
    lines += [
        f"| {row['limit']:g} | {row['clean']} | {row['others']} | "
        + " | ".join(f"{share:.0%}" for share in row["found"])
        + " |"
        for row in figures["rows"]
    ]
    return "\n".join(lines)
