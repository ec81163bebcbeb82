"""Blur: even the sharpest parts of the picture are soft."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, Unchanging, setting
from pipeline.detectors.looks import Cuts, LookRun, LookRuns, end_of
from pipeline.detectors.rises import AT_CUT, BESIDE, SETTLED, Choice, Rise, rises
from pipeline.detectors.softer import Step, Steps
from pipeline.measure.frame import LOOK_EVERY
from pipeline.measurements import (
    Float64,
    Look,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind

CALIBRATED = (
    "calibrated on 32 development clips blurred with Gaussians and discs of 3 to 9 samples, "
    "encoded at CRF 20 to 26, against 41 clean clips and their look-alikes"
)
LEAST_CONTRAST = 2.0  # code values of mean step: a tile with less says nothing of sharpness
DARKEST, BRIGHTEST = 20.0, 230.0
LEAST_TILES = 6
MOST_TILES = 0.1  # of the picture, those with the most contrast
SHARPEST = 80  # percentile of their sharpness: some sharp tiles make a picture in focus
# Frame difference over mean step in these tiles is about the movement in samples a frame; faster
# movement than this blurs by itself
FASTEST = 6.0
WHOLE = 0.8  # share of an asset that is soft all through
# Within a shot a blur softens everything at once: tiles with some contrast, at these percentiles
TEXTURE = 1.0  # code values of mean step
ALL = (30, 50, 70, 85)
LEAST_CURVE, LEAST_RATIO = 1.06, 1.05  # times less than beside, at each of them
LEAST_TOP = 1.12  # the same of the sharpness of the tiles with the most contrast
# A blur takes curvature rather than contrast; where letters vanish both go
CONTRAST = 1.5
POWER = 4  # finer steps between the levels that are tried
ABRUPT = 0.7  # of the change, within two looks: a lens is pulled slower
# A filter takes its share of every tile, noise that ends as much of flat ones: the lowest of ALL
# must not fall by this times what the highest does
EVEN = 1.2
# Where a blur lasts from the start or to the end, another picture must not be taken for it: it is
# as much softer, and means of tiles change as they do beside, times or plus (code values)
AT_END, SAME, MORE = 3.0, 1.5, 1.5
# Between two steps (see softer.py) it is softer for up to a second at both ends: times, as `rise`,
# as LEAST_TOP, and as the means over ALL. The subtlest of 6 development files that only this finds
# has 1.47, 1.15 and 1.03; without all three there is no alarm in 41 clean files and 123 look-alikes
STEP_RISE, STEP_TOP, STEP_ALL = 1.2, 1.08, 1.03


class BlurSettings(DetectorSettings):
    """Settings of the blur detector."""

    rise: float = setting(
        1.5, "", "times that sharpness and curvature of the tiles with the most contrast are, "
        "multiplied, lower than just before and after in the same shot", CALIBRATED, gt=1,
    )  # fmt: skip
    soft: float = setting(
        0.55, "", "sharpness (0.8 / sigma of an edge in samples) that is soft in any asset",
        CALIBRATED, gt=0,
    )  # fmt: skip
    min_duration: float = setting(
        0.9, "s", "shortest blur reported", "calibrated: shorter ones are moves and focus pulls"
    )
    min_soft_duration: float = setting(
        2.0, "s", "shortest soft interval reported where nothing sharper is known", CALIBRATED
    )


@dataclass(frozen=True)
class _Seen(Unchanging):
    """What a look shows of tiles with contrast."""

    time: float
    sharp: float  # second over first differences of those with the most contrast
    curve: float  # code values: second differences of those with the largest
    contrast: float  # code values: first differences of those with the largest
    curves: tuple[float, ...]  # second differences at the percentiles ALL
    ratios: tuple[float, ...]  # second over first differences, likewise
    luma: np.ndarray  # means of every fourth tile
    fast: bool  # it moves too fast to be judged by itself


class BlurDetector(PictureDetector):
    """Follows the softness of the picture, five times a second.

    Sharpness is the ratio of second to first differences in the tiles with the most contrast; it
    does not change with contrast (fades, fog). A blur is a stretch within a shot in which these and
    all other textured tiles are softer at once than just before and just after; a shot that is soft
    from cut to cut is made so, and one sharp subject before a soft background is enough. Where
    nearly every tile becomes softer from one look to the next, and later sharper, cuts in between
    do not matter; what a lens is pulled to slowly, or around a subject, is no blur. An asset that
    is soft all through (scaled up, say) gives one finding of low severity and confidence: it may be
    meant. Judged up to twelve seconds late. Ends are right within 0.1 s.
    """

    name = "blur"
    version = "3"
    kinds = (Kind.BLUR,)
    summary = "The whole picture is soft or out of focus"
    slow_to_ask = True
    Settings = BlurSettings

    def __init__(self, settings: BlurSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._frame = 1 / picture_format.frame_rate
        self._softs = LookRuns(settings.min_soft_duration, 1.0, self._frame)
        self._cuts = Cuts()
        self._steps = Steps(self._cuts)
        self._looks: deque[_Seen] = deque()
        self._choice = Choice()
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._end = end_of(picture)
        self._cuts.watch(picture)
        for look in picture.looks:
            luma = picture.luma[look.frame]
            value = sharpness(look, luma, picture.motion[look.frame])
            self._steps.add(look.time, *_denoised(look), luma)
            seen = _see(look, luma, value is None)
            if seen is not None:  # a picture without contrast changes nothing
                self._looks.append(seen)
            if value is not None:
                self._softs.add(look.time, value <= self.settings.soft, -value)
        return self._judge(self._end - SETTLED) if self._choice.is_due(self._end) else []

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        self._steps.finish()
        softs = self._softs.finish(self._end)
        whole = [run for run in softs if run.end - run.start >= WHOLE * self._end]
        return self._judge(np.inf) + [self._observe_soft(run) for run in whole]

    def _judge(self, known: float) -> list[Observation]:
        looks = list(self._looks)
        found = [*self._rises(looks), *self._between_steps(looks)]
        told = [self._observe(looks, rise) for rise in self._choice.of(found, known)]
        while self._looks and self._looks[0].time < self._choice.needed(self._end):
            self._looks.popleft()
        self._steps.forget(self._choice.needed(self._end))
        return sorted(told, key=lambda one: one.start)

    def _rises(self, looks: list[_Seen]) -> Iterable[Rise]:
        """Stretches in which everything is softer than beside, the clearest first."""
        if len(looks) < 3:
            return
        times = np.array([seen.time for seen in looks])
        sharp = np.array([max(seen.sharp, 0.05) for seen in looks])
        soft = 1 / (sharp * np.array([max(seen.curve, 0.05) for seen in looks]))
        soft = np.median([np.r_[soft[0], soft[:-1]], soft, np.r_[soft[1:], soft[-1]]], axis=0)
        pulls: list[tuple[float, float]] = []  # of focus
        contrast = np.array([seen.contrast for seen in looks])
        curves = np.array([seen.curves for seen in looks])
        ratios = np.array([seen.ratios for seen in looks])
        for rise in rises(
            times, soft**POWER, self._cuts, least=0.0, shortest=self.settings.min_duration,
            factor=self.settings.rise**POWER, factor_at_cut=AT_END**POWER, frame=self._frame,
            end=self._end,
        ):  # fmt: skip
            softer = _less(sharp, rise)
            if (
                softer >= LEAST_TOP
                and _less(contrast, rise) <= CONTRAST * softer
                and (less := _less(curves, rise)).min() >= LEAST_CURVE
                and less[0] <= EVEN * less[-1]
                and _less(ratios, rise).min() >= LEAST_RATIO
                and self._is_abrupt(np.log(soft), times, rise)
                and (rise.sides == 2 or _goes_on(looks, rise))
                and not any(rise.start < end and rise.end > start for start, end in pulls)
            ):
                if self._steps.is_focus(rise.start, rise.end):
                    pulls.append((rise.start, rise.end))  # nor is a part of it a blur
                    continue
                yield rise

    def _between_steps(self, looks: list[_Seen]) -> Iterable[Rise]:
        """Stretches that begin and end with a step, whatever cuts are in them."""
        if not looks:
            return
        times = np.array([seen.time for seen in looks])
        for one, other in self._steps.pairs(self.settings.min_duration):
            first, last = np.searchsorted(times, (one.after - 0.01, other.before + 0.01)).tolist()
            near = np.zeros(len(times), np.bool_)
            softer = []
            for step in (one, other):
                into, out = self._beside(times, step, one.after, other.before)
                softer.append(_softer([looks[n] for n in into], [looks[n] for n in out]))
                near[out] = True
            if last > first and min(softer) >= STEP_RISE:
                start, end = self._at(one), self._at(other)
                yield Rise(start, end, first, last - 1, 2, min(softer) ** POWER, near)

    def _beside(
        self, times: Float64, step: Step, start: float, end: float
    ) -> tuple[list[int], list[int]]:
        """The looks of its shot on either side of a step: within a stretch and out of it."""
        middle = (step.before + step.after) / 2
        shot = self._cuts.around(middle)
        near = (np.abs(times - middle) <= BESIDE + LOOK_EVERY / 2) & (times >= shot[0] - 1e-6)
        near &= times < shot[1] - 1e-6
        within = (times >= start - 1e-6) & (times <= end + 1e-6)
        return np.flatnonzero(near & within).tolist(), np.flatnonzero(near & ~within).tolist()

    def _at(self, step: Step) -> float:
        middle = (step.before + step.after + self._frame) / 2
        return min(max(middle, step.after - LOOK_EVERY), step.after)

    def _is_abrupt(self, soft: Float64, times: Float64, rise: Rise) -> bool:
        """Whether the logarithm of softness changes at once, at both ends."""
        inside = slice(rise.first, rise.last + 1)
        wanted = ABRUPT * (np.median(soft[inside]) - np.median(soft[rise.beside]))
        for end, at, outward in ((rise.start, rise.first, -1), (rise.end, rise.last, 1)):
            outside = [
                look
                for look in (at + outward, at + 2 * outward)
                if 0 <= look < len(soft) and abs(times[look] - times[at]) < 0.45
            ]
            if not outside or self._cuts.within(end, AT_CUT):
                continue
            change = np.median(soft[[at, at - outward]]) - soft[outside].min()
            if change < wanted:
                return False
        return True

    def _observe(self, looks: list[_Seen], rise: Rise) -> Observation:
        inside = looks[rise.first : rise.last + 1]
        sharp = float(np.median([seen.sharp for seen in inside]))
        near = np.flatnonzero(rise.beside)
        beside = float(np.median([looks[n].sharp for n in near]))
        length, times = rise.end - rise.start, rise.times ** (1 / POWER)
        clear = np.log(times / self.settings.rise) / np.log(4.0)
        return Observation(
            Kind.BLUR,
            rise.start,
            rise.end,
            # what Gaussian kernels of 3, 5, 7 and 9 leave of real clips
            severity=events.ladder(sharp, 0.92, 0.77, 0.68, 0.60),
            confidence=float(np.clip(0.5 + 0.45 * clear, 0.5, 0.95)),
            summary=(
                f"the sharpest edges are {beside / max(sharp, 1e-6):.1f} times as wide as just "
                f"before and after (sharpness {sharp:.2f} against {beside:.2f}) for {length:.1f} s"
            ),
            evidence={
                "sharpness": sharp,
                "usual_sharpness": beside,
                "edge_sigma_px": 0.8 / max(sharp, 0.05),
                "times_beside": times,
                "duration_s": length,
            },
            peak=min(inside, key=lambda seen: seen.sharp).time,
        )

    def _observe_soft(self, run: LookRun) -> Observation:
        sharp, length = -run.mean_value, run.end - run.start
        sigma = 0.8 / max(sharp, 0.05)
        return Observation(
            Kind.BLUR,
            run.start,
            run.end,
            severity=min(events.ladder(sharp, 0.55, 0.4, 0.3, 0.2), 0.5),
            confidence=0.35,
            summary=(
                f"soft: the sharpest edges are as wide as if blurred by {sigma:.1f} pixels, for "
                f"{length:.1f} s; nothing in this asset is much sharper"
            ),
            evidence={"sharpness": sharp, "edge_sigma_px": sigma, "duration_s": length},
            peak=run.peak,
        )


def _less(values: Float64, rise: Rise) -> Float64:
    """How many times less it is in a stretch than beside it, [N] or [N, M] to scalar or [M]."""
    inside = np.median(values[rise.first : rise.last + 1], axis=0)
    return np.asarray(np.median(values[rise.beside], axis=0) / np.maximum(inside, 1e-6))


def _softer(inside: list[_Seen], beside: list[_Seen]) -> float:
    """How many times softer looks are than others, as `rise`; 0 where not everything is."""
    if not inside or not beside:
        return 0.0

    def less(values: Callable[[_Seen], float | tuple[float, ...]]) -> Float64:
        one, other = (
            np.median([np.maximum(values(seen), 0.05) for seen in looks], axis=0)
            for looks in (inside, beside)
        )
        return np.asarray(other / one)

    sharp = float(less(lambda seen: seen.sharp))
    every = (less(lambda seen: seen.curves), less(lambda seen: seen.ratios))
    if sharp < STEP_TOP or min(float(np.log(each).mean()) for each in every) < np.log(STEP_ALL):
        return 0.0
    return sharp * float(less(lambda seen: seen.curve))


def _goes_on(looks: list[_Seen], rise: Rise) -> bool:
    """Whether only sharpness changes where a stretch with one known end meets its shot."""
    near = np.flatnonzero(rise.beside).tolist()
    if any(seen.fast for seen in looks[rise.first : rise.last + 1]):
        return False
    inner, outer = (rise.first, near[-1]) if near[0] < rise.first else (rise.last, near[0])

    def change(one: int, other: int) -> float:
        return float(np.abs(looks[one].luma - looks[other].luma).mean())

    usual = np.median([change(n, m) for n, m in pairwise(near)] or [0.0])
    return change(inner, outer) <= SAME * float(usual) + MORE


def _denoised(look: Look) -> tuple[Float64, Float64]:
    """First and second differences of the tiles without what noise adds to them."""
    # independent noise adds in quadrature: 1.13 sigma to first, 1.95 sigma to second differences
    noise = look.noise[::2, ::2].ravel()
    sigma = float(np.partition(noise, noise.size // 10)[noise.size // 10])
    fine = np.sqrt(np.maximum(look.fine**2 - (1.13 * sigma) ** 2, 0))
    return fine, np.sqrt(np.maximum(look.curve**2 - (1.95 * sigma) ** 2, 0))


def _see(look: Look, luma: np.ndarray, fast: bool) -> _Seen | None:
    """What a look shows; None where nothing can be said."""
    fine, curve = _denoised(look)
    usable = (luma > DARKEST) & (luma < BRIGHTEST) & (fine > TEXTURE)
    count = int(usable.sum())
    if count < LEAST_TILES:
        return None
    steps, curves = fine[usable], curve[usable]
    most = min(max(LEAST_TILES, int(MOST_TILES * fine.size)), count)
    top = np.argpartition(steps, -most)[-most:]
    return _Seen(
        time=look.time,
        sharp=float(np.sqrt((curves[top] ** 2).sum() / (steps[top] ** 2).sum())),
        curve=float(np.partition(curves, -most)[-most:].mean()),
        contrast=float(steps[top].mean()),
        curves=tuple(np.percentile(curves, ALL).tolist()),
        ratios=tuple(np.percentile(curves / steps, ALL).tolist()),
        luma=luma[::2, ::2].copy(),
        fast=fast,
    )


def sharpness(look: Look, luma: np.ndarray, motion: np.ndarray) -> float | None:
    """Sharpness of the sharpest tiles with contrast; None where nothing can be said."""
    fine, curve = _denoised(look)
    usable = (luma > DARKEST) & (luma < BRIGHTEST) & (fine > LEAST_CONTRAST)
    count = int(usable.sum())
    if count < LEAST_TILES:
        return None
    steps, curves, moved = fine[usable], curve[usable], motion[usable]
    most = max(LEAST_TILES, int(MOST_TILES * fine.size))
    if count > most:
        chosen = np.argpartition(steps, -most)[-most:]
        steps, curves, moved = steps[chosen], curves[chosen], moved[chosen]
    if float(moved.mean()) > FASTEST * float(steps.mean()):
        return None
    return float(np.percentile(curves / steps, SHARPEST))
