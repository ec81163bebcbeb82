"""The model card, written by the run that made the weights."""

from __future__ import annotations

import math
from typing import Any

from models.nets.corruption import WEIGHTS

CARD = WEIGHTS.with_suffix(".md")
FULL = "full"  # the net that nothing is left out of

_TEXT = """# Model card: corruption

Tells, for every 16x16 tile of a frame, how probably it is **corrupt** (misplaced, stale or garbage
blocks after lost or damaged data, whether in this stream or baked in by an earlier one) and how
probably it is **coarsely quantised**. {parameters:,} parameters, `corruption.safetensors`;
architecture in `models/nets/corruption.py`.

Made by this command (again: the same command, with the same media):

    python -m training.corruption MEDIA... --steps {steps} --batch {batch} \\
        --draws {draws} --per-source {per_source} --stills {stills} --ablations

on {device}, {minutes} minutes of fitting.

## Data

Clean clips of the sources below; `faults/` encodes them with H.264, HEVC, MPEG-2 or VP9 at several
qualities, GOP lengths and slice counts, damages the bitstream (lost transport packets singly and in
bursts, flipped bits, removed bytes, truncated slices, lost references, joins in mid-GOP) and
decodes it with concealment; half of it is encoded once more, often at another size. The truth is
the difference to the undamaged decode. Negatives: the same sequences where they are intact, encodes
from plain to coarse, look-alikes (mosaics, picture in picture, confetti, grain, credits, fast cuts,
flashes...), drawn pixel art and bricks; and crops of photographs and drawings, coded and in motion.
Damage is drawn onto half of the intact crops as they are fitted on
(`training/corruption/blocks.py`).

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

Whole frames, damage drawn with a seed that fitting never used. A frame counts as damaged where the
damage of one tile shows: where no intact picture of around that time explains what is seen
(`faults/visibility.py`). {damaged:,} of {frames:,} frames are; the others are intact, or
look-alikes of block corruption. {neither:,} frames more differ without showing it, or only stand:
they are left out.

| | frame AUC | baked in | tile AP | tile IoU at 0.5 |
| --- | --- | --- | --- | --- |
{compared}

FFmpeg's filters saw the same frames; each is given the direction that suits it.

| damage | frame AUC |
| --- | --- |
{groups}

| damaged area | frame AUC |
| --- | --- |
{areas}

## Ablations

Fitted with the same recipe, each without a part of the input or of the data. Without HEVC: nothing
that HEVC coded is fitted on, and its damage is new to the net.

| | frame AUC | baked in | damaged HEVC | tile AP |
| --- | --- | --- | --- | --- |
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


def write(note: dict[str, Any]) -> None:
    """Write the card from what a run noted."""
    found: dict[str, dict[str, Any]] = note["figures"]
    full = found[FULL]
    nets = [name for name, one in found.items() if not math.isnan(one["tile_ap"])]
    facts = {
        **note,
        "compared": "\n".join(
            f"| {'this net' if name == FULL else name} | {one['frame_auc']:.3f} | "
            f"{one['baked_auc']:.3f} | {_or_none(one['tile_ap'])} | {_or_none(one['tile_iou'])} |"
            for name, one in found.items()
            if name == FULL or name not in nets
        ),
        "groups": _rows(full["by_group"]),
        "areas": _rows(full["by_area"]),
        "ablations": "\n".join(
            f"| {name} | {one['frame_auc']:.3f} | {one['baked_auc']:.3f} | "
            f"{_or_none(one['by_codec'].get('hevc', math.nan))} | {one['tile_ap']:.3f} |"
            for name, one in found.items()
            if name in nets
        ),
        "calibration": "\n".join(
            f"| {head} | {one['before']:.3f} | {one['after']:.3f} | {one['temperature']:.2f} |"
            for head, one in note["calibration"].items()
        ),
        **{part: ", ".join(note[part]) for part in ("fitted", "calibrating", "unseen")},
    }
    CARD.write_text(_TEXT.format(**facts))


def _rows(values: dict[str, float]) -> str:
    return "\n".join(f"| {name} | {_or_none(value)} |" for name, value in values.items())


def _or_none(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
