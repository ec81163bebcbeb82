"""The model card, written by the run that made the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.corruption import WEIGHTS

CARD = WEIGHTS.with_suffix(".md")

_TEXT = """# Model card: corruption

Tells, for every 16x16 tile of a frame, how probably it is **corrupt** (misplaced, stale or garbage
blocks after lost or damaged data, whether in this stream or baked in by an earlier one) and how
probably it is **coarsely quantised**. {parameters:,} parameters, `corruption.safetensors`;
architecture in `models/corruption.py`.

Made by this command (again: the same command, with the same media):

    python -m training.corruption MEDIA... --steps {steps} --draws {draws}

on {device}, {minutes} minutes of fitting.

## Data

Clean clips of the sources below; `faults/` encodes them with H.264, HEVC, MPEG-2 or VP9 at several
qualities, GOP lengths and slice counts, damages the bitstream (lost transport packets singly and in
bursts, flipped bits, removed bytes, truncated slices, lost references, joins in mid-GOP) and
decodes it with concealment; half of it is encoded once more, often at another size. The truth is
the difference to the undamaged decode. Negatives: the same sequences where they are intact, encodes
from plain to coarse, look-alikes (mosaics, picture in picture, confetti, grain, credits, fast cuts,
flashes...), drawn pixel art, bricks and moving squares.

{examples:,} crops of 256x256, {with_corrupt_tiles:,} of them with corrupt tiles,
{with_coarse_tiles:,} with coarse ones.

| part | sources |
| --- | --- |
| fitted on | {fitted} |
| calibrated on | {calibrating} |
| evaluated on, seen by nothing else | {unseen} |

Licences: `CATALOG.tsv` of the media folder names the licence of every file, the copyright file of
each Debian package that of the package. No media is part of the weights or of the repository.

## Figures on the unseen sources

Whole frames, damage drawn with a seed that fitting never used; negatives are the intact frames and
look-alikes of block corruption. A frame counts as damaged as soon as one tile differs.

| figure | value |
| --- | --- |
| frame AUC, all ({frames} frames) | {frame_auc:.3f} |
| frame AUC, baked in | {baked_auc:.3f} |
| tile average precision | {tile_ap:.3f} |
| tile IoU at 0.5 | {tile_iou:.3f} |

| damage | frame AUC |
| --- | --- |
{groups}

The interval figures of the detector, with its false alarms and FFmpeg's filters beside it, are in
`bench/results/accuracy-test.md` (`make bench-accuracy`).

## Ablations

{ablations}

## Calibration

Temperature and bias are folded into the last layer (fitted on the tiles of crops of the sources
that calibrate; crops are chosen around damage, so it is more frequent there than in the world).

| head | expected calibration error before | after | temperature |
| --- | --- | --- | --- |
{calibration}

## Limits

- Damage that leaves a plausible picture (a stale block of a still background, a soft drift) is not
  seen, nor by a viewer.
- A frozen picture is not corruption: `freeze` and `repeated_frames` report it.
- Content with edges on a grid that moves by blocks (some games, mosaics that follow a face) is the
  likeliest false alarm.
- AV1 is not in the data: its decoder refuses damaged frames, which then freeze.
"""


def write(note: dict[str, Any], ablations: Path) -> None:
    """Write the card from what a run noted, with the ablations that are there."""
    found = note["figures"]
    facts = {
        **note,
        **found,
        "steps": note["recipe"]["steps"],
        "groups": "\n".join(f"| {name} | {auc:.3f} |" for name, auc in found["by_group"].items()),
        "calibration": "\n".join(
            f"| {head} | {one['before']:.3f} | {one['after']:.3f} | {one['temperature']:.2f} |"
            for head, one in note["calibration"].items()
        ),
        "ablations": _table(note, ablations),
        **{part: ", ".join(note[part]) for part in ("fitted", "calibrating", "unseen")},
    }
    CARD.write_text(_TEXT.format(**facts))


def _table(note: dict[str, Any], folder: Path) -> str:
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not found:
        return "None was run yet."
    lines = [
        "| without | steps | frame AUC | baked in | tile AP |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in (note, *found):
        name = ", ".join(one["without"]) or "nothing"
        f = one["figures"]
        lines.append(
            f"| {name} | {one['recipe']['steps']} | {f['frame_auc']:.3f} | {f['baked_auc']:.3f} | "
            f"{f['tile_ap']:.3f} |"
        )
    return "\n".join(lines)
