"""Banding: a smooth gradient that breaks into flat bands with visible contours."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, Unchanging, setting
from pipeline.detectors.grid import find_grid
from pipeline.detectors.looks import Beside, Cuts, LookRun, LookRuns, end_of
from pipeline.detectors.rises import SETTLED, Choice, Rise, rises
from pipeline.measurements import (
    Float64,
    Look,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind, Region

CALIBRATED = (
    "calibrated on development clips with their smooth areas quantised by 2 to 5 values, encoded "
    "at CRF 20 to 26, against 41 clean clips and their look-alikes"
)
# Contours alone: within a shot they come or go by this factor and take a share of the smooth tiles
RISE = 5.0
LEAST_RISEN = 0.1
SMOOTH_AREA = 0.1  # of the picture, with less there is no gradient to judge
CONTOUR = 0.6  # crossings of a tile from which it has a contour, of about 1 for a straight line
BLOCKY = 0.135  # code values: strength of a grid whose edges may pass for contours
SMOOTH = 1.2  # code values: a tile with a smaller mean step between neighbours is smooth
# What clean pictures vary by: the comb of the histogram, mean contours of the smooth tiles, and the
# share of these that have one
COMB, MEAN, SHARE = 0.01, 0.1, 0.02
STEPS = (2, 3, 4, 5)  # code values between the levels of a coarse quantiser
VALUES = slice(8, 248)  # code values: 240 of them, which all these steps divide
FINEST = 30  # of 240: what varies more slowly over the code values is no comb
LEAST_COMB, LEAST_MORE = 2.0, 1.15  # times as much as beside, of comb and of contours
CLEAR = 15.0  # times as much as beside, of both, from which half the shortest length is enough
# A short one, or one with a cut at one end, needs contours in such a share of the smooth tiles:
# where noise ends, the few that a picture has by itself come out
LEAST_SHARE = 0.05


class BandingSettings(DetectorSettings):
    """Settings of the banding detector."""

    rise: float = setting(
        3.0, "", "times that the comb of the histogram and the contours are, together, as strong "
        "as beside in the same shot; one and a half times that where a cut is at one end",
        CALIBRATED, gt=1,
    )  # fmt: skip
    share_of_picture: float = setting(
        0.08, "", "share of the picture whose tiles are crossed by contours, where they are there "
        "for half of the asset", CALIBRATED, gt=0, le=1,
    )  # fmt: skip
    share_of_smooth: float = setting(
        0.13, "", "or share of its smooth tiles, where these are a tenth of the picture or more",
        CALIBRATED, gt=0, le=1,
    )  # fmt: skip
    min_duration: float = setting(
        0.8, "s", "shortest interval reported", "calibrated: gradients in fades come and go"
    )


@dataclass(frozen=True)
class _Seen(Unchanging):
    """What a look shows."""

    time: float
    of_picture: float  # share of the tiles with a contour
    of_smooth: float  # the same of the smooth tiles
    comb: float  # of the histogram
    contours: float  # of smooth tiles
    crossed: np.ndarray

    @property
    def share(self) -> float:
        return max(self.of_picture, self.of_smooth)


class BandingDetector(PictureDetector):
    """Looks for too few levels and for the contours between them, five times a second.

    Where a smooth picture is given fewer levels, the histogram of its values becomes a comb, and
    tiles are crossed by contours: steps of 2 to 9 values between flat runs (the idea is CAMBI's, of
    Netflix: what is visible is a small step with flat surroundings; steps of one value cannot be
    avoided in 8 bits, nor do the hard edges of graphics count). Both come and go together within a
    shot where something was quantised too coarsely; cartoons and graphics are made of few levels
    from cut to cut. Contours without a comb, as of an encoder, count where they are many and come
    or go within a shot, or stay for half of the asset. Ends are right within 0.1 s.
    """

    name = "banding"
    version = "2"
    kinds = (Kind.BANDING,)
    summary = "Smooth gradients break into bands with visible contours"
    slow_to_ask = True
    Settings = BandingSettings

    def __init__(self, settings: BandingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._runs = LookRuns(settings.min_duration, 0.7, 1 / picture_format.frame_rate)
        self._cuts = Cuts()
        self._beside = Beside(self._cuts)
        self._looks: deque[_Seen] = deque()
        self._waiting: list[LookRun] = []  # of contours
        self._choice = Choice()
        self._frame = 1 / picture_format.frame_rate
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._end = end_of(picture)
        self._cuts.watch(picture)
        for look in picture.looks:
            seen, smooth_area = _see(look)
            holds = seen.of_picture >= self.settings.share_of_picture or (
                seen.of_smooth >= LEAST_RISEN and smooth_area >= SMOOTH_AREA
            )
            self._looks.append(seen)
            self._beside.add(look.time, seen.share)
            evidence = {"share_of_picture": seen.of_picture}
            holds = holds and not _blocky(look)
            self._waiting += self._runs.add(look.time, holds, seen.share, evidence)
        return self._judge(self._end - SETTLED) if self._choice.is_due(self._end) else []

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        self._waiting += self._runs.finish(self._end)
        return self._judge(np.inf)

    def _judge(self, known: float) -> list[Observation]:
        """Tell of what ended before `known`, and forget the looks that nothing more needs."""
        looks = list(self._looks)
        chosen = self._choice.of(self._rises(looks), known)
        ended = [run for run in self._waiting if run.end <= known]
        self._waiting = [run for run in self._waiting if run.end > known]
        found = [self._observe(looks, rise.start, rise.end, rise) for rise in chosen]
        found += [
            self._observe(looks, run.start, run.end)
            for run in ended
            if self._stands_out(run)
            and all(run.end <= one.start or run.start >= one.end for one in chosen)
        ]
        while self._looks and self._looks[0].time < self._choice.needed(self._end):
            self._looks.popleft()
        return sorted(found, key=lambda one: one.start)

    def _rises(self, looks: list[_Seen]) -> Iterable[Rise]:
        """Stretches in which comb and contours rise together, the clearest first."""
        if len(looks) < 3:
            return
        comb = np.array([COMB + seen.comb for seen in looks])
        more = np.array([(MEAN + seen.contours) * (SHARE + seen.of_smooth) for seen in looks])
        values = comb * more / (COMB * MEAN * SHARE)
        values = np.median([np.r_[values[0], values[:-1]], values,
                            np.r_[values[1:], values[-1]]], axis=0)  # fmt: skip
        shortest, factor = self.settings.min_duration, self.settings.rise
        for rise in rises(
            np.array([seen.time for seen in looks]), values, self._cuts, least=1.0,
            shortest=shortest / 2 - 0.05, factor=factor, factor_at_cut=1.5 * factor,
            frame=self._frame, end=self._end,
        ):  # fmt: skip
            inside = slice(rise.first, rise.last + 1)
            long = rise.end - rise.start >= shortest - 1e-6
            plain = rise.sides == 2 and long
            share = float(np.mean([seen.share for seen in looks[inside]]))
            if (
                _times(comb, inside, rise.beside) >= LEAST_COMB
                and _times(more, inside, rise.beside) >= LEAST_MORE
                and (long or rise.times >= CLEAR)
                and (plain or share >= LEAST_SHARE)
            ):
                yield rise

    def _stands_out(self, run: LookRun) -> bool:
        """Whether contours without a comb are a defect."""
        beside = self._beside.of(run)
        if len(beside) == 2 and run.mean_value >= RISE * max(*beside, LEAST_RISEN / RISE):
            return True
        strong = (
            run.mean_value >= self.settings.share_of_smooth
            or run.evidence["share_of_picture"] >= self.settings.share_of_picture
        )
        return strong and run.end - run.start >= self._end / 2

    def _observe(
        self, looks: list[_Seen], start: float, end: float, rise: Rise | None = None
    ) -> Observation:
        inside = [seen for seen in looks if start <= seen.time <= end]
        of_smooth = float(np.mean([seen.of_smooth for seen in inside]))
        of_picture = float(np.mean([seen.of_picture for seen in inside]))
        comb = float(np.mean([seen.comb for seen in inside]))
        share, length = max(of_smooth, of_picture), end - start
        worst = max(inside, key=lambda seen: seen.share)
        confidence = min(0.4 + 2.0 * max(share - LEAST_RISEN, 0), 0.95)
        evidence = {
            "share_of_picture": of_picture,
            "share_of_smooth_area": of_smooth,
            "comb": comb,
            "duration_s": length,
        }
        how = "contours"
        if rise is not None:
            how = "too few levels of luma, and contours"
            clear = np.log(rise.times / self.settings.rise) / np.log(20.0)
            confidence = max(confidence, float(np.clip(0.5 + 0.45 * clear, 0.5, 0.95)))
            evidence["times_beside"] = rise.times
        return Observation(
            Kind.BANDING,
            start,
            end,
            severity=events.ladder(share, 0.13, 0.2, 0.4, 0.7),
            confidence=confidence,
            summary=(
                f"{how} of 2 to 9 code values, which cross {of_smooth:.0%} of the smooth area "
                f"({of_picture:.0%} of the picture), for {length:.1f} s"
            ),
            evidence=evidence,
            peak=worst.time,
            region=_region(worst.crossed) if worst.crossed.any() else None,
        )


def _see(look: Look) -> tuple[_Seen, float]:
    """What a look shows, and the share of its tiles that are smooth."""
    crossed, smooth = look.contour >= CONTOUR, look.fine < SMOOTH
    count = max(int(smooth.sum()), 1)
    seen = _Seen(
        time=look.time,
        of_picture=float(crossed.mean()),
        of_smooth=float((crossed & smooth).sum()) / count,
        comb=comb(look.histogram),
        contours=float(np.minimum(look.contour[smooth], 3.0).sum()) / count,
        crossed=crossed,
    )
    return seen, float(smooth.mean())


def comb(histogram: np.ndarray) -> float:
    """How much of a histogram [256] stands at even distances of 2 to 5 values, 0 to 1.

    The spectrum of such a comb has lines at all multiples of 1/step; one that is flat all over,
    as of a few flat areas, has no comb.
    """
    counts = histogram[VALUES].astype(np.float64)
    lines = np.abs(np.fft.rfft(counts)) / max(float(counts.sum()), 1.0)
    size = len(counts)
    strongest = max(
        float(lines[size // step : size // 2 + 1 : size // step].min()) for step in STEPS
    )
    return max(strongest - float(np.median(lines[FINEST : size // 2 + 1])), 0.0)


def _times(values: Float64, inside: slice, beside: np.ndarray) -> float:
    return float(np.median(values[inside]) / np.median(values[beside]))


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
