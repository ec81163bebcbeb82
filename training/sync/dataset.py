"""Mouths and their sound, from clips of people who speak: found once, kept in a work folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch

from corpus.sounds import resampled
from corpus.sources import Asset
from faults.media import Clean, Picture
from models.faces import FaceFinder
from models.mouths import RATE, cut_out, follow
from models.sync import SAMPLE_RATE
from pipeline.errors import SourceError

FORM = 1  # raise it when clips are prepared in another way
_EVERY = 5  # frames between two looks for faces
_LONG_SIDE, _CLOSE = 416, 192  # samples that the finder sees; of clips that a face fills
_CLOSE_FRAME = 400  # lines of a frame at most that is taken for such a clip
SHORTEST = 0.8  # seconds

# A corpus whose sound is off as a whole, in ms, positive: sound late. Measured by a net that was
# fitted without it (shared/research: sync-experiment); taken out before fitting.
KNOWN_DELAY = {
    "Essa-Ramzy+Arabic-Lip-Reading": 40.0,
    "OpenTalker+SadTalker": 40.0,
    "filyp+mcgurk_task": -60.0,
    "skymanaditya1+LipReadingQuiz": 110.0,
}


@dataclass(frozen=True)
class Take:
    """One mouth and its sound.

    Attributes:
        name: of the file.
        group: whose: a speaker, or a corpus whose speakers are not named.
        source: the corpus.
        mouth: [T, SIDE, SIDE] uint8, at 25 per second from the start of the presentation.
        sound: [N] int16 at 16 kHz, from the same start.
        face: size of the face in samples of the frame.
    """

    name: str
    group: str
    source: str
    mouth: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.int16]
    face: float


def prepare(
    assets: Sequence[Asset],
    work: Path,
    *,
    workers: int,
    told: Callable[[int, int], None],
) -> list[Path]:
    """Find the mouths of clips that are not prepared yet; one file each.

    Clips without a face that is seen throughout, or without sound, give none.
    """
    folder = work / f"mouths-{FORM}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(asset, folder / f"{_id(asset)}.npz") for asset in assets]
    missing = [job for job in wanted if not _done(job[1])]
    told(len(wanted) - len(missing), len(wanted))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_write, asset, path) for asset, path in missing]
        for n, job in enumerate(as_completed(jobs), 1):
            job.result()
            told(len(wanted) - len(missing) + n, len(wanted))
    return [path for _, path in wanted if path.is_file()]


def _id(asset: Asset) -> str:
    return hashlib.sha256(f"{asset.source} {asset.name}".encode()).hexdigest()[:16]


def _done(path: Path) -> bool:
    return path.is_file() or path.with_suffix(".none").is_file()


def _write(asset: Asset, path: Path) -> None:
    torch.set_num_threads(1)
    try:
        take = take_of(asset)
    except (SourceError, av.FFmpegError, ValueError) as error:
        path.with_suffix(".none").write_text(f"{asset.name}: {type(error).__name__}: {error}\n")
        return
    half_written = path.with_suffix(".part.npz")
    np.savez(half_written, **vars(take))
    half_written.rename(path)


def read(path: Path) -> Take:
    """A take that `prepare` wrote."""
    with np.load(path) as stored:
        return Take(
            str(stored["name"]), str(stored["group"]), str(stored["source"]),
            stored["mouth"], stored["sound"], float(stored["face"]),
        )  # fmt: skip


def take_of(asset: Asset) -> Take:
    """The mouth of a clip's largest face.

    Raises:
        SourceError, ValueError: it has no sound, or no face that is seen throughout.
    """
    clean = Clean(asset.path)
    if not clean.has_picture or not clean.has_sound:
        raise ValueError("it lacks picture or sound")
    pictures = at_rate(list(clean.pictures()))
    if len(pictures) < SHORTEST * RATE:
        raise ValueError(f"{len(pictures) / RATE:.1f} s of picture")
    finder = _finder(_CLOSE if pictures[0].luma.shape[0] <= _CLOSE_FRAME else _LONG_SIDE)
    looks = sorted({*range(0, len(pictures), _EVERY), len(pictures) - 1})
    found = finder.find([(p.luma, p.cb, p.cr) for p in (pictures[n] for n in looks)])
    paths = follow(dict(zip(looks, found, strict=True)))
    whole = [path for path in paths if len(path.centres) >= 0.9 * len(pictures)]
    if not whole:
        raise ValueError("no face is seen throughout")
    path = whole[0]
    shown = pictures[path.first : path.first + len(path.centres)]
    mouth = np.stack(
        [cut_out(p.luma, c, path.side) for p, c in zip(shown, path.centres, strict=True)]
    )
    sound = resampled(clean.sound.mean(axis=0, keepdims=True), clean.sample_rate, SAMPLE_RATE)[0]
    start = round(path.first / RATE * SAMPLE_RATE)
    count = round(len(mouth) / RATE * SAMPLE_RATE)
    sound = np.pad(sound[start : start + count], (0, max(0, start + count - len(sound))))
    return Take(
        asset.name,
        asset.group,
        asset.source,
        mouth,
        (sound.clip(-1, 1) * 32767).astype(np.int16),
        path.face,
    )


def at_rate(pictures: Sequence[Picture]) -> list[Picture]:
    """At 25 per second by the nearest PTS, from the start of the presentation."""
    times = np.array([picture.time for picture in pictures])
    count = int(np.floor((times[-1] + 0.5 / RATE) * RATE)) + 1
    wanted = np.arange(count) / RATE
    after = np.searchsorted(times, wanted).clip(1, len(times) - 1) if len(times) > 1 else wanted * 0
    after = after.astype(np.intp)
    if len(times) > 1:
        nearer = wanted - times[after - 1] <= times[after] - wanted
        after = after - nearer
    return [pictures[n] for n in after]


_finders: dict[int, FaceFinder] = {}


def _finder(long_side: int) -> FaceFinder:
    """One of each size in a process."""
    if long_side not in _finders:
        _finders[long_side] = FaceFinder("cpu", long_side=long_side)
    return _finders[long_side]
