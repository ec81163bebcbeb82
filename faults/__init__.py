"""Every fault by name, the opposite of the detectors. To add one: its file, test, a line here."""

from __future__ import annotations

from faults.banding import BandingFault
from faults.bandwidth import BandwidthLossFault
from faults.base import Fault
from faults.black import BlackFault
from faults.blockiness import BlockinessFault
from faults.blur import BlurFault
from faults.borders import LetterboxChangeFault
from faults.cadence import DroppedFramesFault, RepeatedFramesFault
from faults.card import ColorBarsFault, SlateFault, SolidColorFault
from faults.click import ClickFault
from faults.clipping import ClippingFault, DistortionFault
from faults.combing import CombingFault
from faults.corruption import BlockCorruptionFault
from faults.dc_offset import DcOffsetFault
from faults.dead_channel import DeadChannelFault
from faults.decode_error import DecodeErrorFault
from faults.delivery import SegmentMissingFault
from faults.dropout import DropoutFault
from faults.flashing import FlashingFault
from faults.format_change import FormatChangeFault
from faults.freeze import FreezeFault, PartialFreezeFault
from faults.glitch import GlitchFault
from faults.hiss import HissFault
from faults.hum import HumFault
from faults.lengths import AvLengthMismatchFault, MissingStreamFault, TruncatedFault
from faults.level_jump import LevelJumpFault
from faults.levels import IllegalLevelsFault
from faults.loudness import LoudnessFault, TruePeakFault
from faults.noise import NoiseFault
from faults.packet_loss_sound import PacketLossSoundFault
from faults.phase import FalseStereoFault, PhaseInversionFault
from faults.pumping import PumpingFault
from faults.silence import SilenceFault
from faults.smear import DecoderSmearFault
from faults.sync import AvDriftFault, AvOffsetFault, AvStepFault
from faults.tearing import TearingFault
from faults.test_tone import TestToneFault
from faults.timing import TimestampGapFault, TimestampJumpFault

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        # picture
        BlackFault,
        FreezeFault,
        PartialFreezeFault,
        SolidColorFault,
        ColorBarsFault,
        SlateFault,
        RepeatedFramesFault,
        DroppedFramesFault,
        GlitchFault,
        DecoderSmearFault,
        BlockinessFault,
        BlurFault,
        BandingFault,
        NoiseFault,
        CombingFault,
        TearingFault,
        PumpingFault,
        FlashingFault,
        LetterboxChangeFault,
        IllegalLevelsFault,
        # sound
        SilenceFault,
        DropoutFault,
        PacketLossSoundFault,
        DeadChannelFault,
        ClippingFault,
        DistortionFault,
        ClickFault,
        HumFault,
        HissFault,
        DcOffsetFault,
        PhaseInversionFault,
        FalseStereoFault,
        LevelJumpFault,
        TestToneFault,
        BandwidthLossFault,
        LoudnessFault,
        TruePeakFault,
        # picture and sound
        AvOffsetFault,
        AvDriftFault,
        AvStepFault,
        # stream
        BlockCorruptionFault,
        DecodeErrorFault,
        TimestampGapFault,
        TimestampJumpFault,
        AvLengthMismatchFault,
        TruncatedFault,
        MissingStreamFault,
        FormatChangeFault,
        SegmentMissingFault,
    )
}
