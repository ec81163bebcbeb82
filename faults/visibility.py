"""Where damage shows: what no intact picture of around that time explains.

A decoder that has lost something goes on with what it has. Often that is a plausible picture: one
of a moment ago, or one whose texture has moved by some samples. It differs from the undamaged
decode everywhere, and nobody can tell. What can be told is a tile whose neighbourhood is like no
intact picture of around that time, wherever in it one looks: edges of misplaced blocks, garbage,
grey, smears.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from faults.media import Picture
from faults.truth import TILE, Mask

# Frames away that a picture is looked for in: a decoder may go on with an old one for a GOP
_OFFSETS = (0, -1, 1, -2, 2, -3, -5, -8, -13, -21, -34)
_STEP = 3  # luma samples between the displacements that are tried, each taken for all around it
_REACH = 2 * _STEP  # luma samples of the largest one
BOX = 4  # luma samples a side whose mean is compared
FAR = 10 * BOX * BOX  # code values by which the sum over a box must be off
OWN, _AROUND = 2, 3  # boxes of the 16 of a tile, and of the 64 in and around it, that must be off


def around(pictures: Sequence[Picture], n: int) -> list[Picture]:
    """The n-th of some pictures in a row, and those of around that time."""
    return [pictures[n + away] for away in _OFFSETS if 0 <= n + away < len(pictures)]


def shown(damaged: Picture, clean: Sequence[Picture]) -> Mask:
    """Tiles whose damage shows.

    Args:
        damaged: what is shown.
        clean: what should be, then intact pictures of around that time; all of one size.

    Returns:
        [tile rows, tile columns].
    """
    height, width = damaged.luma.shape
    shape = -(-height // TILE) * (TILE // BOX), -(-width // TILE) * (TILE // BOX)
    at = _sums(damaged.luma, shape)[_REACH::BOX, _REACH::BOX][: shape[0], : shape[1]]
    own = _sums(clean[0].luma, shape)[_REACH::BOX, _REACH::BOX][: shape[0], : shape[1]]
    candidates = np.asarray(_tiles(np.abs(at - own) > FAR) >= OWN)
    least = np.full(candidates.shape, 255, np.uint8)
    for picture in clean:
        if not candidates.any():
            break
        sums = _sums(picture.luma, shape)
        lowest, highest = _extreme(np.minimum, sums) - FAR, _extreme(np.maximum, sums) + FAR
        for down in range(-_REACH, _REACH + 1, _STEP):
            for across in range(-_REACH, _REACH + 1, _STEP):
                there = np.s_[_REACH + down :: BOX, _REACH + across :: BOX]
                inside = np.s_[: shape[0], : shape[1]]
                off = (at < lowest[there][inside]) | (at > highest[there][inside])
                # what has come in from outside the picture is not known
                off[: -(down // BOX) if down < 0 else 0] = False
                off[:, : -(across // BOX) if across < 0 else 0] = False
                off[shape[0] - (-(-down // BOX) if down > 0 else 0) :] = False
                off[:, shape[1] - (-(-across // BOX) if across > 0 else 0) :] = False
                np.minimum(least, _around(off), out=least)
        candidates &= least >= _AROUND
    return candidates


def _sums(luma: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.int16]:
    """Sums over boxes at all places, from _REACH samples above and left of the picture on.

    The picture is extended to boxes of this shape.
    """
    more = 2 * _REACH + BOX
    pads = [
        (_REACH, side * BOX - size + more) for side, size in zip(shape, luma.shape, strict=True)
    ]
    plane = np.pad(luma, pads, "edge").astype(np.int16)
    lines = plane[:-3] + plane[1:-2] + plane[2:-1] + plane[3:]
    return np.asarray(lines[:, :-3] + lines[:, 1:-2] + lines[:, 2:-1] + lines[:, 3:])


def _extreme(choose: np.ufunc, sums: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The least or largest of each sum and those one sample away; a margin stays as it is."""
    made = sums.copy()
    choose(sums[:-2], sums[2:], out=made[1:-1])
    choose(made[1:-1], sums[1:-1], out=made[1:-1])
    lines = made.copy()
    choose(lines[:, :-2], lines[:, 2:], out=made[:, 1:-1])
    choose(made[:, 1:-1], lines[:, 1:-1], out=made[:, 1:-1])
    return made


def _tiles(off: npt.NDArray[np.bool_]) -> npt.NDArray[np.integer]:
    """Boxes that are off, of each tile."""
    side = TILE // BOX
    cells = off.reshape(off.shape[0] // side, side, off.shape[1] // side, side)
    return np.asarray(cells.sum(axis=(1, 3)))


def _around(off: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Boxes that are off in each tile and half a tile around it."""
    pairs = off.view(np.uint8)
    pairs = pairs[0::2] + pairs[1::2]
    pairs = pairs[:, 0::2] + pairs[:, 1::2]
    # a pair of the tile above, two of the tile, one of the tile below
    padded = np.zeros((pairs.shape[0] + 2, pairs.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = pairs
    pairs = padded[0::2] + padded[1::2]
    pairs = pairs[:, 0::2] + pairs[:, 1::2]
    pairs = pairs[:-1] + pairs[1:]
    return np.asarray(pairs[:, :-1] + pairs[:, 1:])
