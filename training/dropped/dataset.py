"""Candidates where frames were taken out, and in clean clips, look-alikes and other damage.

A tile map is of one frame, so that taking frames out of what was measured gives what measuring the
shorter clip would: any number of examples come of one file. Only how far the picture moves across
the join is measured anew.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av.error
import numpy as np
import numpy.typing as npt

from corpus.clips import CleanClip
from faults import FAULTS
from faults.base import FaultError
from faults.cadence import AROUND, jumps
from faults.damage import damage, place
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike
from faults.media import Clean, Encoding, Picture, encode
from faults.truth import TILE, Severity, Truth
from models.dropped import FAR, FIGURES, NEAR, SHARE, Tiles, figures, leaping
from pipeline.decode import Decoder
from pipeline.errors import SourceError
from pipeline.measurements import Float32, Float64
from pipeline.segment import Segmenter
from pipeline.source import Limits, open_source
from pipeline.types import Kind
from training import run

FORM = 1  # raise it when examples are made in another way
CLEAN = ""  # name of what nothing was done to but taking frames out
# What is delivered: suffix, codec, its options and the chance of it
_VERY_FAST = ("preset", "veryfast")
_ULTRA = (("preset", "ultrafast"), ("x265-params", "log-level=error"))
_CODINGS = (
    (".mp4", Encoding("libx264", (("crf", "20"), _VERY_FAST), "aac"), 0.35),
    (".mp4", Encoding("libx264", (("crf", "26"), _VERY_FAST), "aac"), 0.3),
    (".ts", Encoding("libx264", (("crf", "23"), _VERY_FAST), "aac"), 0.2),
    (".mp4", Encoding("libx265", (("crf", "26"), *_ULTRA), "aac"), 0.15),
)
_PLACES, _AT_EACH = 30, 2  # in a clip, and numbers of frames taken out at each
_COUNTS = (2, 3, 4, 4, 5, 6, 8, 8, 9, 10, 12, 12, 14, 16, 16)
_FIRST = NEAR + 2  # frame that can be a candidate; as many are left after the last one
_AT_JOIN, _AT_TRUTH = 0.15, 0.3  # seconds around these in which nothing is asked
# Damage after which frames may be missing indeed
_MISSING = (
    Kind.TIMESTAMP_GAP,
    Kind.TIMESTAMP_JUMP,
    Kind.DECODE_ERROR,
    Kind.SEGMENT_MISSING,
    Kind.BLOCK_CORRUPTION,
    Kind.FORMAT_CHANGE,
)
OTHERS = tuple(
    name
    for name, fault in FAULTS.items()
    if fault.reads != "sound"
    and fault.kind != Kind.DROPPED_FRAMES
    and not fault.kind.startswith("av_")
    and name != "segment_missing"  # of playlists
)
ALIKE = tuple(name for name, one in LOOKALIKES.items() if one.reads == "picture")


@dataclass(frozen=True)
class Job:
    """A file to make: `name` of a fault or look-alike, or CLEAN."""

    clip: CleanClip
    name: str
    seed: int
    severity: Severity | None = None


@dataclass(frozen=True)
class Examples:
    """Candidates of some files.

    Attributes:
        figure: [N, FIGURES].
        missing: [N] frames that are missing before each; 0: none.
        source: [N] whose clip it is of.
        name: [N] of the fault or look-alike that it is in; CLEAN.
        time: [N] seconds.
        file: [N] number of its file.
        seconds: of all files of each name.
    """

    figure: Float32
    missing: npt.NDArray[np.int64]
    source: npt.NDArray[np.str_]
    name: npt.NDArray[np.str_]
    time: Float64
    file: npt.NDArray[np.int64]
    seconds: dict[str, float]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Examples:
        """Of files that `write` made."""
        seconds: dict[str, float] = {}
        parts = []
        for n, path in enumerate(paths):
            note = json.loads(path.with_suffix(".json").read_text())
            if note["problem"]:
                continue
            seconds[note["name"]] = seconds.get(note["name"], 0.0) + note["seconds"]
            with np.load(path) as held:
                count = len(held["missing"])
                same = [np.full(count, one) for one in (note["source"], note["name"], n)]
                parts.append((held["figure"], held["missing"], held["time"], *same))
        figure, missing, time, source, name, file = (
            np.concatenate(one) for one in zip(*parts, strict=True)
        )
        return cls(figure, missing, source, name, time, file, seconds)

    def of(self, which: npt.NDArray[np.bool_]) -> Examples:
        """Those of a mask [N]."""
        return Examples(
            self.figure[which], self.missing[which], self.source[which], self.name[which],
            self.time[which], self.file[which], self.seconds,
        )  # fmt: skip


def jobs(clips: Sequence[CleanClip], seed: int, alike: int, others: int) -> list[Job]:
    """What to make: look-alikes and damage of some clips, and each as it is.

    Args:
        clips: with picture.
        seed: which clips are taken.
        alike: files of each look-alike.
        others: files of each other fault, its severities in turn.
    """
    made: list[Job] = []
    for names, count in ((ALIKE, alike), (OTHERS, others)):
        for name in names:
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            severities = rng.permutation(list(Severity))
            for n, clip in enumerate(_in_turn(clips, rng)[:count]):
                severity = Severity(severities[n % len(severities)]) if name in FAULTS else None
                made.append(Job(clip, name, int(rng.integers(2**31)), severity))
    return made + [Job(clip, CLEAN, seed + 1) for clip in clips]


def _in_turn(clips: Sequence[CleanClip], rng: np.random.Generator) -> list[CleanClip]:
    """The clips in an order in which the sources take turns."""
    of_source: dict[str, list[CleanClip]] = {}
    for n in rng.permutation(len(clips)):
        of_source.setdefault(clips[n].source, []).append(clips[n])
    longest = max(map(len, of_source.values()))
    return [some[n] for n in range(longest) for some in of_source.values() if n < len(some)]


def make(
    wanted: Sequence[Job], folder: Path, *, workers: int, told: Callable[[int, int], None]
) -> list[Path]:
    """Make the files that are not there yet; returns all of them.

    Args:
        wanted: from `jobs`.
        folder: where the files are kept.
        workers: processes.
        told: is called with the number of files that are there and of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        (folder / f"{job.name or 'clean'}-{job.clip.id}-{job.seed}.npz", (job,)) for job in wanted
    ]
    run.make_files(files, write, workers=workers, told=told)
    return [path for path, _ in files]


def write(job: Job, path: Path) -> None:
    """Write the candidates of a file; the JSON beside it, which is written last, says of what."""
    rng = np.random.default_rng(job.seed)
    problem, seconds = "", 0.0
    with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
        try:
            file, truths = _file(job, Path(folder), rng)
            file, truths = _file(job, Path(folder), rng)
            measured = _measured(file)
            rows = list(_candidates(measured, job.clip.joins, truths))
            seconds = sum(float(time[-1] - time[0]) for _, time in measured)
            if job.name == CLEAN:
                rows += _taken_out(file, *measured[0], rng)
        except (FaultError, SourceError, ValueError, av.error.FFmpegError) as error:
            rows, problem = [], f"{type(error).__name__}: {error}"
    np.savez(
        path,
        figure=np.array([row[0] for row in rows], np.float32).reshape(-1, FIGURES),
        missing=np.array([row[1] for row in rows], np.int64),
        time=np.array([row[2] for row in rows], np.float64),
    )
    note = {"source": job.clip.source, "name": job.name, "seconds": seconds, "problem": problem}
    path.with_suffix(".json").write_text(json.dumps(note) + "\n")


def _file(job: Job, folder: Path, rng: np.random.Generator) -> tuple[Path, list[Truth]]:
    clean = Clean(job.clip.file)
    chances = [chance for _, _, chance in _CODINGS]
    suffix, coding, _ = _CODINGS[int(rng.choice(len(_CODINGS), p=chances))]
    target = folder / f"file{suffix}"
    if job.name in FAULTS:
        assert job.severity is not None
        order = place(job.name, job.severity, clean, job.seed)
        return target, damage(clean, target, [order], encoding=coding).truths
    pictures = clean.pictures()
    if job.name in LOOKALIKES:
        lookalike = LOOKALIKES[job.name](clean, job.seed)
        assert isinstance(lookalike, PictureLookalike)
        pictures = lookalike.pictures(pictures)
    encode(target, pictures, None, rate=clean.rate, encoding=coding)
    return target, []


def _measured(file: Path) -> list[tuple[Tiles, Float64]]:
    """Tile maps and times [T] of each run of frames of one size."""
    runs: list[list[tuple[Float32, Float32, Float32, Float32, Float64]]] = []
    form = None
    with open_source(str(file), Limits()) as container:
        for segment in Segmenter().run(Decoder(container, 1, reads=("video",))):
            seen = segment.picture
            if seen is None:
                continue
            if form != seen.format:
                runs.append([])
                form = seen.format
            runs[-1].append((seen.luma, seen.cb, seen.cr, seen.motion, seen.frames["time"]))
    return [
        (Tiles(luma, cb, cr, motion), time)
        for luma, cb, cr, motion, time in (
            (np.concatenate(one) for one in zip(*parts, strict=True)) for parts in runs
        )
    ]


_Row = tuple[Float32, int, float]  # figures, frames that are missing, seconds


def _candidates(
    measured: Sequence[tuple[Tiles, Float64]], joins: Sequence[float], truths: Sequence[Truth]
) -> Iterator[_Row]:
    """Those at which no frames are missing."""
    doubtful = [(join - _AT_JOIN, join + _AT_JOIN) for join in joins]
    doubtful += [
        (truth.start - _AT_TRUTH, truth.end + _AT_TRUTH)
        for truth in truths
        if truth.kind in _MISSING
        # what follows a repeat catches up, and is reported as that
        or (Kind.DROPPED_FRAMES in truth.also and truth.kind != Kind.REPEATED_FRAMES)
    ]
    for tiles, time in measured:
        for at in range(_FIRST, len(time) - _FIRST):
            if leaping(tiles.motion[at - NEAR : at + NEAR + 1]).mean() < SHARE:
                continue
            if not any(first <= time[at] <= last for first, last in doubtful):
                yield _of(tiles, at), 0, float(time[at])


def _of(tiles: Tiles, at: int) -> Float32:
    first, stop = max(at - FAR - 1, 0), at + FAR + 1
    part = (one[first:stop] for one in (tiles.luma, tiles.cb, tiles.cr, tiles.motion))
    return figures(Tiles(*part), at - first)


def _taken_out(file: Path, tiles: Tiles, time: Float64, rng: np.random.Generator) -> Iterator[_Row]:
    """Candidates where frames were taken out so that a viewer sees it, see faults/cadence.py."""
    shown = list(Clean(file).pictures())
    count = min(len(shown), len(time))
    for at in rng.permutation(np.arange(_FIRST, count - 2 * _FIRST))[:_PLACES]:
        for missing in rng.choice(_COUNTS, _AT_EACH, replace=False):
            after = int(at + missing)
            if after + FAR + 1 > count or not jumps(
                shown[at - AROUND : at], shown[at:after], shown[after : after + AROUND]
            ):
                continue
            first, stop = max(at - FAR - 1, 0), after + FAR + 1
            kept = np.r_[first:at, after:stop]
            motion = tiles.motion[kept]
            motion[at - first] = _motion(shown[at - 1], shown[after])
            joined = Tiles(tiles.luma[kept], tiles.cb[kept], tiles.cr[kept], motion)
            near = motion[at - first - NEAR : at - first + NEAR + 1]
            if leaping(near).mean() >= SHARE:
                yield figures(joined, int(at - first)), int(missing), float(time[at])


def _motion(before: Picture, after: Picture) -> Float32:
    """As PictureStatistics.motion has it of two frames."""
    apart = np.abs(after.luma.astype(np.int16) - before.luma)
    height, width = apart.shape
    there = np.isin(np.arange(height) % 4, (0, 1))
    grown = ((0, -height % TILE), (0, -width % TILE))
    total = np.pad(apart * there[:, None], grown)
    number = np.pad(np.repeat(there[:, None], width, axis=1), grown)
    shape = (total.shape[0] // TILE, TILE, total.shape[1] // TILE, TILE)
    made: Float32 = (
        total.reshape(shape).sum(axis=(1, 3)) / number.reshape(shape).sum(axis=(1, 3))
    ).astype(np.float32)
    return made
