"""Clean sound of both splits and the examples that are made of it: what nets of sound share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import CleanClip, prepare
from corpus.sources import Split, recipes, scan, split_of
from training import run

ROOT = Path(__file__).resolve().parent.parent
_SEED, _EVALUATION_SEED = 1, 90_001
_WITH_SOUND = ("sound", "talk")

# Writes the examples of a clip: its name and file, the files of all clips of its split, a seed, and
# the path, beside which a JSON is written last
Write = Callable[[str, Path, tuple[Path, ...], int, Path], None]
Made = list[tuple[str, Path]]  # files of examples, each with the name of its source


def both_splits(
    chosen: argparse.Namespace, form: int, write: Write, what: str
) -> tuple[Made, Made]:
    """Make all that is not there yet, with a bar.

    Args:
        chosen: what was asked of `run.parser`, and `per_source`.
        form: of the examples; another one is made anew.
        write: makes a file of them; of a module, so that another process knows it.
        what: is made, in the plural.

    Returns:
        Of the development split, which nets are fitted on, and of the test split, which they are
        evaluated on.
    """
    return (
        of_split("dev", chosen, form, write, f"{what}, to fit", seed=_SEED),
        of_split("test", chosen, form, write, f"{what}, to evaluate", seed=_EVALUATION_SEED),
    )


def of_split(
    split: Split,
    chosen: argparse.Namespace,
    form: int,
    write: Write,
    what: str,
    seed: int = _SEED,
    kinds: Sequence[str] = _WITH_SOUND,
) -> Made:
    """The same of one split alone; `seed` decides, with the clips, what is made.

    Of these kinds of clips: long ones of speakers are among them unless it is said otherwise.
    """
    assets = scan(chosen.media or [ROOT.parent / "shared/media"])
    wanted = [
        recipe
        for recipe in recipes(assets, _SEED, per_source=chosen.per_source)
        if recipe.kind in kinds and split_of(recipe.sound_source) == split
    ]
    with run.progress() as bar:
        clean, _ = prepare(
            wanted,
            chosen.work / f"clean-{CLIP_FORM}",
            workers=chosen.workers,
            told=run.told_by(bar, "clean clips"),
        )
        return make(
            [clip for clip in clean if clip.sound],
            chosen.work / f"examples-{CLIP_FORM}-{form}",
            seed,
            write,
            workers=chosen.workers,
            told=run.told_by(bar, what),
        )


def make(
    clips: Sequence[CleanClip],
    folder: Path,
    seed: int,
    write: Write,
    *,
    workers: int,
    told: Callable[[int, int], None],
) -> Made:
    """Make the files that are not there yet; returns all of them with their sources.

    Args:
        clips: clean clips with sound, of one split.
        folder: where the files are kept.
        seed: with the clip, decides what is made.
        write: makes one.
        workers: processes.
        told: is called with the number of files that are there and of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(Path(clip.file) for clip in clips)
    wanted = [(clip, folder / f"{clip.id}-{seed}.npz") for clip in clips]
    run.make_files(
        [(path, (clip.id, Path(clip.file), files, seed)) for clip, path in wanted],
        write,
        workers=workers,
        told=told,
    )
    return [(clip.sound_source, path) for clip, path in wanted if path.is_file()]
