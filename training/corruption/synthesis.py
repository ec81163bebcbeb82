"""Examples with exact truth: real encodes, really damaged or really coarse, cut to crops.

An example is a crop of a frame, the same crop of the frame before, its colour, and a label per tile
and head. Everything is drawn from a seed and a number: the same ones give the same examples.

A clip is changed (as it is; a look-alike of a defect; drawn as pixel art or bricks),
encoded once, and its bitstream damaged many times; what the decoder makes of it is the example. In
half of the cases it is encoded once more, often at another size, so that the damage is baked in and
its grid is no longer the encoder's. What the damage did not touch, and encodes without damage, are
the negatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from corpus.clips import CleanClip
from faults.bitstream import Bitstream, Codec, decoded
from faults.comparison import TILE_SHARE, Compared, compared, share_that_differs
from faults.corruption import draw_coding
from faults.lookalikes import LOOKALIKES
from faults.lookalikes.base import PictureLookalike
from faults.mechanisms import draw, mechanisms
from faults.media import Clean, Picture, picture_of
from faults.recode import recode
from faults.truth import TILE
from faults.visibility import around, shown

CROP = 256  # luma samples a side
IGNORED = 255  # label of tiles that are neither
CLEAN, HIT = 0, 1
LONGEST_GOP = 60  # frames: what is decoded for each damage
DAMAGES = 16  # of one encode
FRAMES = 7  # that one damage gives
# Shares of what is done to a clip before it is encoded. Drawn patterns and look-alikes have edges
# on grids and steps between frames.
_LOOKALIKE, _DRAWN = 0.25, 0.05
_BAKED, _RESIZED = 0.5, 0.25
_SCALES = (0.5, 2 / 3, 0.75, 0.9)
_SIZES = (0.67, 0.75, 1.25, 1.5, 2.0)  # of the delivered picture, relative to the damaged one
# Coarse quantisation: from the steps on that faults/blockiness.py calls subtle; finer ones, down
# to the plain encodes that `draw_coding` draws, are neither
_COARSE_QP, _COARSE_SCALE = (37, 48), (16, 32)
_MARGIN = 2 * TILE  # luma samples around a crop that are looked at as well
_CHANGED = 3.0  # mean code values by which a tile must differ to show its coding
_PATTERNS = ("pixel_art", "bricks")
_CODEC_OF = {
    "libx264": Codec.H264,
    "libx265": Codec.HEVC,
    "mpeg2video": Codec.MPEG2,
    "mjpeg": "mjpeg",
}
_NOT_ALIKE = {"low_bitrate"}  # is made here, with its own label


@dataclass(frozen=True)
class Example:
    """One crop.

    Attributes:
        luma: uint8 [2, CROP, CROP], the frame and the one before.
        chroma: uint8 [2, CROP/2, CROP/2], Cb and Cr of the frame.
        labels: uint8 [2, CROP/16, CROP/16], for each head CLEAN, HIT or IGNORED.
        group: what it is, for the figures: codec, baked or not, name of the negative.
        codecs: that it has gone through, in that order; two or more: what was damaged is baked in.
    """

    luma: npt.NDArray[np.uint8]
    chroma: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    group: str
    codecs: tuple[str, ...]


def examples(clip: CleanClip, seed: int, number: int) -> Iterator[Example]:
    """The examples that one clip gives with one draw; none where it is too small."""
    rng = np.random.default_rng([seed, number])
    clean = Clean(clip.file)
    if min(clean.size) < CROP or not clean.has_picture:
        return
    pictures, name = _changed(clean, rng)
    if rng.random() < 0.25:
        yield from _coarse(pictures, rng, name)
        return
    for sequence in sequences(pictures, clean, rng, DAMAGES):
        group = f"{sequence.group}{'-' + name if name else ''}"
        yield from _of_damage(sequence, group, rng)


@dataclass(frozen=True)
class Damaged:
    """Groups of pictures with damage: what is shown in place of what, and as it is delivered.

    Attributes:
        found: each frame, its damage and what a player shows.
        delivered: what is delivered of that: the same, or encoded once more.
        blocky: label of the other head where nothing is damaged.
        codecs: of the damaged stream, and of the one it is baked into.
    """

    found: list[Compared]
    delivered: Iterable[Picture]
    blocky: int
    codecs: tuple[str, ...]

    @property
    def group(self) -> str:
        """The codec, and whether the damage is baked in."""
        return f"{self.codecs[0]}{'-baked' if len(self.codecs) > 1 else ''}"


def sequences(
    pictures: Iterable[Picture], clean: Clean, rng: np.random.Generator, count: int
) -> Iterator[Damaged]:
    """Encode once, damage so often."""
    coding = draw_coding(rng)
    coding = replace(coding, gop=min(coding.gop, LONGEST_GOP))
    stream = Bitstream(pictures, clean.rate, coding)
    choices = mechanisms(coding.codec)
    for _ in range(count):
        mechanism = choices[int(rng.integers(len(choices)))]
        start = float(rng.uniform(0, max(clean.duration - 1.0, 0.1)))
        span = (start, start + float(rng.uniform(0.05, 1.0)))
        # few samples of many are damaged where the intensity is low: those are the hard ones
        damage = draw(stream, mechanism, float(rng.beta(1.2, 1.4)), span, rng)
        before, after = stream.around(damage)
        found = list(compared(decoded(before), decoded(after), clean.rate))
        if not found:
            continue
        delivered: Iterable[Picture] = (one.shown for one in found)
        blocky = CLEAN
        codecs: tuple[str, ...] = (coding.codec,)
        if rng.random() < _BAKED:
            encoder, options, coarse = coder(rng, coarse=False)
            blocky = IGNORED if coarse else CLEAN
            scale = coded_size(found[0].clean, rng) if rng.random() < 0.4 else None
            delivered = recode(delivered, encoder, options, scale=scale)
            codecs = (coding.codec, _CODEC_OF[encoder])
        yield Damaged(found, delivered, blocky, codecs)


def _changed(clean: Clean, rng: np.random.Generator) -> tuple[Iterator[Picture], str]:
    """The clip as it is or changed, and by what."""
    draw = rng.random()
    if draw < _LOOKALIKE:
        choices = sorted(
            name
            for name, one in LOOKALIKES.items()
            if issubclass(one, PictureLookalike) and name not in _NOT_ALIKE
        )
        name = choices[int(rng.integers(len(choices)))]
        lookalike = LOOKALIKES[name](clean, int(rng.integers(2**31)))
        assert isinstance(lookalike, PictureLookalike)
        return lookalike.pictures(clean.pictures()), name
    if draw < _LOOKALIKE + _DRAWN:
        name = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
        return drawn(clean.pictures(), name, rng), name
    return clean.pictures(), ""


# ----------------------------------------------------------------------------------- negatives


def drawn(pictures: Iterator[Picture], name: str, rng: np.random.Generator) -> Iterator[Picture]:
    """The pictures with edges on a grid.

    As large pixels over the whole frame ("pixel_art") or in the gaps of a brick wall ("bricks").
    """
    size = int(rng.choice([4, 6, 8, 12, 16, 24]))
    down, across = rng.uniform(-3, 3, 2)
    mortar = int(rng.integers(30, 220))
    for n, picture in enumerate(pictures):
        made = picture.copy()
        height, width = made.luma.shape
        if name == "pixel_art":
            for plane, cell in ((made.luma, size), (made.cb, size // 2), (made.cr, size // 2)):
                _enlarge(plane, max(cell, 1))
        else:
            rows = (np.arange(height) + int(n * down)) % (2 * size)
            columns = np.arange(width) + int(n * across)
            gap = max(1, size // 8)
            made.luma[rows < gap] = mortar
            made.luma[(rows >= size) & (rows < size + gap)] = mortar
            odd = rows >= size
            made.luma[np.ix_(~odd, columns % (3 * size) < gap)] = mortar
            made.luma[np.ix_(odd, (columns + size) % (3 * size) < gap)] = mortar
        yield made


def _enlarge(plane: npt.NDArray[np.uint8], cell: int) -> None:
    height, width = plane.shape
    plane[:] = plane[np.arange(height) // cell * cell][:, np.arange(width) // cell * cell]


# ----------------------------------------------------------------------------------- positives


def _of_damage(sequence: Damaged, group: str, rng: np.random.Generator) -> Iterator[Example]:
    """Crops of a decode with damage: where it shows, before it and beside it."""
    found = sequence.found
    ratio = float(rng.choice(_SIZES)) if rng.random() < _RESIZED else 1.0
    # only the frames that are wanted are kept, and the ones before them
    hit = [n for n, one in enumerate(found) if n and one.mask.any() and not one.stale]
    intact = [n for n, one in enumerate(found) if n and not one.mask.any()]
    wanted = {int(n) for n in _some(hit, FRAMES - 2, rng)} | {int(n) for n in _some(intact, 2, rng)}
    if hit:
        wanted.add(hit[0])  # where it begins
    before: Picture | None = None
    for n, picture in enumerate(sequence.delivered):
        if n in wanted and before is not None:
            yield from _crops(sequence, n, picture, before, ratio, group, rng)
        before = picture


def _crops(
    sequence: Damaged,
    n: int,
    picture: Picture,
    before: Picture,
    ratio: float,
    group: str,
    rng: np.random.Generator,
) -> Iterator[Example]:
    one = sequence.found[n]
    height, width = (round(side * ratio / 2) * 2 for side in one.clean.luma.shape)
    if min(height, width) < CROP:
        return
    now, last, damaged = (_resized(p, ratio) for p in (picture, before, one.shown))
    intact = around([one.clean for one in sequence.found], n)
    cleans = [_resized(p, ratio) for p in intact]
    seen = one.mask & shown(one.shown, intact) if one.mask.any() else one.mask
    tiles = np.argwhere(seen if seen.any() else one.mask)
    for number in range(2):
        if number == 0 and len(tiles):
            at = tiles[int(rng.integers(len(tiles)))] * TILE * ratio - rng.uniform(16, CROP - 16, 2)
        else:
            at = rng.uniform(0, 1, 2) * (height - CROP, width - CROP)
        top = int(np.clip(at[0], 0, height - CROP)) // 2 * 2
        left = int(np.clip(at[1], 0, width - CROP)) // 2 * 2
        share = share_that_differs(_cut(cleans[0], top, left), _cut(damaged, top, left))
        hit = (share > TILE_SHARE) & _shown(damaged, cleans, top, left)
        if "pixel_art" in group:
            hit[:] = False  # nobody can tell corrupt blocks from those
        label = np.where(hit, HIT, np.where(share == 0, CLEAN, IGNORED))
        labels = np.stack([label, np.full_like(label, sequence.blocky)])
        labels[1][label != CLEAN] = IGNORED
        name = group if label.any() else f"beside-{group}"
        yield _example(now, last, top, left, labels, name, sequence.codecs)


def _shown(
    damaged: Picture, cleans: Sequence[Picture], top: int, left: int
) -> npt.NDArray[np.bool_]:
    """Tiles of a crop whose damage shows; what is around the crop is looked at as well."""
    high, wide = min(_MARGIN, top // TILE * TILE), min(_MARGIN, left // TILE * TILE)
    window = np.s_[top - high : top + CROP + _MARGIN, left - wide : left + CROP + _MARGIN]
    found = shown(
        replace(damaged, luma=damaged.luma[window]),
        [replace(p, luma=p.luma[window]) for p in cleans],
    )
    rows, columns, count = high // TILE, wide // TILE, CROP // TILE
    return found[rows : rows + count, columns : columns + count]


def _coarse(pictures: Iterator[Picture], rng: np.random.Generator, name: str) -> Iterator[Example]:
    """Crops of encodes without damage, of which two in three are coarse."""
    source = list(pictures)
    coarse = bool(rng.random() < 2 / 3)
    encoder, options, _ = coder(rng, coarse=coarse)
    codec = _CODEC_OF[encoder]
    scale = coded_size(source[0], rng) if rng.random() < 0.4 else None
    coded = recode(source, encoder, options, scale=scale)
    ratio = float(rng.choice(_SIZES)) if rng.random() < _RESIZED else 1.0
    wanted = {int(n) for n in _some(range(1, len(source)), 2 * FRAMES, rng)}
    before: Picture | None = None
    group = f"{'coarse' if coarse else 'plain'}-{codec}{'-' + name if name else ''}"
    for n, picture in enumerate(coded):
        if n in wanted and before is not None:
            now, last, was = (_resized(p, ratio) for p in (picture, before, source[n]))
            height, width = now.luma.shape
            for _ in range(2 if min(height, width) >= CROP else 0):
                top = int(rng.integers(height - CROP + 1)) // 2 * 2
                left = int(rng.integers(width - CROP + 1)) // 2 * 2
                labels = np.zeros((2, CROP // TILE, CROP // TILE), np.uint8)
                if coarse:
                    away = _distance(_cut(now, top, left).luma, _cut(was, top, left).luma)
                    labels[1] = np.where(away > _CHANGED, HIT, IGNORED)
                yield _example(now, last, top, left, labels, group, (codec,))
        before = picture


def _distance(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    away = np.abs(one.astype(np.int16) - other)
    count = one.shape[0] // TILE
    mean: npt.NDArray[np.float64] = away.reshape(count, TILE, count, TILE).mean(axis=(1, 3))
    return mean


def coder(rng: np.random.Generator, coarse: bool) -> tuple[str, dict[str, str], bool]:
    """An encoder of another generation, its options, and whether it is coarser than plain."""
    name = str(rng.choice(["libx264", "libx264", "libx264", "mpeg2video", "libx265"]))
    if coarse:
        name = str(rng.choice(["libx264", "libx264", "mpeg2video", "mjpeg"]))
        if name == "libx264":
            quality = int(rng.integers(*_COARSE_QP))
            options = {"preset": "veryfast", "qp": str(quality)}
            if rng.random() < 0.5:
                options["x264-params"] = "no-deblock=1"
            return name, options, True
        quality = int(rng.integers(*_COARSE_SCALE))
        return name, {"qmin": str(quality), "qmax": str(quality), "g": "12"}, True
    if name == "mpeg2video":
        quality = int(rng.integers(2, 9))
        return name, {"qmin": str(quality), "qmax": str(quality), "g": "15"}, quality > 6
    crf = int(rng.integers(17, 33))
    options = {"preset": "veryfast" if name == "libx264" else "ultrafast", "crf": str(crf)}
    if name == "libx265":
        options["x265-params"] = "log-level=none:pools=1:frame-threads=1"
    return name, options, crf > 28


def coded_size(picture: Picture, rng: np.random.Generator) -> tuple[int, int]:
    """A smaller (height, width) in which a picture is coded."""
    ratio = float(rng.choice(_SCALES))
    height, width = picture.luma.shape
    return round(height * ratio / 4) * 4, round(width * ratio / 4) * 4


# -------------------------------------------------------------------------------------- pieces


def _some(indices: Sequence[int], count: int, rng: np.random.Generator) -> Iterable[int]:
    if len(indices) <= count:
        return indices
    return list(rng.choice(np.asarray(indices), count, replace=False))


def _resized(picture: Picture, ratio: float) -> Picture:
    if ratio == 1.0:
        return picture
    height, width = picture.luma.shape
    frame = VideoReformatter().reformat(
        picture.frame(),
        width=round(width * ratio / 2) * 2,
        height=round(height * ratio / 2) * 2,
        interpolation="BICUBIC",
    )
    return picture_of(frame, picture.time, picture.duration)


def _cut(picture: Picture, top: int, left: int) -> Picture:
    half = CROP // 2
    chroma = (slice(top // 2, top // 2 + half), slice(left // 2, left // 2 + half))
    luma = picture.luma[top : top + CROP, left : left + CROP]
    return replace(picture, luma=luma, cb=picture.cb[chroma], cr=picture.cr[chroma])


def _example(
    now: Picture,
    before: Picture,
    top: int,
    left: int,
    labels: npt.NDArray[np.integer],
    group: str,
    codecs: tuple[str, ...],
) -> Example:
    shown, last = _cut(now, top, left), _cut(before, top, left)
    return Example(
        np.stack([shown.luma, last.luma]),
        np.stack([shown.cb, shown.cr]),
        labels.astype(np.uint8),
        group,
        codecs,
    )
