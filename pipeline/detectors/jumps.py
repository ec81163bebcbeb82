"""Frames that are missing: the motion jumps, which makes a spike of one frame in its curve.

At a cut the picture is another one; across a jump it is the same, somewhat farther on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.motion import AROUND, NEAR, Motion, unsteadiness
from pipeline.types import Float32, Float64, Kind, Observation

if TYPE_CHECKING:
    from pipeline.detectors.cadence import CadenceSettings

# Largest step to smallest step around a jump, and the steps before it to those after: a jump that
# is higher than `jump_ratio` by a factor may stand in motion that is as much less even.
UNEVEN = 4.0
CHANGES = 2.0
LEAST_HEIGHT = 4.0  # in units of min_motion, of a jump in motion that is slower than that
LEAST_STEPS = 1.9  # one missing frame doubles the step
LEAST_SPREAD = 0.06  # of the logarithm of change: motion is never steadier than this
MAX_MISSING = 25.0  # steps: 16 missing frames of the ladder, with a margin; above, an edit
# Correlation of the tile maps on both sides, at the best shift, by itself and plus half of that of
# SAME_PLACE: cuts stay below. Calibrated on frames deleted from nine clips and on cuts in 119.
ALIKE = 0.78
BOTH_ALIKE = 0.9
# A jump of more steps than MANY must go along the motion around it, which this correlation tells:
# what moves to and fro, as a speaker does, never gets that far away; two takes of one speaker do.
# Calibrated on 88 development files with missing frames and 19 minutes of clean clips: pans have
# 0.57 and more, and a jump of 15 steps is a cut.
MANY, ALONG = 12.0, 0.3
# So clear a jump may go anywhere, and stand in motion that is as slow as that: deviations,
# likeness of both sides, share of min_motion. Calibrated on development clips. Where it goes on
# STRAIGHT (as ALONG), it may be less high than LEAST_HEIGHT in slow motion.
CLEARLY, SAME, SLOWEST, STRAIGHT = 20.0, 0.97, 0.3, 0.7
GAIN = 0.7  # correlation of a step with the picture itself: it has become brighter or darker
SAME_PLACE = 0.1  # correlation of where the jump and the steps around it change the picture
MAX_SHIFT = 10  # tiles, 160 pixels: 16 frames of a pan at 10 pixels a frame


def spikes(change: Float64, ratio: float) -> npt.NDArray[np.bool_]:
    """Frames that may follow a jump: change [T] more than `ratio` times that on either side [T]."""
    spike: npt.NDArray[np.bool_] = change > 0
    spike[1:] &= change[1:] > change[:-1] * ratio
    spike[:-1] &= change[:-1] > change[1:] * ratio
    return spike


def find_jump(
    motion: Motion, index: int, still: npt.NDArray[np.bool_], settings: CadenceSettings
) -> Observation | None:
    """The step to frame `index` is much longer than the steps around it, and no cut.

    Args:
        motion: of T frames.
        index: of the frame, in `motion`.
        still: `motion.still()` [T].
        settings: of the detector.
    """
    change = motion.change
    first, stop = index - NEAR, index + NEAR + 1
    if first < 1 or stop > len(change):
        return None
    near = np.delete(change[first:stop], NEAR)
    level, top = float(np.median(near)), float(near.max())
    height = float(change[index])
    clear = height / max(settings.jump_ratio * top, 1e-6)
    slow = level < settings.min_motion
    sides = float(np.median(near[:NEAR])), float(np.median(near[NEAR:]))
    if (
        clear < 1
        or level < SLOWEST * settings.min_motion
        or height < LEAST_STEPS * level
        or height > MAX_MISSING * level
        # held and caught up: a repeat; a step is small only in comparison next to a high jump
        or (still[first:stop] & (np.arange(first, stop) != index)).any()
        or top > UNEVEN * clear * float(near.min())
        or max(sides) > CHANGES * clear * min(sides)
    ):
        return None
    around = np.delete(change, index)[max(index - AROUND, 1) : index + AROUND]
    spread = max(unsteadiness(around), LEAST_SPREAD)
    deviations = float(np.log(height / level)) / spread
    if deviations < settings.jump_deviations:
        return None
    luma = motion.luma
    alike = _alike(*_changed_part(luma[index - 1], luma[index]))
    steps = [np.abs(luma[at] - luma[at - 1]) for at in range(first, stop) if at != index]
    same_place = _correlation(np.abs(luma[index] - luma[index - 1]), np.mean(steps, axis=0))
    if alike < ALIKE or alike + same_place / 2 < BOTH_ALIKE or same_place < SAME_PLACE:
        return None
    if abs(_correlation(luma[index] - luma[index - 1], luma[index - 1])) > GAIN:
        return None
    clearly = deviations >= CLEARLY and alike >= SAME
    if (
        slow
        and height < LEAST_HEIGHT * settings.min_motion
        and not (clearly and _along(luma, index) >= STRAIGHT)
    ):
        return None
    if not clearly:
        if level < settings.min_motion / 2:
            return None
        if height > MANY * level and _along(luma, index) < ALONG:
            return None
    times = motion.time
    gap = float(times[index] - times[index - 1])
    usual = float(np.median(np.diff(times[max(first - NEAR, 0) : stop])))
    if gap > 1.5 * usual and height < settings.jump_ratio * top * gap / usual:
        return None  # the picture waited for as long as the motion skipped: variable frame rate
    missing = height / level - 1
    end = float(times[index + 1]) if index + 1 < len(times) else float(times[index]) + usual
    return Observation(
        Kind.DROPPED_FRAMES,
        start=float(times[index]),
        end=end,
        severity=events.ladder(missing, 1, 3, 7, 12),
        confidence=float(
            np.clip(0.5 + 0.05 * (deviations - settings.jump_deviations), 0.5, 0.95)
            * min(1, alike + same_place / 2)
        ),
        summary=(
            f"the motion jumps by {height / level:.1f} times its steps before and after, "
            f"about {max(round(missing), 1)} frames are missing"
        ),
        evidence={
            "step_ratio": height / level,
            "frames_missing_estimate": missing,
            "deviations": deviations,
            "likeness_across_jump": alike,
            "likeness_of_place": same_place,
        },
        peak=float(times[index]),
    )


def _correlation(a: Float32, b: Float32) -> float:
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def _along(luma: Sequence[Float32], index: int) -> float:
    """Correlation of the step to `index` with the motion before and after it."""
    motion = luma[index - 1] - luma[index - 1 - NEAR] + luma[index + NEAR] - luma[index]
    return _correlation(luma[index] - luma[index - 1], motion)


def _changed_part(before: Float32, after: Float32) -> tuple[Float32, Float32]:
    """Both tile maps, cropped to where they differ: what stands still tells nothing of a cut."""
    step = np.abs(after - before)
    changed = step > 0.2 * np.percentile(step, 98)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return before, after
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return before[part], after[part]


def _alike(before: Float32, after: Float32) -> float:
    """Best correlation of two tile maps over shifts: near 1 unless there is a cut between them."""
    rows, columns = before.shape
    best = _correlation(before, after)
    if best > 0.95:
        return best
    down = min(MAX_SHIFT, rows // 3)
    across = min(MAX_SHIFT, columns // 3)
    for dy in range(-down, down + 1):
        y = slice(max(dy, 0), rows + min(dy, 0))
        y2 = slice(max(-dy, 0), rows + min(-dy, 0))
        for dx in range(-across, across + 1):
            x = slice(max(dx, 0), columns + min(dx, 0))
            x2 = slice(max(-dx, 0), columns + min(-dx, 0))
            best = max(best, _correlation(before[y, x], after[y2, x2]))
    return best
