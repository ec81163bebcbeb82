"""Cadence: frames shown twice, and frames that are missing, within motion.

Both are found in the curve of `pipeline.detectors.motion`: a repeated frame makes a notch that goes
down to nothing, a missing one a spike of one frame. Where only a part of the picture moves, a net
looks at the tiles that leap.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.jumps import STEADY_RATIO, find_jump, spikes
from pipeline.detectors.leaps import find_leap
from pipeline.detectors.motion import AROUND, Motion
from pipeline.detectors.repeats import Repeats, motion_beside
from pipeline.measurements import Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind

APART = 0.3  # seconds from one place where frames are missing to the next


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
        2.0,
        "",
        "least change at a jump, in multiples of the largest change around it; four fifths of that "
        "in steady motion",
        "calibrated on 108 development files with missing frames and 1000 other spikes of change; "
        "one missing frame in steady motion doubles the change, 1.6 allows for texture",
        gt=1,
    )
    jump_deviations: float = setting(
        5.5,
        "",
        "least height of a jump, in units of how much the logarithm of the change varies around it",
        "calibrated likewise: unsteady motion and turning heads stay below",
        gt=0,
    )


class CadenceDetector(PictureDetector):
    """Finds notches and spikes of single frames in the curve of change."""

    name = "cadence"
    version = "6"
    kinds = (Kind.REPEATED_FRAMES, Kind.DROPPED_FRAMES)
    summary = (
        "Stutter: frames repeated (24 pictures a second shown as 25) or missing within smooth "
        "motion; a steady rhythm such as animation on twos is not reported"
    )
    Settings = CadenceSettings

    def __init__(self, settings: CadenceSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: CadenceSettings = settings
        self._motion = Motion()
        self._decided = 0  # frames of _motion that were judged
        self._repeats = Repeats(settings)
        self._jumped = -APART  # seconds, where frames were missing last

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._motion.add(picture)
        return self._judge(len(self._motion) - AROUND)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._judge(len(self._motion))
        return found + self._repeats.close()

    def _judge(self, stop: int) -> list[Observation]:
        """Judge the frames up to `stop`, which have their context."""
        found: list[Observation] = []
        motion, repeats = self._motion, self._repeats
        if stop > self._decided:
            still, level = motion.still(), motion_beside(motion.change)
            spike = spikes(motion.change, STEADY_RATIO * self.settings.jump_ratio)
            for index in range(max(self._decided, 1), stop):
                now = float(motion.time[index])
                repeats.look(motion, index, still, level)
                # not where it catches up after a repeat, nor in what follows a jump
                if not repeats.reach(now) and now - self._jumped >= APART:
                    jump = find_jump(motion, index, still, self.settings) if spike[index] else None
                    jump = jump or find_leap(motion, index, still)
                    if jump is not None:
                        found.append(jump)
                        self._jumped = now
                found += repeats.expire(now)
            self._decided = stop
        surplus = self._decided - 2 * AROUND
        if surplus > 0:
            motion.forget(surplus)
            self._decided -= surplus
        return found
