"""Every detector by name. To add one: write its file, its test, and one line here."""

from __future__ import annotations

from pipeline.detectors.banding import BandingDetector
from pipeline.detectors.bandwidth import BandwidthDetector
from pipeline.detectors.base import Detector
from pipeline.detectors.black import BlackDetector
from pipeline.detectors.blockiness import BlockinessDetector
from pipeline.detectors.blur import BlurDetector
from pipeline.detectors.borders import BordersDetector
from pipeline.detectors.cadence import CadenceDetector
from pipeline.detectors.card import CardDetector
from pipeline.detectors.click import ClickDetector
from pipeline.detectors.clipping import ClippingDetector
from pipeline.detectors.combing import CombingDetector
from pipeline.detectors.corruption import CorruptionDetector
from pipeline.detectors.dc_offset import DcOffsetDetector
from pipeline.detectors.dead_channel import DeadChannelDetector
from pipeline.detectors.decode_error import DecodeErrorDetector
from pipeline.detectors.distortion import DistortionDetector
from pipeline.detectors.dropout import DropoutDetector
from pipeline.detectors.flashing import FlashingDetector
from pipeline.detectors.format_change import FormatChangeDetector
from pipeline.detectors.freeze import FreezeDetector
from pipeline.detectors.glitch import GlitchDetector
from pipeline.detectors.hiss import HissDetector
from pipeline.detectors.hum import HumDetector
from pipeline.detectors.lengths import LengthsDetector
from pipeline.detectors.level_jump import LevelJumpDetector
from pipeline.detectors.levels import IllegalLevelsDetector
from pipeline.detectors.loudness import LoudnessDetector
from pipeline.detectors.noise import NoiseDetector
from pipeline.detectors.phase import PhaseDetector
from pipeline.detectors.pumping import PumpingDetector
from pipeline.detectors.segment_missing import SegmentMissingDetector
from pipeline.detectors.silence import SilenceDetector
from pipeline.detectors.smear import SmearDetector
from pipeline.detectors.sync import SyncDetector
from pipeline.detectors.tearing import TearingDetector
from pipeline.detectors.test_tone import TestToneDetector
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
        BandingDetector,
        BlockinessDetector,
        BlurDetector,
        NoiseDetector,
        FlashingDetector,
        IllegalLevelsDetector,
        CadenceDetector,
        GlitchDetector,
        SmearDetector,
        CorruptionDetector,
        CombingDetector,
        TearingDetector,
        # sound
        LevelJumpDetector,
        ClippingDetector,
        ClickDetector,
        SilenceDetector,
        LoudnessDetector,
        DropoutDetector,
        DistortionDetector,
        DcOffsetDetector,
        DeadChannelDetector,
        BandwidthDetector,
        HissDetector,
        HumDetector,
        PhaseDetector,
        TestToneDetector,
        # stream
        SyncDetector,
        TimingDetector,
        DecodeErrorDetector,
        FormatChangeDetector,
        SegmentMissingDetector,
        LengthsDetector,
    )
}
