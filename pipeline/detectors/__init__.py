"""Every detector by name. To add one: write its file, its test, and one line here."""

from __future__ import annotations

from pipeline.detectors.base import Detector
from pipeline.detectors.black import BlackDetector
from pipeline.detectors.borders import BordersDetector
from pipeline.detectors.card import CardDetector
from pipeline.detectors.decode_error import DecodeErrorDetector
from pipeline.detectors.flashing import FlashingDetector
from pipeline.detectors.format_change import FormatChangeDetector
from pipeline.detectors.freeze import FreezeDetector
from pipeline.detectors.lengths import LengthsDetector
from pipeline.detectors.levels import IllegalLevelsDetector
from pipeline.detectors.pumping import PumpingDetector
from pipeline.detectors.timing import TimingDetector

DETECTORS: dict[str, type[Detector]] = {
    detector.name: detector
    for detector in (
        # picture
        BlackDetector,
        PumpingDetector,
        FreezeDetector,
        CardDetector,
        BordersDetector,
        FlashingDetector,
        IllegalLevelsDetector,
        # sound
        # stream
        TimingDetector,
        DecodeErrorDetector,
        FormatChangeDetector,
        LengthsDetector,
    )
}
