"""The examples on disk: made by several processes, one file a draw, read through memory maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from corpus.clips import CleanClip
from faults.base import FaultError
from faults.truth import TILE
from pipeline.errors import SourceError
from training.corruption.synthesis import CROP, HIT, Example, Options, examples

FORM = 2  # raise it when examples are made in another way
_TILES = CROP // TILE
_LUMA, _CHROMA, _LABELS = 2 * CROP * CROP, CROP * CROP // 2, 2 * _TILES * _TILES
_ROW = _LUMA + _CHROMA + _LABELS
HELD_OUT = 15  # percent of the development sources that only choose and calibrate


def held_out(source: str) -> bool:
    """Whether a development source is kept from training, to calibrate on."""
    value = int(hashlib.sha256(f"held out {source}".encode()).hexdigest()[:8], 16) % 100
    return value < HELD_OUT


def make(
    clips: Sequence[CleanClip],
    folder: Path,
    seed: int,
    draws: int,
    options: Options,
    *,
    workers: int,
    told: Callable[[int, int], None],
) -> list[Path]:
    """Make the files that are not there yet, `draws` of each clip; returns all of them.

    Args:
        clips: clean clips.
        folder: where the files are kept.
        seed: with the clip and the number of the draw, decides what is made.
        draws: of each clip.
        options: what is left out.
        workers: processes.
        told: is called with the number of files that are there and of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        (clip, draw, folder / f"{clip.id}-{seed}-{draw}.npy")
        for draw in range(draws)
        for clip in clips
    ]
    missing = [job for job in wanted if not job[2].with_suffix(".json").is_file()]
    there = len(wanted) - len(missing)
    told(there, len(wanted))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(_write, clip, seed, draw, options, path) for clip, draw, path in missing
        ]
        for n, job in enumerate(as_completed(jobs), 1):
            job.result()
            told(there + n, len(wanted))
    return [path for _, _, path in wanted if path.is_file()]


def _write(clip: CleanClip, seed: int, draw: int, options: Options, path: Path) -> None:
    """Write one file; the JSON beside it, which is written last, says that it is whole."""
    number = int(hashlib.sha256(f"{clip.id} {draw}".encode()).hexdigest()[:8], 16)
    try:
        made = list(examples(clip, seed, number, options))
        said: dict[str, object] = {"groups": [one.group for one in made], "source": clip.source}
    except (FaultError, SourceError, ValueError, RuntimeError) as error:
        made, said = [], {"groups": [], "error": f"{type(error).__name__}: {error}"}
    if made:
        np.save(path, np.stack([_flat(one) for one in made]))
    path.with_suffix(".json").write_text(json.dumps(said) + "\n")


def _flat(one: Example) -> npt.NDArray[np.uint8]:
    return np.concatenate([one.luma.ravel(), one.chroma.ravel(), one.labels.ravel()])


class Examples:
    """All examples of some files.

    Attributes:
        groups: [N] what each is.
        hit: [N] whether a tile of it is corrupt.
        coarse: [N] whether a tile of it is coarse.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._maps = [np.load(path, mmap_mode="r") for path in paths]
        self._starts = np.cumsum([0] + [len(one) for one in self._maps])
        self.groups: list[str] = []
        for path in paths:
            self.groups += json.loads(path.with_suffix(".json").read_text())["groups"]
        labels = [np.asarray(one[:, _LUMA + _CHROMA :]) for one in self._maps]
        both = np.concatenate(labels).reshape(len(self), 2, -1)
        self.hit, self.coarse = (both == HIT).any(axis=2).T

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, n: int) -> npt.NDArray[np.uint8]:
        """One example as bytes."""
        which = int(np.searchsorted(self._starts, n, side="right")) - 1
        return np.asarray(self._maps[which][n - self._starts[which]])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Frames, frames before, colour, labels: uint8 [N, 1 or 2, ...] tensors."""
        rows = np.stack([self.row(n) for n in indices])
        luma = torch.from_numpy(rows[:, :_LUMA].reshape(-1, 2, CROP, CROP))
        chroma = rows[:, _LUMA : _LUMA + _CHROMA].reshape(-1, 2, CROP // 2, CROP // 2)
        labels = rows[:, _LUMA + _CHROMA :].reshape(-1, 2, _TILES, _TILES)
        return luma[:, :1], luma[:, 1:], torch.from_numpy(chroma), torch.from_numpy(labels)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """All of them in order."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))))
