"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.hiss import WEIGHTS
from training.hiss.evaluate import HOURLY, NEAR
from training.run import sources

CARD = WEIGHTS.with_suffix(".md")


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.hiss`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    figures = note["figures"]
    return f"""# Model card: hiss

A net that tells of each tenth of a second of sound whether a steady broadband noise lies under it
that is no part of it, and how strong it is. {note["parameters"]:,} parameters, `{WEIGHTS.name}`;
architecture and inputs in `models/hiss.py`. The detector `hiss` uses it.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch` and
`python -m corpus.fetch --wide` gather):

    python -m training.hiss MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --per-source {note["per_source"]}

{note["minutes"]:.0f} minutes of fitting to all sources on {note["device"]}, and about as long for
each half of them.

## Data

Levels of music, speech, ambience and effects, as they are and after AAC, MP3 or Opus at 48 to 96
kb/s a channel. Noise is added power, so that scenes are made of levels in place of sound: white to
pink noise of 6 to 34 dB under the programme for a while or all the time, where it is heard by the
criterion of `faults/hiss.py`; and, as what is none, floors of rooms and equipment, gates, cuts to
other sound with another floor, second sounds, noise that swells, moves or is struck, gaps, bands
that a codec left out. A share of the scenes is sound that was damaged and then encoded.

{sources(note)}

## Figures

Hisses of 2 s and longer in scenes of 12 s, found with both ends within {NEAR:g} s, at the mean log
odds at which {HOURLY:g} stretches an hour are wrong, in scenes of which most hold what resembles
hiss. Either half of the sources is judged by a net that was fitted to the other half alone
({figures["hours"]:.1f} hours of scenes).

{_table(figures)}

## Limits

- What is as steady as hiss by nature, sets in and ends at once and is no louder than the programme
  is hiss to it.
- A noise that a programme hides in all bands most of the time is not asked for.
- Hiss without an end is learned down to 20 dB under the programme: many recordings have a floor at
  28 dB and less.
"""


def _table(figures: dict[str, Any]) -> str:
    lines = ["| programme to hiss | hisses | found |", "| --- | --- | --- |"]
    lines += [
        f"| {row['from']:g} to {row['to']:g} dB | {row['hisses']} | {row['found']:.0%} |"
        for row in figures["snrs"]
    ]
    return "\n".join(lines)
