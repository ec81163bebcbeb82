"""Crops of the same places, fine and coarsely quantised by real encoders.

A clip is cut into short windows; each is coded with several codecs and quantisers, some of them at
a smaller size and scaled up after, and most are encoded once more at a usual quality, as what is
delivered is. Photographs and drawings, scaled down until nothing is left of their own coding, move
a little and go the same way: only they are known to be fine. Some windows have grain, or small
things drawn over them, before they are coded: those are content.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from corpus.clips import CleanClip
from faults.base import FaultError
from faults.media import Clean, Picture
from faults.recode import recode
from models.coarseness import CROP, FINEST
from pipeline.errors import SourceError
from training import run

FORM = 3  # raise it when examples are made in another way
UNKNOWN = -1.0  # quantiser of what was coded somehow before it came to us
WAYS = 3  # as it was, and coarse in two ways: rows of a file that follow each other
CODERS = {"x264": 0.3, "x264_deblocked": 0.3, "mpeg2video": 0.15, "mjpeg": 0.1, "libx265": 0.15}
_QP = (24.0, 50.0)
_SCALED, _RATIOS = 0.35, (0.75, 2 / 3, 0.5)  # chance, and the size that is coded
_AGAIN = 0.85  # chance of being encoded once more, as what is delivered is
_AS_H264, _CRF, _CRF_HEVC = 0.75, (14, 28), (22, 29)  # share of H.264 in that, and qualities
_DRAWN, _GRAINY = 0.15, 0.15  # chances of small things over the picture, and of grain
_WINDOWS, _LENGTHS = 8, (4, 12, 25)  # of a clip, and frames of each
_FRAMES, _CROPS = 3, 8  # of a window that are taken, and crops of each
_SIDE, _ROOM = 256, 40  # samples of a picture in motion, and around it
_SHRUNK = 1.8  # times; then nothing is left of a photograph's own coding
_STILLS, _PER_STILL = 30, 3  # pictures of each source, and windows of each
_Window = tuple[npt.NDArray[np.uint8], list[float]]  # crops and their quantisers
_LEAST = 300  # samples of the shorter side of a picture


@dataclass(frozen=True)
class Examples:
    """All crops of some files.

    Attributes:
        crops: uint8 [N, 64, 64].
        qp: [N] quantiser on the scale of H.264; UNKNOWN where it was left as it came.
        window: [N] number of the window; its rows are WAYS in turn of each place.
        source: of each window.
    """

    crops: npt.NDArray[np.uint8]
    qp: npt.NDArray[np.float32]
    window: npt.NDArray[np.int64]
    source: list[str]

    @classmethod
    def read(cls, paths: Sequence[tuple[str, Path]]) -> Examples:
        """Of files, each with the name of its source."""
        crops, qp, window = [], [], []
        source: list[str] = []
        for name, path in paths:
            with np.load(path) as held:
                crops.append(held["crops"])
                qp.append(held["qp"])
                window.append(held["window"] + len(source))
                source += [name] * (int(held["window"].max()) + 1)
        return cls(np.concatenate(crops), np.concatenate(qp), np.concatenate(window), source)


def make(
    clips: Sequence[CleanClip],
    pictures: Mapping[str, Sequence[Path]],
    folder: Path,
    seed: int,
    *,
    workers: int,
    told: Callable[[int, int], None],
) -> list[tuple[str, Path]]:
    """Make the files that are not there yet; returns all of them with their sources.

    Args:
        clips: clean clips.
        pictures: photographs and drawings, by source.
        folder: where the files are kept.
        seed: with the clip or source, decides what is made.
        workers: processes.
        told: is called with the number of files that are there and of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[str, str, tuple[Path, ...], bool]] = [
        (clip.source, clip.id, (Path(clip.file),), False) for clip in clips
    ]
    jobs += [
        (source, f"stills-{source}", tuple(sorted(files)[:_STILLS]), True)
        for source, files in sorted(pictures.items())
    ]
    wanted = [(job, folder / f"{job[1]}-{seed}.npz") for job in jobs]
    run.make_files(
        [(path, (*job[1:], seed)) for job, path in wanted], _write, workers=workers, told=told
    )
    return [(job[0], path) for job, path in wanted if path.is_file()]


def _write(name: str, files: tuple[Path, ...], are_stills: bool, seed: int, path: Path) -> None:
    """Write one file; the JSON beside it, which is written last, says that it is whole."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    windows: list[_Window] = []
    problems = []
    for file in files:
        try:
            windows += _of_still(file, rng) if are_stills else _of_clip(file, rng)
        except (FaultError, SourceError, OSError, ValueError, SyntaxError) as error:
            problems.append(f"{file.name}: {type(error).__name__}: {error}")
    if windows:
        np.savez(
            path,
            crops=np.concatenate([crops for crops, _ in windows]),
            qp=np.concatenate([qp for _, qp in windows]).astype(np.float32),
            window=np.repeat(np.arange(len(windows)), [len(qp) for _, qp in windows]),
        )
    path.with_suffix(".json").write_text(json.dumps({"problems": problems}) + "\n")


def _of_clip(path: Path, rng: np.random.Generator) -> Iterator[_Window]:
    shown = list(itertools.islice(Clean(path).pictures(), 250))
    for _ in range(_WINDOWS):
        length = int(rng.choice(_LENGTHS))
        if len(shown) <= length:
            continue
        start = int(rng.integers(0, len(shown) - length))
        yield _window(shown[start : start + length], UNKNOWN, rng)


def _of_still(path: Path, rng: np.random.Generator) -> Iterator[_Window]:
    with Image.open(path) as file:
        picture = file.convert("RGB") if file.mode not in ("RGBA", "LA", "P") else None
        if picture is None:  # what is transparent over some colour
            upper = file.convert("RGBA")
            ground = tuple(int(v) for v in rng.integers(0, 255, 3))
            picture = Image.new("RGB", upper.size, ground)
            picture.paste(upper, mask=upper.getchannel("A"))
    shorter = min(picture.size)
    if shorter < _LEAST:
        return
    for _ in range(_PER_STILL):
        shrunk = float(np.exp(rng.uniform(0.0, np.log(max(1.3, shorter / 400)))))
        side = min((_SIDE + _ROOM) * shrunk, shorter)
        left, top = rng.uniform(0, picture.width - side), rng.uniform(0, picture.height - side)
        kernel = Image.Resampling.BICUBIC if rng.random() < 0.5 else Image.Resampling.LANCZOS
        box = (left, top, left + side, top + side)
        wide = picture.resize((_SIDE + _ROOM,) * 2, kernel, box=box)
        shown = _moving(np.asarray(wide.convert("YCbCr"), np.float32), rng)
        yield _window(shown, FINEST if shrunk >= _SHRUNK else UNKNOWN, rng)


def _moving(whole: npt.NDArray[np.float32], rng: np.random.Generator) -> list[Picture]:
    """Frames of a picture in limited range, panned over it."""
    length = int(rng.choice(_LENGTHS[:2]))
    speed = rng.normal(0, 3, 2) if rng.random() < 0.7 else np.zeros(2)
    made = []
    for n in range(length):
        y, x = (int(np.clip(_ROOM / 2 + v * (n - length / 2), 0, _ROOM)) for v in speed)
        part = whole[y : y + _SIDE, x : x + _SIDE]
        half = part[..., 1:].reshape(_SIDE // 2, 2, _SIDE // 2, 2, 2).mean(axis=(1, 3))
        planes = (
            part[..., 0] * 219 / 255 + 16,
            *((half[..., c] - 128) * 224 / 255 + 128 for c in (0, 1)),
        )
        made.append(Picture(n / 25, 1 / 25, *(np.rint(one).astype(np.uint8) for one in planes)))
    return made


def _window(shown: list[Picture], qp: float, rng: np.random.Generator) -> _Window:
    """Crops of the same places of a window as it was and coarse, and their quantisers."""
    if rng.random() < _DRAWN:
        shown = _drawn_on(shown, rng)
    elif rng.random() < _GRAINY:
        sigma = rng.uniform(1.5, 5.0)
        shown = [replace(one, luma=_grained(one.luma, sigma, rng)) for one in shown]
    ways, quantisers = [_again(shown, rng)], [qp]
    for _ in range(WAYS - 1):
        drawn = float(rng.uniform(*_QP))
        coarse = _coarse(shown, drawn, rng)
        ways.append(_again(coarse, rng) if rng.random() < _AGAIN else coarse)
        quantisers.append(drawn)
    count = min(map(len, ways))
    height, width = shown[0].luma.shape
    if min(height, width) < CROP:
        raise ValueError("it is smaller than a crop")
    crops, said = [], []
    for frame in sorted(set(rng.integers(0, count, _FRAMES).tolist())):
        for _ in range(_CROPS):
            y, x = int(rng.integers(0, height - CROP + 1)), int(rng.integers(0, width - CROP + 1))
            for way, quantiser in zip(ways, quantisers, strict=True):
                crops.append(way[frame].luma[y : y + CROP, x : x + CROP])
                said.append(quantiser)
    return np.stack(crops), said


def _drawn_on(shown: list[Picture], rng: np.random.Generator) -> list[Picture]:
    """Small things with sharp edges that move over the picture: they are no work of a quantiser."""
    height, width = shown[0].luma.shape
    count = int(rng.integers(height * width // 4000, height * width // 500))
    largest = float(rng.uniform(4, 16))
    sizes = rng.uniform(2, largest, (count, 2)).astype(int)
    places = rng.uniform(0, 1, (count, 2)) * (height, width)
    speeds = rng.normal(0, 4, (count, 2)) + rng.normal(0, 4, 2)
    lumas = rng.integers(16, 236, count)
    made = []
    for n, one in enumerate(shown):
        luma = one.luma.copy()
        for (y, x), (high, wide), level in zip(
            ((places + n * speeds) % (height, width)).astype(int), sizes, lumas, strict=True
        ):
            luma[y : y + high, x : x + wide] = level
        made.append(replace(one, luma=luma))
    return made


def _grained(
    luma: npt.NDArray[np.uint8], sigma: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    noisy = luma + rng.normal(0, sigma, luma.shape)
    return noisy.round().clip(16, 235).astype(np.uint8)


def _coarse(shown: list[Picture], qp: float, rng: np.random.Generator) -> list[Picture]:
    coder = str(rng.choice(list(CODERS), p=list(CODERS.values())))
    height, width = shown[0].luma.shape
    ratio = float(rng.choice(_RATIOS)) if rng.random() < _SCALED else 1.0
    size = (max(round(height * ratio / 2) * 2, 16), max(round(width * ratio / 2) * 2, 16))
    codec = "libx264" if coder.startswith("x264") else coder
    if codec == "libx264":
        options = {"preset": "veryfast", "qp": str(round(qp))}
        if coder == "x264":
            options["x264-params"] = "no-deblock=1"
    elif codec == "libx265":
        options = {"preset": "ultrafast", "x265-params": f"qp={round(qp)}:log-level=error"}
    else:
        # the scale that the ladder of faults/blockiness.py sets beside a QP
        scale = str(int(np.clip(round(10 * 2 ** ((qp - 32) / 9.2)), 2, 31)))
        options = {"qmin": scale, "qmax": scale, "g": "12"}
    return list(recode(iter(shown), codec, options, scale=None if ratio == 1.0 else size))


def _again(shown: list[Picture], rng: np.random.Generator) -> list[Picture]:
    if rng.random() < _AS_H264:
        options = {"preset": "veryfast", "crf": str(int(rng.integers(*_CRF)))}
        return list(recode(iter(shown), "libx264", options))
    crf = int(rng.integers(*_CRF_HEVC))
    options = {"preset": "ultrafast", "x265-params": f"crf={crf}:log-level=error"}
    return list(recode(iter(shown), "libx265", options))
