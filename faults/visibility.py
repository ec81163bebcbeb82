"""Where damage shows: what no intact picture of around that time explains.

A decoder that has lost something goes on with what it has. Often that is a plausible picture: one
of a moment ago, or one whose texture has moved by some samples. It differs from the undamaged
decode everywhere, and nobody can tell. What can be told is a tile that is like no intact picture of
around that time, wherever near it one looks: misplaced blocks, garbage, grey, smears.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from faults.media import Picture
from faults.truth import TILE, Mask

# Frames away that a picture is looked for in: a decoder may go on with an old one for a GOP
_OFFSETS = (0, -1, 1, -2, 2, -3, -5, -8, -13, -21, -34)
BEHIND, AHEAD = -min(_OFFSETS), max(_OFFSETS)
_STEP, _REACH = 3, 6  # luma samples between the displacements that are tried, and of the largest
BOX = 4  # luma samples a side whose mean is compared
# Code values that a box may be off, and from which on it cannot be more so. A tile shows damage
# where its boxes are off by SEEN on average, in the best of all places: chosen by eye. Of frames
# with damage, tiles above it are seen at once, those of 2 to 4 often, and below 2 hardly any.
ALLOWED, MOST = 4, 48
SEEN = 4.0


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
    shape = -(-height // TILE), -(-width // TILE)
    at = _sums(damaged.luma, shape)[::BOX, ::BOX][: shape[0] * 4, : shape[1] * 4].copy()
    least = np.full(shape, np.iinfo(np.int32).max, np.int32)
    for picture in clean:
        _explain(at, _sums(picture.luma, shape), round(SEEN * _UNIT), least)
    return np.asarray(least >= SEEN * _UNIT)


_UNIT = BOX * BOX * (TILE // BOX) ** 2  # a code value, in sums over the boxes of a tile


def _sums(luma: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.int16]:
    """Sums over boxes that begin at each sample, of the picture extended to whole tiles."""
    pads = [(0, n * TILE - size + BOX - 1) for n, size in zip(shape, luma.shape, strict=True)]
    plane = np.pad(luma, pads, "edge").astype(np.int16)
    lines = plane[:-3] + plane[1:-2] + plane[2:-1] + plane[3:]
    return np.asarray(lines[:, :-3] + lines[:, 1:-2] + lines[:, 2:-1] + lines[:, 3:])


@njit(cache=True, nogil=True)
def _explain(
    at: npt.NDArray[np.int16],
    sums: npt.NDArray[np.int16],
    enough: int,
    least: npt.NDArray[np.int32],
) -> None:
    """Lower `least`, what tiles are off by, to what one more picture leaves of it.

    Args:
        at: of the damaged picture, [box rows, box columns].
        sums: of an intact one, at every sample.
        enough: tiles that are off by less need no further explanation.
        least: [tile rows, tile columns].
    """
    allowed, most = ALLOWED * BOX * BOX, (MOST - ALLOWED) * BOX * BOX
    high, wide = sums.shape
    side = TILE // BOX
    for row in range(least.shape[0]):
        for column in range(least.shape[1]):
            for down in range(-_REACH, _REACH + 1, _STEP):
                for across in range(-_REACH, _REACH + 1, _STEP):
                    if least[row, column] < enough:
                        break
                    off = 0
                    for box in range(side * side):
                        r, c = row * side + box // side, column * side + box % side
                        y, x = r * BOX + down, c * BOX + across
                        if y < 0 or x < 0 or y >= high or x >= wide:
                            continue  # what has come in from outside the picture is not known
                        # the least and the most within a sample: motion is finer than a step
                        lowest = highest = sums[y, x]
                        for j in range(max(y - 1, 0), min(y + 2, high)):
                            for i in range(max(x - 1, 0), min(x + 2, wide)):
                                lowest = min(lowest, sums[j, i])
                                highest = max(highest, sums[j, i])
                        away = max(lowest - at[r, c], at[r, c] - highest) - allowed
                        off += min(max(away, 0), most)
                    least[row, column] = min(least[row, column], off)
