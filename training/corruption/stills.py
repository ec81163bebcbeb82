"""Intact crops of photographs and drawings, as much content as there are pictures.

Clips are dear to make and hold little that differs; a net that has seen few pictures takes their
texture for damage. These crops move between two frames, something may move in front of them, and
most are coded (JPEG, on any grid). Damage is drawn onto half of them as they are fitted on, see
`training.corruption.blocks`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.corruption.synthesis import CLEAN, CROP, IGNORED, Example

GROUP, CODECS = "still", ("mjpeg",)
SHORTEST = 300  # samples of the shorter side of a picture
_SHORT = (300, 1100)  # likewise, after it was scaled
_LARGER = 1.4  # times that a picture may be enlarged
_ROOM = 32  # samples around a crop, to move in
_STANDS, _CODED, _FRONT, _CUT = 0.3, 0.7, 0.3, 0.06  # chances
_MOTION = 6.0  # samples, standard deviation
_QUALITY = (25, 96)  # of JPEG
_OFF_GRID = 0.4  # chance that the grid of the coder begins elsewhere


def stills(paths: Sequence[Path], seed: int, count: int) -> Iterator[Example]:
    """Crops of pictures; files that cannot be read, or are small, give none.

    Args:
        paths: PNG, JPEG or WebP.
        seed: decides what is drawn.
        count: crops of each.
    """
    rng = np.random.default_rng(seed)
    other: Image.Image | None = None  # an earlier one
    for path in paths:
        try:
            picture = _opened(path, rng)
        except (OSError, ValueError, SyntaxError):
            continue
        if min(picture.size) < SHORTEST:
            continue
        for _ in range(count):
            whole = _scaled(picture, rng)
            yield _still(whole, other, rng)
            if other is None or rng.random() < 0.1:
                other = whole


def _opened(path: Path, rng: np.random.Generator) -> Image.Image:
    """In RGB, what is transparent over some colour."""
    with Image.open(path) as file:
        if file.mode not in ("RGBA", "LA", "P"):
            return file.convert("RGB")
        upper = file.convert("RGBA")
    ground = Image.new("RGB", upper.size, tuple(int(v) for v in rng.integers(0, 255, 3)))
    ground.paste(upper, mask=upper.getchannel("A"))
    return ground


def _scaled(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of it, at some size, with room to move."""
    width, height = picture.size
    shorter = min(width, height)
    short = np.exp(rng.uniform(*np.log(_SHORT))).clip(SHORTEST, shorter * _LARGER)
    side = CROP + 2 * _ROOM
    part = min(side * shorter / short, shorter)
    x, y = rng.uniform(0, width - part), rng.uniform(0, height - part)
    box = (x, y, x + part, y + part)
    return picture.resize((side, side), Image.Resampling.BICUBIC, box=box)


def _still(whole: Image.Image, other: Image.Image | None, rng: np.random.Generator) -> Example:
    motion = np.zeros(2, int)
    if rng.random() >= _STANDS:
        motion = np.rint(rng.normal(0, _MOTION, 2)).clip(-24, 24).astype(int)
    now, last = whole, whole
    if other is not None and rng.random() < _FRONT:
        now, last = whole.copy(), whole.copy()
        size = rng.integers(40, 200, 2)
        front = other.resize((int(size[0]), int(size[1])))
        at = rng.integers(0, whole.width - 40, 2)
        moved = at - motion[::-1] + np.rint(rng.normal(0, 8, 2)).astype(int)
        now.paste(front, (int(at[0]), int(at[1])))
        last.paste(front, (int(moved[0]), int(moved[1])))
    elif other is not None and rng.random() < _CUT:
        last = other
    quality = int(rng.integers(*_QUALITY)) if rng.random() < _CODED else None
    corner = _ROOM + rng.integers(-4, 5, 2)
    luma, cb, cr = _cut(now, corner, quality, rng)
    before, _, _ = _cut(last, corner + motion, quality, rng)
    tiles = CROP // 16
    labels = np.full((2, tiles, tiles), CLEAN, np.uint8)
    labels[1] = IGNORED
    return Example(np.stack([luma, before]), np.stack([cb, cr]), labels, GROUP, CODECS)


def _cut(
    picture: Image.Image,
    corner: npt.NDArray[np.integer],
    quality: int | None,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], ...]:
    """A crop as coded, in limited range: luma, and the colours at half the resolution."""
    down, across = rng.integers(0, 8, 2) if rng.random() < _OFF_GRID else (0, 0)
    top, left = int(corner[0] - down), int(corner[1] - across)
    part = picture.crop((left, top, left + CROP + 8, top + CROP + 8))
    if quality is not None:
        file = io.BytesIO()
        part.save(file, "JPEG", quality=quality, subsampling=2)
        part = Image.open(file)
    part = part.crop((int(across), int(down), int(across) + CROP, int(down) + CROP))
    full = np.asarray(part.convert("YCbCr"), np.float32)
    half = full[..., 1:].reshape(CROP // 2, 2, CROP // 2, 2, 2).mean(axis=(1, 3))
    planes = (
        full[..., 0] * 219 / 255 + 16,
        *((half[..., n] - 128) * 224 / 255 + 128 for n in (0, 1)),
    )
    return tuple(np.rint(plane).astype(np.uint8) for plane in planes)
