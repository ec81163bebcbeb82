"""Making clean clips: near lossless, once, kept in a work folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.signal import butter, resample_poly, sosfiltfilt

from corpus.sources import MAX_LINES, SHORTEST, MediaKind, Recipe, Split, split_of
from faults.media import Clean, Encoding, Picture, encode, picture_of
from pipeline.errors import SourceError
from pipeline.types import Float32

RATE = 48_000  # of sound whose rate not every encoder takes
_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# Sound alone is kept at these as well: at a higher rate, it would lack all above their half
_LOW_RATES = (8000, 11_025, 12_000)
_NEAR_LOSSLESS = Encoding(
    "libx264", (("crf", "12"), ("preset", "veryfast"), ("threads", "2")), "flac"
)
_EDGE = 0.002  # seconds of fade at a cut: no click, and no hole
_JOIN = 0.05  # seconds of cross-fade between two sounds
_QUIETEST = 1e-3  # mean square root of sound that counts as sound, full scale 1.0
_PEAK = 0.98  # of full scale
_SOURCE_LINES = (
    720  # photographs are not sampled from more, nor from more than 1.5 times the clip's
)
_FLAT, _MOST_FLAT, _DARK = 1.5, 0.85, 40.0  # code values; share of tiles; mean code value
_MOVES, _STANDS = 0.8, 0.25  # code values a frame; share of the change before and after
_SLOWEST = 5.0  # Hz
_SAME = 1e-5  # power of the difference of two channels that carry the same, in shares of theirs
_MISSING = 1.75  # times the usual step from frame to frame; more is a frame that is missing
_REPEATED = 0.01  # share of frames; more is a rate that was converted
FORM = 8  # raise it when clips are made in another way: those that are kept are then made anew


class RejectedError(Exception):
    """No clean clip can be made of these files; the message says why."""


@dataclass(frozen=True)
class CleanClip:
    """A clean clip on disk.

    Attributes:
        source: whose the picture is (of the sound where there is no picture).
        sound_source: whose the sound is; "" without sound.
        files: names of the files that it was made of.
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
        for n, job in enumerate(jobs, 1):
            job.result()
            if told is not None:
                told(n, len(wanting))
    clips, rejected = [], {}
    for recipe in recipes:
        noted = json.loads((folder / f"{recipe.id}.json").read_text())
        if "rejected" in noted:
            rejected[recipe.id] = noted["rejected"]
            continue
        noted["files"] = tuple(noted["files"])
        split = split_of(recipe.source, override)
        clips.append(CleanClip(**noted, file=str(folder / f"{recipe.id}.mkv"), split=split))
    return clips, rejected


def _make_noted(recipe: Recipe, folder: Path) -> None:
    target, note = folder / f"{recipe.id}.mkv", folder / f"{recipe.id}.json"
    try:
        make(recipe, target)
        clean = Clean(target)
        steps = np.diff(clean.times)
        if steps.size and (gaps := int((steps > _MISSING * np.median(steps)).sum())):
            raise RejectedError(f"frames are missing in {gaps} places")
        if (share := repeated(clean)) > _REPEATED:
            raise RejectedError(f"{share:.0%} of its frames repeat the one before")
        noted = asdict(_clip(recipe, target, clean))
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


def _clip(recipe: Recipe, target: Path, clean: Clean) -> CleanClip:
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
    )


def make(recipe: Recipe, target: Path) -> None:
    """Write one clean clip.

    Raises:
        RejectedError, SourceError: its files give none.
    """
    rng = np.random.default_rng(recipe.seed)
    sound: Float32 | None
    if recipe.kind == "sound":
        sound, rate = _from_sounds(recipe, rng)
        _write(target, None, Fraction(25), sound, rate)
        return
    if recipe.kind == "photo":
        frame_rate = Fraction(recipe.rate)
        sound, rate = _from_sounds(recipe, rng) if recipe.sounds else (None, RATE)
        length = recipe.seconds if sound is None else sound.shape[1] / rate
        pictures = _moving(recipe, frame_rate, round(length * frame_rate), rng)
        _write(target, pictures, frame_rate, sound, rate)
        return
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
    else:
        sound, rate = _from_sounds(recipe, rng) if recipe.sounds else (None, RATE)
    if sound is not None:
        length = min(length, sound.shape[1] / rate)
    if length < SHORTEST:
        raise RejectedError(f"{length:.1f} s with sound")
    pictures = _joined_pictures(parts, stretches, skip, length)
    if sound is not None:
        sound = sound[:, : round(length * rate)]
    _write(target, pictures, parts[0].rate, sound, rate)


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
        sound = _within_scale(_without_offset(_one_of_two(sound), rate))
    encode(
        target,
        pictures,
        sound,
        rate=frame_rate,
        sample_rate=rate,
        layout="stereo" if sound is not None and sound.shape[0] == 2 else "mono",
        encoding=_NEAR_LOSSLESS,
    )


# ---------------------------------------------------------------------------------------- sound


def _within_scale(sound: Float32) -> Float32:
    """The sound, lowered where lossy coding has taken it beyond full scale: not clipped."""
    peak = float(np.abs(sound).max(initial=0.0))
    return sound if peak <= _PEAK else (sound * (_PEAK / peak)).astype(np.float32)


def _without_offset(sound: Float32, rate: int) -> Float32:
    """The sound without what cannot be heard and some recordings have: a constant, slow drift."""
    slow = butter(2, _SLOWEST, "highpass", fs=rate, output="sos")
    made: Float32 = sosfiltfilt(slow, sound, axis=1).astype(np.float32)
    return made


def _one_of_two(sound: Float32) -> Float32:
    """One channel where two carry the same: that is a defect, though a common one."""
    if sound.shape[0] == 2:
        apart = np.square(sound[0] - sound[1]).mean()
        if apart <= _SAME * np.square(sound).mean():
            return sound[:1]
    return sound


def resampled(sound: Float32, rate: int, wanted: int) -> Float32:
    """The sound [C, N] at another rate, both in Hz."""
    if rate == wanted:
        return sound
    ratio = Fraction(wanted, rate)
    made: Float32 = resample_poly(sound, ratio.numerator, ratio.denominator, axis=1).astype(
        np.float32
    )
    return made


def _two_channels(sound: Float32) -> Float32:
    return sound if sound.shape[0] <= 2 else np.ascontiguousarray(sound[:2])


def crossfaded(parts: Sequence[Float32], rate: int) -> Float32:
    """Sounds [C, N] one after the other, each fading into the next."""
    made = parts[0]
    for part in parts[1:]:
        count = min(round(_JOIN * rate), made.shape[1], part.shape[1])
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        mixed = made[:, made.shape[1] - count :] * (1 - ramp) + part[:, :count] * ramp
        made = np.concatenate([made[:, : made.shape[1] - count], mixed, part[:, count:]], axis=1)
    return made


def _from_sounds(recipe: Recipe, rng: np.random.Generator) -> tuple[Float32, int]:
    """A passage of the sound files, without silence of its own where there is one."""
    parts = [Clean(path) for path in recipe.sounds]
    rate = parts[0].sample_rate
    alike = [
        p for p in parts if p.sample_rate == rate and p.sound.shape[0] == parts[0].sound.shape[0]
    ]
    sound = _two_channels(crossfaded([_trimmed(p.sound, rate) for p in alike], rate))
    want = round(recipe.seconds * rate)
    if sound.shape[1] < SHORTEST * rate:
        raise RejectedError(f"{sound.shape[1] / rate:.1f} s of sound")
    best, best_level = sound[:, :want], -1.0
    for _ in range(12):
        start = int(rng.integers(max(sound.shape[1] - want, 0) + 1))
        part = sound[:, start : start + want]
        quietest = _quietest(part, rate)
        if quietest > best_level:
            best, best_level = part, quietest
        if quietest > 10 * _QUIETEST:
            break
    if float(np.sqrt(np.square(best).mean())) < _QUIETEST:
        raise RejectedError("there is nothing to hear")
    return best, rate


def _trimmed(sound: Float32, rate: int) -> Float32:
    """Without silence before and after, for files that are joined."""
    loud = np.flatnonzero(np.abs(sound).max(axis=0) > _QUIETEST)
    if not loud.size:
        return sound
    around = round(0.05 * rate)
    return sound[:, max(loud[0] - around, 0) : loud[-1] + around]


def _quietest(sound: Float32, rate: int) -> float:
    """Level of the quietest half second."""
    size = rate // 2
    count = sound.shape[1] // size
    if not count:
        return 0.0
    power = np.square(sound[:, : count * size]).mean(axis=0).reshape(count, size).mean(axis=1)
    return float(np.sqrt(power.min()))


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
        sound = _two_channels(part.sound)[:, round(stretch.first * rate) :]
        if sound.shape[0] != channels:
            return None
        count = round(stretch.length * rate)
        if len(parts) > 1:  # the next picture begins where this one ends
            sound = np.pad(sound[:, :count], ((0, 0), (0, max(count - sound.shape[1], 0))))
        if n < len(parts) - 1 or n:
            sound = _faded(sound, round(_EDGE * rate))
        pieces.append(sound)
    made = np.concatenate(pieces, axis=1)
    if float(np.sqrt(np.square(made).mean())) < _QUIETEST:
        return None
    return made, rate


def _faded(sound: Float32, count: int) -> Float32:
    sound = sound.copy()
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    sound[:, :count] *= ramp
    sound[:, sound.shape[1] - count :] *= ramp[::-1]
    return sound


# ------------------------------------------------------------------------------------- pictures


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


def _moving(
    recipe: Recipe, rate: Fraction, count: int, rng: np.random.Generator
) -> Iterator[Picture]:
    """Pans and zooms over photographs, with cuts between them and a little grain."""
    width, height = recipe.size
    photos = [
        planes
        for planes in (_planes(Path(path), width, height) for path in recipe.pictures)
        if not _is_plain(planes[0])
    ]
    if not photos:
        raise RejectedError("nothing but plain areas")
    cuts = np.linspace(0, count, len(photos) + 1).round().astype(int)
    if len(cuts) > 2:
        cuts[1:-1] += rng.integers(-round(float(rate)), round(float(rate)) + 1, len(cuts) - 2)
    luma: Float32
    grain = float(rng.choice([0.0, 0.8, 1.6]))
    noises = [rng.normal(0, grain, (height, width)).astype(np.float32) for _ in range(4)]
    for shot, planes in enumerate(photos):
        begin, end = _view(rng), _view(rng)
        frames = int(cuts[shot + 1] - cuts[shot])
        for n in range(frames):
            share = n / max(frames - 1, 1)
            zoom, x, y = ((1 - share) * np.array(begin) + share * np.array(end)).tolist()
            luma, cb, cr = (
                _window(plane, shape, zoom, x, y)
                for plane, shape in zip(
                    planes,
                    ((height, width), (height // 2, width // 2), (height // 2, width // 2)),
                    strict=True,
                )
            )
            index = int(cuts[shot]) + n
            if grain:
                noise = np.roll(noises[index % 4], 37 * index, axis=(0, 1)[index % 2])
                luma = (luma + noise).astype(np.float32)
            yield Picture(
                float(index / rate),
                float(1 / rate),
                np.clip(luma + 0.5, 16, 235).astype(np.uint8),
                np.clip(cb + 0.5, 16, 240).astype(np.uint8),
                np.clip(cr + 0.5, 16, 240).astype(np.uint8),
            )


def _is_plain(luma: Float32) -> bool:
    """Whether a picture shows next to nothing: one colour and a logo, or darkness."""
    high, wide = (side // 16 * 16 for side in luma.shape)
    tiles = luma[:high, :wide].reshape(high // 16, 16, wide // 16, 16)
    flat = float((tiles.std(axis=(1, 3)) < _FLAT).mean())
    return flat > _MOST_FLAT or float(luma.mean()) < _DARK


def _view(rng: np.random.Generator) -> tuple[float, float, float]:
    """Zoom and place of the window: shares of the picture and of the room that is left."""
    return float(rng.uniform(0.62, 0.95)), float(rng.uniform(0, 1)), float(rng.uniform(0, 1))


def _planes(path: Path, width: int, height: int) -> tuple[Float32, Float32, Float32]:
    """A photograph, cropped to the shape of the clip, as limited-range planes."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    scale = min(
        1.0, max(_SOURCE_LINES, 1.5 * height) / min(frame.height, frame.width * height / width)
    )
    wide, high = round(frame.width * scale) // 4 * 4, round(frame.height * scale) // 4 * 4
    if wide < width or high < height:
        raise RejectedError(f"{path.name} has only {frame.width}x{frame.height}")
    frame = frame.reformat(
        wide, high, format="yuv420p", interpolation="AREA", dst_color_range="MPEG"
    )
    picture = picture_of(frame, 0.0, 0.0)
    rows = min(high, wide * height // width) // 2 * 2
    columns = min(wide, rows * width // height) // 2 * 2
    top, left = (high - rows) // 4 * 2, (wide - columns) // 4 * 2
    planes = (
        picture.luma[top : top + rows, left : left + columns],
        picture.cb[top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2],
        picture.cr[top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2],
    )
    return tuple(plane.astype(np.float32) for plane in planes)  # type: ignore[return-value]


def _window(plane: Float32, shape: tuple[int, int], zoom: float, x: float, y: float) -> Float32:
    """A part of a plane, scaled to `shape`: linear at twice the size, then mean of 2x2."""
    rows = _places(plane.shape[0], 2 * shape[0], zoom, y)
    columns = _places(plane.shape[1], 2 * shape[1], zoom, x)
    left = int(columns[0])
    lines = _mixed(plane[:, left : int(columns[-1]) + 2], rows, 0)
    lines = lines[0::2] + lines[1::2]
    cells = _mixed(lines, columns - left, 1)
    return np.asarray((cells[:, 0::2] + cells[:, 1::2]) / 4, np.float32)


def _places(size: int, count: int, zoom: float, at: float) -> npt.NDArray[np.float32]:
    span = zoom * (size - 2)
    start = at * (size - 2 - span)
    return (start + (np.arange(count) + 0.5) * span / count).astype(np.float32)


def _mixed(plane: Float32, places: npt.NDArray[np.float32], axis: int) -> Float32:
    first = places.astype(np.int64)
    share = (places - first).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    below = np.take(plane, first, axis)
    made: Float32 = below + (np.take(plane, first + 1, axis) - below) * share
    return made
