"""Every detector by name. To add one: write its file, its test, and one line here."""

from __future__ import annotations

from pipeline.detectors.base import Detector
from pipeline.detectors.black import BlackDetector

DETECTORS: dict[str, type[Detector]] = {
    detector.name: detector
    for detector in (
        # picture
        BlackDetector,
        # sound
        # stream
    )
}
