"""Noise: random in every picture anew; up to snow, the picture of a lost analogue signal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, Unchanging, setting
from pipeline.detectors.history import DELAY, History
from pipeline.detectors.looks import LookRun, LookRuns, end_of
from pipeline.measurements import Look, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind

CALIBRATED = (
    "calibrated on 8 clips with Gaussian noise of sigma 5 to 50, encoded at CRF 20, against 91 "
    "clean clips (whose largest floor is 2.0)"
)
DARKEST, BRIGHTEST = 24.0, 225.0  # code values: beyond, noise is cut off and looks weaker
MANY_TILES = 3000  # one in four is enough then
LEAST_TILES = 0.05  # share of the picture that must lie between
# White noise has noise/fine = 0.89 and a frame difference of 1.13 sigma; H.264 lowers the first
# to 0.6 at sigma 10 and 0.3 at sigma 5 and raises the second. Real texture has 0.3 or less.
WHITE_STRONG, WHITE_RISE = 0.4, 0.25
MOVES = 0.5  # frame difference over sigma: fine texture that stands still has less
SNOW_FLAT = 14.0  # code values: spread of the tile means of snow; a picture has more


class NoiseSettings(DetectorSettings):
    """Settings of the noise detector."""

    sigma: float = setting(
        4.5, "code values", "noise floor that is a defect whatever the programme; film grain has "
        "2 to 4", CALIBRATED, gt=0,
    )  # fmt: skip
    rise_sigma: float = setting(
        1.5, "code values", "noise floor that is a defect where it rises for a while", CALIBRATED
    )
    rise: float = setting(3.0, "", "factor of such a rise over the programme's floor", CALIBRATED)
    snow_sigma: float = setting(
        30.0, "code values", "noise of a lost signal", "calibrated on drawn snow"
    )
    min_duration: float = setting(0.3, "s", "shortest interval reported", "calibrated")


@dataclass(frozen=True)
class _Seen(Unchanging):
    time: float
    floor: float  # 10th percentile of the tiles' sigma
    sigma: float  # 20th percentile
    strong: bool
    random: bool
    snow: bool


class NoiseDetector(PictureDetector):
    """Takes the quietest tiles of the picture: noise is there too, texture is not.

    It must be white and new in every frame, and either strong or clearly above the floor of the
    same programme for less than half of it, so that film grain is left alone. Judged ten seconds
    late. Ends are right within 0.1 s.
    """

    name = "noise"
    kinds = (Kind.NOISE,)
    summary = "Random noise over the picture, up to the snow of a lost signal"
    Settings = NoiseSettings

    def __init__(self, settings: NoiseSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        frame = 1 / picture_format.frame_rate
        self._strong = LookRuns(settings.min_duration, 0.45, frame)
        self._risen = LookRuns(settings.min_duration, 0.45, frame)
        self._floors = History(0.0, 40.0)
        self._waiting: deque[_Seen] = deque()
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        found: list[Observation] = []
        self._end = end_of(picture)
        for look in picture.looks:
            seen = self._see(look, picture)
            if seen is not None:
                self._floors.add(seen.floor)
                self._waiting.append(seen)
        while self._waiting and self._waiting[0].time < self._end - DELAY:
            found += self._judge(self._waiting.popleft())
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        while self._waiting:
            found += self._judge(self._waiting.popleft())
        found += self._risen_of(self._risen.finish(self._end))
        return found + [self._observe(run, "") for run in self._strong.finish(self._end)]

    def _see(self, look: Look, picture: PictureStatistics) -> _Seen | None:
        every = 2 if look.noise.size > MANY_TILES else 1
        luma = picture.luma[look.frame, ::every, ::every]
        lit = (luma > DARKEST) & (luma < BRIGHTEST)
        if lit.mean() < LEAST_TILES:
            return None
        noise = look.noise[::every, ::every][lit]
        fine = look.fine[::every, ::every][lit]
        floor, sigma, limit, middle = np.percentile(noise, [10, 20, 30, 50])
        quiet = noise <= limit
        white = float(noise[quiet].sum() / max(float(fine[quiet].sum()), 1e-6))
        # repeated frames repeat their noise: the largest of three differences counts
        moved = picture.motion[look.frame : look.frame + 3, ::every, ::every]
        motion = moved[:, lit][:, quiet].mean(axis=1).max()
        first = look.time == picture.frames["time"][0] and len(picture.frames) == 1
        moves = first or motion >= MOVES * noise[quiet].mean()
        return _Seen(
            time=look.time,
            floor=float(floor),
            sigma=float(sigma),
            strong=bool(sigma >= self.settings.sigma and white >= WHITE_STRONG and moves),
            random=bool(white >= WHITE_RISE and moves),
            snow=bool(
                middle >= self.settings.snow_sigma
                and white >= WHITE_STRONG
                and float(luma.std()) < SNOW_FLAT
            ),
        )

    def _judge(self, seen: _Seen) -> list[Observation]:
        usual = self._floors.quantile(0.5)
        risen = (
            seen.random
            and seen.floor >= self.settings.rise_sigma
            and seen.floor >= self.settings.rise * usual
        )
        evidence = {
            "noise_sigma": seen.sigma,
            "usual_sigma": usual,
            "lost_signal": float(seen.snow),
        }
        strong = self._strong.add(seen.time, seen.strong, seen.sigma, evidence)
        either = risen and not seen.strong
        return [self._observe(run, "") for run in strong] + self._risen_of(
            self._risen.add(seen.time, either, seen.sigma, evidence)
        )

    def _risen_of(self, runs: list[LookRun]) -> list[Observation]:
        # a rise that lasts is the programme's own grain, seen after a title
        return [
            self._observe(run, f", {self.settings.rise:.0f} times its floor elsewhere or more")
            for run in runs
            if run.end - run.start <= self._end / 2
        ]

    def _observe(self, run: LookRun, more: str) -> Observation:
        sigma, length = run.mean_value, run.end - run.start
        snow = run.evidence["lost_signal"] > 0
        summary = f"noise of sigma {sigma:.1f} code values over the whole picture{more}"
        if snow:
            summary = f"snow: nothing but noise of sigma {sigma:.0f} code values"
        margin = sigma / self.settings.sigma
        return Observation(
            Kind.NOISE,
            run.start,
            run.end,
            # 2, 6.5, 18 and 36 are what is left of sigma 5, 10, 25 and 50 after encoding
            severity=1.0 if snow else events.ladder(sigma, 2.0, 6.5, 18.0, 36.0),
            confidence=0.98 if snow else float(np.clip(0.25 + 0.4 * margin, 0.35, 0.95)),
            summary=f"{summary}, for {length:.1f} s",
            evidence={**run.evidence, "noise_sigma": sigma, "duration_s": length},
            peak=run.peak,
        )
