"""Data, nets, evaluation, weights and model card: one command.

    python -m training.dropped [MEDIA...] [--steps N] [--batch N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` gathers some).
Everything is kept in the work folder: a run that was interrupted goes on where it was. Only sources
of the development split are used: the figures are of nets that were fitted without the source that
they judge, and so is the detector's limit chosen. `fold-N` in the work folder are these nets.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import prepare
from corpus.sources import recipes, scan, split_of
from training import run
from training.dropped import card, dataset
from training.dropped.evaluate import cross_fitted, figures
from training.dropped.train import Recipe, fit, save
from training.sounds import ROOT

_SEED = 1


def main() -> None:
    """Do all that is not done yet."""
    command = run.parser(
        __doc__, "dropped", media="clean media", steps=600, batch=(512, "candidates"),
        makes="make data", threads=1,
    )  # fmt: skip
    command.add_argument("--alike", type=int, default=1, help="files of each look-alike")
    command.add_argument("--others", type=int, default=1, help="files of each other fault")
    chosen = command.parse_args()
    torch.set_num_threads(chosen.threads)
    assets = scan(chosen.media or [ROOT.parent / "shared/media"])
    wanted = [
        recipe
        for recipe in recipes(assets, _SEED)
        if recipe.pictures and recipe.kind != "talk" and split_of(recipe.source) == "dev"
    ]
    with run.progress() as bar:
        clean, _ = prepare(
            wanted,
            chosen.work / f"clean-{CLIP_FORM}",
            workers=chosen.workers,
            told=run.told_by(bar, "clean clips"),
        )
        made = dataset.make(
            dataset.jobs(clean, _SEED, chosen.alike, chosen.others),
            chosen.work / f"examples-{CLIP_FORM}-{dataset.FORM}",
            workers=chosen.workers,
            told=run.told_by(bar, "candidates"),
        )
    if chosen.data_only:
        return
    examples = dataset.Examples.read(made)
    recipe, device = Recipe(chosen.steps, chosen.batch), torch.device(chosen.device)
    said = cross_fitted(examples, recipe, chosen.work, device)
    chosen.per_source = 0
    nets, of_run = run.fitted(
        chosen, lambda told: fit(examples, recipe, chosen.work / "all.pt", device, told)
    )
    note: dict[str, Any] = of_run | {
        "alike": chosen.alike,
        "others": chosen.others,
        "candidates": int((examples.missing == 0).sum()),
        "joins": int((examples.missing > 0).sum()),
        "fitted": sorted(set(examples.source.tolist())),
        "figures": figures(examples, said),
    }
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(nets)
    card.write(note)
    print(card.table(note["figures"]))


if __name__ == "__main__":
    main()
