"""Illegal levels: luma outside the range that EBU R 103 allows in a limited-range picture."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.looks import LookRun, LookRuns, end_of
from pipeline.measurements import Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind


class IllegalLevelsSettings(DetectorSettings):
    """Settings of the illegal-levels detector."""

    lowest: int = setting(
        5, "code value", "lowest luma allowed, of 8 bits", "EBU R 103: -5 % = 5", ge=0, le=255
    )
    highest: int = setting(
        246, "code value", "highest luma allowed, of 8 bits", "EBU R 103: 105 % = 246", ge=0, le=255
    )
    max_share: float = setting(
        0.01, "", "share of the picture that may lie outside", "EBU R 103: 1 % of the active image",
        ge=0, le=1,
    )  # fmt: skip
    min_duration: float = setting(
        0.5, "s", "shortest interval reported", "calibrated: shorter ones are flashes and fades"
    )


class IllegalLevelsDetector(PictureDetector):
    """Counts luma samples outside 5..246 at five looks a second.

    The usual cause is a full-range picture that was passed on as limited range: blacks at 0 and
    whites at 255. Streams that say they are full range have no illegal levels, and give nothing.
    Ends are right within 0.1 s.
    """

    name = "illegal_levels"
    kinds = (Kind.ILLEGAL_LEVELS,)
    summary = "Luma outside the legal range in more of the picture than EBU R 103 tolerates"
    Settings = IllegalLevelsSettings

    def __init__(self, settings: IllegalLevelsSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._runs = LookRuns(settings.min_duration, 0.4, 1 / picture_format.frame_rate)
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        found: list[Observation] = []
        self._end = end_of(picture)
        if self.format.full_range:
            return found
        low, high = self.settings.lowest, self.settings.highest
        for look in picture.looks:
            counts = look.histogram
            total = max(int(counts.sum()), 1)
            below = float(counts[:low].sum()) / total
            above = float(counts[high + 1 :].sum()) / total
            used = counts.nonzero()[0]
            evidence = {
                "share_of_picture": below + above,
                "share_below": below,
                "share_above": above,
                "darkest_code": float(used[0]) if used.size else 0.0,
                "brightest_code": float(used[-1]) if used.size else 0.0,
            }
            holds = below + above > self.settings.max_share
            found += map(self._observe, self._runs.add(look.time, holds, below + above, evidence))
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return [self._observe(run) for run in self._runs.finish(self._end)]

    def _observe(self, run: LookRun) -> Observation:
        share, limit = run.peak_value, max(self.settings.max_share, 1e-6)
        low, high = self.settings.lowest, self.settings.highest
        seen = run.evidence
        both = seen["share_below"] > limit and seen["share_above"] > limit
        return Observation(
            Kind.ILLEGAL_LEVELS,
            run.start,
            run.end,
            severity=events.ladder(share, 0.01, 0.05, 0.2, 0.5),
            # both ends at once is the mark of a range mistake, one end may be meant
            confidence=min(0.5 + 0.1 * min(share / limit - 1, 3) + (0.2 if both else 0.0), 1.0),
            summary=(
                f"luma below {low} in {seen['share_below']:.1%} and above {high} in "
                f"{seen['share_above']:.1%} of the picture (EBU R 103 allows {limit:.0%}) "
                f"for {run.end - run.start:.1f} s"
            ),
            evidence={**seen, "duration_s": run.end - run.start},
            peak=run.peak,
        )
