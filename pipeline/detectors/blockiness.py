"""Blockiness: coded with too few bits, as a net tells or the grid of the blocks."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, Unchanging, setting
from pipeline.detectors.comb import Comb, comb
from pipeline.detectors.grid import NATIVE, SURE_SHARE, find_grid
from pipeline.detectors.looks import Cuts, LookRun, LookRuns, end_of
from pipeline.detectors.rises import AT_CUT, SETTLED, Choice, Rise, rises
from pipeline.detectors.weak_grids import GridRise, grid_rises
from pipeline.measure.frame import LOOK_EVERY
from pipeline.measurements import (
    Float32,
    Float64,
    Look,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind

CALIBRATED = (
    "calibrated on development sources: 46 clean clips, among them MPEG-2 at 4 Mb/s, whose weak "
    "grid nobody minds"
)
CHOSEN = "chosen on 20 damaged, 40 clean and 16 look-alike files of development sources"
HELD = 0.7  # share of the looks of a run that must hold
MOST = 0.5  # share of a run that is not told yet, up to which the rest of it is not told either
FOLD = 8.0  # QP that count as e times as coarse where ratios are asked for
# Chosen on the same: share of what the crops are worth that must have become coarser, and of a rise
# that must come from one look to the next but one.
AGREED, ABRUPT = 0.6, 0.5
# Chosen on the same: how many times a rise is what looks deviate from the median within it and
# beside it (QP, and as much more as nobody minds), by the number of sides that are known; and the
# mean of the same of single crops. What is no fault reaches 4.6 on one side; on both 2.9 with 0.4
# of the crops, and 1.0 of the crops with 1.9.
CLEAR, LEAST_DEVIATION = {1: 5.0, 2: 2.8}, 0.2
CROPS_CLEAR, LEAST_OF_CROPS = 0.95, 0.3
# With one side only nobody knows which of the two is as it should be: it must be coarse in itself,
# as subtle damage is (see _severity). Noise looks finely coded: what comes after a noisy stretch is
# not compared with that. The floor of clean clips is 2.0 at most (pipeline/detectors/noise.py).
COARSE_ON_ONE_SIDE = 34.5  # QP
NOISY = 2.5  # code values
# What is out of focus looks coarsely coded; its subject does not, and is as sharp as it was: a crop
# keeps KEPT of its noise, if it had LEAST_NOISE, and SHARP of the ratio of second to first
# differences, and rises by less than UNMOVED of what all do. Chosen on 86 files of shallow focus
# (9 with a rise) and 48 damaged ones (34) of development sources: where focus was pulled, such
# crops are worth 0.12 and more of all, and those that ROSE keep 0.47 of their second differences at
# most. Of what was coded coarsely 9 have such a subject, and keep 0.53 and more.
KEPT, LEAST_NOISE, SHARP, UNMOVED = 0.7, 0.3, 0.9, 0.35
SUBJECT, SOFT, ROSE = 0.1, 0.5, 0.5
LEAST_SLOPE = 1.1  # code values of first differences: what is flat has no sharpness to lose
ROUNDED = 0.1  # code values that are added to all three, since ratios are asked for
CROP_TILES = 4  # a side of a crop of the net


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
    coarse: float = setting(
        37.0, "QP", "quantiser, as the net estimates it, that is too coarse in any asset",
        f"{CHOSEN}: what is no fault stays below 35 for a second", gt=0,
    )  # fmt: skip
    min_rise: float = setting(
        1.2, "QP", "by how much the picture is quantised more coarsely, as a net estimates it, "
        "than just before and after in the same shot", CHOSEN, gt=0,
    )  # fmt: skip
    min_rise_at_cut: float = setting(
        3.0, "QP", "the same where one end is a cut or an end of the asset", CHOSEN, gt=0,
    )  # fmt: skip
    min_grid_rise: float = setting(
        2.0, "", "times that steps on the grid are as high as in the same shot beside, where "
        "both sides of a stretch are known; where one is, one and a half times that",
        CALIBRATED, gt=1,
    )  # fmt: skip
    min_step: float = setting(
        0.12, "code values", "weakest step on the grid of a stretch that stands out of its shot; "
        "2.2 times that where one side only is known", CALIBRATED, gt=0,
    )  # fmt: skip
    min_duration: float = setting(
        0.8, "s", "shortest interval reported", "calibrated: one bad key frame is not reported"
    )


@dataclass(frozen=True)
class _Seen(Unchanging):
    """What a look shows."""

    time: float
    value: Float64  # [C] quantisers, in QP; none of frames smaller than a crop
    worth: Float64  # [C] what these estimates are worth
    mean: float  # of all
    floor: float  # 10th percentile of the tiles' noise, in code values
    texture: Float32  # [3, C] noise, first and second differences in the crops, likewise
    comb: Comb
    grid: dict[str, float]  # evidence of one, where there is one


class BlockinessDetector(PictureDetector):
    """Looks five times a second at how coarsely the picture was quantised.

    A net (`models/coarseness.py`) estimates the quantiser of crops from what coding leaves of them:
    also where deblocking, scaling or one more encode has taken the grid away. It does not know what
    the picture was like before, so a stretch is a defect where the same places were coded better
    just before and after, within one shot. Ends are right within 0.2 s. Where focus is pulled to a
    subject, what is soft then seems coarse as well: that is left out.

    So is one whose grid, however weak, is stronger than beside. What is very coarse, or has a grid
    that stands out of its surroundings, is a defect wherever it is, whole assets included.
    """

    name = "blockiness"
    version = "5"
    kinds = (Kind.BLOCKINESS,)
    summary = "Compressed too much: blocks, ringing and lost texture come and go, or a grid shows"
    slow_to_ask = True
    Settings = BlockinessSettings

    def __init__(self, settings: BlockinessSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._frame = 1 / picture_format.frame_rate
        self._runs = LookRuns(settings.min_duration, 0.7, self._frame)
        self._cuts = Cuts()
        self._looks: deque[_Seen] = deque()
        self._choice = Choice()
        self._coarse_runs = LookRuns(settings.min_duration, 0.7, self._frame)
        self._strong: list[LookRun] = []  # not told yet
        self._coarse: list[LookRun] = []  # likewise
        self._told: deque[tuple[float, float]] = deque(maxlen=256)  # start, end
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._end = end_of(picture)
        self._cuts.watch(picture)
        for look in picture.looks:
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
            value, worth = look.quantisers.astype(np.float64).T
            worth = np.exp(worth)
            mean = float(np.average(value, weights=worth)) if len(value) else 0.0
            holds = len(value) > 0 and mean >= self.settings.coarse
            self._coarse += self._coarse_runs.add(look.time, holds, mean)
            floor = float(np.percentile(look.noise, 10))
            texture = _texture(look, len(value))
            self._looks.append(
                _Seen(look.time, value, worth, mean, floor, texture, comb(look), evidence)
            )
        return self._judge(self._end - SETTLED) if self._choice.is_due(self._end) else []

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        self._strong += self._runs.finish(self._end)
        self._coarse += self._coarse_runs.finish(self._end)
        return self._judge(np.inf)

    def _judge(self, known: float) -> list[Observation]:
        """Tell what is settled."""
        looks = list(self._looks)
        times = np.array([seen.time for seen in looks])
        found_by_grid = grid_rises(
            times, [seen.comb for seen in looks], self._cuts, min_rise=self.settings.min_grid_rise,
            min_step=self.settings.min_step, shortest=self.settings.min_duration, end=self._end,
        )  # fmt: skip
        # the net has the better ends
        rising = itertools.chain(self._rises(looks, times), found_by_grid)
        told = self._choice.of((r for r in rising if self._is_news(r.start, r.end)), known)
        found = [
            _of_grid(rise) if isinstance(rise, GridRise) else self._of_rise(looks, rise)
            for rise in told
        ]
        self._told.extend((one.start, one.end) for one in found)
        found.extend(self._whole(min(known, self._choice.open)))
        while self._looks and self._looks[0].time < self._choice.needed(self._end):
            self._looks.popleft()
        return sorted(found, key=lambda one: one.start)

    def _whole(self, known: float) -> Iterator[Observation]:
        """Of the runs that have ended, what was not told as a rise, which has better ends."""
        grids, coarse = (
            [run for run in runs if run.end <= known] for runs in (self._strong, self._coarse)
        )
        for runs in (self._strong, self._coarse):
            runs[:] = [run for run in runs if run.end > known]
        told_as = [(run, self._of_run) for run in grids]
        for run in coarse:
            within = [one for one in grids if one.start < run.end and one.end > run.start]
            if within:  # the grid says more
                run.evidence = max(within, key=lambda one: one.peak_value).evidence
            told_as.append((run, self._of_coarse))
        for run, tell in sorted(told_as, key=lambda one: -round(one[0].end - one[0].start)):
            full = run.looks * LOOK_EVERY >= HELD * (run.end - run.start)
            for start, end in self._left(run) if full else []:
                self._told.append((start, end))
                yield tell(replace(run, start=start, end=end))

    def _is_news(self, start: float, end: float) -> bool:
        """Whether nothing was told of an interval."""
        return all(other <= start or one >= end for one, other in self._told)

    def _left(self, run: LookRun) -> list[tuple[float, float]]:
        """The parts of a run of which nothing was told; none where most of it was."""
        left, at = [], run.start
        for start, end in sorted(self._told):
            if end > at and start < run.end:
                left.append((at, start))
                at = max(at, end)
        left.append((at, run.end))
        if sum(max(end - start, 0.0) for start, end in left) <= MOST * (run.end - run.start):
            return []
        return [one for one in left if one[1] - one[0] >= self.settings.min_duration]

    def _rises(self, looks: list[_Seen], times: Float64) -> Iterator[Rise]:
        """Stretches that the net says are coded worse than beside, the clearest first."""
        if len(looks) < 3 or not len(looks[0].value):
            return
        mean = np.array([seen.mean for seen in looks])
        smooth = np.median([np.r_[mean[0], mean[:-1]], mean, np.r_[mean[1:], mean[-1]]], axis=0)
        value = np.stack([seen.value for seen in looks])
        worth = np.stack([seen.worth for seen in looks])
        floor = np.array([seen.floor for seen in looks])
        texture = np.stack([seen.texture for seen in looks])
        for rise in rises(
            times, np.exp(smooth / FOLD), self._cuts, least=0.0,
            shortest=self.settings.min_duration,
            factor=float(np.exp(self.settings.min_rise / FOLD)),
            factor_at_cut=float(np.exp(self.settings.min_rise_at_cut / FOLD)),
            frame=self._frame, end=self._end,
        ):  # fmt: skip
            inside = slice(rise.first, rise.last + 1)
            gap, deviation = _change(mean, inside, rise.beside)
            more, deviations = _change(value, inside, rise.beside)
            weight = np.minimum(worth[inside].mean(axis=0), worth[rise.beside].mean(axis=0))
            clear = more / (deviations + LEAST_OF_CROPS)
            if (
                gap >= CLEAR[rise.sides] * (deviation + LEAST_DEVIATION)
                and clear.mean() >= CROPS_CLEAR
                and np.average(more > 0, weights=weight) >= AGREED
                and (rise.sides == 2 or np.median(mean[inside]) >= COARSE_ON_ONE_SIDE)
                and np.median(floor[rise.beside]) < NOISY
                and self._is_abrupt(smooth, times, rise)
                and not _is_focus(texture[inside], texture[rise.beside], more, weight)
            ):
                yield rise

    def _is_abrupt(self, values: Float64, times: Float64, rise: Rise) -> bool:
        """Whether it comes and goes at once."""
        inside = slice(rise.first, rise.last + 1)
        wanted = ABRUPT * (np.median(values[inside]) - np.median(values[rise.beside]))
        for end, at, outward in ((rise.start, rise.first, -1), (rise.end, rise.last, 1)):
            outside = [
                look
                for look in (at + outward, at + 2 * outward)
                if 0 <= look < len(values) and abs(times[look] - times[at]) < 0.45
            ]
            if not outside or self._cuts.within(end, AT_CUT):
                continue
            if np.median(values[[at, at - outward]]) - values[outside].min() < wanted:
                return False
        return True

    def _of_rise(self, looks: list[_Seen], rise: Rise) -> Observation:
        inside = looks[rise.first : rise.last + 1]
        near = np.flatnonzero(rise.beside)
        coarse = float(np.median([seen.mean for seen in inside]))
        usual = float(np.median([looks[n].mean for n in near]))
        length = rise.end - rise.start
        both = rise.sides == 2
        least = self.settings.min_rise if both else self.settings.min_rise_at_cut
        where = "just before and after" if both else "beside it in the same shot"
        grids = [seen.grid for seen in inside if seen.grid]
        grid = max(grids, key=lambda one: one["strength"], default={})
        return Observation(
            Kind.BLOCKINESS,
            rise.start,
            rise.end,
            severity=_severity(coarse),
            confidence=float(np.clip(0.3 + 0.05 * (coarse - usual) / least, 0.5, 0.95)),
            summary=(
                f"compressed too much: as if by a quantiser (QP) of {coarse:.0f}, {usual:.0f} "
                f"{where}, for {length:.1f} s"
            ),
            evidence={
                "quantiser": coarse,
                "usual_quantiser": usual,
                "duration_s": length,
                **(grid if 2 * len(grids) > len(inside) else {}),
            },
            peak=max(inside, key=lambda seen: seen.mean).time,
        )

    def _of_coarse(self, run: LookRun) -> Observation:
        length = run.end - run.start
        return Observation(
            Kind.BLOCKINESS,
            run.start,
            run.end,
            severity=_severity(run.mean_value),
            confidence=float(
                np.clip(0.6 + (run.mean_value - self.settings.coarse) / 10, 0.6, 0.95)
            ),
            summary=(
                f"compressed too much: as if by a quantiser (QP) of {run.mean_value:.0f}, for "
                f"{length:.1f} s"
            ),
            evidence={"quantiser": run.mean_value, "duration_s": length, **run.evidence},
            peak=run.peak,
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


def _severity(quantiser: float) -> float:
    """What the net says of stretches of QP 32, 37, 42 and 47 on development files."""
    return events.ladder(quantiser, 31.0, 34.5, 36.5, 40.0)


def _change(
    values: Float64, inside: slice, beside: npt.NDArray[np.bool_]
) -> tuple[Float64, Float64]:
    """By how much the median of looks rises, and how far they deviate within it or beside it."""
    within, outside = values[inside], values[beside]
    more = np.median(within, axis=0) - np.median(outside, axis=0)
    return more, np.maximum(within.std(axis=0), outside.std(axis=0))


def _is_focus(within: Float32, beside: Float32, more: Float64, weight: Float64) -> bool:
    """Whether the focus changed, not the coding: a subject is as sharp as it was, the rest soft.

    Coarse quantisers spare no subject, and leave steps and ringing where they take texture.

    Args:
        within: [N, 3, C] texture of the looks of a rise.
        beside: the same of those beside it.
        more: [C] QP by which the crops rose.
        weight: [C] what the crops are worth.
    """
    noise, slope, curve = np.median(within, axis=0) + ROUNDED
    noise_before, slope_before, curve_before = np.median(beside, axis=0) + ROUNDED
    usual = np.average(more, weights=weight)
    subject = (noise >= KEPT * noise_before) & (noise_before > LEAST_NOISE)
    subject &= curve / slope >= SHARP * curve_before / slope_before
    subject &= more < UNMOVED * usual
    rose = (more >= ROSE * usual) & (slope_before > LEAST_SLOPE)
    if weight[subject].sum() < SUBJECT * weight.sum() or not rose.any():
        return False
    return bool(np.average((curve / curve_before)[rose], weights=weight[rose]) < SOFT)


def _texture(look: Look, crops: int) -> Float32:
    """Noise, first and second differences [3, C] in the crops that the net judged."""
    if not crops:
        return np.empty((3, 0), np.float32)
    maps = np.stack([look.noise, look.fine, look.curve]).reshape(3, -1)
    return np.asarray(maps[:, _tiles(look.noise.shape, crops)].mean(axis=2), np.float32)


@cache
def _tiles(shape: tuple[int, int], crops: int) -> npt.NDArray[np.intp]:
    """Tiles of each crop [C, tiles]: where `models.coarseness.places` has them, without torch."""
    a_side = np.arange(crops**0.5) + 0.5
    within = np.arange(CROP_TILES)
    rows, columns = (
        np.rint(a_side / len(a_side) * (size - CROP_TILES)).astype(np.intp)[:, None] + within
        for size in shape
    )
    return np.asarray(
        (rows[:, None, :, None] * shape[1] + columns[None, :, None, :]).reshape(crops, -1)
    )


def _of_grid(rise: GridRise) -> Observation:
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
