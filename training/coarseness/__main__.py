"""Data, net, evaluation, weights and model card: one command.

    python -m training.coarseness [MEDIA...] [--steps N] [--batch N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` and
`python -m corpus.fetch --wide DIR` gather some). Everything is kept in the work folder: a run that
was interrupted goes on where it was. The sources are split by the hash of their names: those of the
development split are fitted on, the others are seen by the evaluation alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import prepare
from corpus.sources import recipes, scan, split_of
from models.nets.coarseness import save
from training.coarseness import card, dataset
from training.coarseness.evaluate import figures
from training.coarseness.train import Recipe, fit
from training.graphs import GRAPHS
from training.run import fitted, parser, progress, told_by

ROOT = Path(__file__).resolve().parent.parent.parent
_SEED, _EVALUATION_SEED = 1, 90_001


def main() -> None:
    """Do all that is not done yet."""
    command = parser(
        __doc__, "coarseness", media="clean media", steps=20_000, batch=(128, "crops"),
        makes="make data",
    )  # fmt: skip
    command.add_argument("--per-source", type=int, default=10, help="clips of each kind and source")
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    assets = scan(chosen.media or [ROOT.parent / "shared/media"])
    wanted = [r for r in recipes(assets, _SEED, per_source=chosen.per_source) if r.kind != "sound"]
    pictures: dict[str, dict[str, list[Path]]] = {"dev": {}, "test": {}}
    for asset in assets:
        if asset.kind == "photo":
            pictures[split_of(asset.source)].setdefault(asset.source, []).append(asset.path)
    with progress() as bar:
        clean, _ = prepare(
            wanted,
            chosen.work / f"clean-{CLIP_FORM}",
            workers=chosen.workers,
            told=told_by(bar, "clean clips"),
        )
        made = {
            split: dataset.make(
                [clip for clip in clean if clip.picture and clip.split == split],
                pictures[split],
                chosen.work / f"examples-{CLIP_FORM}-{dataset.FORM}",
                seed,
                workers=chosen.workers,
                told=told_by(bar, f"crops, {what}"),
            )
            for split, seed, what in (
                ("dev", _SEED, "to fit"),
                ("test", _EVALUATION_SEED, "to evaluate"),
            )
        }
    if chosen.data_only:
        return
    examples, unseen = (dataset.Examples.read(made[split]) for split in ("dev", "test"))
    recipe, checkpoint = Recipe(chosen.steps, chosen.batch), chosen.work / "checkpoint.pt"
    device = torch.device(chosen.device)
    net, of_run = fitted(chosen, lambda told: fit(examples, recipe, checkpoint, device, told))
    note: dict[str, Any] = of_run | {
        "crops": len(examples.qp),
        "windows": len(examples.source),
        "fitted": sorted(set(examples.source)),
        "unseen": sorted(set(unseen.source)),
        "figures": figures(net, unseen),
        "figures_fitted": figures(net, examples),
    }
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(net)
    GRAPHS["coarseness"].write()
    card.write(note)
    print(json.dumps(note["figures"], indent=1))


if __name__ == "__main__":
    main()
