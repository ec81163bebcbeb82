"""Blockiness: the grid of a block transform stands out of the picture."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.grid import NATIVE, SURE_SHARE, find_grid
from pipeline.detectors.looks import LookRun, LookRuns, end_of
from pipeline.types import Kind, Observation, PictureFormat, PictureStatistics, Segment

CALIBRATED = (
    "calibrated on 8 clips encoded with x264 (QP 32-47, deblocking off and on), MPEG-2 and MJPEG, "
    "against 91 clean clips"
)


class BlockinessSettings(DetectorSettings):
    """Settings of the blockiness detector."""

    strength: float = setting(
        0.27, "code values", "grid strength: its steps above their surroundings, less where "
        "texture hides them", CALIBRATED, gt=0,
    )  # fmt: skip
    scaled_strength: float = setting(
        0.6, "code values", "the same for a grid that was scaled (period other than 4, 8, 16)",
        CALIBRATED, gt=0,
    )  # fmt: skip
    min_duration: float = setting(
        0.8, "s", "shortest interval reported", "calibrated: one bad key frame is not reported"
    )


class BlockinessDetector(PictureDetector):
    """Looks for lines on a grid in both directions, five times a second.

    Deblocked H.264 is hard: the filter takes the steps away, and what remains at QP 47 is weak.
    Ends are right within 0.1 s.
    """

    name = "blockiness"
    kinds = (Kind.BLOCKINESS,)
    summary = "A compression grid is visible: its period, phase and strength"
    Settings = BlockinessSettings

    def __init__(self, settings: BlockinessSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._runs = LookRuns(settings.min_duration, 0.7, 1 / picture_format.frame_rate)
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        found: list[Observation] = []
        self._end = end_of(picture)
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
            found += map(self._observe, self._runs.add(look.time, holds, strength, evidence))
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return [self._observe(run) for run in self._runs.finish(self._end)]

    def _observe(self, run: LookRun) -> Observation:
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
