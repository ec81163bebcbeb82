"""Prepare mouths and sound, fit, cross-validate, and write the weights and their card.

    python -m training.sync MEDIA... [--steps N] [--folds N] [--held-out GROUP,...]

MEDIA are folders with a CATALOG.tsv whose kind `faces` names people who speak (see
corpus/sources.py); its groups are speakers, or corpora whose speakers are not named. With folds
every group is tested once by a net that was fitted without it, and the weights are those of a last
net that has seen all; with groups held out, one net is fitted without them and tested on them, and
no weights are written. What is done is kept in the work folder: the same command goes on where it
was interrupted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus.sources import GENERATED, scan
from models.nets.sync import SyncNet, save
from pipeline.detectors.lags import MOST
from training.graphs import GRAPHS
from training.run import device_name, parser, progress, told_by
from training.sync import card, dataset
from training.sync.calibrate import across, calibrate, read_all
from training.sync.dataset import Take
from training.sync.evaluate import GroupTrials, evaluate
from training.sync.train import Recipe, fit_several

ROOT = Path(__file__).resolve().parent.parent.parent
EVALUATION_SEED = 20_261
NEAR = 25  # lags either way: 1 s, for the table that others can be compared with


def main() -> None:
    """All of it."""
    command = parser(
        __doc__, "sync", media="clips of people speaking", steps=1000,
        batch=(32, "chunks of 1.1 s"), makes="look for mouths", threads=1,
    )  # fmt: skip
    command.add_argument("--folds", type=int, default=4, help="of the cross-validation; 0: none")
    command.add_argument("--held-out", default="", help="groups with commas between, not fitted on")
    command.add_argument("--at-once", type=int, default=1, help="nets fitted beside each other")
    chosen = command.parse_args()
    torch.set_num_threads(chosen.threads)
    assets = [a for a in scan(chosen.media or [ROOT.parent / "shared/media"]) if a.kind == "face"]
    with progress() as bar:
        paths = dataset.prepare(
            assets, chosen.work, workers=chosen.workers, told=told_by(bar, "mouths")
        )
    if not paths:
        command.error("no clip of these folders shows a face that speaks")
    if chosen.data_only:
        return
    takes = [dataset.read(path) for path in paths]
    if chosen.held_out:
        held = set(chosen.held_out.split(","))
        if unknown := held - {take.group for take in takes}:
            command.error(f"no such group: {', '.join(sorted(unknown))}")
        net = _fitted({"held-out": held}, paths, chosen)["held-out"]
        tested = _tested(net, takes, held)
        print(card.table(read_all(tested, calibrate(tested, MOST), MOST)))
        return
    started = time.monotonic()
    without = {f"fold-{n + 1}": held for n, held in enumerate(folds(takes, chosen.folds))}
    nets = _fitted({**without, "all": set()}, paths, chosen)
    minutes = (time.monotonic() - started) / 60
    found: dict[str, GroupTrials] = {}
    for name, held in without.items():
        found.update(_tested(nets[name], takes, held))
    calibration = calibrate(found, MOST)
    near, wide = (across(found, without.values(), most) for most in (NEAR, MOST))
    print(card.table(near))
    save(nets["all"], calibration)
    GRAPHS["sync"].write()
    note: dict[str, Any] = {
        "device": device_name(torch.device(chosen.device)),
        "minutes": round(minutes, 1),
        "steps": chosen.steps,
        "batch": chosen.batch,
        "folds": chosen.folds,
        "takes": len(takes),
        "seconds": round(sum(len(take.mouth) for take in takes) / 25),
        "groups": dict(Counter(take.group for take in takes)),
        "generated": list(GENERATED),
    }
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    card.write(note, found, near, wide, calibration)


def folds(takes: Sequence[Take], count: int) -> list[set[str]]:
    """The groups, divided so that the largest are not together; generated heads are in none."""
    sizes = Counter(take.group for take in takes if take.source not in GENERATED)
    made: list[set[str]] = [set() for _ in range(min(count, len(sizes)))]
    load = np.zeros(len(made))
    for group, size in sizes.most_common():
        least = int(np.argmin(load))
        made[least].add(group)
        load[least] += size
    return made


def _tested(net: SyncNet, takes: Sequence[Take], held: set[str]) -> dict[str, GroupTrials]:
    own = [take for take in takes if take.group in held]
    return evaluate(net, own, EVALUATION_SEED)


def _fitted(
    without: Mapping[str, set[str]], paths: Sequence[Path], chosen: argparse.Namespace
) -> dict[str, SyncNet]:
    recipe = Recipe(steps=chosen.steps, batch=chosen.batch)
    return fit_several(
        without, paths, recipe, chosen.work,
        device=chosen.device, at_once=chosen.at_once, threads=chosen.threads,
    )  # fmt: skip


if __name__ == "__main__":
    main()
