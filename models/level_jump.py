"""The nets that hear a step of gain, and whether two steps are the ends of an insert.

The first looks at the levels of the bands of the ear, window by window, and says where all of
them step by the same at one instant, and by how much. The second is asked of a step and a later one
back: it compares seconds on either side of both, as what comes and goes by itself differs in more
than gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.bands import BANDS, summed
from models.batcher import Batcher, made_once
from models.dilated import Dilated

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/level_jump.safetensors"
INPUTS = 3 * BANDS
CHANNELS, DILATIONS = 64, (1, 2, 4, 8, 16, 32)
UP, DOWN, DECIBELS = 0, 1, 2  # outputs of the first net: two log odds; the step, in tens of dB
BESIDE = 8  # windows on either side whose mean is compared
REACH = sum(DILATIONS) + BESIDE + 1  # windows before and after, on which an output depends
AT_ONCE = 8  # stretches of sound in a batch

SILENT = -120.0  # dB, of a band without sound
LEAST = -110.0  # dB; what is below tells nothing
NEAR = 6  # windows around a step, in which it is the likeliest
UNLIKELY = -5.5  # log odds below which no step is thought of
BOTH_UNLIKELY = -6.0  # sum of those of two steps, below which they are no insert

SIDE = 94  # windows that are compared, two seconds at 48 kHz
APART = 2  # windows beside a step that are not
ABOUT = 20  # windows on either side whose loudest band is the level about a step
A_SECOND = 50  # windows, nearly: the scale of how far apart steps are
COARSE = 16  # bands of the comparison, six of the ear's in each
QUANTILES = (10, 30, 50, 70, 90)  # per cent
HEARD = -85.0  # dB in a band, below which it is silent
TORN = 20.0  # dB by which a band is far above that
FEWEST = 12  # quantiles of bands that must be heard
FIGURES = 36  # that the second net takes
SHIFT, UNLIKE = 7, 11  # of these: median shift of the quantiles, and mean deviation from it, dB
SPREAD = 6.0  # standard deviations of them that it looks at


def levels(power: Float32, highest: float) -> Float32:
    """Levels of the bands.

    Args:
        power: [F, B] as in Spectra.
        highest: frequency of the last bin, Hz.

    Returns:
        [F, BANDS] dBFS; SILENT where there is no sound or the spectrum does not reach.
    """
    made: Float32 = 10 * np.log10(
        np.maximum(summed(power, highest), np.float32(10 ** (SILENT / 10)))
    )
    return made


def inputs(level: Float32) -> Float32:
    """What the first net takes of levels [F, BANDS] that follow each other: [F, INPUTS].

    The levels, and by how much they differ just after from just before, and over BESIDE windows.
    """
    x = np.maximum(level, LEAST) / np.float32(20)
    count = len(x)
    held = np.pad(x, ((BESIDE + 1, BESIDE), (0, 0)), mode="edge")
    total = np.cumsum(held, axis=0, dtype=np.float64)
    means = (total[BESIDE:] - total[:-BESIDE]) / BESIDE
    wide = means[BESIDE + 1 :] - means[:count]
    near = np.zeros_like(x)
    if count > 4:
        two = (x[1:] + x[:-1]) / 2
        near[2:-2] = two[3:] - two[:-3]
    made: Float32 = np.concatenate([x, near.clip(-3, 3), wide.clip(-3, 3)], 1).astype(np.float32)
    return made


@dataclass(frozen=True, eq=False)
class Edge:
    """A place where the gain may step, and what is around it.

    Attributes:
        place: window.
        up: whether it steps up.
        odds: log odds of that.
        step: dB, positive.
        before, after: [Q, COARSE] quantiles of the levels on either side, dB.
        rising_before, rising_after: by how much the second half of a side is louder, dB.
        near, loudest: level of the loudest band about the step, and most on both sides, dB.
    """

    place: int
    up: bool
    odds: float
    step: float
    before: Float32
    after: Float32
    rising_before: float
    rising_after: float
    near: float
    loudest: float


def steps(said: Float32, first: int, last: int) -> list[tuple[int, bool, float, float]]:
    """Windows from `first` to before `last` that are likelier a step than those around them.

    Args:
        said: [F, 3] of the first net, with NEAR windows beside those looked at where there are.
        first: window.
        last: window.

    Returns:
        Window, whether up, log odds, dB (positive where it steps as it is likely to); in order.
    """
    found = []
    for kind in (UP, DOWN):
        odds = said[:, kind]
        held = np.pad(odds, NEAR, constant_values=-np.inf)
        highest = np.lib.stride_tricks.sliding_window_view(held, 2 * NEAR + 1).max(axis=1)
        sign = 1 if kind == UP else -1
        found += [
            (int(at), kind == UP, float(odds[at]), 10 * sign * float(said[at, DECIBELS]))
            for at in np.flatnonzero((odds == highest) & (odds > UNLIKELY))
            if first <= at < last
        ]
    return sorted(found)


def edge(level: Float32, at: int, place: int, up: bool, odds: float, step: float) -> Edge:
    """A step with what is around it.

    Args:
        level: [F, BANDS] dB, with SIDE + APART windows on either side where there are.
        at: window of the step in these.
        place: what it is called.
        up: whether it is one up.
        odds: log odds of it.
        step: dB.
    """
    sides = (
        level[max(0, at - SIDE) : max(at - APART + 1, 1)],
        level[at + APART : at + APART + SIDE],
    )
    if not len(sides[1]):
        sides = (sides[0], level[-1:])
    before, after = (_coarse(side) for side in sides)
    around = level[max(0, at - SIDE) : at + APART + SIDE].max(axis=1)
    near = level[max(0, at - ABOUT) : at + ABOUT].max(axis=1)
    return Edge(
        place, up, odds, step, _quantiles(before), _quantiles(after), _rise(before), _rise(after),
        float(np.percentile(near, 75)), float(np.percentile(around, 90)),
    )  # fmt: skip


def starts_of(end: Edge, earlier: Sequence[Edge], shortest: float, longest: float) -> list[Edge]:
    """Those of earlier steps that may start an insert with this end; lengths in windows."""
    return [
        one
        for one in earlier
        if one.up != end.up
        and shortest <= end.place - one.place <= longest
        and one.odds + end.odds > BOTH_UNLIKELY
    ]


def figures(starts: Sequence[Edge], end: Edge) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """What the second net takes of starts, any number but none, and one end of an insert.

    Returns:
        [N, FIGURES]; [N] whether enough is heard to judge.
    """
    sign = np.where([start.up for start in starts], 1.0, -1.0)[:, None, None]
    before, inside = (np.stack([getattr(s, side) for s in starts]) for side in ("before", "after"))
    heard = (np.minimum(before, inside) > HEARD) & (np.minimum(end.before, end.after) > HEARD)
    first, second = sign * (inside - before), sign * (end.before - end.after)
    both = (first + second) / 2
    flat = [one.reshape(len(starts), -1) for one in (heard, both, first, second)]
    step, begins, ends = (_median(one, flat[0]) for one in flat[1:])
    unlike = [
        _mean(np.abs(one - middle[:, None]), flat[0])
        for one, middle in zip(flat[1:], (step, begins, ends), strict=True)
    ]
    size = np.maximum(np.abs(step), 1)
    rows = np.stack(
        [_median(both[:, q], heard[:, q], step) - step for q in range(len(QUANTILES))], 1
    )
    torn = _torn(before, inside) + _torn(end.before, end.after)[None]
    outer = _mean(np.abs(before - end.after).reshape(len(starts), -1), flat[0])
    inner = _mean(np.abs(inside - end.before).reshape(len(starts), -1), flat[0])
    one = np.ones(len(starts))
    odds, steps_ = (np.array([getattr(s, name) for s in starts]) for name in ("odds", "step"))
    loudest = np.maximum([s.loudest for s in starts], end.loudest)
    way = sign[:, 0, 0]
    columns = [
        odds, end.odds * one, np.minimum(odds, end.odds), odds + end.odds,
        np.abs(steps_), abs(end.step) * one, np.abs(np.abs(steps_) - abs(end.step)),
        step, begins, ends, np.abs(begins - ends), *unlike, *(u / size for u in unlike), torn,
        outer, inner, outer / size, inner / size,
        way * [s.rising_before for s in starts], way * end.rising_after,
        np.abs(step - (np.abs(steps_) + abs(end.step)) / 2), flat[0].mean(axis=1),
        np.array([end.place - s.place for s in starts]) / A_SECOND, way,
        loudest - [s.near for s in starts], loudest - end.near, *rows.T,
        np.abs(rows).max(axis=1) / size,
    ]  # fmt: skip
    made: Float32 = np.stack(columns, 1).astype(np.float32)
    return made, flat[0].sum(axis=1) >= FEWEST


class LevelJump(Dilated):
    """Both nets.

    Args:
        weights: as `training.level_jump` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        held = load_file(weights)
        super().__init__(held, DILATIONS)
        self._layers = [(held[f"pair{n}.weight"], held[f"pair{n}.bias"]) for n in range(3)]
        self._centre, self._scale = held["pair.centre"], held["pair.scale"]

    def inserts(self, figure: Float32) -> Float32:
        """Log odds [N] that pairs of steps are an insert, of their `figures` [N, FIGURES]."""
        x = ((figure - self._centre) * self._scale).clip(-SPREAD, SPREAD)
        for weight, bias in self._layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self._layers[-1]
        said: Float32 = (x @ weight + bias)[:, 0]
        return said


def _coarse(level: Float32) -> Float32:
    """[F, COARSE] levels of bands that are summed, dB."""
    power = 10 ** (level.astype(np.float64) / 10)
    total = power.reshape(len(level), COARSE, -1).sum(axis=2)
    made: Float32 = (10 * np.log10(np.maximum(total, 1e-12))).astype(np.float32)
    return made


def _quantiles(level: Float32) -> Float32:
    """[Q, B] as np.percentile has them, but without its checks."""
    places = np.array(QUANTILES, np.float32) / 100 * (len(level) - 1)
    below = places.astype(np.intp)
    rest = (places - below)[:, None]
    ordered = np.sort(level, axis=0)
    following = ordered[np.minimum(below + 1, len(level) - 1)]
    made: Float32 = (ordered[below] * (1 - rest) + following * rest).astype(np.float32)
    return made


def _rise(level: Float32) -> float:
    """How much louder the second half is, in the median band, dB."""
    half = len(level) // 2
    if half < 5:
        return 0.0
    audible = np.maximum(level, HEARD)
    return float(np.median(audible[half:].mean(axis=0) - audible[:half].mean(axis=0)))


def _torn(one: Float32, other: Float32) -> npt.NDArray[np.float64]:
    """Share of the quantiles of bands that are silent on one side, far above that on the other."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    return np.asarray(((low <= HEARD) & (high > HEARD + TORN)).mean(axis=(-2, -1)))


def _median(
    values: npt.NDArray[np.floating], there: npt.NDArray[np.bool_],
    none: npt.NDArray[np.floating] | float = 0.0,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Of each row [N, M], of those that are there; `none` where none is."""
    ordered = np.sort(np.where(there, values, np.inf), axis=1)
    count = there.sum(axis=1)
    rows = np.arange(len(values))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    middle = np.where(count > 0, ordered[rows, low], 0) + np.where(
        count > 0, ordered[rows, high], 0
    )
    return np.asarray(np.where(count > 0, middle / 2, none), np.float64)


def _mean(
    values: npt.NDArray[np.floating], there: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Of each row [N, M], of those that are there; 0 where none is."""
    total = np.where(there, values, 0).sum(axis=1)
    return np.asarray(total / np.maximum(there.sum(axis=1), 1))


@made_once
def shared() -> Batcher[Float32, Float32]:
    """The one first net of this process, asked of inputs [F, INPUTS].

    What streams ask while it is busy is its next batch.
    """
    return Batcher(net().together, AT_ONCE, 0.0)


@made_once
def net() -> LevelJump:
    """The nets of this process; the second is asked so seldom that nobody has to wait for it."""
    return LevelJump()
