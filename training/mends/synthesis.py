"""Pairs of frames in a row with exact truth: damage that comes and goes, encoded again.

A clip is encoded once and most of its groups of pictures are damaged. What a player shows then goes
from the damaged decode to the intact one and back, at any frame: what begins there and what is
mended there are the positives, and there are as many as there are frames with damage. The whole is
encoded once more. The negatives are the steps that stand out most where nothing begins or ends: of
motion, cuts, key frames, and of what look-alikes lay over the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from corpus.clips import CleanClip
from faults.bitstream import Bitstream, Codec, Damage, decoded
from faults.comparison import Compared, compared
from faults.corruption import draw_coding
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike
from faults.mechanisms import Mechanism, draw
from faults.media import Clean, Picture
from faults.rates import mpeg2_has
from faults.recode import recode
from faults.truth import TILE
from faults.visibility import shown
from training.corruption.synthesis import (
    CLEAN,
    CROP,
    HIT,
    IGNORED,
    coded_size,
    coder,
    drawn,
)

_TILES = CROP // TILE
_FRAMES, _HEIGHT, _WIDTH = 200, 368, 640  # of a clip that are used: what is quick to encode
_GOP = (14, 50)  # frames of the first encode
_LAID_OVER = (
    *("subtitles", "picture_in_picture", "ticker", "slide_with_speaker", "title_card"),
    *("censored_face", "confetti", "cartoon_on_threes", "cartoon_on_twos", "credits_roll"),
    *("fast_cuts", "camera_flashes"),
)
_LAID, _ALIKE, _DRAWN = 0.33, 0.12, 0.02  # chances of what is done to a clip
_DAMAGED, _BAKED, _RESIZED = 0.9, 0.9, 0.15
_ENDS, _BEGINS = 0.25, 0.35  # chances that damage goes or comes with a frame
_AROUND = (0, -1, 1, -3, -8)  # frames away that explain what is seen, see faults/visibility.py
_QUIET = 6.0  # code values; damage that changes less goes on
_MOST, _STEPS, _OTHERS = 30, 24, 14  # pairs of a clip: of each kind, that stand out, others
_LEAST_STEP = 4.0  # code values
_LOST = (Mechanism.PACKET_LOSS, Mechanism.BURST_LOSS)
_CHANGED = {
    Mechanism.BIT_FLIPS: 0.3,
    Mechanism.BYTES_REMOVED: 0.3,
    Mechanism.SLICE_TRUNCATED: 0.25,
    Mechanism.REFERENCE_LOST: 0.15,
}

Mask = npt.NDArray[np.bool_]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """One crop of two frames in a row.

    Attributes:
        luma: uint8 [2, CROP, CROP].
        chroma: uint8 [4, CROP/2, CROP/2]: Cb and Cr of the first, then of the second.
        labels: uint8 [2, CROP/16, CROP/16]: that damage begins and that it is mended; CLEAN, HIT or
            IGNORED.
        what: "begun", "mended", "step" or "other".
    """

    luma: UInt8
    chroma: UInt8
    labels: UInt8
    what: str


def pairs(clip: CleanClip, seed: int, number: int) -> Iterator[Pair]:
    """The pairs that one clip gives with one draw; none where it is too small."""
    rng = np.random.default_rng([seed, number])
    clean = Clean(clip.file)
    if not clean.has_picture or min(clean.size) < CROP:
        return
    pictures, name = _changed(clean, rng)
    coding = draw_coding(rng)
    coding = replace(coding, gop=min(coding.gop, int(rng.integers(*_GOP))))
    if coding.codec is Codec.MPEG2 and not mpeg2_has(float(clean.rate)):
        coding = replace(coding, codec=Codec.H264, quality=22)
    stream = Bitstream(_part(list(pictures), rng), clean.rate, coding)
    found = list(
        compared(stream.clean(), decoded(stream.damaged(_damage(stream, rng))), clean.rate)
    )
    yield from _Sequence(found, rng).pairs(name)


def _changed(clean: Clean, rng: np.random.Generator) -> tuple[Iterator[Picture], str]:
    """The clip as it is or changed, and by what."""
    chance = rng.random()
    if chance < _LAID + _ALIKE:
        names: Sequence[str] = _LAID_OVER
        if chance >= _LAID:
            names = sorted(n for n, o in LOOKALIKES.items() if issubclass(o, PictureLookalike))
        name = str(rng.choice(names))
        lookalike = LOOKALIKES[name](clean, int(rng.integers(2**31)))
        assert isinstance(lookalike, PictureLookalike)
        return lookalike.pictures(clean.pictures()), name
    if chance < _LAID + _ALIKE + _DRAWN:
        name = str(rng.choice(["pixel_art", "bricks"]))
        return drawn(clean.pictures(), name, rng), name
    return clean.pictures(), ""


def _part(pictures: list[Picture], rng: np.random.Generator) -> list[Picture]:
    """So many frames of it, and no more of each than is quick to encode."""
    if len(pictures) > _FRAMES:
        first = int(rng.integers(len(pictures) - _FRAMES + 1))
        pictures = pictures[first : first + _FRAMES]
    height, width = pictures[0].luma.shape
    high, wide = min(height, _HEIGHT), min(width, _WIDTH)
    top, left = (int(rng.integers(n + 1)) // 2 * 2 for n in (height - high, width - wide))
    luma = np.s_[top : top + high, left : left + wide]
    half = np.s_[top // 2 : (top + high) // 2, left // 2 : (left + wide) // 2]
    start = pictures[0].time
    return [
        replace(p, time=p.time - start, luma=p.luma[luma].copy(), cb=p.cb[half].copy(),
                cr=p.cr[half].copy())
        for p in pictures
    ]  # fmt: skip


def _damage(stream: Bitstream, rng: np.random.Generator) -> Damage:
    """Damage to most groups of pictures, each by itself."""
    keys = [n for n, unit in enumerate(stream.units) if unit.key]
    of_transport = stream.in_transport and rng.random() < 0.5
    lost: set[int] = set()
    changed: dict[int, bytes | None] = {}
    for first, stop in zip(keys, [*keys[1:], len(stream.units)], strict=True):
        if stop - first < 5 or rng.random() > _DAMAGED:
            continue
        begins, ends = stream.units[first].time, max(u.time for u in stream.units[first:stop])
        start = float(rng.uniform(begins, begins + max(0.5 * (ends - begins), 0.04)))
        span = start, min(start + float(rng.uniform(0.04, 0.7)), ends)
        if of_transport:
            mechanism = _LOST[int(rng.integers(2))]
        else:
            chances = list(_CHANGED.values())
            mechanism = list(_CHANGED)[int(rng.choice(len(_CHANGED), p=chances))]
        one = draw(stream, mechanism, float(rng.beta(2.0, 1.4)), span, rng)
        lost |= one.lost
        changed |= {n: data for n, data in one.changed.items() if first <= n < stop}
    return Damage(lost=frozenset(lost)) if of_transport else Damage(changed=changed)


class _Sequence:
    """Frames with damage that comes and goes, as they are delivered."""

    def __init__(self, found: list[Compared], rng: np.random.Generator) -> None:
        self._rng, self._found = rng, found
        used: list[bool] = []
        shows = True
        for one in found:
            if not one.mask.any():
                shows = True
            elif rng.random() < (_ENDS if shows else _BEGINS):
                shows = not shows
            used.append(shows)
        self._frames = [
            one.shown if use else one.clean for one, use in zip(found, used, strict=True)
        ]
        if rng.random() < _BAKED:
            name, options, _ = coder(rng, coarse=False)
            if name != "mpeg2video":
                options["g"] = str(int(np.exp(rng.uniform(np.log(12), np.log(250)))))
            scale = coded_size(found[0].clean, rng) if rng.random() < _RESIZED else None
            self._frames = list(recode(self._frames, name, options, scale=scale))
        self._height, self._width = self._frames[0].luma.shape
        rows, columns = self._height // TILE, self._width // TILE
        self._hit = [one.mask[:rows, :columns] & use for one, use in zip(found, used, strict=True)]
        self._stale = [one.stale and use for one, use in zip(found, used, strict=True)]
        self._near = [binary_dilation(hit, np.ones((3, 3), bool)) for hit in self._hit]
        self._changes = [np.zeros((rows, columns), np.float32)] + [
            _change(a.luma, b.luma)
            for a, b in zip(self._frames[:-1], self._frames[1:], strict=True)
        ]
        self._seen: dict[int, Mask] = {}

    def pairs(self, name: str) -> Iterator[Pair]:
        """Of all sorts; `name` is what was done to the clip."""
        rng, hit, near = self._rng, self._hit, self._near
        frames = range(1, len(self._frames))
        begun = [n for n in frames if not self._stale[n] and (hit[n] & ~near[n - 1]).any()]
        mended = [n for n in frames if not self._stale[n - 1] and (hit[n - 1] & ~near[n]).any()]
        told = {*begun, *mended}

        def size(n: int) -> int:
            return -int((hit[n - 1] & ~near[n]).sum())

        if len(begun) > _MOST:
            begun = [int(n) for n in rng.choice(begun, _MOST, replace=False)]
        for n in begun:
            yield from self._of(n, self._shows(n) & ~near[n - 1], "begun", name)
        for n in sorted(mended, key=size)[:_MOST]:
            yield from self._of(n, self._shows(n - 1) & ~near[n], "mended", name)
        intact = [
            n for n in range(2, len(self._frames) - 1)
            if n not in told and not self._stale[n] and not self._stale[n - 1]
        ]  # fmt: skip
        steps = {
            n: self._changes[n] - np.maximum(self._changes[n - 1], self._changes[n + 1])
            for n in intact
        }
        sizes = {n: float(np.sort(step.ravel())[-6:].mean()) for n, step in steps.items()}
        for n in sorted(intact, key=lambda n: -sizes[n])[:_STEPS]:
            if steps[n].max() >= _LEAST_STEP:
                yield self._crop(n, _largest(steps[n]), "step", name)
        count = min(len(intact), _OTHERS)
        for n in rng.choice(intact, count, replace=False) if count else ():
            at = _largest(self._changes[n])
            if rng.random() < 0.4:
                at = tuple(int(rng.integers(size)) for size in self._changes[n].shape)
            yield self._crop(int(n), at, "other", name)

    def _of(self, n: int, tiles: Mask, what: str, name: str) -> Iterator[Pair]:
        at = np.argwhere(tiles)
        if not len(at):
            return
        twice = len(at) > 4 and self._width > CROP and self._rng.random() < 0.5
        for _ in range(1 + twice):
            row, column = at[int(self._rng.integers(len(at)))]
            yield self._crop(n, (int(row), int(column)), what, name)

    def _shows(self, n: int) -> Mask:
        """Tiles of a frame whose damage shows."""
        if n not in self._seen:
            hit = self._hit[n]
            if hit.any() and not self._stale[n]:
                around = [n + away for away in _AROUND if 0 <= n + away < len(self._found)]
                seen = shown(self._found[n].shown, [self._found[m].clean for m in around])
                hit = hit & seen[: hit.shape[0], : hit.shape[1]]
            else:
                hit = np.zeros_like(hit)
            self._seen[n] = hit
        return self._seen[n]

    def _crop(self, n: int, at: tuple[int, ...], what: str, name: str) -> Pair:
        """A crop with a tile in it, on the grid of tiles."""
        top, left = (
            int(np.clip(place * TILE - self._rng.integers(0, CROP - TILE), 0, size - CROP)) // TILE
            for place, size in zip(at, (self._height, self._width), strict=True)
        )
        tiles = np.s_[top : top + _TILES, left : left + _TILES]
        luma = np.s_[top * TILE : top * TILE + CROP, left * TILE : left * TILE + CROP]
        half = TILE // 2
        color = np.s_[top * half : top * half + CROP // 2, left * half : left * half + CROP // 2]
        one, other = self._frames[n - 1], self._frames[n]
        return Pair(
            np.stack([one.luma[luma], other.luma[luma]]),
            np.stack([one.cb[color], one.cr[color], other.cb[color], other.cr[color]]),
            self._labels(n, tiles, name),
            what,
        )

    def _labels(self, n: int, tiles: Any, name: str) -> UInt8:
        if self._stale[n] or self._stale[n - 1]:
            return np.full((2, _TILES, _TILES), IGNORED, np.uint8)
        near, near_before = self._near[n][tiles], self._near[n - 1][tiles]
        begun = self._shows(n)[tiles] & ~near_before
        mended = self._shows(n - 1)[tiles] & ~near
        goes_on = (self._hit[n] == self._hit[n - 1])[tiles] & (self._changes[n][tiles] < _QUIET)
        other = np.where((near | near_before) & ~goes_on & ~begun & ~mended, IGNORED, CLEAN)
        hit = IGNORED if name == "pixel_art" else HIT  # nobody can tell corrupt blocks from those
        return np.stack(
            [np.where(begun, hit, other), np.where(mended, hit, other)]
        ).astype(np.uint8)  # fmt: skip


def _change(one: UInt8, other: UInt8) -> npt.NDArray[np.float32]:
    """Mean change of each whole tile."""
    rows, columns = (size // TILE for size in one.shape)
    a, b = (x[: rows * TILE, : columns * TILE] for x in (one, other))
    away = np.maximum(a, b) - np.minimum(a, b)
    mean: npt.NDArray[np.float32] = away.reshape(rows, TILE, columns, TILE).mean(
        axis=(1, 3), dtype=np.float32
    )
    return mean


def _largest(step: npt.NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unravel_index(int(step.argmax()), step.shape))
