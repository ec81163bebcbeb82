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
from pathlib import Path
from typing import Any

import torch

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import prepare
from corpus.sources import recipes, scan, split_of
from training.clicks import card, dataset
from training.clicks.evaluate import cross_fitted, figures, said_by
from training.clicks.net import ClickNet, save
from training.clicks.train import Recipe, fit
from training.run import fitted, parser, progress, told_by

ROOT = Path(__file__).resolve().parent.parent.parent
_SEED, _EVALUATION_SEED = 1, 90_001
_WITH_SOUND = ("sound", "talk")


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
    assets = scan(chosen.media or [ROOT.parent / "shared/media"])
    wanted = [
        r for r in recipes(assets, _SEED, per_source=chosen.per_source) if r.kind in _WITH_SOUND
    ]
    with progress() as bar:
        clean, _ = prepare(
            wanted,
            chosen.work / f"clean-{CLIP_FORM}",
            workers=chosen.workers,
            told=told_by(bar, "clean clips"),
        )
        made = {
            split: dataset.make(
                [clip for clip in clean if clip.sound and split_of(clip.sound_source) == split],
                chosen.work / f"examples-{CLIP_FORM}-{dataset.FORM}",
                seed,
                workers=chosen.workers,
                told=told_by(bar, f"impulses, {what}"),
            )
            for split, seed, what in (
                ("dev", _SEED, "to fit"),
                ("test", _EVALUATION_SEED, "to evaluate"),
            )
        }
    if chosen.data_only:
        return
    examples, unseen = (dataset.Examples.read(made[split]) for split in ("dev", "test"))
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
