"""Banding: a smooth gradient that breaks into flat bands with visible contours."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.grid import find_grid
from pipeline.detectors.looks import Beside, LookRun, LookRuns, end_of
from pipeline.types import (
    Kind,
    Look,
    Observation,
    PictureFormat,
    PictureStatistics,
    Region,
    Segment,
)

CALIBRATED = (
    "calibrated on 6 clips and drawn skies with luma quantised to 2-8 values and encoded at "
    "CRF 18-23, against 91 clean clips"
)
# Within a shot, contours that come or go by this factor are a defect from a lower share on; a shot
# that has them from cut to cut was made so. 12 development clips: 4 to 40, and 1.5 where none came
RISE = 3.0
LEAST_RISEN = 0.05  # share of the smooth tiles
SMOOTH_AREA = 0.1  # of the picture, with less there is no gradient to judge
CONTOUR = 0.6  # crossings of a tile from which it has a contour, of about 1 for a straight line
BLOCKY = 0.135  # code values: strength of a grid whose edges may pass for contours
SMOOTH = 1.2  # code values: a tile with a smaller mean step between neighbours is smooth


class BandingSettings(DetectorSettings):
    """Settings of the banding detector."""

    share_of_picture: float = setting(
        0.08, "", "share of the picture whose tiles are crossed by contours", CALIBRATED, gt=0, le=1
    )
    share_of_smooth: float = setting(
        0.13, "", "or share of its smooth tiles, where these are a tenth of the picture or more",
        CALIBRATED, gt=0, le=1,
    )  # fmt: skip
    min_duration: float = setting(
        0.8, "s", "shortest interval reported", "calibrated: gradients in fades come and go"
    )


class BandingDetector(PictureDetector):
    """Counts tiles that are crossed by contours: steps of 2 to 9 values between flat runs.

    The idea is CAMBI's (Netflix): what is visible is a small step with flat surroundings. Steps of
    one value cannot be avoided in 8 bits and do not count; nor do the hard edges of graphics.
    Ends are right within 0.1 s.
    """

    name = "banding"
    kinds = (Kind.BANDING,)
    summary = "Smooth gradients break into bands with visible contours"
    Settings = BandingSettings

    def __init__(self, settings: BandingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._runs = LookRuns(settings.min_duration, 0.7, 1 / picture_format.frame_rate)
        self._beside = Beside()
        self._region: Region | None = None
        self._worst = 0.0
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        found: list[Observation] = []
        self._end = end_of(picture)
        self._beside.watch(picture)
        for look in picture.looks:
            crossed = look.contour >= CONTOUR
            smooth = look.fine < SMOOTH
            of_picture = float(crossed.mean())
            of_smooth = float((crossed & smooth).sum() / max(int(smooth.sum()), 1))
            smooth_area = float(smooth.mean())
            holds = of_picture >= self.settings.share_of_picture or (
                of_smooth >= LEAST_RISEN and smooth_area >= SMOOTH_AREA
            )
            self._beside.add(look.time, max(of_picture, of_smooth))
            if holds:
                holds = not _blocky(look)
            value = max(of_picture, of_smooth)
            evidence = {
                "share_of_picture": of_picture,
                "share_of_smooth_area": of_smooth,
                "contours_per_tile": float(look.contour[crossed].mean()) if holds else 0.0,
            }
            for run in self._runs.add(look.time, holds, value, evidence):
                found += self._judge(run)
                self._region, self._worst = None, 0.0
            if holds and value > self._worst:
                self._worst, self._region = value, _region(crossed)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return [seen for run in self._runs.finish(self._end) for seen in self._judge(run)]

    def _judge(self, run: LookRun) -> list[Observation]:
        beside = self._beside.of(run)
        comes = bool(beside) and run.mean_value >= RISE * max(min(beside), LEAST_RISEN / RISE)
        strong = (
            run.mean_value >= self.settings.share_of_smooth
            or run.evidence["share_of_picture"] >= self.settings.share_of_picture
        )
        lasts = run.end - run.start >= self._end / 2
        return [self._observe(run)] if comes or (strong and lasts) else []

    def _observe(self, run: LookRun) -> Observation:
        seen, length = run.evidence, run.end - run.start
        share = run.mean_value
        return Observation(
            Kind.BANDING,
            run.start,
            run.end,
            severity=events.ladder(share, 0.13, 0.2, 0.4, 0.7),
            confidence=min(0.4 + 2.0 * max(share - LEAST_RISEN, 0), 0.95),
            summary=(
                f"contours of 2 to 9 code values cross {seen['share_of_smooth_area']:.0%} of the "
                f"smooth area ({seen['share_of_picture']:.0%} of the picture) for {length:.1f} s"
            ),
            evidence={**seen, "duration_s": length},
            peak=run.peak,
            region=self._region,
        )


def _blocky(look: Look) -> bool:
    """Whether the contours are those of coding blocks, which is another defect."""
    grid = find_grid(look)
    return grid is not None and grid.strength >= BLOCKY


def _region(crossed: np.ndarray) -> Region:
    """The box that holds nine tenths of the contours in each direction."""
    rows, columns = crossed.shape
    ys, xs = np.nonzero(crossed)
    top, bottom = np.percentile(ys, [5, 95])
    left, right = np.percentile(xs, [5, 95])
    return Region(
        left=float(left) / columns,
        top=float(top) / rows,
        right=min(float(right + 1) / columns, 1.0),
        bottom=min(float(bottom + 1) / rows, 1.0),
    )
