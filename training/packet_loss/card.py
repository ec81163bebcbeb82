"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.packet_loss import WEIGHTS
from training.run import sources

CARD = WEIGHTS.with_suffix(".md")


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.packet_loss`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    figures = note["figures"]
    return f"""# Model card: packet loss

A net that tells of every 5 ms of sound whether a decoder made it up because a packet was lost.
{note["parameters"]:,} parameters, `{WEIGHTS.name}`; architecture and inputs in
`models/packet_loss.py`. The detector `dropout` uses it beside rules that find holes.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch` and
`python -m corpus.fetch --wide` gather):

    python -m training.packet_loss MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --per-source {note["per_source"]}

{note["minutes"]:.0f} minutes of fitting to all sources on {note["device"]}, and about as long for
each half of them.

## Data

Music, speech, ambience and effects, coded to Opus and AAC at 32 to 96 kb/s a channel and decoded
whole and without 2 to 15 % of the packets: libopus conceals them, the last frame of AAC comes
again, or there is silence. Most of it is then coded once more, to AAC, MP3 or Opus, as it would be
delivered. It counts as damaged where bands that are heard differ by 2 dB on average; where less
differs, nothing is asked. As what is none: the same sound, as it is and coded, and with what
resembles dropouts (`faults/lookalikes`).

{sources(note)}

## Figures

Of files with one fault each (`faults/packet_loss_sound.py` and, one in three, `faults/dropout.py`),
most of them delivered as AAC or MP3, and of clean sound ({figures["hours"]:.1f} hours, half of it
as it is, half of it delivered). Either half of the sources is judged by a net that was fitted to
the other half alone. *Limit*: the least log odds of an event without a hole; the first row
is of the rules alone. *False*: reports in the clean sound; *alike*: in {figures["alike"]} files
with what resembles dropouts; *beside*: in damaged files, where they fit no damage.

{_table(figures, "found")}

The same by what was done:

{_table(figures, "ways")}

## Limits

- libopus goes on with the last period of a voice or a note; where that is what would have come,
  there is little to hear, and most of it is missed.
- Tones of synthesisers and guitars that end at once, or repeat themselves exactly, are like it: in
  music of games the detector reports some that are meant.
- Within 50 ms of silence it says nothing: rules find holes there.
"""


def _table(figures: dict[str, Any], what: str) -> str:
    names = sorted({name for row in figures["rows"] for name in row[what]})
    lines = [
        "| limit | false | alike | beside | "
        + " | ".join(name.replace("_", " ") for name in names)
        + " |",
        "| --- " * (4 + len(names)) + "|",
    ]
    for row in figures["rows"]:
        counts = [f"{row[what][name][0]}/{row[what][name][1]}" for name in names]
        limit = "rules alone" if row["limit"] is None else f"{row['limit']:g}"
        wrong = f"{row['false']} | {row['alike']} | {row['extra']}"
        lines.append(f"| {limit} | {wrong} | " + " | ".join(counts) + " |")
    return "\n".join(lines)
