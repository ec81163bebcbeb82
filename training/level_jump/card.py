"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.level_jump import WEIGHTS
from training.level_jump.evaluate import HOURLY
from training.run import sources

CARD = WEIGHTS.with_suffix(".md")


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.level_jump`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    return f"""# Model card: level_jump

Two nets. The first tells of windows of 43 ms of sound whether the gain steps there, up or down, and
by how much. The second tells of such a step and one back whether they are the ends of an insert at
another gain: speakers in turn, music that sets in, fades and gaps are none. {note["parameters"]:,}
parameters, `{WEIGHTS.name}`; architecture and inputs in `models/level_jump.py`. The detector
`level_jump` uses both.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch` and
`python -m corpus.fetch --wide` gather):

    python -m training.level_jump MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --per-source {note["per_source"]} --scenes {note["scenes"]}

{note["minutes"]:.0f} minutes of fitting the first net to all sources on {note["device"]}, and as
long for each half of them.

## Data

Levels of music, speech, ambience and effects, as they are and after AAC, MP3 or Opus at 48 to 96
kb/s a channel, in other colours, some with a second sound under them. A gain adds the same to the
levels of all bands, so that scenes are made of levels in place of sound: inserts of 4 to 18 dB up
and down, other speakers or takes in turn, other sound or noise that sets in and ends, fades, gaps,
noise of equipment, bands that a codec left out. The second net is fitted on what a first net that
has not heard a half of the sources says of that half.

{sources(note)}

## Figures

Inserts of 2.5 to 8 s in scenes of 12 s, found with both ends within 0.35 s, at the log odds at
which {HOURLY:g} pairs an hour are wrong, in scenes of which half hold what resembles an insert.

On the unseen sources ({note["figures"]["hours"]:.1f} hours of scenes):

{_table(note["figures"])}

On the sources that it was fitted on:

{_table(note["figures_fitted"])}

## Limits

- Where nothing sounds at an end, as in a pause of speech, the instant does not tell.
- Noise whose density changes at once (an audience of many that begins to clap) steps like a gain.
- Inserts of other content at another loudness are no steps of gain: the loudness on both sides
  tells of those.
"""


def _table(figures: dict[str, Any]) -> str:
    lines = ["| step | inserts | found |", "| --- | --- | --- |"]
    lines += [
        f"| {row['from']:g} to {row['to']:g} dB | {row['inserts']} | {row['found']:.0%} |"
        for row in figures["steps"]
    ]
    return "\n".join(lines)
