"""Blockiness: the grid of a block transform stands out of the picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.comb import FAMILIES, Comb, comb
from pipeline.detectors.grid import NATIVE, SURE_SHARE, find_grid
from pipeline.detectors.looks import CUT_NEAR, Cuts, LookRun, LookRuns, end_of
from pipeline.detectors.rises import BESIDE, GAP, STRONG, WEAK, stretches
from pipeline.measure.frame import LOOK_EVERY
from pipeline.types import Float64, Kind, Observation, PictureFormat, PictureStatistics, Segment

CALIBRATED = (
    "calibrated on development sources: 46 clean clips, among them MPEG-2 at 4 Mb/s, whose weak "
    "grid nobody minds"
)
LEVELS = tuple(0.12 * 1.35**n for n in range(12))  # code values, at which runs are looked for
UNSURE = 5.0  # deviations: a grid less sure than that counts as ...
NOTHING = 0.05  # ... code values
LEAST_BESIDE = (3.0, 0.06)  # sureness and step that count as nothing, when compared with
SURER = {1: 1.6, 2: 1.25}  # times as sure as beside, by the number of sides that are known
LONGEST = 60.0  # seconds of looks that are judged together
SMOOTHED = 2  # looks by which a stretch may be too long at either end
HELD = 0.7  # share of the looks of a run that must hold


class BlockinessSettings(DetectorSettings):
    """Settings of the blockiness detector."""

    strength: float = setting(
        0.6, "code values", "grid strength of whole shots: its steps above their surroundings, "
        "less where texture hides them", CALIBRATED, gt=0,
    )  # fmt: skip
    scaled_strength: float = setting(
        0.8, "code values", "the same for a grid that was scaled (period other than 4, 8, 16)",
        CALIBRATED, gt=0,
    )  # fmt: skip
    min_rise: float = setting(
        2.0, "", "times that steps on the grid are as high as in the same shot beside, where "
        "both sides of a stretch are known; where one is, one and a half times that",
        CALIBRATED, gt=1,
    )  # fmt: skip
    min_step: float = setting(
        0.12, "code values", "weakest step of a stretch that stands out of its shot; "
        "2.2 times that where one side only is known", CALIBRATED, gt=0,
    )  # fmt: skip
    min_duration: float = setting(
        0.8, "s", "shortest interval reported", "calibrated: one bad key frame is not reported"
    )


@dataclass(frozen=True)
class _Rise:
    """A stretch whose grid is stronger than that of its shot beside it."""

    start: float
    end: float
    peak: float
    step: float  # code values
    sureness: float
    times: float  # as strong as beside
    period: tuple[float, float]


class BlockinessDetector(PictureDetector):
    """Looks for lines on a grid in both directions, five times a second.

    A grid that is strong is a defect wherever it is. A weak one is, where it comes or goes within a
    shot: the same content was coded better a moment before, or is a moment after. Grids that were
    scaled, or coded anew, are found in this way. Ends are right within 0.2 s.

    Deblocked H.264 is hard: the filter takes the steps away, and what remains at QP 47 is weak.
    """

    name = "blockiness"
    version = "3"
    kinds = (Kind.BLOCKINESS,)
    summary = "A compression grid is visible: its period, phase and strength"
    slow_to_ask = True
    Settings = BlockinessSettings

    def __init__(self, settings: BlockinessSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._runs = LookRuns(settings.min_duration, 0.7, 1 / picture_format.frame_rate)
        self._cuts = Cuts()
        self._looks: deque[tuple[float, Comb]] = deque()
        self._strong: list[LookRun] = []  # not told yet
        self._told = -1.0  # end of what was told
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._end = end_of(picture)
        self._cuts.watch(picture)
        for look in picture.looks:
            self._looks.append((look.time, comb(look)))
            grid = find_grid(look)
            holds, strength, evidence = False, 0.0, {}
            if grid is not None:
                across, down = grid.across, grid.down
                native = across.period in NATIVE and down.period in NATIVE
                limit = self.settings.strength if native else self.settings.scaled_strength
                strength = grid.strength
                holds = strength >= limit
                evidence = {
                    "period_px": across.period,
                    "period_down_px": down.period,
                    "phase_px": across.phase,
                    "phase_down_px": down.phase,
                    "strength": strength,
                    "step_code_values": (across.step + down.step) / 2,
                    "share_of_grid_lines": min(across.share, down.share),
                }
            self._strong += self._runs.add(look.time, holds, strength, evidence)
        if self._is_quiet() or self._looks[-1][0] - self._looks[0][0] > LONGEST:
            return self._judge()
        return []

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        self._strong += self._runs.finish(self._end)
        return self._judge()

    def _is_quiet(self) -> bool:
        """Whether nothing can be going on: no grid for long enough."""
        if not self._looks:
            return False
        last = self._looks[-1][0]
        return not self._runs.is_open and all(
            step < LEVELS[0] or sureness < UNSURE
            for time, one in self._looks
            if time > last - GAP - BESIDE - 2 * LOOK_EVERY
            for step, sureness in zip(one.step, one.sureness, strict=True)
        )

    def _judge(self) -> list[Observation]:
        """Tell of all looks, but keep those that the next may be compared with."""
        rises = [rise for rise in self._rises() if rise.start >= self._told - LOOK_EVERY]
        found = [self._of_rise(rise) for rise in rises]
        for run in self._strong:
            full = run.looks * LOOK_EVERY >= HELD * (run.end - run.start)
            if full and all(r.end <= run.start or r.start >= run.end for r in rises):
                found.append(self._of_run(run))
        self._strong.clear()
        self._told = max((one.end for one in found), default=self._told)
        while self._looks and self._looks[0][0] < self._end - BESIDE - LOOK_EVERY:
            self._looks.popleft()
        return sorted(found, key=lambda one: one.start)

    def _rises(self) -> list[_Rise]:
        """Stretches that stand out of their shots, the clearest of those that overlap."""
        if len(self._looks) < 3:
            return []
        times = np.array([time for time, _ in self._looks])
        found = []
        for family in range(len(FAMILIES)):
            sharp = np.array([one.step[family] for _, one in self._looks])
            step = _smooth(sharp)
            sureness = _smooth(np.array([one.sureness[family] for _, one in self._looks]))
            level = np.where(sureness >= UNSURE, step, np.minimum(step, NOTHING))
            periods = [one.period[family] for _, one in self._looks]
            for least in LEVELS:
                for first, last in stretches(level >= least, times, self.settings.min_duration):
                    rise = self._rise(times, sharp, step, sureness, first, last, periods)
                    if rise is not None:
                        found.append(rise)
        chosen: list[_Rise] = []
        for rise in sorted(found, key=lambda rise: -rise.times):
            if all(rise.end <= one.start or rise.start >= one.end for one in chosen):
                chosen.append(rise)
        return chosen

    def _rise(
        self,
        times: Float64,
        sharp: Float64,
        step: Float64,
        sureness: Float64,
        first: int,
        last: int,
        periods: list[tuple[float, float]],
    ) -> _Rise | None:
        half = LOOK_EVERY / 2
        start = times[first] - half if first else times[0]
        end = min(times[last] + half, self._end)
        inside = slice(first, last + 1)
        weak, sure = float(np.percentile(step[inside], WEAK)), float(np.median(sureness[inside]))
        sides = []
        for edge, near in (
            (start, (times >= start - BESIDE) & (times <= start)),
            (end, (times >= end) & (times <= end + BESIDE)),
        ):
            before, after = self._cuts.around(edge)
            same = near & (times >= before) & (times < after)
            if same.sum() > 1 and not self._cuts.within(edge, CUT_NEAR):
                sides.append((np.median(sureness[same]), np.percentile(step[same], STRONG)))
        if not sides:
            return None
        beside = np.maximum(np.max(sides, axis=0), LEAST_BESIDE)
        both = len(sides) == 2
        rise, step_wanted = self.settings.min_rise, self.settings.min_step
        if not both:
            rise, step_wanted = 1.5 * rise, 2.2 * step_wanted
        if weak < step_wanted or weak < rise * beside[1] or sure < SURER[len(sides)] * beside[0]:
            return None
        peak = first + int(step[inside].argmax())
        # smoothing and a low level have made it longer than it is
        edge = (weak + float(beside[1])) / 2
        held = first + np.flatnonzero(sharp[inside] >= edge)
        if first and held[0] - first <= SMOOTHED:
            start = times[held[0]] - half
        if last < len(times) - 1 and last - held[-1] <= SMOOTHED:
            end = times[held[-1]] + half
        return _Rise(
            float(start), float(end), float(times[peak]), float(np.median(step[inside])), sure,
            weak / float(beside[1]), periods[peak],
        )  # fmt: skip

    def _of_rise(self, rise: _Rise) -> Observation:
        across, down = rise.period
        length = rise.end - rise.start
        # how sure, and how clearly it differs from beside
        sure = min(rise.sureness / 20.0, 1.0) + min(rise.times / 8.0, 1.0)
        return Observation(
            Kind.BLOCKINESS,
            rise.start,
            rise.end,
            severity=events.ladder(rise.step, 0.3, 0.8, 1.6, 3.0),
            confidence=0.5 + 0.25 * sure,
            summary=(
                f"a grid of {across:.4g}x{down:.4g} pixels comes and goes within a shot: steps of "
                f"{rise.step:.2g} code values, {rise.times:.1f} times those before or after, for "
                f"{length:.1f} s"
            ),
            evidence={
                "period_px": across,
                "period_down_px": down,
                "step_code_values": rise.step,
                "times_beside": rise.times,
                "duration_s": length,
            },
            peak=rise.peak,
        )

    def _of_run(self, run: LookRun) -> Observation:
        seen, length = run.evidence, run.end - run.start
        strength = run.mean_value
        sure = (seen["share_of_grid_lines"] - SURE_SHARE) / (1 - SURE_SHARE)
        margin = min(strength / self.settings.strength - 1, 1.0)
        return Observation(
            Kind.BLOCKINESS,
            run.start,
            run.end,
            severity=events.ladder(strength, 0.3, 0.8, 1.6, 3.0),
            confidence=min(max(0.4 + 0.3 * sure + 0.3 * margin, 0.2), 1.0),
            summary=(
                f"a grid of {seen['period_px']:.4g}x{seen['period_down_px']:.4g} pixels: steps of "
                f"{seen['step_code_values']:.2g} code values above those beside them, on "
                f"{seen['share_of_grid_lines']:.0%} of its lines, for {length:.1f} s"
            ),
            evidence={**seen, "strength": strength, "duration_s": length},
            peak=run.peak,
        )


def _smooth(values: Float64) -> Float64:
    """Means of three looks: frames that are coded alone have other grids than those between."""
    return np.convolve(np.pad(values, 1, mode="edge"), np.ones(3) / 3, "valid")
