"""The table of figures, and the model card that the run writes which made the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.sync import WEIGHTS
from training.sync.dataset import KNOWN_DELAY
from training.sync.evaluate import WINDOWS, Trials

CARD = WEIGHTS.with_suffix(".md")

_TEXT = """# Model card: sync

Tells by how much the sound of a speaker is early or late against the lips, from pictures of the
mouth at 25 a second and a log-mel spectrum; architecture in `models/sync.py`, weights in
`sync.safetensors`. It was fitted from nothing.

Made by this command (again: the same command, with the same media):

    python -m training.sync MEDIA... --steps {steps} --batch {batch} --folds {folds}

on {device}, {minutes} minutes in all.

## Data

{takes:,} clips, {seconds:,} seconds, of the groups below: speakers, or corpora whose speakers are
not named. Licences: `CATALOG.tsv` of the media folder. Generated heads ({generated}) are fitted on
and never tested on. Whole corpora have sound that is off; this much was taken out, measured by a
net that was fitted without them: {delays}.

## Figures

Every group was tested once, by a net that was fitted without it; the weights are of one more net,
which has seen all. Share of windows whose offset is found within one picture (40 ms), among offsets
of 1 s either way; the sound was put off by up to 0.4 s. Windows longer than a clip are joined of
clips of one group. In brackets: windows.

{table}

How clear the peak is tells own sound from foreign sound: the area under the ROC curve over all
windows of a length is {foreign}.
"""


def table(found: Mapping[str, Mapping[float, Trials]]) -> str:
    """Groups by windows, as Markdown."""
    lines = [
        "| group | " + " | ".join(f"{window:g} s" for window in WINDOWS) + " |",
        "| --- |" + " --- |" * len(WINDOWS),
    ]
    for group, of_group in sorted(found.items()):
        cells = [
            f"{of_group[w].right:.1%} ({len(of_group[w].error)})" if w in of_group else "–"
            for w in WINDOWS
        ]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def told_apart(found: Mapping[str, Mapping[float, Trials]], window: float) -> float:
    """Area under the ROC curve of the peak, own sound against another clip's."""
    pairs = [of[window] for of in found.values() if window in of]
    own = np.concatenate([trials.peak for trials in pairs])
    foreign = np.sort(np.concatenate([trials.foreign for trials in pairs]))
    below = np.searchsorted(foreign, own, "left") + np.searchsorted(foreign, own, "right")
    return float(below.mean() / 2 / len(foreign))


def write(note: Mapping[str, Any], found: Mapping[str, Mapping[float, Trials]]) -> None:
    """Write the card."""
    known = [w for w in WINDOWS if any(w in of for of in found.values())]
    CARD.write_text(
        _TEXT.format(
            **{key: note[key] for key in ("steps", "batch", "folds", "device", "minutes", "takes")},
            seconds=note["seconds"],
            generated=", ".join(note["generated"]),
            delays=", ".join(f"{source} {ms:+.0f} ms" for source, ms in KNOWN_DELAY.items()),
            table=table(found),
            foreign=", ".join(f"{told_apart(found, w):.2f} at {w:g} s" for w in known),
        )
    )
