"""The model card, written with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.coarseness import WEIGHTS
from training.run import sources

CARD = WEIGHTS.with_suffix(".md")


def write(note: dict[str, Any], card: Path = CARD) -> None:
    """Write the card of a run of `training.coarseness`.

    Args:
        note: what the command noted.
        card: file.
    """
    card.write_text(_text(note))


def _text(note: dict[str, Any]) -> str:
    return f"""# Model card: coarseness

Tells of crops of 64x64 luma samples how coarsely they were quantised, on the scale of H.264's QP,
and how much that estimate is worth. {note["parameters"]:,} parameters, `{WEIGHTS.name}`;
architecture in `models/nets/coarseness.py`. The detector `blockiness` compares the estimates of the
same places over time.

The command that makes it again (media: the shared folder and what `python -m corpus.fetch` and
`python -m corpus.fetch --wide` gather):

    python -m training.coarseness MEDIA... --steps {note["steps"]} --batch {note["batch"]} \\
        --per-source {note["per_source"]}

{note["minutes"]:.0f} minutes of fitting on {note["device"]}.

## Data

{note["crops"]:,} crops of {note["windows"]:,} windows: short pieces of clean clips, and photographs
and drawings that were scaled down and pan. Each window is there as it came and coded coarsely in
two ways: H.264 with and without deblocking, HEVC, MPEG-2 or Motion JPEG, QP 24 to 50 or as coarse,
a third of them at half to three quarters of the size and scaled up after; most are encoded once
more (H.264 at CRF 14 to 27, HEVC at 22 to 28), as what is delivered is. Some have grain, or small
things drawn over them, before all that. What came as it was may be no coarser than QP 28; only
shrunk photographs are known to be fine.

{sources(note)}

## Figures

Of whole windows (24 crops or fewer). *Rise*: by how many QP the estimate is above that of the same
places of the same window as it came; nine of ten are above the first figure. *AUC*: telling a
coarse window from any window as it came by the estimate alone, which is harder: what came is not
all fine.

On the unseen sources, damaged with a seed that fitting never used:

{_table(note["figures"])}

On the sources that it was fitted on:

{_table(note["figures_fitted"])}

## Limits

- What a picture was like before it was coded is not known to it: soft, smooth and dark pictures are
  said to be coarser than they are, noise and fine texture finer. Compare within a shot.
- A quantiser that is no coarser than that of the source leaves nothing to see, for it and for us.
- Crops that are flat tell nothing, and it says so.
"""


def _table(figures: list[dict[str, float]]) -> str:
    lines = [
        "| QP | windows | estimate, median | as it came | rise, 10 % / median | AUC |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['from']} to {row['to']} | {row['windows']} | {row['said']:.1f} | "
        f"{row['came']:.1f} | {row['rise_10']:.1f} / {row['rise_50']:.1f} | {row['auc']:.3f} |"
        for row in figures
        if row["windows"]
    ]
    return "\n".join(lines)
