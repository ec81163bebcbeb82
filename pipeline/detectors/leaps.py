"""Frames that are missing where the motion is unsteady: a speaker, a camera in the hand.

There the change of the whole picture varies as much by itself as missing frames make it, which is
why `pipeline.detectors.jumps` does not hear of them. But what moves by itself speeds up and slows
down over some frames, each part of the picture at its own time; across missing frames all parts
that move leap at once, for one frame. So each tile is compared with itself, in the mean absolute
change of its samples, which tells small displacements that the mean of a tile does not.

A cut leaps as well. Across missing frames the picture is as far from what it was as it comes by
itself within a third of a second; across a cut, into another take as well, it is farther.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import Unchanging
from pipeline.detectors.jumps import GAIN, correlation, likeness
from pipeline.detectors.motion import AROUND, NEAR
from pipeline.measurements import Float32, Float64, Observation, PictureStatistics
from pipeline.types import Kind

# All chosen on 41 clean development clips: on 1902 leaps that were made in them by leaving out 4 to
# 16 frames where that shows, against 4750 other frames in which tiles leap, in these clips and in
# 128 look-alikes. In brackets is the nearest of the latter, where it comes up to all other limits.
# A tile leaps when it changes by FARTHER times the most that it does in NEAR frames on each side,
# and by what the eye sees (faults/cadence.py has it from there).
FARTHER, VISIBLE = 1.8, 5.0
QUIET = 0.1  # code values: change of a picture that coding makes
SHARE = 0.03  # of the tiles that leap (0.02: mouths, key frames)
HEIGHT = 1.75  # change of the picture, in units of the largest around (1.52: a shaken camera)
MOST = 15.0  # of that in units of the median; more is an edit: it grows less than the displacement
SIDE_BY_SIDE = 2.0  # tiles that leap among the eight around one that does (1.8: noise, texture)
# Share that leaps in any frame of LONG on each side, in units of this one (0.62: a bird's head);
# cuts, where more than a HALF does, are another matter.
RIVAL, LONG, HALF = 0.5, 25, 0.5
TEMPO = 5.0  # change before over that after, or the other way round (10: a creep over a photograph)
HELD = 0.08  # least change around, in units of the median: less is a rhythm, such as drawn on twos
# Change across the leap, in units of the most in up to AGO frames before and after (1.76: a cut in
# a cartoon; 1.83: a bird's head). What stays below FAINT code values is no measure.
REACH, AGO, FAINT = 1.65, 8, 0.5
STOP = 0.8  # in units of the leap: change of the picture at a cut, beyond which nothing compares
# Likeness of both sides at the best shift, in the smallest part with all tiles that leap (0.70: a
# cut in an inset), or less (0.55: cuts) where the levels stay: their change when sorted, in units
# of that tile by tile (0.64: that cut); and likeness as they stand (0.17: cuts)
ALIKE, LESS_ALIKE, LEVELS, ALIKE_THERE = 0.78, 0.62, 0.4, 0.4
LATE = 1.5  # usual steps of time: a longer one is a gap that says so itself
CONTEXT = LONG + NEAR  # frames on each side


@dataclass(frozen=True)
class _Frame(Unchanging):
    """What is kept of a frame."""

    time: float
    luma: Float32  # [th, tw]
    step: Float32  # [th, tw] mean absolute change since the frame before
    mean: float  # of that


class Leaps:
    """Finds missing frames of one stream in the changes of single tiles."""

    def __init__(self) -> None:
        self._frames: list[_Frame] = []
        self._shares: list[float] = []  # of the tiles that leap, for frames that have their context
        self._judged = 0  # of _frames
        self._explained: set[float] = set()  # times of frames

    def add(self, picture: PictureStatistics) -> None:
        """Take the next frames."""
        means = picture.motion.mean(axis=(1, 2), dtype=np.float64)
        for at, time in enumerate(picture.frames["time"]):
            luma, step = picture.luma[at].copy(), picture.motion[at].copy()
            self._frames.append(_Frame(float(time), luma, step, float(means[at])))

    def explain(self, time: float) -> None:
        """Something else was found in the frame at `time`, seconds: it is not asked for again."""
        self._explained.add(time)

    def find(self, *, last: bool = False) -> list[Observation]:
        """Judge the frames that have their context; at the end, half of it is enough."""
        count = len(self._frames)
        for index in range(len(self._shares), count - NEAR):
            self._shares.append(self._share(index))
        found: list[Observation] = []
        stop = count - (AROUND if last else CONTEXT)
        for index in range(max(self._judged, NEAR + 1), stop):
            if self._frames[index].time not in self._explained:
                leap = self._leap(index)
                if leap is not None:
                    found.append(leap)
        self._judged = max(stop, self._judged)
        surplus = self._judged - CONTEXT
        if surplus > 0:
            self._frames, self._shares = self._frames[surplus:], self._shares[surplus:]
            self._judged -= surplus
            first = self._frames[0].time
            self._explained = {time for time in self._explained if time >= first}
        return found

    def _beside(self, index: int) -> list[_Frame]:
        """Up to NEAR frames on each side, without the first of all, which has no predecessor."""
        frames = self._frames
        return frames[max(index - NEAR, 1) : index] + frames[index + 1 : index + 1 + NEAR]

    def _leaping(self, index: int) -> npt.NDArray[np.bool_]:
        """Tiles that change much more in frame `index` than in any beside it."""
        most = np.maximum.reduce([frame.step for frame in self._beside(index)])
        leaping: npt.NDArray[np.bool_] = self._frames[index].step > np.maximum(
            FARTHER * most, VISIBLE
        )
        return leaping

    def _share(self, index: int) -> float:
        # where even the largest tile does not, as in most frames of most films, none does
        if index <= NEAR or float(self._frames[index].step.max()) <= VISIBLE:
            return 0.0
        return float(self._leaping(index).mean())

    def _leap(self, index: int) -> Observation | None:
        """The step to frame `index` is one over missing frames."""
        share = self._shares[index]
        if share < SHARE:
            return None
        frames, now = self._frames, self._frames[index]
        means = np.array([frame.mean for frame in self._beside(index)])
        level, top = float(np.median(means)), float(means.max())
        if not HEIGHT * top <= now.mean <= MOST * level or float(means.min()) < HELD * level:
            return None
        halves = [float(np.median(part)) for part in (means[:NEAR], means[-NEAR:])]
        if max(halves) > TEMPO * max(min(halves), QUIET):
            return None
        leaping = self._leaping(index)
        if _neighbours(leaping)[leaping].mean() < SIDE_BY_SIDE:
            return None
        first = max(index - LONG, NEAR + 1)
        others = [
            other
            for at, other in enumerate(self._shares[first : index + LONG + 1], first)
            if abs(at - index) > 1 and other < HALF
        ]
        if max(others, default=0.0) > RIVAL * share:
            return None
        there = leaping | (_neighbours(leaping) > 0)
        reach = self._reach(index, there)
        if reach > REACH:
            return None
        before, after = frames[index - 1].luma, now.luma
        rows, columns = np.flatnonzero(leaping.any(axis=1)), np.flatnonzero(leaping.any(axis=0))
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        alike = likeness(before[part], after[part])
        one, other = before[there], after[there]  # [n]
        same = _apart(np.sort(one), np.sort(other)) <= LEVELS * _apart(one, other)
        if (
            alike < (LESS_ALIKE if same else ALIKE)
            or correlation(one, other) < ALIKE_THERE
            or abs(correlation(other - one, one)) > GAIN  # it has become brighter or darker
        ):
            return None
        steps = np.diff([frame.time for frame in frames[max(index - 2 * NEAR, 0) : index + NEAR]])
        usual = float(np.median(steps))
        if now.time - frames[index - 1].time > LATE * usual:
            return None
        ratio = now.mean / max(level, 1e-6)
        return Observation(
            Kind.DROPPED_FRAMES,
            start=now.time,
            end=frames[index + 1].time,
            severity=events.ladder(ratio - 1, 1, 3, 7, 12),
            confidence=float(np.clip(0.5 + 0.25 * np.log(now.mean / (HEIGHT * top)), 0.5, 0.9)),
            summary=(
                f"all that moves leaps at once, {ratio:.1f} times as far as before and after: "
                f"frames are missing"
            ),
            evidence={
                "step_ratio": ratio,
                "height_over_steps_around": now.mean / top,
                "share_of_tiles": share,
                "reach": reach,
                "likeness_across_jump": alike,
            },
            peak=now.time,
        )

    def _reach(self, index: int, there: npt.NDArray[np.bool_]) -> float:
        """Change to frame `index` over the most that comes about by itself, in the tiles `there`.

        Frames beyond a cut, or another leap, do not count: they are of another picture.
        """
        frames, cut = self._frames, STOP * self._frames[index].mean
        first, last = index - 1, index
        while first > max(index - 1 - AGO, 0) and frames[first].mean < cut:
            first -= 1
        while last < min(index + AGO, len(frames) - 1) and frames[last + 1].mean < cut:
            last += 1
        before, after = frames[index - 1].luma[there], frames[index].luma[there]
        apart = [_apart(before, frame.luma[there]) for frame in frames[first : index - 1]]
        apart += [_apart(after, frame.luma[there]) for frame in frames[index + 1 : last + 1]]
        return _apart(before, after) / max(FAINT, *apart)


def _apart(one: Float32, other: Float32) -> float:
    return float(np.abs(one - other).mean())


def _neighbours(tiles: npt.NDArray[np.bool_]) -> Float64:
    """How many of the eight tiles around each are set [th, tw]."""
    rows, columns = tiles.shape
    padded = np.pad(tiles.astype(np.float64), 1)
    around: Iterable[Float64] = (
        padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)
    )
    total: Float64 = np.sum(list(around), axis=0) - tiles
    return total
