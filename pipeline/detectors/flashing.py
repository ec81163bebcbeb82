"""Flashing that can harm photosensitive viewers, by the rule of ITU-R BT.1702-3 or of WCAG.

BT.1702-3 (11/2023), Annex 1, Guideline 1, for standard dynamic range: a potentially harmful flash
is a pair of opposing changes in screen luminance of 20 cd/m2 or more where the darker picture is
below 160 cd/m2; irrespective of luminance, a transition to or from a saturated red is harmful too.
A sequence is not permitted when at once (a) the flashes that occur concurrently take more than
25 % of the displayed area and (b) there are more than three flashes, that is six changes, within
any one second. Flashes whose leading edges are 360 ms apart or more at 50 Hz (334 ms at 60 Hz)
are acceptable whatever their brightness and area. A sequence of more than five seconds may be a
risk even when it complies; as EA's IRIS does, two flashes in any second are taken to make a
sequence (reported with low severity). Screen luminance is that of Annex 2: BT.1886 with a peak of
200 cd/m2. (The UK's Ofcom guidance has the same limits.) BT.1702 does not put saturated red into
numbers; those of ISO 9241-391 and WCAG 2.2 are used: R/(R+G+B) >= 0.8 in linear light at one end
of the transition and more than 0.2 in the CIE 1976 u'v' diagram between its ends.

WCAG 2.0/2.1: a change of 10 % of the largest relative luminance where the darker is below 0.80;
saturated red as above and a change of (R-G-B) x 320 of more than 20; concurrent area of more than
25 % of any 10 degree field, that is of any window of a third of the picture's width and height;
more than three flashes in a second; no exemption for spacing.

What is measured here are the means of 16x16 tiles (of several tiles in large pictures).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.flash_rule import (
    Cells,
    FlashCounter,
    Hazard,
    RedChanges,
    Rule,
    StepChanges,
    linear_rgb,
    relative_luminance,
    screen_luminance,
)
from pipeline.measurements import Float32, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind


class FlashingSettings(DetectorSettings):
    """Settings of the flashing detector."""

    standard: Literal["bt1702", "wcag"] = setting(
        "bt1702", "", "rule to apply: bt1702 (ITU-R BT.1702-3, Ofcom) or wcag", "issue"
    )
    max_flashes: int = setting(
        3, "flashes/s", "flashes allowed within any one second", "ITU-R BT.1702-3, WCAG 2.3.1", ge=1
    )
    max_area: float = setting(
        0.25, "", "share of the picture (wcag: of a 10 degree field) that may flash",
        "ITU-R BT.1702-3, WCAG 2.3.1", gt=0, le=1,
    )  # fmt: skip
    luminance_step: float = setting(
        20.0, "cd/m2", "change of luminance that counts (wcag: 10 % of peak)", "ITU-R BT.1702-3",
        gt=0,
    )  # fmt: skip
    darker_below: float = setting(
        160.0, "cd/m2", "the darker picture must be below this (wcag: 80 %)", "ITU-R BT.1702-3"
    )
    red_ratio: float = setting(
        0.8, "", "R/(R+G+B) of a saturated red, linear light", "ISO 9241-391, WCAG", gt=0, le=1
    )
    red_distance: float = setting(
        0.2, "", "change in CIE 1976 u'v' to or from a saturated red", "ISO 9241-391, WCAG 2.2",
        gt=0,
    )  # fmt: skip
    sequence: float = setting(
        5.0,
        "s",
        "longer flashing, twice a second or more, is a risk within the limits",
        "ITU-R BT.1702-3; two a second: EA IRIS",
        gt=0,
    )


WCAG_STEP = 0.1  # of the largest relative luminance
WCAG_DARKER = 0.8
WCAG_RED_STEP = 20.0  # of (R-G-B) x 320
WCAG_FIELD = 1 / 3  # 10 degrees: 341x256 of 1024x768 pixels, WCAG 2.x
LARGEST_GRID = 64  # cells across; larger pictures pool their tiles
# A red of which G+B are at most a quarter (linear light, gamma 2.4) has, in BT.601 and BT.709, at
# the least Cr-128 = 89/219 of Y-16; the margin allows for the mean over a tile.
RED_PER_LUMA = 70 / 219
CHROMA_OF_RED = 132.0  # and Cr above grey at all


class FlashingDetector(PictureDetector):
    """Counts opposing changes per cell of the picture and applies the rule."""

    name = "flashing"
    kinds = (Kind.FLASHING,)
    summary = "Flashes that can cause photosensitive seizures: rate, area and luminance by rule"
    Settings = FlashingSettings

    def __init__(self, settings: FlashingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._cells = Cells(picture_format, LARGEST_GRID)
        wcag = settings.standard == "wcag"
        rate = picture_format.frame_rate
        family_50 = abs(rate / 25 - round(rate / 25)) < 0.02 and rate > 24.5
        rule = Rule(
            max_changes=2 * settings.max_flashes,
            max_area=settings.max_area,
            field=WCAG_FIELD if wcag else None,
            spacing=None if wcag else (0.360 if family_50 else 0.334),
            sequence=None if wcag else settings.sequence,
        )
        size = self._cells.count
        if wcag:
            self._light = StepChanges(size, WCAG_STEP, WCAG_DARKER)
            self._red: RedChanges | StepChanges = StepChanges(size, WCAG_RED_STEP, np.inf)
        else:
            self._light = StepChanges(size, settings.luminance_step, settings.darker_below)
            self._red = RedChanges(size, settings.red_ratio, settings.red_distance)
        self._light_count = FlashCounter(rule, self._cells)
        self._red_count = FlashCounter(rule, self._cells)
        self._red_seen = -np.inf  # time of the last frame with enough red to be looked at
        self._wcag = wcag

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        times = picture.frames["time"]
        ends = times + picture.frames["duration"]
        luma = self._cells.pool(picture.luma)
        rgb = None
        red = self._red_near(picture, float(times[0]), float(times[-1]))
        if red or self._wcag:
            cb, cr = self._cells.pool(picture.cb), self._cells.pool(picture.cr)
            rgb = linear_rgb(luma, cb, cr, self.format.height)
        light = screen_luminance(luma)
        if self._wcag and rgb is not None:
            light = relative_luminance(rgb)
        self._light_count.add(times, ends, *self._light.find(light))
        if red and rgb is not None:
            value = rgb if isinstance(self._red, RedChanges) else self._redness(rgb)
            self._red_count.add(times, ends, *self._red.find(value))
        return self._take(float(times[-1]))

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._take(np.inf)

    def _red_near(self, picture: PictureStatistics, first: float, last: float) -> bool:
        """Whether enough of the picture was red now or within the last seconds."""
        if not self.format.chroma:
            return False
        # far from red in every matrix means nothing to compute: first by a bound over the segment
        bound = picture.cr.max(axis=0) - RED_PER_LUMA * (picture.luma.min(axis=0) - 16)
        if self._red_share(bound[None]) > self._red_count.rule.least_share:
            excess = picture.cr - RED_PER_LUMA * (picture.luma - 16)
            if self._red_share(excess) > self._red_count.rule.least_share:
                self._red_seen = last
        return first - self._red_seen < 2.0

    def _red_share(self, excess: Float32) -> float:
        """Share of the picture whose Cr, less what its luma allows a dull red, is ever a red's."""
        reddest = self._cells.pool(excess).max(axis=0)
        return self._cells.share(reddest > CHROMA_OF_RED)

    def _redness(self, rgb: Float32) -> Float32:
        """WCAG: (R-G-B) x 320 of a saturated red, 0 of anything else."""
        red, green, blue = np.moveaxis(rgb, -1, 0)
        saturated = red >= self.settings.red_ratio * np.maximum(red + green + blue, 1e-6)
        value = np.maximum(red - green - blue, 0) * 320
        return np.where(saturated, value, 0).astype(np.float32)

    def _take(self, now: float) -> list[Observation]:
        found = [self._observe(hazard, red=False) for hazard in self._light_count.expire(now)]
        return found + [self._observe(hazard, red=True) for hazard in self._red_count.expire(now)]

    def _observe(self, hazard: Hazard, *, red: bool) -> Observation:
        limit, settings = self.settings.max_area, self.settings
        where = "picture" if self._light_count.rule.field is None else "10 degree field"
        if red:
            what, key, unit = "flashes to and from saturated red", "red_step", ""
        elif self._wcag:
            what, key, unit = "flashes", "relative_luminance_step", " of peak luminance"
        else:
            what, key, unit = "flashes", "luminance_step_cdm2", " cd/m2"
        length = hazard.end - hazard.start
        over = f"{hazard.rate:.1f} {what} per second"
        if hazard.sequence:
            over = f"a sequence of {what} for {length:.1f} s, {hazard.rate:.1f} per second"
        margin = min(hazard.area / limit, hazard.step / self._least_step(red))
        if hazard.sequence:
            severity, confidence = 0.5, 0.5
        else:
            # a hazard to health is never less than noticeable
            severity = min(0.75 + 0.05 * (hazard.rate - settings.max_flashes), 1.0)
            confidence = min(0.7 + 0.3 * (margin - 1), 1.0)
        return Observation(
            Kind.FLASHING,
            hazard.start,
            hazard.end,
            severity=severity,
            confidence=confidence,
            summary=(
                f"{over} over {hazard.area:.0%} of the {where}, steps of {hazard.step:.3g}{unit} "
                f"(limits of {settings.standard}: {settings.max_flashes} per second, {limit:.0%})"
            ),
            evidence={
                "flashes_per_s": hazard.rate,
                "share_of_picture": hazard.area,
                key: hazard.step,
                "duration_s": length,
            },
            peak=hazard.peak,
            region=hazard.region,
        )

    def _least_step(self, red: bool) -> float:
        if red:
            return float(WCAG_RED_STEP if self._wcag else self.settings.red_distance)
        return float(WCAG_STEP if self._wcag else self.settings.luminance_step)
