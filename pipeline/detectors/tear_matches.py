"""Tears that another frame tells of: a part of a frame is what a frame near by shows there.

Up to three frames away, the torn part is what that frame shows, and nothing like the frames
between, while the rest of the picture goes on as it did. This finds tears whose row hardly stands
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.measurements import Float32, Float64, PictureFormat

# A part of the frame that another frame shows as well. Chosen on files of the development split:
# 64 with torn frames; without, 47 clean ones, 181 look-alikes and 101 with other faults.
MATCH_REACH = 4  # frames before and after that are looked at
MATCH_FLOOR = 0.02  # code values of luma by which coded tiles that are alike may differ
MATCH_MOTION = 0.1  # code values of luma that both parts move by from frame to frame
MATCH_TILES = 2  # rows of tiles at the top and bottom of the picture that are too few to tell
# Of two frames that are alike there, the torn one is that where the part jumps by more to and fro;
# where both are torn, as much (0.8 and more in torn frames).
MATCH_JUMP = 0.75
# Where the other frame is the next or the last one, the part moves by two steps at once before it
# stands still, or after: against the frames around (1.5 and more in torn frames).
MATCH_TWICE = 1.3


class _Rule(NamedTuple):
    """When a part of a frame counts as that of another frame."""

    # code values by which a row stands out where the tear is, and from which log ratio on that is
    # enough: how much farther than that frame the frames beside it are
    ratios: tuple[tuple[float, float], ...]
    goes_on: float  # the rest of the picture is so many times as far as the larger step beside


# Where a row stands out by 0.2 code values, the largest ratio of a frame that is not torn is 1.1
# (0.69 in clean clips), where by 1, 0.5; torn ones have up to 7, and one of 0.74 has a row of 2.8.
# Where that frame is the next, a part that stands still for a frame looks alike: the row must stand
# out most of all; then the largest ratio of others is 1.1 (clean), and the rest of a torn frame
# goes on by 0.58 and more.
_FAR, _NEXT = _Rule(((0.2, 1.5), (1.0, 0.65)), 1.1), _Rule(((0.5, 1.8),), 0.5)
LAGS = {-3: _FAR, -2: _FAR, -1: _NEXT, 1: _NEXT, 2: _FAR, 3: _FAR}


@dataclass
class Match:
    """Which part of a frame another frame shows as well."""

    ratio: float  # log of how much farther the frames beside it are from that part
    tile: int  # row of tiles in which the tear lies
    lag: int
    lower: bool  # the part is below the tear


def find_matches(luma: Float32, first: int, stop: int, excess: Float64) -> dict[int, Match]:
    """Frames of which one part is of a frame near by.

    Args:
        luma: [T, th, tw] means of tiles.
        first: the first frame that is looked at.
        stop: the one after the last.
        excess: [stop - first, H] how far the rows of these stand out, code values.

    Returns:
        By index of the frame, the clearest match of each.
    """
    count, tiles = luma.shape[:2]
    index = np.arange(max(first, MATCH_REACH), min(stop, count - MATCH_REACH))
    if not len(index):
        return {}
    apart = {
        lag: _parts(np.abs(luma[lag:] - luma[:-lag]).mean(axis=2, dtype=np.float64))
        for lag in range(1, max(LAGS) + 1)
    }
    excess = excess[index - first]
    rows = np.stack([excess[:, near_rows(tile)].max(axis=1) for tile in range(tiles)], axis=1)
    found: dict[int, Match] = {}
    for lag, rule in LAGS.items():
        ratio, fits = _compared(apart, index, lag, rule.goes_on)
        fits &= np.any([(rows > row) & (ratio > least) for row, least in rule.ratios], axis=0)
        if abs(lag) == 1:
            fits &= rows >= excess.max(axis=1)[:, None]
        fits[..., :MATCH_TILES] = fits[..., -MATCH_TILES:] = False
        for part, n, tile in np.argwhere(fits):
            match = Match(float(ratio[part, n, tile]), int(tile), lag, lower=bool(part))
            best = found.setdefault(int(index[n]), match)
            if match.ratio > best.ratio:
                found[int(index[n])] = match
    return found


def near_rows(tile: int) -> slice:
    """Rows in which a tear lies that goes through that row of tiles."""
    return slice(max(PictureFormat.TILE * tile - 2, 0), PictureFormat.TILE * (tile + 1) + 2)


def _parts(apart: Float64) -> Float64:
    """Means of what is above and what is below each row of tiles, [2, T, rows]; apart [T, rows]."""
    count = np.arange(1, apart.shape[1])
    parts = np.full((2, *apart.shape), np.nan)
    parts[0, :, 1:] = np.cumsum(apart, axis=1)[:, :-1] / count
    parts[1, :, :-1] = (np.cumsum(apart[:, ::-1], axis=1)[:, :-1] / count)[:, ::-1]
    return parts


def _compared(
    apart: Mapping[int, Float64], index: npt.NDArray[np.intp], lag: int, goes_on: float
) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """How much more alike a part of each frame is to that `lag` frames on than frames beside it.

    Args:
        apart: by number of frames, how far each frame is from that so many frames on, of `_parts`.
        index: of the frames.
        lag: frames from them to the other one.
        goes_on: of the rule of that lag.

    Returns:
        Log ratios, and whether all else but the row speaks for a tear, both [2, frames, rows].
    """
    steps = apart[1]  # by index of the earlier frame
    earlier = np.minimum(index, index + lag)
    far = apart[abs(lag)][:, earlier]
    if abs(lag) > 1:
        sides = np.stack((steps[:, index - 1], steps[:, index]))
        beside = sides.min(axis=0)
        # a loop of two or three pictures is alike on both sides
        fits = apart[abs(lag)][:, np.minimum(index, index - lag)] > beside
    else:
        sides = np.stack((steps[:, earlier - 1], steps[:, earlier + 1]))
        around = np.stack([steps[:, earlier + by] for by in (-3, -2, 2, 3)])
        # drawings on twos stand still as often as they move
        beside = np.minimum(sides.min(axis=0), around[1:3].min(axis=0))
        fits = steps[:, earlier - lag] > MATCH_TWICE * np.median(around, axis=0)
    ratio = np.log((beside + MATCH_FLOOR) / (far + MATCH_FLOOR))
    rest = far > goes_on * sides.max(axis=0)
    jump, there = (steps[:, at - 1] + steps[:, at] for at in (index, index + lag))
    fits &= rest[::-1] & (jump > MATCH_JUMP * there) & (beside.min(axis=0) > MATCH_MOTION)
    return ratio, fits
