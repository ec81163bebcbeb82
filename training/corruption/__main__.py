"""Data, net, calibration, evaluation, weights and model card: one command.

    python -m training.corruption [MEDIA...] [--steps N] [--batch N] [--ablations]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` gathers some).
Everything is kept in the work folder: a run that was interrupted goes on where it was. The sources
are split by the hash of their names: most are fitted on, some of those only calibrate, and the rest
are seen by the evaluation alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import CleanClip, prepare
from corpus.sources import recipes, scan, split_of
from models.nets.corruption import CorruptionNet, save
from models.runtime import store_self_test
from training.corruption import card, dataset
from training.corruption.card import FULL
from training.corruption.evaluate import PEERS, evaluate, figures
from training.corruption.train import Recipe, calibrate, fit
from training.run import device_name, parser, progress, told_by

ROOT = Path(__file__).resolve().parent.parent.parent
_TEMPORAL = "temporal"
_ABLATIONS = ("without temporal", "without baked", "without hevc")
EVALUATION_SEED = 90_001  # of the damage on which figures are reported; fitting never draws it
_SEED = 1


def main() -> None:
    """Do all that is not done yet."""
    command = parser(
        __doc__, "corruption", media="clean media", steps=11_000,
        batch=(24, "crops, 256 on a GPU,"), makes="make data",
    )  # fmt: skip
    command.add_argument("--draws", type=int, default=3, help="encodes of each clip")
    command.add_argument("--per-source", type=int, default=8, help="clips of each kind and source")
    command.add_argument("--stills", type=int, default=14, help="crops of each photograph")
    command.add_argument(
        "--ablations",
        action="store_true",
        help="fit as well without the frame before, without damage that is baked in, without HEVC",
    )
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    media = chosen.media or [ROOT.parent / "shared/media"]
    clips = _clips(media, chosen)
    fitted = [c for c in clips if c.split == "dev" and not dataset.held_out(c.source)]
    calibrating = [c for c in clips if c.split == "dev" and dataset.held_out(c.source)]
    unseen = [c for c in clips if c.split == "test"]
    folder = chosen.work / f"examples-{CLIP_FORM}-{dataset.FORM}"
    with progress() as bar:
        to_fit, to_calibrate = (
            dataset.make(
                of, folder, _SEED, chosen.draws, workers=chosen.workers,
                told=told_by(bar, f"examples, {what}"),
            )
            for what, of in (("to fit", fitted), ("to calibrate", calibrating))
        )  # fmt: skip
        to_fit += dataset.make_stills(_pictures(media), folder, _SEED, chosen.stills)
    if chosen.data_only:
        return
    device = torch.device(chosen.device)
    started = time.monotonic()
    variants = (FULL, *_ABLATIONS) if chosen.ablations else (FULL,)
    nets = {name: _fitted(name, to_fit, chosen, device) for name in variants}
    minutes = (time.monotonic() - started) / 60 / len(nets)
    held_out = dataset.Examples(to_calibrate)
    calibration = {name: calibrate(net, held_out) for name, net in nets.items()}[FULL]
    with progress() as bar:
        scores = evaluate(
            nets, unseen, EVALUATION_SEED,
            device=device, workers=chosen.workers, told=told_by(bar, "evaluating"),
        )  # fmt: skip
    examples = dataset.Examples(to_fit)
    note: dict[str, Any] = {
        "device": device_name(device),
        "minutes": round(minutes, 1),
        "steps": chosen.steps,
        "batch": chosen.batch,
        "draws": chosen.draws,
        "per_source": chosen.per_source,
        "stills": chosen.stills,
        "examples": len(examples),
        "with_corrupt_tiles": int(examples.hit.sum()),
        "with_coarse_tiles": int(examples.coarse.sum()),
        "fitted": sorted({c.source for c in fitted}),
        "calibrating": sorted({c.source for c in calibrating}),
        "unseen": sorted({c.source for c in unseen}),
        "calibration": {head: asdict(one) for head, one in calibration.items()},
        "parameters": sum(p.numel() for p in nets[FULL].parameters()),
        "frames": len(scores.frames),
        "damaged": sum(1 for one in scores.frames if one.area),
        "neither": scores.neither,
        "figures": {name: asdict(figures(scores, name)) for name in (*nets, *PEERS)},
    }
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(nets[FULL])
    store_self_test()
    card.write(note)
    print(json.dumps(note["figures"][FULL], indent=1))


def _fitted(
    name: str, paths: list[Path], chosen: argparse.Namespace, device: torch.device
) -> CorruptionNet:
    """One net, with what its name says left out."""
    without = name.removeprefix("without ")
    recipe = Recipe(steps=chosen.steps, batch=chosen.batch, temporal=without != _TEMPORAL)
    with progress() as bar:
        task = bar.add_task(name, total=recipe.steps)

        def told(step: int, loss: float) -> None:
            bar.update(task, completed=step, description=f"fitting, {name}, loss {loss:.4f}")
            bar.console.print(f"{name}, step {step}: loss {loss:.4f}")

        checkpoint = chosen.work / f"checkpoint-{without.replace(' ', '-')}.pt"
        return fit(dataset.Examples(paths, [without]), recipe, checkpoint, device, told)


def _pictures(media: list[Path]) -> dict[str, list[Path]]:
    """The photographs and drawings of the sources that are fitted on."""
    found: dict[str, list[Path]] = defaultdict(list)
    for asset in scan(media):
        fitted = split_of(asset.source) == "dev" and not dataset.held_out(asset.source)
        if asset.kind == "photo" and fitted:
            found[asset.source].append(asset.path)
    return found


def _clips(media: list[Path], chosen: argparse.Namespace) -> list[CleanClip]:
    wanted = recipes(scan(media), _SEED, per_source=chosen.per_source)
    with progress() as bar:
        made, _ = prepare(
            [recipe for recipe in wanted if recipe.kind != "sound"],
            chosen.work / f"clean-{CLIP_FORM}",
            workers=chosen.workers,
            told=told_by(bar, "clean clips"),
        )
    return [clip for clip in made if clip.picture]


if __name__ == "__main__":
    main()
