"""Data, net and weights: one command.

    python -m training.mends [MEDIA...] [--steps N] [--batch N] [--draws N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` gathers some).
Everything is kept in the work folder: a run that was interrupted goes on where it was. Only sources
of the development split are used, without those that only judge: see JUDGING.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import CleanClip, prepare
from corpus.sources import recipes, scan, split_of
from faults.base import FaultError
from models.nets.mends import save
from pipeline.errors import SourceError
from training import run
from training.corruption.dataset import held_out
from training.graphs import GRAPHS
from training.mends.synthesis import pairs
from training.mends.train import Pairs, Recipe, fit

ROOT = Path(__file__).resolve().parent.parent.parent
JUDGING = ("facebookresearch+co-tracker", "open-mmlab+mmaction2")  # besides those `held_out`
_SEED = 1


def main() -> None:
    """Do all that is not done yet."""
    command = run.parser(
        __doc__, "mends", media="clean media", steps=4500, batch=(16, "crops"), makes="make data",
    )  # fmt: skip
    command.add_argument("--draws", type=int, default=6, help="encodes of each clip")
    command.add_argument("--per-source", type=int, default=6, help="clips of each kind and source")
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    media = chosen.media or [ROOT.parent / "shared/media"]
    wanted = [
        one for one in recipes(scan(media), _SEED, per_source=chosen.per_source)
        if one.kind not in ("sound", "talk") and split_of(one.source) == "dev"
        and not held_out(one.source) and one.source not in JUDGING
    ]  # fmt: skip
    folder = chosen.work / f"pairs-{CLIP_FORM}"
    folder.mkdir(parents=True, exist_ok=True)
    with run.progress() as bar:
        clips, _ = prepare(
            wanted, chosen.work / f"clean-{CLIP_FORM}", workers=chosen.workers,
            told=run.told_by(bar, "clean clips"),
        )  # fmt: skip
        jobs = [
            (folder / f"{clip.id}-{draw}.npz", (clip, draw))
            for draw in range(chosen.draws)
            for clip in clips
        ]
        run.make_files(jobs, write, workers=chosen.workers, told=run.told_by(bar, "pairs"))
    if chosen.data_only:
        return
    paths = [path for path, _ in jobs if path.is_file()]
    recipe = Recipe(steps=chosen.steps, batch=chosen.batch, rate=1.2e-3, decay=0.02)
    net, note = run.fitted(
        chosen, lambda told: fit(Pairs(paths), recipe, chosen.work / "checkpoint.pt", told)
    )
    note["fitted"] = sorted({clip.source for clip in clips})
    (chosen.work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    save(net)
    GRAPHS["mends"].write()


def write(clip: CleanClip, draw: int, path: Path) -> None:
    """Write the pairs of a draw; the JSON beside them, written last, says that they are whole."""
    number = int(hashlib.sha256(f"{clip.id} {draw}".encode()).hexdigest()[:8], 16)
    said: dict[str, object] = {"source": clip.source}
    try:
        made = list(pairs(clip, _SEED, number))
    except (FaultError, SourceError, ValueError, RuntimeError) as error:
        made, said["error"] = [], f"{type(error).__name__}: {error}"
    if made:
        np.savez(
            path,
            luma=np.stack([one.luma for one in made]),
            chroma=np.stack([one.chroma for one in made]),
            labels=np.stack([one.labels for one in made]),
            what=np.array([one.what for one in made]),
        )
    path.with_suffix(".json").write_text(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
