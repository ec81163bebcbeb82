"""Black: no picture at all, or none but a small logo or ticker."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.types import Kind, Observation, PictureStatistics, Segment


class BlackSettings(DetectorSettings):
    """Settings of the black detector."""

    min_duration: float = setting(1.0, "s", "shortest black", "x", ge=0)


class BlackDetector(PictureDetector):
    """PLACEHOLDER, replaced by the owner of this family."""

    name = "black"
    kinds = (Kind.BLACK,)
    summary = "No picture"
    Settings = BlackSettings

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        return []

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return []
