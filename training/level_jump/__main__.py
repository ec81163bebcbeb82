"""Data, nets, evaluation, weights and model card: one command.

    python -m training.level_jump [MEDIA...] [--steps N] [--batch N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` and
`python -m corpus.fetch --wide DIR` gather some). Everything is kept in the work folder: a run that
was interrupted goes on where it was. The sources are split by the hash of their names: those of the
development split are fitted on, the others are seen by the evaluation alone. The second net learns
from what the first one says of sources that it has not heard, so that one is fitted to either half
of the sources as well; `half-0` and `half-1` in the work folder are both nets of these, with which
the detector's limits are chosen.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from training import run
from training.halves import half_of
from training.level_jump import card, dataset
from training.level_jump.dataset import Scenes
from training.level_jump.evaluate import figures
from training.level_jump.train import Recipe, fit_pairs, fit_steps, gathered, save
from training.sounds import both_splits


def main() -> None:
    """Do all that is not done yet."""
    command = run.parser(
        __doc__, "level_jump", media="clean media", steps=2500, batch=(32, "scenes"),
        makes="make data",
    )  # fmt: skip
    command.add_argument("--per-source", type=int, default=24, help="clips of each kind and source")
    command.add_argument("--scenes", type=int, default=8000, help="for the second net, a half")
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    to_fit, to_evaluate = both_splits(chosen, dataset.FORM, dataset.write, "levels")
    if chosen.data_only:
        return
    recipe = Recipe(chosen.steps, chosen.batch)
    device, work = torch.device(chosen.device), chosen.work
    halves = [Scenes([one for one in to_fit if half_of(one[0]) == half]) for half in (0, 1)]

    def stepping(scenes: Scenes, name: str) -> tuple[Any, dict[str, Any]]:
        checkpoint = work / f"{name}.pt"
        return run.fitted(chosen, lambda told: fit_steps(scenes, recipe, checkpoint, device, told))

    others = [stepping(halves[1 - half], f"without-{half}")[0] for half in (0, 1)]
    with run.progress() as bar:
        pairs = [
            gathered(
                halves[half],
                others[half],
                chosen.scenes,
                recipe.seed,
                run.told_by(bar, f"pairs of half {half}"),
            )
            for half in (0, 1)
        ]
    for half in (0, 1):  # neither net of these has heard the half
        save(others[half], fit_pairs([pairs[1 - half]], recipe), work / f"half-{half}.safetensors")
    net, of_run = stepping(Scenes(to_fit), "all")
    both = fit_pairs(pairs, recipe)
    unseen = Scenes(to_evaluate)
    note: dict[str, Any] = of_run | {
        "scenes": chosen.scenes,
        "parameters": of_run["parameters"] + sum(p.numel() for p in both.parameters()),
        "fitted": sorted({source for source, _ in to_fit}),
        "unseen": sorted({source for source, _ in to_evaluate}),
        "figures": figures(net, both, unseen),
        "figures_fitted": figures(net, both, Scenes(to_fit)),
    }
    (work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(net, both)
    card.write(note)
    print(json.dumps(note["figures"], indent=1))


if __name__ == "__main__":
    main()
