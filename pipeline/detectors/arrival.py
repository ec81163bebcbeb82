"""What detectors ask of a frame: how long it is shown, how it arrives, its plain level."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from pipeline.measurements import Float32, Float64

# A fade or dissolve moves every tile along a straight line in time. Measured: the end of a dissolve
# 0.95 and 0.90; pans of 0.5 to 4 pixels a frame up to 0.87 and 0.48.
STRAIGHT = 0.85
SAME_DIRECTION = 0.85
# So does a slow pan or zoom over something soft; but what changes then is like neither picture,
# while in a dissolve it is one less the other. Correlation of the change with either of them.
MOVES = 0.35


def shown(frames: np.ndarray) -> Float64:
    """Seconds for which each frame of FRAME_ROW [T] is shown: until the next one, [T].

    The last frame counts with its nominal duration; so does one whose successor is not later.
    """
    durations = np.array(frames["duration"], dtype=np.float64)
    gaps = np.diff(frames["time"])
    durations[:-1] = np.where(gaps > 0, gaps, durations[:-1])
    return durations


def sampled(maps: Float32) -> Float32:
    """About a hundred tiles of each map, sorted: maps [T, th, tw] to [T, n]."""
    flat = maps.reshape(len(maps), -1)
    # a step that shares no factor with the usual numbers of columns
    step = max(1, flat.shape[1] // 101)
    return np.sort(flat[:, :: step if step < 3 else step | 1], axis=1)


def fades(luma: Sequence[Float32], least: float = 4.0) -> bool:
    """Whether successive tile maps of luma go in a straight line to somewhere else.

    Args:
        luma: tile maps in order of time, about half a second of them.
        least: mean change of a tile, in code values, from which it can be a fade at all.
    """
    if len(luma) < 4:
        return False
    first, middle, last = luma[0], luma[len(luma) // 2], luma[-1]
    whole = float(np.abs(last - first).mean())
    if whole < least:
        return False
    path = sum(float(np.abs(b - a).mean()) for a, b in itertools.pairwise(luma))
    early, late = (middle - first).ravel(), (last - middle).ravel()
    lengths = float(np.linalg.norm(early) * np.linalg.norm(late))
    cosine = float(early @ late) / lengths if lengths > 0 else 0.0
    straight = whole > STRAIGHT * path and cosine > SAME_DIRECTION
    return straight and max(_alike(last - first, one) for one in (first, last)) > MOVES


def _alike(change: Float32, luma: Float32) -> float:
    """Correlation of a change of luma with a picture, without its sign."""
    a, b = (change - change.mean()).ravel(), (luma - luma.mean()).ravel()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    if norm <= 1e-6:
        return 1.0  # all of it becomes brighter or darker
    return abs(float(a @ b)) / norm
