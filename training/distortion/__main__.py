"""Data, net, evaluation, weights and model card: one command.

    python -m training.distortion [MEDIA...] [--steps N] [--batch N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` and
`python -m corpus.fetch --wide DIR` gather some). Everything is kept in the work folder: a run that
was interrupted goes on where it was. The sources are split by the hash of their names: those of the
development split are fitted on, the others are seen by the evaluation alone.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from training.distortion import card, dataset
from training.distortion.evaluate import figures
from training.distortion.net import save
from training.distortion.train import Recipe, fit
from training.run import fitted, parser
from training.sounds import both_splits


def main() -> None:
    """Do all that is not done yet."""
    command = parser(
        __doc__, "distortion", media="clean media", steps=1000, batch=(64, "stretches"),
        makes="make data",
    )  # fmt: skip
    command.add_argument("--per-source", type=int, default=40, help="clips of each kind and source")
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    to_fit, to_evaluate = both_splits(chosen, dataset.FORM, dataset.write, "stretches")
    if chosen.data_only:
        return
    examples, unseen = (dataset.Examples.read(made) for made in (to_fit, to_evaluate))
    recipe, checkpoint = Recipe(chosen.steps, chosen.batch), chosen.work / "checkpoint.pt"
    device = torch.device(chosen.device)
    net, of_run = fitted(chosen, lambda told: fit(examples, recipe, checkpoint, device, told))
    note: dict[str, Any] = of_run | {
        "stretches": len(examples.source) + len(unseen.source),
        "fitted": sorted(set(examples.source)),
        "unseen": sorted(set(unseen.source)),
        "figures": figures(net, unseen),
        "figures_fitted": figures(net, examples),
    }
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(net)
    card.write(note)
    print(json.dumps(note["figures"], indent=1))


if __name__ == "__main__":
    main()
