"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.clicks import WEIGHTS
from pipeline.detectors.click import ClickSettings
from training.clicks.evaluate import FOLDS

CARD = WEIGHTS.with_suffix(".md")


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.clicks`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    return f"""# Model card: clicks

Tells of an impulse that stands out of the prediction error of sound whether it is a click, or what
lips, strings, drums and synthesisers do. {note["parameters"]:,} parameters, `{WEIGHTS.name}`;
architecture and inputs in `models/clicks.py`. The detector `click` asks it for log odds of
{ClickSettings().likely:g} at least.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch` and
`python -m corpus.fetch --wide` gather):

    python -m training.clicks MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --per-source {note["per_source"]}

{note["minutes"]:.1f} minutes of fitting on {note["device"]}.

## Data

{note["impulses"]:,} impulses of music, speech, ambience and effects: all that stand out of clean
clips, and clicks of four severities that were put in (`faults/click.py`, eight of each into every
clip); as they are, and as AAC at 48 to 128 kb/s a channel leaves them.

| part | sources | hours of clean sound |
| --- | --- | --- |
| fitted on | {", ".join(note["fitted"])} | {note["hours"]:.1f} |
| evaluated on, seen by nothing else | {", ".join(note["unseen"])} | {note["hours_unseen"]:.1f} |

Licences: `CATALOG.tsv` of the media folder names the licence of every file, the copyright file of
each Debian package that of the package. No media is part of the weights or of the repository.

## Figures

By the least log odds. *Alarms*: half seconds of clean sound in which an impulse is said to be a
click, an hour; the detector goes on to leave out what recurs like percussion. *Found*: of the
clicks that stand out of the prediction error at all. The first row is what the detector's rules say
alone.

On the unseen sources:

{table(note["figures"])}

Cross-fitted over the sources that it is fitted on (each judged by one of {FOLDS} nets, which has
not seen it), by which the limit was chosen:

{table(note["figures_crossed"])}

## Limits

- Clean sound of games may have clicks at its source, which count as alarms here.
- Lips close to a microphone click: of the alarms that are left on unseen sources most are of one
  set of speakers.
"""


def table(figures: list[dict[str, Any]]) -> str:
    """Figures as a Markdown table."""
    severities = list(figures[0]["found_by"])
    names = " | ".join(one.replace("_", " ") for one in severities)
    lines = [
        f"| log odds | alarms an hour | found | {names} |",
        "| --- | --- | --- |" + " --- |" * len(severities),
    ]
    for row in figures:
        limit = "rules alone" if row["limit"] is None else f"{row['limit']:g}"
        by = " | ".join(f"{row['found_by'][one]:.0%}" for one in severities)
        lines.append(f"| {limit} | {row['alarms']:.1f} | {row['found']:.1%} | {by} |")
    return "\n".join(lines)
