"""The net that tells missing frames from all else that makes a part of the picture leap.

It is asked only of candidates: frames at which tiles change much more than in the frames around
them. What it takes are figures of the tile maps of eight frames on either side, so that the size of
the picture does not matter: how far tiles leap, whether they are those that move, how the leap
compares with what the motion does in four and eight frames, whether the picture goes on from there
or comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.batcher import made_once
from models.tiles import correlation, shifted_correlations

Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

WEIGHTS = Path(__file__).parent / "weights/dropped.safetensors"
NEAR, FAR = 4, 8  # frames on either side that a leap is compared with
HIDDEN = (64, 32)
FIGURES = 45
SPREAD = 4.0  # standard deviations of a figure that the net looks at

# A candidate: this share of the tiles changes by so many code values, and so many times as much as
# in any of the NEAR frames on either side. What is counted as missing frames shows at least twice
# the change, by 6 code values, in 2 % of the tiles (faults/cadence.py); coding blurs that.
LEAST, LONGER, SHARE = 4.5, 1.6, 0.008
SHIFT = 3  # tiles by which what is before and after a leap may be shifted to be alike
# Steps of tiles [code values, times the largest around] of which the shares are counted
_STEPS = ((4.5, 1.5), (6.0, 2.0), (6.0, 3.0), (6.0, 5.0))
_DIM, _SMALL, _DARK = 0.3, 0.1, 0.05  # code values below which a ratio says little
_ABOVE = 1e-3  # likewise of a share
_STEADIEST = 0.05  # of a logarithm: motion is never steadier than this


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tile maps of frames that follow each other, [T, th, tw] in code values.

    Attributes:
        luma, cb, cr: means.
        motion: mean absolute difference of luma to the frame before.
    """

    luma: Float32
    cb: Float32
    cr: Float32
    motion: Float32


def leaping(motion: Float32) -> Mask:
    """Tiles [th, tw] that leap in the middle one of 2 NEAR + 1 frames of `motion`."""
    around = np.maximum(motion[:NEAR].max(axis=0), motion[NEAR + 1 :].max(axis=0))
    leaps: Mask = motion[NEAR] >= np.maximum(LEAST, LONGER * around)
    return leaps


def figures(tiles: Tiles, at: int) -> Float32:
    """What the net takes of a candidate [FIGURES].

    Args:
        tiles: with FAR + 1 frames before it and FAR after it, where there are; at least NEAR + 2
            before and NEAR after.
        at: index of the candidate.
    """
    leaps = leaping(tiles.motion[at - NEAR : at + NEAR + 1])
    columns = [
        *_by_motion(tiles.motion, at, leaps),
        *_by_steps(tiles.luma, at, leaps),
        *_by_displacement(tiles.luma, at, leaps),
        *_by_likeness(tiles.luma[at - 1], tiles.luma[at]),
        *_by_colour(tiles, at, leaps),
    ]
    return np.array(columns, np.float32)


def _by_motion(motion: Float32, at: int, leaps: Mask) -> list[float]:
    """How many tiles leap how far, and which; the curve of the mean."""
    first, stop = max(at - FAR, 1), at + FAR + 1
    now = motion[at]
    near = np.concatenate([motion[at - NEAR : at], motion[at + 1 : at + 1 + NEAR]])
    far = np.concatenate([motion[first:at], motion[at + 1 : stop]])
    ranked = np.sort(near, axis=0)  # their median; np.median takes three times as long
    most, usual = ranked[-1], (ranked[NEAR - 1] + ranked[NEAR]) / 2
    moves = usual >= np.percentile(usual, 80)
    curve = motion.mean(axis=(1, 2))
    beside = np.concatenate([curve[at - NEAR : at], curve[at + 1 : at + 1 + NEAR]])
    around = np.log(np.concatenate([curve[first:at], curve[at + 1 : stop]]) + _SMALL)
    level = np.median(beside)
    rows, columns = np.nonzero(leaps)
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    held = np.pad(leaps, 1).astype(np.int8)
    neighbours = held[:-2, 1:-1] + held[2:, 1:-1] + held[1:-1, :-2] + held[1:-1, 2:]
    return [
        *(
            float(np.log((now >= np.maximum(least, times * most)).mean() + _ABOVE))
            for least, times in _STEPS
        ),
        _log(curve[at], beside.max(), _SMALL),
        _log(curve[at], level, _SMALL),
        float(np.std(around)),
        _height(float(curve[at]) + _SMALL, around),
        _log(curve[at - 1], level, _SMALL),
        _log(curve[at + 1], level, _SMALL),
        _log(curve[at - NEAR : at].min(), level, _SMALL),
        float(leaps[moves].mean()),
        correlation(np.sqrt(now), np.sqrt(usual)),
        float(np.median(np.log((now + 1) / (most + 1))[leaps])),
        float(len(rows) / box),
        float(neighbours[leaps].mean()),
        _log(far[:, leaps].mean(axis=1).min(), now[leaps].mean(), 0.5),
    ]


def _by_steps(luma: Float32, at: int, leaps: Mask) -> list[float]:
    """The step of the tile means, against those around it."""
    steps = np.diff(luma[max(at - FAR, 1) - 1 : at + FAR + 1], axis=0)
    k = at - max(at - FAR, 1)
    near = np.abs(np.concatenate([steps[max(k - NEAR, 0) : k], steps[k + 1 : k + 1 + NEAR]]))
    step, usual, most = np.abs(steps[k]), near.mean(axis=0), near.max(axis=0)
    farther = step > 1.5 * most + 0.5
    moving = usual >= 0.5 * np.sqrt((usual**2).mean())
    # without what the whole picture changed by
    energy = np.square(steps).mean(axis=(1, 2)) - steps.mean(axis=(1, 2)) ** 2
    change = np.sqrt(np.maximum(energy, 0))
    beside = np.concatenate([change[max(k - NEAR, 0) : k], change[k + 1 : k + 1 + NEAR]])
    around = np.log(np.delete(change, k) + _DARK)
    before, after = np.sort(luma[at - 1][leaps]), np.sort(luma[at][leaps])
    return [
        float(farther.mean()),
        float(farther[moving].mean()),
        _log(change[k], beside.max(), _DARK),
        _log(change[k], np.median(beside), _DARK),
        float(np.log(change[k] + _DARK)),
        _height(float(change[k]) + _DARK, around),
        # 1 where all that leaps becomes brighter, or darker
        float(abs(steps[k][leaps].mean()) / (step[leaps].mean() + _DARK)),
        # 0 where what leaps has the levels that it had, in other places
        float(np.abs(before - after).mean() / (step[leaps].mean() + _DIM)),
    ]


def _by_displacement(luma: Float32, at: int, leaps: Mask) -> list[float]:
    """The leap against how far motion gets in four and eight frames; whether it comes back."""
    last = len(luma) - 1

    def apart(one: int, other: int, where: Mask | slice = slice(None)) -> float:
        a, b = luma[min(max(one, 0), last)], luma[min(max(other, 0), last)]
        return float(np.sqrt(np.square(a[where] - b[where]).mean()))

    leap, whole = apart(at, at - 1, leaps) + _DIM, apart(at, at - 1) + _SMALL
    short = apart(at - 1, at - 5, leaps), apart(at + 4, at, leaps)
    long = apart(at - 1, at - 9, leaps), apart(at + 8, at, leaps)
    whole_short = apart(at - 1, at - 5), apart(at + 4, at)
    whole_long = apart(at - 1, at - 9), apart(at + 8, at)
    back = min(apart(at + n, at - 1, leaps) for n in range(1, FAR + 1))
    earlier = min(apart(at, at - 1 - n, leaps) for n in range(1, FAR + 1))
    step = luma[at] - luma[at - 1]
    before, after = luma[at - 1] - luma[at - 5], luma[min(at + 4, last)] - luma[at]
    beside = luma[at - 1] - luma[at - 2] + luma[min(at + 1, last)] - luma[at]
    return [
        *(_log(leap, one, _DIM) for one in (short[0], short[1], max(short))),
        *(_log(leap, one, _DIM) for one in (long[0], long[1], max(long))),
        _log(whole, max(whole_short), _SMALL),
        _log(whole, min(whole_short), _SMALL),
        _log(whole, max(whole_long), _SMALL),
        _log(apart(at, at - 9, leaps), leap, _DIM),
        _log(back, leap, _DIM),
        _log(earlier, leap, _DIM),
        correlation(step, before),
        correlation(step, beside),
        correlation(before, after),
    ]


def _by_likeness(before: Float32, after: Float32) -> list[float]:
    """How alike what has changed is on both sides, at the best shift: a cut is less."""
    step = np.abs(after - before)
    changed = step > 0.2 * np.percentile(step, 98)
    down, across = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if len(down) > 2 and len(across) > 2:
        part = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
        before, after = before[part], after[part]
    most = min(SHIFT, before.shape[0] // 3), min(SHIFT, before.shape[1] // 3)
    alike = shifted_correlations(before, after, *most)
    best = np.unravel_index(alike.argmax(), alike.shape)
    distance = float(np.hypot(best[0] - most[0], best[1] - most[1]))
    return [float(alike[best]), float(alike[best] - alike[most]), distance]


def _by_colour(tiles: Tiles, at: int, leaps: Mask) -> list[float]:
    """How far the colour leaps, against the frames before and against luma."""
    now, before = 0.0, 0.0
    for plane in (tiles.cb, tiles.cr):
        steps = np.abs(np.diff(plane[at - NEAR - 1 : at + 1], axis=0))[:, leaps]
        now += float(steps[-1].mean())
        before += float(steps[:-1].max(axis=0).mean())
    luma = float(np.abs(tiles.luma[at] - tiles.luma[at - 1])[leaps].mean())
    return [_log(now, before, _DIM), _log(now, luma, _DIM)]


def _log(one: float | np.floating, other: float | np.floating, least: float) -> float:
    """Logarithm of a ratio, which says little where both are below `least`."""
    return float(np.log((one + least) / (other + least)))


def _height(value: float, around: npt.NDArray[np.floating]) -> float:
    """How far a value stands out of the logarithms around it, by how much those vary."""
    varies = float(np.median(np.abs(np.diff(around))))
    return (float(np.log(value)) - float(np.median(around))) / max(varies, _STEADIEST)


class Dropped:
    """The trained nets, in numpy: their mean is what counts.

    Args:
        weights: as `training.dropped` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        held = load_file(weights)
        self._centre, self._scale = held["centre"], held["scale"]
        self._layers = [
            (held[f"layer{n}.weight"], held[f"layer{n}.bias"]) for n in range(len(HIDDEN) + 1)
        ]

    def of(self, figure: Float32) -> float:
        """Log odds that frames are missing before a candidate of these `figures` [FIGURES]."""
        x = ((figure - self._centre) * self._scale).clip(-SPREAD, SPREAD)[None, None]
        for weight, bias in self._layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self._layers[-1]
        return float((x @ weight + bias).mean())


@made_once
def net() -> Dropped:
    """The nets of this process; they are asked so seldom that nobody has to wait for them."""
    return Dropped()
