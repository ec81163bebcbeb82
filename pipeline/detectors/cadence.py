"""Cadence: frames shown twice, and frames that are missing, within motion.

How far the picture moves from frame to frame is measured on the tile means of luma, where film
grain averages out: `change` is the standard deviation, in code values, of how the tiles changed.
In smooth motion it is a smooth curve. A repeated frame makes a notch that goes down to nothing; a
missing one makes a spike of one frame. What is the rule and not the exception, such as animation
drawn on twos or 25 pictures a second doubled to 50, is the rhythm of the film and no defect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.types import (
    Float32,
    Float64,
    Kind,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)

AROUND = 12  # frames on each side that make the context of a frame: half a second at 25 fps
NEAR = 4  # frames on each side that a repeat or a jump is compared with
CODING_NOISE = 0.3  # code values: change of the tile means that coding gives a repeated frame
UNSTEADY = 0.5  # median |log ratio| of neighbouring steps: no smooth motion that could stutter
# A repeat that grain or coding hides: its change and that of the frame after it, in units of the
# motion around, and how steady that motion must be. Calibrated on 24 development clips.
DIP = 0.66
CATCH_UP, MOST_CATCH_UP = 1.35, 3.0
STEADY = 0.15
# A repeat within unsteady motion, such as a speaker's: its change, in units of the largest of two
# frames on each side, and what such a notch counts for. Calibrated on 41 clean development clips,
# 6 minutes: less than one notch below 0.16 in 20 s, and at most three below 0.25 in 10 s.
NOTCHES = ((0.16, 0.9), (0.25, 0.5), (0.35, 0.25))
# What lies at either end of a defect belongs to it up to FAR of the usual distance between LIKELY
# repeats, and as much farther as it counts for. Calibrated on 28 damaged development clips.
FAR, LIKELY = 2.0, 0.9
CUT, SPIKE = 10.0, 5.0  # change at a cut: code values, and in units of the frames next to it
# Largest step to smallest step around a jump, and the steps before it to those after: a jump that
# is higher than `jump_ratio` by a factor may stand in motion that is as much less even.
UNEVEN = 2.5
CHANGES = 2.0
LEAST_HEIGHT = 4.0  # in units of min_motion, of a jump in motion that is slower than that
LEAST_SPREAD = 0.06  # of the logarithm of change: motion is never steadier than this
MAX_MISSING = 25.0  # steps: 16 missing frames of the ladder, with a margin; above, an edit
# Correlation of the tile maps on both sides, at the best shift, by itself and plus half of that of
# SAME_PLACE: cuts stay below. Calibrated on frames deleted from nine clips and on cuts in 119.
ALIKE = 0.78
BOTH_ALIKE = 0.9
# A jump of more steps than MANY must go along the motion around it, which this correlation tells:
# what moves to and fro, as a speaker does, never gets that far away; two takes of one speaker do.
# Calibrated on frames deleted from 26 development clips: pans have 0.57 and more.
MANY, ALONG = 8.0, 0.3
# So clear a jump may go anywhere, and stand in motion that is as slow as that: deviations,
# likeness of both sides, share of min_motion. Calibrated on development clips.
CLEARLY, SAME, SLOWEST = 20.0, 0.97, 0.3
GAIN = 0.7  # correlation of a step with the picture itself: it has become brighter or darker
PLAIN = 2.0  # code values: spread of the tiles of a picture that cannot show motion: black, white
SAME_PLACE = 0.1  # correlation of where the jump and the steps around it change the picture
MAX_SHIFT = 10  # tiles, 160 pixels: 16 frames of a pan at 10 pixels a frame


class CadenceSettings(DetectorSettings):
    """Settings of the cadence detector."""

    min_motion: float = setting(
        0.6,
        "code values",
        "change of the tile means from frame to frame that counts as motion; slower motion is "
        "quantised to repeats by encoders themselves",
        "calibrated on 47 general clips and 122 clips of speakers",
        gt=0,
    )
    repeat_ratio: float = setting(
        0.16,
        "",
        "change of a repeated frame, as a share of the change of its neighbours",
        "calibrated: natural notches in 169 clips stay above 0.2, encoded repeats below 0.1",
        gt=0,
        lt=1,
    )
    max_repeats: float = setting(
        0.35,
        "",
        "share of repeats up to which motion counts as smooth; above, repeats are its rhythm",
        "20 pictures in 30 frames is 0.33; animation on twos 0.5, 3:2 pulldown to 60 Hz 0.6",
        gt=0,
        lt=1,
    )
    max_notches: float = setting(
        0.42,
        "",
        "the same where the motion is unsteady: share of notches, however deep they are",
        "20 pictures in 30 frames, unevenly spread, against animation on twos",
        gt=0,
        lt=1,
    )
    min_events: int = setting(
        3,
        "repeats",
        "fewest repeats, `max_spacing` apart at most, that make a defect",
        "research, V6: more than 1 % of the frames; one a second is the cadence of 24 in 25",
        ge=1,
    )
    max_spacing: float = setting(
        1.6,
        "s",
        "longest time from one repeat to the next of one defect",
        "one repeat a second (24 pictures in 25 frames) with a margin for one that is missed",
        gt=0,
    )
    long_hold: float = setting(
        0.1,
        "s",
        "a single hold that is longer than its neighbours by this much is a defect by itself",
        "freezes of 80 to 200 ms are detectable (AVEQ; van Kester 2011)",
        gt=0,
    )
    max_hold: float = setting(
        0.5, "s", "longer holds are left to the freeze detector", "freeze detector", gt=0
    )
    jump_ratio: float = setting(
        1.6,
        "",
        "least change at a jump, in multiples of the largest change around it",
        "one missing frame in steady motion doubles the change; 1.6 allows for texture",
        gt=1,
    )
    jump_deviations: float = setting(
        5.0,
        "",
        "least height of a jump, in units of how much the logarithm of the change varies around it",
        "calibrated on 169 clips, 12.5 minutes: unsteady hand-held motion must not pass",
        gt=0,
    )


@dataclass
class _Repeat:
    """A picture that was held: its repeats, from their first to the frame after their last."""

    start: float
    end: float
    frames: int
    ratio: float  # change of the repeats / change of the neighbours
    jump: float  # change right after the repeats / change of the neighbours
    weight: float = 1.0  # how many clear repeats it counts for


class CadenceDetector(PictureDetector):
    """Finds notches and spikes of single frames in the curve of change."""

    name = "cadence"
    kinds = (Kind.REPEATED_FRAMES, Kind.DROPPED_FRAMES)
    summary = (
        "Stutter: frames repeated (24 pictures a second shown as 25) or missing within smooth "
        "motion; a steady rhythm such as animation on twos is not reported"
    )
    Settings = CadenceSettings

    def __init__(self, settings: CadenceSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: CadenceSettings = settings
        self._before: Float32 | None = None
        self._change = np.empty(0)
        self._time = np.empty(0)
        self._luma: deque[Float32] = deque()  # same length as _change
        self._decided = 0  # frames of _change that were judged
        self._repeats: list[_Repeat] = []
        self._all_repeats = 0
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        luma = picture.luma
        count = len(luma)
        step = np.empty_like(luma)
        np.subtract(luma[1:], luma[:-1], out=step[1:])
        if self._before is None:
            step[0] = 0
        else:
            np.subtract(luma[0], self._before, out=step[0])
        self._before = luma[-1].copy()
        energy = np.einsum("tyx,tyx->t", step, step).astype(np.float64) / step[0].size
        # without what the whole picture changed by: a fade has steps of its own
        energy -= step.mean(axis=(1, 2), dtype=np.float64) ** 2
        self._change = np.concatenate((self._change, np.sqrt(np.maximum(energy, 0))))
        self._time = np.concatenate((self._time, picture.frames["time"]))
        self._luma.extend(luma[index] for index in range(count))
        self._end = float(picture.frames["time"][-1] + picture.frames["duration"][-1])
        return self._judge(len(self._change) - AROUND)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._judge(len(self._change))
        return found + self._close()

    def _judge(self, stop: int) -> list[Observation]:
        """Judge the frames up to `stop`, which have their context."""
        found: list[Observation] = []
        if stop > self._decided:
            still, motion = _still(self._change), _motion(self._change)
            spike = self._change > 0
            spike[1:] &= self._change[1:] > self._change[:-1] * self.settings.jump_ratio
            spike[:-1] &= self._change[:-1] > self._change[1:] * self.settings.jump_ratio
            for index in range(max(self._decided, 1), stop):
                known = len(self._repeats)
                if still[index - 1] and not still[index]:
                    self._held(index, still)
                elif not still[index - 1]:
                    self._dips(index, still)
                if len(self._repeats) == known:
                    self._notch(index - 1, motion)
                if spike[index]:
                    found += self._jump(index, still)
                found += self._expire(float(self._time[index]))
            self._decided = stop
        surplus = self._decided - 2 * AROUND
        if surplus > 0:
            self._change, self._time = self._change[surplus:], self._time[surplus:]
            for _ in range(surplus):
                self._luma.popleft()
            self._decided -= surplus
        return found

    def _held(self, stop: int, still: npt.NDArray[np.bool_]) -> None:
        """Frames up to `stop` repeat the one before them: keep them if motion is on both sides."""
        change, time, settings = self._change, self._time, self.settings
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
            or _unsteadiness(change[around][~still[around]]) > UNSTEADY
            or length > settings.max_hold
            or float(self._luma[first].std()) < PLAIN  # the middle of a fade
        ):
            return
        jump = float(change[stop]) / level
        while self._repeats and self._repeats[-1].start >= float(time[first]) - 1e-6:
            self._repeats.pop()  # frames of this hold, each by itself
        self._repeats.append(
            _Repeat(float(time[first]), float(time[stop]), held, quiet / level, jump)
        )

    def _dips(self, stop: int, still: npt.NDArray[np.bool_]) -> None:
        """The frame before `stop` moves little and the next one as much more, in steady motion.

        So a repeat looks under grain or a coarse encode: the picture stood, and what was coded anew
        is the noise; then the motion catches up.
        """
        change, time, settings = self._change, self._time, self.settings
        index = stop - 1
        first, last = index - 2 * NEAR, index + 2 * NEAR + 2
        if first < 1 or last > len(change):
            return
        near = np.concatenate([change[first:index], change[stop + 1 : last]])
        level = float(np.median(near))
        if (
            level < settings.min_motion / 2
            or change[index] > DIP * level
            or change[stop] < CATCH_UP * level
            or change[stop] > MOST_CATCH_UP * level
            or still[first:last].any()
            or _unsteadiness(near[(near > DIP * level) & (near < CATCH_UP * level)]) > STEADY
            or float(self._luma[index].std()) < PLAIN
        ):
            return
        start, end = float(time[index]), float(time[stop])
        ratio = float(change[index]) / level  # which grain and coding keep up
        self._repeats.append(_Repeat(start, end, 1, ratio / 4, float(change[stop]) / level))

    def _notch(self, index: int, motion: Float64) -> None:
        """Frame `index` stands between two that move, however unsteady the motion is."""
        change, time, settings = self._change, self._time, self.settings
        ratio = float(change[index] / max(motion[index], 1e-6))
        weight = next((weight for least, weight in NOTCHES if ratio < least), 0.0)
        around = slice(max(index - AROUND, 1), index + AROUND + 1)
        notches = change[around] < NOTCHES[-1][0] * motion[around]
        if (
            not weight
            or index + 1 >= len(change)
            or motion[index] < settings.min_motion
            or float(notches.mean()) > settings.max_notches
            or float(self._luma[index].std()) < PLAIN
        ):
            return
        start, end = float(time[index]), float(time[index + 1])
        jump = float(change[index + 1] / motion[index])
        last = self._repeats[-1] if self._repeats else None
        if last and abs(last.end - start) < 1e-6 and last.weight < 1:
            last.end, last.frames, last.jump = end, last.frames + 1, jump
            last.weight = max(last.weight, weight)
        else:
            self._repeats.append(_Repeat(start, end, 1, ratio, jump, weight))

    def _jump(self, index: int, still: npt.NDArray[np.bool_]) -> list[Observation]:
        """The step to frame `index` is much longer than the steps around it, and no cut."""
        change, settings = self._change, self.settings
        first, stop = index - NEAR, index + NEAR + 1
        if first < 1 or stop > len(change):
            return []
        if self._repeats and self._repeats[-1].end >= float(self._time[index]) - 1e-6:
            return []  # it catches up after a repeat
        near = np.delete(change[first:stop], NEAR)
        level, top = float(np.median(near)), float(near.max())
        height = float(change[index])
        clear = height / max(settings.jump_ratio * top, 1e-6)
        slow = level < settings.min_motion
        sides = float(np.median(near[:NEAR])), float(np.median(near[NEAR:]))
        if (
            clear < 1
            or level < SLOWEST * settings.min_motion
            or (slow and height < LEAST_HEIGHT * settings.min_motion)
            or height > MAX_MISSING * level
            # held and caught up: a repeat; a step is small only in comparison next to a high jump
            or (still[first:stop] & (np.arange(first, stop) != index)).any()
            or top > UNEVEN * clear * float(near.min())
            or max(sides) > CHANGES * clear * min(sides)
        ):
            return []
        around = np.delete(change, index)[max(index - AROUND, 1) : index + AROUND]
        spread = max(_unsteadiness(around), LEAST_SPREAD)
        deviations = float(np.log(height / level)) / spread
        if deviations < settings.jump_deviations:
            return []
        luma = self._luma
        alike = _alike(*_changed_part(luma[index - 1], luma[index]))
        steps = [np.abs(luma[at] - luma[at - 1]) for at in range(first, stop) if at != index]
        same_place = _correlation(np.abs(luma[index] - luma[index - 1]), np.mean(steps, axis=0))
        if alike < ALIKE or alike + same_place / 2 < BOTH_ALIKE or same_place < SAME_PLACE:
            return []
        if abs(_correlation(luma[index] - luma[index - 1], luma[index - 1])) > GAIN:
            return []
        if deviations < CLEARLY or alike < SAME:
            if level < settings.min_motion / 2:
                return []
            if height > MANY * level and _along(luma, index) < ALONG:
                return []
        times = self._time
        gap = float(times[index] - times[index - 1])
        usual = float(np.median(np.diff(times[max(first - NEAR, 0) : stop])))
        if gap > 1.5 * usual and height < settings.jump_ratio * top * gap / usual:
            return []  # the picture waited for as long as the motion skipped: variable frame rate
        missing = height / level - 1
        end = float(times[index + 1]) if index + 1 < len(times) else float(times[index]) + usual
        return [
            Observation(
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
        ]

    def _expire(self, now: float) -> list[Observation]:
        """Close the group of repeats when the next one is overdue."""
        if self._repeats and now - self._repeats[-1].end > self.settings.max_spacing:
            return self._close()
        return []

    def _close(self) -> list[Observation]:
        group, self._repeats = _trimmed(self._repeats), []
        if not group:
            return []
        settings = self.settings
        longest = max(group, key=lambda repeat: (repeat.end - repeat.start) * repeat.weight)
        hold = longest.end - longest.start if longest.weight >= 1 else 0.0
        clear = sum(repeat.weight >= LIKELY for repeat in group)
        if clear < settings.min_events and hold < settings.long_hold - 1e-6:
            return []
        start, end = group[0].start, group[-1].end
        frames = sum(repeat.frames for repeat in group)
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
                    "step_after_hold_ratio": float(np.median([r.jump for r in group])),
                },
                peak=longest.start,
            )
        ]


def _trimmed(group: list[_Repeat]) -> list[_Repeat]:
    """Without what little lies far off at both ends: natural notches near a defect."""
    likely = [repeat.start for repeat in group if repeat.weight >= LIKELY]
    if len(likely) < 3:
        return group
    most = FAR * float(np.exp(np.mean(np.log(np.diff(likely)))))  # few long gaps count less
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


def _still(change: Float64) -> npt.NDArray[np.bool_]:
    """Frames that may be repeats: hardly any change, against the motion around them."""
    padded = np.pad(change, AROUND, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1)
    at = round(0.85 * 2 * AROUND)  # even where only one picture in four is new, one that moves
    level = np.partition(windows, at, axis=1)[:, at]
    return change < 0.2 * level


def _motion(change: Float64) -> Float64:
    """What a frame's change is to be compared with: the largest of two on each side, no cuts."""
    padded = np.pad(change, 2)
    beside = np.maximum(padded[1:-3], padded[3:-1])
    moves = np.pad(np.where((change > CUT) & (change > SPIKE * beside), beside, change), 2)
    before = np.maximum(moves[:-4], moves[1:-3])
    after = np.maximum(moves[3:-1], moves[4:])
    level: Float64 = np.minimum(before, after)
    return level


def _unsteadiness(change: Float64) -> float:
    """How much motion varies from frame to frame: median |log ratio| of neighbours."""
    if len(change) < 2:
        return 0.0
    return float(np.median(np.abs(np.diff(np.log(np.maximum(change, 1e-3))))))


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
