"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.distortion import WEIGHTS
from training.distortion.evaluate import FALSE
from training.run import sources

CARD = WEIGHTS.with_suffix(".md")
_UNITS = {"overdriven": "dB", "starved": "kb/s a channel", "clipped": "dB"}


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.distortion`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    return f"""# Model card: distortion

Tells of windows of 43 ms of sound whether a stage bent the wave (*overdriven*), a codec had far too
few bits (*starved*), or peaks were cut off flat (*clipped*). {note["parameters"]:,} parameters,
`{WEIGHTS.name}`; architecture and inputs in `models/distortion.py`. The detector `distortion` uses
the first two.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch` and
`python -m corpus.fetch --wide` gather):

    python -m training.distortion MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --per-source {note["per_source"]}

{note["minutes"]:.0f} minutes of fitting on {note["device"]}.

## Data

{note["stretches"]:,} stretches of 4 to 6 s of music, speech, ambience and effects, most of them
faster or slower than they were, in another colour, with a second clip under them or in a room. In
each, a part of 1.2 to 3.2 s is overdriven (tanh, -2 to 24 dB, as loud as before), coded by MP3, AAC
or Opus at 8 to 24 kb/s a channel, clipped (2 to 16 dB), or has what is no fault: less treble,
another level, noise, a limiter that bends nothing, other sound, or nothing. Seven in ten are then
coded by AAC, MP3 or Opus at 48 to 96 kb/s a channel.

{sources(note)}

## Figures

Of whole parts, by the mean of their windows. *Found*: at the threshold that {FALSE:.0%} of the
parts without a fault exceed, all that is none included.

On the unseen sources, damaged with a seed that fitting never used:

{_table(note["figures"])}

On the sources that it was fitted on:

{_table(note["figures_fitted"])}

## Limits

- Sound that is like that by nature (electric guitars, chip music, low-rate speech codecs) is said
  to be distorted, and rightly: a fault is that it becomes so. Compare with before and after.
- Overdrive under 3 dB bends a wave by less than a limiter or a codec does, and is not told.
- Clean clips of games and phones may have been through such codecs at their source.
"""


def _table(figures: list[dict[str, Any]]) -> str:
    lines = ["| fault | strength | parts | AUC | found |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['fault']} | {_strength(row)} | {row['parts']} | {row['auc']:.3f} | "
        f"{row['found']:.0%} |"
        for row in figures
        if row["parts"]
    ]
    return "\n".join(lines)


def _strength(row: dict[str, Any]) -> str:
    unit = _UNITS[row["fault"]]
    low, high = row["from"], row["to"]
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
