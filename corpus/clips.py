"""Making clean clips: near lossless, once, kept in a work folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from corpus.photographs import moving
from corpus.sounds import (
    EDGE,
    QUIETEST,
    faded,
    from_sounds,
    one_of_two,
    resampled,
    two_channels,
    within_scale,
    without_offset,
)
from corpus.sources import (
    MAX_LINES,
    SHORTEST,
    MediaKind,
    Recipe,
    RejectedError,
    Split,
    split_of,
)
from faults.media import Clean, Encoding, Picture, encode, picture_of
from pipeline.errors import SourceError
from pipeline.measurements import Float32

RATE = 48_000  # of sound whose rate not every encoder takes
_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# Sound alone is kept at these as well: at a higher rate, it would lack all above their half
_LOW_RATES = (8000, 11_025, 12_000)
_NEAR_LOSSLESS = Encoding(
    "libx264", (("crf", "12"), ("preset", "veryfast"), ("threads", "2")), "flac"
)
_MOVES, _STANDS = 0.8, 0.25  # code values a frame; share of the change before and after
_MISSING = 1.75  # times the usual step from frame to frame; more is a frame that is missing
_REPEATED = 0.01  # share of frames; more is a rate that was converted
FORM = 9  # raise it when clips are made in another way: those that are kept are then made anew


@dataclass(frozen=True)
class CleanClip:
    """A clean clip on disk.

    Attributes:
        source: whose the picture is (of the sound where there is no picture).
        sound_source: whose the sound is; "" without sound.
        files: names of the files that it was made of.
        joins: seconds at which one take goes over into the next: true cuts, where the motion jumps.
    """

    id: str
    file: str
    kind: MediaKind
    source: str
    sound_source: str
    split: Split
    duration: float
    picture: bool
    frame_rate: float
    sample_rate: int
    files: tuple[str, ...]
    joins: tuple[float, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether it has sound."""
        return self.sample_rate > 0


def prepare(
    recipes: Sequence[Recipe],
    folder: Path,
    *,
    override: Mapping[str, Split] | None = None,
    workers: int = 2,
    told: Callable[[int, int], None] | None = None,
) -> tuple[list[CleanClip], dict[str, str]]:
    """Make the clips that are not there yet.

    Returns:
        The clips in the order of the recipes, and why the others were rejected, by id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanting = [r for r in recipes if not (folder / f"{r.id}.json").is_file()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_make_noted, recipe, folder) for recipe in wanting]
        try:
            for n, job in enumerate(jobs, 1):
                job.result()
                if told is not None:
                    told(n, len(wanting))
        finally:  # whoever interrupts this does not wait for the clips that are not begun
            pool.shutdown(cancel_futures=True)
    clips, rejected = [], {}
    for recipe in recipes:
        noted = json.loads((folder / f"{recipe.id}.json").read_text())
        if "rejected" in noted:
            rejected[recipe.id] = noted["rejected"]
            continue
        for name in ("files", "joins"):
            noted[name] = tuple(noted[name])
        split = split_of(recipe.source, override)
        clips.append(CleanClip(**noted, file=str(folder / f"{recipe.id}.mkv"), split=split))
    return clips, rejected


def _make_noted(recipe: Recipe, folder: Path) -> None:
    target, note = folder / f"{recipe.id}.mkv", folder / f"{recipe.id}.json"
    try:
        joins = make(recipe, target)
        clean = Clean(target)
        steps = np.diff(clean.times)
        if steps.size and (gaps := int((steps > _MISSING * np.median(steps)).sum())):
            raise RejectedError(f"frames are missing in {gaps} places")
        if (share := repeated(clean)) > _REPEATED:
            raise RejectedError(f"{share:.0%} of its frames repeat the one before")
        noted = asdict(_clip(recipe, target, clean, joins))
        for name in ("file", "split"):
            del noted[name]
    except (RejectedError, SourceError, av.FFmpegError, ValueError) as error:
        target.unlink(missing_ok=True)
        noted = {"rejected": f"{type(error).__name__}: {error}"}
    note.write_text(json.dumps(noted) + "\n")


def repeated(clean: Clean) -> float:
    """Share of the frames that repeat the one before while the picture moves before and after.

    As when film was made television by showing every fourth frame twice: such media is not clean.
    """
    changes: list[float] = []
    before: Picture | None = None
    for picture in clean.pictures() if clean.has_picture else ():
        if before is not None:
            step = np.abs(picture.luma[::2].astype(np.int16) - before.luma[::2])
            changes.append(float(step.mean()))
        before = picture
    if len(changes) < 3:
        return 0.0
    change = np.asarray(changes)
    around = np.minimum(change[:-2], change[2:])
    return float(((around > _MOVES) & (change[1:-1] < _STANDS * around)).mean())


def _clip(recipe: Recipe, target: Path, clean: Clean, joins: tuple[float, ...]) -> CleanClip:
    names = tuple(Path(path).name for path in (*recipe.pictures, *recipe.sounds))
    return CleanClip(
        id=recipe.id,
        file=str(target),
        kind=recipe.kind,
        source=recipe.source,
        sound_source=recipe.sound_source if clean.has_sound else "",
        split="dev",
        duration=round(clean.duration, 3),
        picture=clean.has_picture,
        frame_rate=round(float(clean.rate), 4),
        sample_rate=clean.sample_rate,
        files=names,
        joins=joins,
    )


def make(recipe: Recipe, target: Path) -> tuple[float, ...]:
    """Write one clean clip.

    Returns:
        The joins of its takes, seconds; none where it is of one, or of photographs or sound.

    Raises:
        RejectedError, SourceError: its files give none.
    """
    rng = np.random.default_rng(recipe.seed)
    sound: Float32 | None
    if recipe.kind == "sound":
        sound, rate = from_sounds(recipe, rng)
        _write(target, None, Fraction(25), sound, rate)
        return ()
    if recipe.kind == "photo":
        frame_rate = Fraction(recipe.rate)
        sound, rate = from_sounds(recipe, rng) if recipe.sounds else (None, RATE)
        length = recipe.seconds if sound is None else sound.shape[1] / rate
        pictures = moving(recipe, frame_rate, round(length * frame_rate), rng)
        _write(target, pictures, frame_rate, sound, rate)
        return ()
    parts = [Clean(path) for path in recipe.pictures]
    if any(not part.has_picture for part in parts):
        raise RejectedError("a part has no picture")
    stretches = [_Stretch.of(p, with_sound=recipe.own_sound and len(parts) > 1) for p in parts]
    whole = sum(stretch.length for stretch in stretches)
    length = min(whole, recipe.seconds)
    if length < SHORTEST:
        raise RejectedError(f"{length:.1f} s of picture")
    # from the middle of a long file, which may begin with black and silence
    skip = max(0.0, (whole - recipe.seconds) / 2) if len(parts) == 1 else 0.0
    own = _joined_sound(parts, stretches) if recipe.own_sound else None
    if own is not None:
        sound, rate = own[0][:, round(skip * own[1]) :], own[1]
    elif recipe.kind == "talk":
        raise RejectedError("the sound of its parts cannot be joined")
    else:
        sound, rate = from_sounds(recipe, rng) if recipe.sounds else (None, RATE)
    if sound is not None:
        length = min(length, sound.shape[1] / rate)
    if length < SHORTEST:
        raise RejectedError(f"{length:.1f} s with sound")
    pictures = _joined_pictures(parts, stretches, skip, length)
    if sound is not None:
        sound = sound[:, : round(length * rate)]
    _write(target, pictures, parts[0].rate, sound, rate)
    ends = itertools.accumulate(stretch.length for stretch in stretches[:-1])
    return tuple(round(end, 3) for end in ends if end < length)


@dataclass(frozen=True)
class _Stretch:
    """What is taken of a part, in whole frames.

    Sound may begin before the picture and end before or after it: each join would be a gap of one
    or a hole in the other.
    """

    first: float  # seconds at which its first frame is shown
    step: float  # seconds from frame to frame
    frames: int

    @property
    def length(self) -> float:
        return self.frames * self.step

    @classmethod
    def of(cls, part: Clean, *, with_sound: bool) -> _Stretch:
        """All of a part; no further than its own sound, where that is used."""
        steps = np.diff(part.times)
        step = float(np.median(steps)) if steps.size else float(1 / part.rate)
        first, end = float(part.times[0]), float(part.times[-1]) + step
        if with_sound and part.has_sound:
            first += step  # a codec of sound starts with silence
            end = min(end, part.sound.shape[1] / part.sample_rate)
        return cls(first, step, int((end - first) / step + 0.05))


def _write(
    target: Path,
    pictures: Iterator[Picture] | None,
    frame_rate: Fraction,
    sound: Float32 | None,
    rate: int,
) -> None:
    if sound is not None:
        if rate not in _RATES and not (pictures is None and rate in _LOW_RATES):
            sound, rate = resampled(sound, rate, RATE), RATE
        sound = within_scale(without_offset(one_of_two(sound), rate))
    encode(
        target,
        pictures,
        sound,
        rate=frame_rate,
        sample_rate=rate,
        layout="stereo" if sound is not None and sound.shape[0] == 2 else "mono",
        encoding=_NEAR_LOSSLESS,
    )


def _joined_sound(
    parts: Sequence[Clean], stretches: Sequence[_Stretch]
) -> tuple[Float32, int] | None:
    """The parts' own sound in step with their pictures."""
    if any(not part.has_sound or part.sample_rate != parts[0].sample_rate for part in parts):
        return None
    rate = parts[0].sample_rate
    pieces: list[Float32] = []
    channels = min(2, parts[0].sound.shape[0])
    for n, (part, stretch) in enumerate(zip(parts, stretches, strict=True)):
        sound = two_channels(part.sound)[:, round(stretch.first * rate) :]
        if sound.shape[0] != channels:
            return None
        count = round(stretch.length * rate)
        if len(parts) > 1:  # the next picture begins where this one ends
            sound = np.pad(sound[:, :count], ((0, 0), (0, max(count - sound.shape[1], 0))))
        if n < len(parts) - 1 or n:
            sound = faded(sound, round(EDGE * rate))
        pieces.append(sound)
    made = np.concatenate(pieces, axis=1)
    if float(np.sqrt(np.square(made).mean())) < QUIETEST:
        return None
    return made, rate


def _joined_pictures(
    parts: Sequence[Clean], stretches: Sequence[_Stretch], skip: float, length: float
) -> Iterator[Picture]:
    """Frames of the parts with cuts between them, from `skip` on, scaled to at most 720 lines."""
    divide = -(-max(parts[0].size[0], 1) // MAX_LINES)
    width, height = parts[0].size[1] // divide // 2 * 2, parts[0].size[0] // divide // 2 * 2
    offset = -skip
    for part, stretch in zip(parts, stretches, strict=True):
        for picture in part.pictures():
            inside = picture.time - stretch.first
            if inside < -stretch.step / 2:
                continue
            if inside > stretch.length - stretch.step / 2:
                break
            time = inside + offset
            if time >= length - 1e-6:
                return
            if time < -1e-6:
                continue
            if divide > 1:
                frame = picture.frame().reformat(width, height, interpolation="AREA")
                picture = picture_of(frame, picture.time, picture.duration)  # noqa: PLW2901
            yield Picture(max(time, 0.0), picture.duration, picture.luma, picture.cb, picture.cr)
        offset += stretch.length
