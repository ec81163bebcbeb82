"""Data, net, evaluation, weights and model card: one command.

    python -m training.clicks [MEDIA...] [--steps N] [--batch N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` and
`python -m corpus.fetch --wide DIR` gather some). Everything is kept in the work folder: a run that
was interrupted goes on where it was. The sources are split by the hash of their names: those of the
development split are fitted on, the others are seen by the evaluation alone. What the detector asks
of the net is chosen by nets that are fitted without the sources that they judge.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from training.clicks import card, dataset
from training.clicks.evaluate import cross_fitted, figures, said_by
from training.clicks.net import ClickNet, save
from training.clicks.train import Recipe, fit
from training.run import fitted, parser
from training.sounds import both_splits


def main() -> None:
    """Do all that is not done yet."""
    command = parser(
        __doc__, "clicks", media="clean media", steps=1250, batch=(256, "impulses"),
        makes="make data",
    )  # fmt: skip
    command.add_argument("--per-source", type=int, default=40, help="clips of each kind and source")
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    to_fit, to_evaluate = both_splits(chosen, dataset.FORM, dataset.write, "impulses")
    if chosen.data_only:
        return
    examples, unseen = (dataset.Examples.read(made) for made in (to_fit, to_evaluate))
    recipe, device = Recipe(chosen.steps, chosen.batch), torch.device(chosen.device)

    def of_fold(fold: int, part: dataset.Examples) -> ClickNet:
        place = chosen.work / f"fold-{fold}.pt"
        return fit(part, recipe, place, device, lambda *_: None)

    others = cross_fitted(examples, of_fold)
    net, of_run = fitted(
        chosen, lambda told: fit(examples, recipe, chosen.work / "checkpoint.pt", device, told)
    )
    note: dict[str, Any] = of_run | {
        "impulses": len(examples.source) + len(unseen.source),
        "fitted": sorted(examples.hours),
        "hours": sum(examples.hours.values()),
        "unseen": sorted(unseen.hours),
        "hours_unseen": sum(unseen.hours.values()),
        "figures": figures(unseen, said_by(net, unseen)),
        "figures_crossed": figures(examples, others),
    }
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(net)
    card.write(note)
    print(card.table(note["figures_crossed"]), card.table(note["figures"]), sep="\n\n")


if __name__ == "__main__":
    main()
