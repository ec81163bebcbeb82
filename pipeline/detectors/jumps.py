"""Frames that are missing: the motion jumps, which makes a spike of one frame in its curve.

At a cut the picture is another one; across a jump it is the same, somewhat farther on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.tiles import correlation
from pipeline import events
from pipeline.detectors.motion import AROUND, CUT, NEAR, SPIKE, Motion, unsteadiness
from pipeline.measurements import Float32, Float64, Observation
from pipeline.types import Kind

if TYPE_CHECKING:
    from pipeline.detectors.cadence import CadenceSettings

# All calibrated on 108 development files with missing frames and on 1000 other spikes of change in
# clean clips, look-alikes and other damage.
LEAST_STEPS = 1.9  # one missing frame doubles the step
MOST_STEPS = 20.0  # 16 missing frames of the ladder, with a margin; above, an edit
LEAST_SPREAD = 0.06  # of the logarithm of change: motion is never steadier than this
# A jump, the steps around it, and those in steady motion, in units of min_motion
LEAST_HEIGHT, SLOWEST, SLOWEST_STEADY = 1.5, 0.5, 0.3
MOST_HELD = 2  # frames that stand still among those around; none in steady motion
# Correlation of the tile maps on both sides, at the best shift: cuts stay below.
ALIKE = 0.78
GAIN = 0.7  # correlation of a step with the picture itself: it has become brighter or darker
SAME_PLACE = 0.2  # correlation of where the jump and the steps around it change the picture
# Where the picture moves, a jump takes all of it farther: tiles that change by FARTHER times the
# most that they do around, and by FAINT code values more, are this share of those that move. What
# appears (a subtitle) or passes (confetti) changes a few of them.
FARTHER, FAINT, MOVING = 1.5, 0.5, 0.5
EVERYWHERE = 0.3
# In steady motion (its spread), such as a pan, a lower jump stands out more clearly: height over
# the highest step around, share as above.
STEADY, STEADY_RATIO, STEADY_SHARE, STEADY_DEVIATIONS = 0.1, 0.8, 0.15, 10.0
# There, and where it is of more than MANY steps, it must not go against the motion around it, by
# this correlation: what moves to and fro, as a speaker does, never gets that far; two takes do.
MANY, ALONG = 12.0, -0.15
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
    change, luma = motion.change, motion.luma
    first, stop = index - NEAR, index + NEAR + 1
    if first < 1 or stop > len(change):
        return None
    beside = [at for at in range(first, stop) if at != index and not _is_cut(change, at)]
    if len(beside) < 2 * NEAR - 1:
        return None
    level, top = float(np.median(change[beside])), float(change[beside].max())
    height = float(change[index])
    around = np.delete(change, index)[max(index - AROUND, 1) : index + AROUND]
    spread = max(unsteadiness(around[around < max(CUT, SPIKE * top)]), LEAST_SPREAD)
    deviations = float(np.log(height / max(level, 1e-6))) / spread
    steady = spread <= STEADY and deviations >= STEADY_DEVIATIONS
    if (
        height < settings.jump_ratio * (STEADY_RATIO if steady else 1.0) * top
        or deviations < settings.jump_deviations
        or not LEAST_STEPS * level <= height <= MOST_STEPS * level
        or level < (SLOWEST_STEADY if steady else SLOWEST) * settings.min_motion
        or height < LEAST_HEIGHT * settings.min_motion
        # held and caught up: a repeat
        or still[index - 2 : index].any()
        or int(still[beside].sum()) > (0 if steady else MOST_HELD)
    ):
        return None
    steps = np.array([np.abs(luma[at] - luma[at - 1]) for at in beside])
    jump = luma[index] - luma[index - 1]
    usual = steps.mean(axis=0)
    moving = usual >= MOVING * np.sqrt(np.mean(usual**2))
    farther = np.abs(jump) > FARTHER * steps.max(axis=0) + FAINT
    share = float(farther[moving].mean())
    if share < (STEADY_SHARE if steady else EVERYWHERE):
        return None
    same_place = correlation(np.abs(jump), usual)
    alike = _alike(*_changed_part(luma[index - 1], luma[index]))
    if same_place < SAME_PLACE or alike < ALIKE or abs(correlation(jump, luma[index - 1])) > GAIN:
        return None
    if (spread <= STEADY or height > MANY * level) and _along(luma, index) < ALONG:
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
            "share_of_motion": share,
        },
        peak=float(times[index]),
    )


def _is_cut(change: Float64, at: int) -> bool:
    """Whether the step to frame `at` is so much longer than those next to it that it is a cut."""
    after = float(change[at + 1]) if at + 1 < len(change) else 0.0
    return bool(change[at] > CUT and change[at] > SPIKE * max(float(change[at - 1]), after))


def _along(luma: Sequence[Float32], index: int) -> float:
    """Correlation of the step to `index` with the motion before and after it."""
    motion = luma[index - 1] - luma[index - 1 - NEAR] + luma[index + NEAR] - luma[index]
    return correlation(luma[index] - luma[index - 1], motion)


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
    best = correlation(before, after)
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
            best = max(best, correlation(before[y, x], after[y2, x2]))
    return best
