"""The examples on disk: made by several processes, one file a draw, read through memory maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
from training.corruption.stills import stills
from training.corruption.synthesis import CLEAN, CROP, HIT, Example, examples

FORM = 5  # raise it when examples are made in another way
_TILES = CROP // TILE
_LUMA, _CHROMA, _LABELS = 2 * CROP * CROP, CROP * CROP // 2, 2 * _TILES * _TILES
_ROW = _LUMA + _CHROMA + _LABELS
_AT_ONCE = 1024  # examples that are copied
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
        jobs = [pool.submit(_write, clip, seed, draw, path) for clip, draw, path in missing]
        for n, job in enumerate(as_completed(jobs), 1):
            job.result()
            told(there + n, len(wanted))
    return [path for _, _, path in wanted if path.is_file()]


def make_stills(
    pictures: Mapping[str, Sequence[Path]], folder: Path, seed: int, count: int
) -> list[Path]:
    """Make the files of `stills` that are not there yet; returns all of them.

    Args:
        pictures: by source.
        folder: where the files are kept.
        seed: with the source, decides what is made.
        count: crops of each picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for source, files in sorted(pictures.items()):
        path = folder / f"stills-{source}-{seed}-{count}.npy"
        if not path.with_suffix(".json").is_file():
            drawn = int(hashlib.sha256(f"{source} {seed}".encode()).hexdigest()[:8], 16)
            made = list(stills(files, drawn, count))
            if made:
                np.save(path, np.stack([_flat(one) for one in made]))
            said = {"groups": [one.group for one in made], "codecs": [one.codecs for one in made]}
            path.with_suffix(".json").write_text(json.dumps(said) + "\n")
        paths.append(path)
    return [path for path in paths if path.is_file()]


def _write(clip: CleanClip, seed: int, draw: int, path: Path) -> None:
    """Write one file; the JSON beside it, which is written last, says that it is whole."""
    number = int(hashlib.sha256(f"{clip.id} {draw}".encode()).hexdigest()[:8], 16)
    try:
        made = list(examples(clip, seed, number))
        said: dict[str, object] = {
            "groups": [one.group for one in made],
            "codecs": [one.codecs for one in made],
        }
    except (FaultError, SourceError, ValueError, RuntimeError) as error:
        made, said = [], {"error": f"{type(error).__name__}: {error}"}
    if made:
        np.save(path, np.stack([_flat(one) for one in made]))
    path.with_suffix(".json").write_text(json.dumps(said) + "\n")


def _flat(one: Example) -> npt.NDArray[np.uint8]:
    return np.concatenate([one.luma.ravel(), one.chroma.ravel(), one.labels.ravel()])


class Examples:
    """All examples of some files, or those without what an ablation leaves out.

    Args:
        paths: files that `make` wrote.
        without: "baked" leaves out damage that was encoded once more, the name of a codec all that
            has gone through it.

    Attributes:
        groups: [N] what each is.
        hit: [N] whether a tile of it is corrupt.
        coarse: [N] whether a tile of it is coarse.
        intact: [N] whether no tile of it is corrupt, nor may be.
    """

    def __init__(self, paths: Sequence[Path], without: Collection[str] = ()) -> None:
        self._maps = [np.load(path, mmap_mode="r") for path in paths]
        self._starts = np.cumsum([0] + [len(one) for one in self._maps])
        self.groups: list[str] = []
        kept: list[int] = []
        for path in paths:
            said = json.loads(path.with_suffix(".json").read_text())
            for group, codecs in zip(said["groups"], said["codecs"], strict=True):
                if not _left_out(codecs, without):
                    kept.append(len(self.groups))
                self.groups.append(group)
        self._kept = np.array(kept, np.int64)
        self.groups = [self.groups[n] for n in kept]
        labels = np.concatenate([np.asarray(one[:, _LUMA + _CHROMA :]) for one in self._maps])
        both = labels[self._kept].reshape(len(self), 2, -1)
        self.hit, self.coarse = (both == HIT).any(axis=2).T
        self.intact = (both[:, 0] == CLEAN).all(axis=1)
        self._held: Tensor | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def hold(self, device: torch.device) -> None:
        """Copy all of them to the memory of a device, which then gives the batches."""
        self._held = torch.empty((len(self), _ROW), dtype=torch.uint8, device=device)
        for start in range(0, len(self), _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, len(self)))
            self._held[part.start : part.stop] = self._rows(part)

    def _rows(self, indices: Iterable[int]) -> Tensor:
        rows = []
        for n in self._kept[list(indices)]:
            which = int(np.searchsorted(self._starts, n, side="right")) - 1
            rows.append(np.asarray(self._maps[which][n - self._starts[which]]))
        return torch.from_numpy(np.stack(rows))

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Frames, frames before, colour, labels: uint8 [N, 1 or 2, ...] tensors."""
        if self._held is None:
            rows = self._rows(indices)
        else:
            rows = self._held[torch.as_tensor(list(indices), device=self._held.device)]
        luma = rows[:, :_LUMA].reshape(-1, 2, CROP, CROP)
        chroma = rows[:, _LUMA : _LUMA + _CHROMA].reshape(-1, 2, CROP // 2, CROP // 2)
        labels = rows[:, _LUMA + _CHROMA :].reshape(-1, 2, _TILES, _TILES)
        return luma[:, :1], luma[:, 1:], chroma, labels

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """All of them in order."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))))


def _left_out(codecs: Sequence[str], without: Collection[str]) -> bool:
    return ("baked" in without and len(codecs) > 1) or any(codec in without for codec in codecs)
