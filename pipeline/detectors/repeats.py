"""Frames shown twice: a repeat makes a notch in the curve of change, one that goes down to nothing.

Repeats that follow each other are gathered in a group, which makes one defect. What is the rule and
not the exception, such as animation drawn on twos or 25 pictures a second doubled to 50, is the
rhythm of the film and no defect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.motion import AROUND, CUT, NEAR, SPIKE, Motion, unsteadiness
from pipeline.measurements import Float64, Observation
from pipeline.types import Kind

if TYPE_CHECKING:
    from pipeline.detectors.cadence import CadenceSettings

CODING_NOISE = 0.3  # code values: change of the tile means that coding gives a repeated frame
UNSTEADY = 0.5  # median |log ratio| of neighbouring steps: no smooth motion that could stutter
# A repeat that grain or coding hides, in steady motion: its change and that of the frame after it,
# in units of the motion around; how near the steps of the hold and the one after it come to what
# the motion would have made in that time; how steady that motion must be, in how many frames of 17,
# and how slow it may be, in units of min_motion. Calibrated on 76 development files.
DIP, MOST_HELD = 0.66, 3
CATCH_UP, CONSERVED = 1.35, 0.25
DIPS = 0.95  # what it counts for: as much as any but for its length by itself
STEADY, FEWEST_STEADY, SLOWEST = 0.1, 7, 0.4
# A repeat within unsteady motion, such as a speaker's: its change, in units of the largest of two
# frames on each side, and what such a notch counts for. Calibrated on 41 clean development clips,
# 6 minutes: less than one notch below 0.16 in 20 s, and at most three below 0.25 in 10 s.
NOTCHES = ((0.16, 0.9), (0.25, 0.5), (0.35, 0.25))
# In animation and pulldown what follows a repeat is a step like any: where there are but notches,
# the frames after them must catch up, unless there are MANY of them. Calibrated on 25 look-alikes
# and 44 damaged development clips.
MANY = 20
# What lies at either end of a defect belongs to it up to FAR of the usual distance between LIKELY
# repeats, and as much farther as it counts for. Calibrated on 28 damaged development clips.
FAR, LIKELY = 2.0, 0.9
FAINT = 0.5  # what counts for less is no end of a defect
# Nor is what is less clear than the LIKELY ones by far: in units of the ratio that three in four of
# them stay below, and at least. One encoder keeps all repeats alike; natural motion halts nearly.
# Chosen on 64 damaged development clips: in those whose likely repeats stay below 0.03, the natural
# notches beside them are at 0.16 and more. 56 found, 49 without this.
LESS_CLEAR, CLEAR = 3.0, 0.1
ALONE = 3  # frames on each side without the like of a cut: fast motion on threes is no row of cuts
PLAIN = 2.0  # code values: spread of the tiles of a picture that cannot show motion: black, white


@dataclass
class _Repeat:
    """A picture that was held: its repeats, from their first to the frame after their last."""

    start: float
    end: float
    frames: int
    ratio: float  # change of the repeats / change of the neighbours
    jump: float  # change right after the repeats / change of the neighbours
    weight: float = 1.0  # how many clear repeats it counts for


class Repeats:
    """Gathers the repeats of one stream, frame by frame."""

    def __init__(self, settings: CadenceSettings) -> None:
        self._settings = settings
        self._group: list[_Repeat] = []

    def look(
        self, motion: Motion, index: int, still: npt.NDArray[np.bool_], level: Float64
    ) -> None:
        """Whether what was repeated ends at frame `index`, 1 or more; if so, add it to the group.

        Args:
            motion: of T frames.
            index: of the frame, in `motion`.
            still: `motion.still()` [T].
            level: `motion_beside(motion.change)`, code values [T].
        """
        known = len(self._group)
        if still[index - 1] and not still[index]:
            self._held(motion, index, still)
        if len(self._group) == known:
            self._dips(motion, index)
        if len(self._group) == known:
            self._notch(motion, index - 1, level)

    def reach(self, time: float) -> bool:
        """Whether the latest repeat lasts until `time`, seconds: the frame there catches up."""
        return bool(self._group) and self._group[-1].end >= time - 1e-6

    def expire(self, now: float) -> list[Observation]:
        """Close the group when the next repeat is overdue at `now`, seconds."""
        if self._group and now - self._group[-1].end > self._settings.max_spacing:
            return self.close()
        return []

    def close(self) -> list[Observation]:
        """End the group: the defect that it makes, if it makes one."""
        group, self._group = _trimmed(self._group), []
        if not group:
            return []
        settings = self._settings
        sure = [repeat for repeat in group if repeat.weight >= 1]
        longest = max(sure or group, key=lambda repeat: repeat.end - repeat.start)
        hold = longest.end - longest.start if sure else 0.0
        clear = sum(repeat.weight >= LIKELY for repeat in group)
        if clear < settings.min_events and hold < settings.long_hold - 1e-6:
            return []
        start, end = group[0].start, group[-1].end
        frames = sum(repeat.frames for repeat in group)
        step_after = float(np.median([repeat.jump for repeat in group]))
        if not hold and step_after < CATCH_UP and frames < MANY:
            return []
        spacing = (end - start) / max(len(group) - 1, 1)
        rate = 1 / spacing if len(group) > 1 else 0.0
        ratio = float(np.mean([repeat.ratio for repeat in group]))
        if len(group) > 1:
            summary = (
                f"{frames} frames repeated within motion in {end - start:.2f} s, "
                f"one hold every {spacing:.2f} s, the longest {hold:.2f} s"
            )
        else:
            summary = f"the picture stands for {hold:.2f} s within motion"
        return [
            Observation(
                Kind.REPEATED_FRAMES,
                start=start,
                end=end,
                severity=max(
                    events.ladder(rate, 0.5, 2, 5, 10), events.ladder(hold, 0.05, 0.12, 0.2, 0.36)
                ),
                confidence=float(
                    np.clip(0.6 + 0.05 * len(group) + 0.1 * longest.frames - 2 * ratio, 0.3, 0.98)
                ),
                summary=summary,
                evidence={
                    "frames_repeated": float(frames),
                    "holds_per_s": rate,
                    "longest_hold_s": hold,
                    "change_ratio": ratio,
                    "step_after_hold_ratio": step_after,
                },
                peak=longest.start,
            )
        ]

    def _held(self, motion: Motion, stop: int, still: npt.NDArray[np.bool_]) -> None:
        """Frames up to `stop` repeat the one before them: keep them if motion is on both sides."""
        change, time, settings = motion.change, motion.time, self._settings
        first = stop - 1
        while first > 0 and still[first - 1]:
            first -= 1
        moves = np.flatnonzero(~still)
        before, after = moves[moves < first][-NEAR:], moves[moves >= stop][: NEAR + 1]
        before = before[change[before] > 0]  # the first frame of all has no predecessor
        if len(before) < 2 or len(after) < 2:
            return
        held = stop - first
        around = slice(max(first - AROUND, 1), stop + AROUND)
        repeats = float(still[around].sum())
        # one long hold may be the exception, however long it is
        others = (repeats - held) / max(len(still[around]) - held, 1)
        level = min(float(np.median(change[before])), float(np.median(change[after])))
        quiet = float(change[first:stop].max())
        length = float(time[stop] - time[first])
        if (
            level < settings.min_motion
            or quiet > settings.repeat_ratio * level
            or quiet > max(CODING_NOISE, settings.repeat_ratio / 4 * level)
            or min(repeats / len(still[around]), others) > settings.max_repeats
            or unsteadiness(change[around][~still[around]]) > UNSTEADY
            or length > settings.max_hold
            or float(motion.luma[first].std()) < PLAIN  # the middle of a fade
        ):
            return
        jump = float(change[stop]) / level
        self._drop_from(float(time[first]))
        self._group.append(
            _Repeat(float(time[first]), float(time[stop]), held, quiet / level, jump)
        )

    def _dips(self, motion: Motion, stop: int) -> None:
        """Frames before `stop` move little and the next one as much more, in steady motion.

        So a repeat looks under grain or a coarse encode, and in slow motion: the picture stood, and
        what was coded anew is the noise; then the motion catches up, all at once.
        """
        change, time, settings = motion.change, motion.time, self._settings
        first, last = stop - 1 - 2 * NEAR, stop + 1 + 2 * NEAR
        if first < 1 or last > len(change):
            return
        near = change[first:last]
        level = float(np.median(near))
        steady = near[(near > DIP * level) & (near < CATCH_UP * level)]
        begin = stop
        while begin > stop - MOST_HELD and change[begin - 1] < DIP * level:
            begin -= 1
        held = stop - begin
        if (
            not held
            or level < SLOWEST * settings.min_motion
            or change[stop] < CATCH_UP * level
            or abs(float(change[begin : stop + 1].sum()) / ((held + 1) * level) - 1) > CONSERVED
            or len(steady) < FEWEST_STEADY
            or unsteadiness(steady) > STEADY
            or float(motion.luma[begin].std()) < PLAIN
        ):
            return
        start, end = float(time[begin]), float(time[stop])
        ratio = float(change[begin:stop].max()) / level  # which grain and coding keep up
        self._drop_from(start)
        jump = float(change[stop]) / level
        self._group.append(_Repeat(start, end, held, ratio / 4, jump, DIPS))

    def _drop_from(self, start: float) -> None:
        """Forget the frames of a hold that begins at `start`, each by itself."""
        while self._group and self._group[-1].start >= start - 1e-6:
            self._group.pop()

    def _notch(self, motion: Motion, index: int, level: Float64) -> None:
        """Frame `index` stands between two that move, however unsteady the motion is."""
        change, time, settings = motion.change, motion.time, self._settings
        ratio = float(change[index] / max(level[index], 1e-6))
        weight = next((weight for least, weight in NOTCHES if ratio < least), 0.0)
        around = slice(max(index - AROUND, 1), index + AROUND + 1)
        notches = change[around] < NOTCHES[-1][0] * level[around]
        if (
            not weight
            or index + 1 >= len(change)
            or level[index] < settings.min_motion
            or float(notches.mean()) > settings.max_notches
            or float(motion.luma[index].std()) < PLAIN
        ):
            return
        start, end = float(time[index]), float(time[index + 1])
        jump = float(change[index + 1] / level[index])
        last = self._group[-1] if self._group else None
        if last and start < last.end - 1e-6:
            return  # of a hold that is known
        if last and abs(last.end - start) < 1e-6 and last.weight < 1:
            last.end, last.frames, last.jump = end, last.frames + 1, jump
            last.weight = max(last.weight, weight)
        else:
            self._group.append(_Repeat(start, end, 1, ratio, jump, weight))


def motion_beside(change: Float64) -> Float64:
    """What each change is compared with, code values [T]: largest of two on each side, no cuts."""
    padded = np.pad(change, ALONE)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * ALONE + 1)
    around = np.maximum(windows[:, :ALONE].max(axis=1), windows[:, ALONE + 1 :].max(axis=1))
    beside = np.maximum(windows[:, ALONE - 1], windows[:, ALONE + 1])
    moves = np.pad(np.where((change > CUT) & (change > SPIKE * around), beside, change), 2)
    before = np.maximum(moves[:-4], moves[1:-3])
    after = np.maximum(moves[3:-1], moves[4:])
    level: Float64 = np.minimum(before, after)
    return level


def _no_end(repeat: _Repeat, limit: float) -> bool:
    """Whether it counts for too little to be an end of a group with likely repeats."""
    return repeat.weight < FAINT or (repeat.weight < 1 and repeat.ratio > limit)


def _trimmed(group: list[_Repeat]) -> list[_Repeat]:
    """Without what little lies far off at both ends: natural notches near a defect."""
    likely = [repeat.start for repeat in group if repeat.weight >= LIKELY]
    if len(likely) < 3:
        return group
    most = FAR * float(np.exp(np.mean(np.log(np.diff(likely)))))  # few long gaps count less
    ratios = [repeat.ratio for repeat in group if repeat.weight >= LIKELY]
    limit = max(CLEAR, LESS_CLEAR * float(np.percentile(ratios, 75)))
    while _no_end(group[0], limit):
        group = group[1:]
    while _no_end(group[-1], limit):
        group = group[:-1]
    pieces = [[group[0]]]
    for repeat in group[1:]:
        if repeat.start - pieces[-1][-1].start > most:
            pieces.append([])
        pieces[-1].append(repeat)
    for end, beside in ((0, 1), (-1, -2)):
        while len(pieces) > 1:
            gap = abs(pieces[max(end, beside)][0].start - pieces[min(end, beside)][-1].start)
            if gap <= most * (1 + sum(repeat.weight for repeat in pieces[end])):
                break
            pieces.pop(end)
    return [repeat for piece in pieces for repeat in piece]
