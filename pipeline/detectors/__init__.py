"""Every detector by name. To add one: write its file, its test, and one line here."""

from __future__ import annotations

from pipeline.detectors.base import Detector
from pipeline.detectors.black import BlackDetector
from pipeline.detectors.flashing import FlashingDetector
from pipeline.detectors.levels import IllegalLevelsDetector

DETECTORS: dict[str, type[Detector]] = {
    detector.name: detector
    for detector in (
        # picture
        BlackDetector,
        FlashingDetector,
        IllegalLevelsDetector,
        # sound
        # stream
    )
}
