"""Loudness and true peak of the whole asset, away from what its outlet asks for.

There is a verdict on these only against a target that the user names, so the parameter `setting`
of the truths says what to set.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from faults.base import FaultError, SoundFault
from faults.sound import amplitude
from faults.truth import Severity
from pipeline.detectors.loudness import HOP, TARGETS, integrated
from pipeline.measure.loudness import LoudnessMeter, TruePeakMeter
from pipeline.measurements import Float32, Float64, SoundFormat
from pipeline.types import Kind

TARGET = "r128"
APART = 0.5  # seconds between overs of true peak that are one event
HIGHEST = 18.0  # dB of gain before a limiter, more than any master has
LOOK = 0.0002  # seconds by which the limiter sees peaks coming
CEILING = 0.9999  # of full scale: samples that no converter clips


def _blocks(sound: Float32, sound_format: SoundFormat) -> Float32:
    """The sound in whole blocks."""
    return np.pad(sound, ((0, 0), (0, -sound.shape[1] % sound_format.block)))


def integrated_loudness(sound: Float32, sound_format: SoundFormat) -> float:
    """Gated loudness of all of it in LUFS (BS.1770-5).

    Raises:
        FaultError: it has none.
    """
    momentary = LoudnessMeter(sound_format).measure(_blocks(sound, sound_format))[1]
    hop = max(1, round(HOP * sound_format.rate / sound_format.block))
    momentary = momentary[~np.isnan(momentary)][::hop]
    gated = integrated(momentary.astype(np.float64))
    if gated is None:
        raise FaultError("it is silent or shorter than 0.4 s")
    return gated[0]


def true_peaks(sound: Float32, sound_format: SoundFormat) -> Float64:
    """Largest true peak of all channels in each block of 10 ms, linear (BS.1770-5)."""
    whole = _blocks(sound, sound_format)
    peak = np.abs(whole).reshape(whole.shape[0], -1, sound_format.block).max(axis=2)
    peaks: Float64 = (
        TruePeakMeter(sound_format).measure(whole, peak, 1e-6).max(axis=0).astype(np.float64)
    )
    return peaks


class LoudnessFault(SoundFault):
    """The asset was never levelled, or to another outlet's target.

    One gain, so that the integrated loudness is 3 to 10 LU over or under -23 LUFS; over where the
    peaks leave room, else under. EBU R 128 allows 1 LU for live programmes and 0.2 LU otherwise;
    the steps are proposed.
    """

    name = "loudness"
    kind = Kind.LOUDNESS
    summary = "Integrated loudness 3 to 10 LU away from -23 LUFS"
    whole = True
    mixes = False  # no sample stays as it was
    also = (Kind.TRUE_PEAK,)
    ladder = {
        Severity.VERY_SUBTLE: {"off_lu": 3.0},
        Severity.SUBTLE: {"off_lu": 5.0},
        Severity.NOTICEABLE: {"off_lu": 7.0},
        Severity.VERY_NOTICEABLE: {"off_lu": 10.0},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        sound_format = SoundFormat(0, rate, sound.shape[0], self.clean.layout)
        target, off = TARGETS[TARGET].loudness, float(self.parameters["off_lu"])
        found = integrated_loudness(sound, sound_format)
        peak = float(np.abs(sound).max())
        gains = {sign: target + sign * off - found for sign in (1, -1)}
        fitting = [sign for sign in gains if peak * amplitude(gains[sign]) <= CEILING]
        if not fitting:
            raise FaultError("its peaks leave no room to make it as loud as that")
        sign = int(self.rng.choice(fitting))
        made = sound * np.float32(amplitude(gains[sign]))
        # the absolute gate lets other blocks through than before
        gain = gains[sign] + target + sign * off - integrated_loudness(made, sound_format)
        sound *= np.float32(amplitude(gain))
        self.did(
            0.0,
            sound.shape[1] / rate,
            sign=sign,
            gain_db=gain,
            loudness_lufs=integrated_loudness(sound, sound_format),
            target_lufs=target,
            setting=f"loudness.target={TARGET}",
        )
        return sound


class TruePeakFault(SoundFault):
    """A loud master whose limiter looked at samples and not between them.

    The asset is raised until its true peak is where the ladder has it, with a limiter in front of
    full scale where the samples would exceed it: none does, but the wave between them. Each truth
    is a moment above -1 dBTP, which is what EBU R 128 allows; the ladder is proposed, and ends at
    what a limiter can still reach on most sound.
    """

    name = "true_peak"
    kind = Kind.TRUE_PEAK
    summary = "Peaks between the samples above -1 dBTP, up to +0.8 dBTP"
    whole = True
    mixes = False  # no sample stays as it was
    also = (Kind.LOUDNESS, Kind.CLIPPING)
    ladder = {
        Severity.VERY_SUBTLE: {"true_peak_dbtp": -0.5},
        Severity.SUBTLE: {"true_peak_dbtp": 0.0},
        Severity.NOTICEABLE: {"true_peak_dbtp": 0.4},
        Severity.VERY_NOTICEABLE: {"true_peak_dbtp": 0.8},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        sound_format = SoundFormat(0, rate, sound.shape[0], self.clean.layout)
        limit = TARGETS[TARGET].true_peak
        wanted = float(self.parameters["true_peak_dbtp"])
        found = float(true_peaks(sound, sound_format).max())
        if found < 1e-6:
            raise FaultError("it is silent")
        low = wanted - 20 * float(np.log10(found))

        def reached(gain: float) -> float:
            peaks = true_peaks(_limited(sound, gain, rate), sound_format)
            return 20 * float(np.log10(peaks.max()))

        high = low
        while reached(high) < wanted - 0.02:
            low, high = high, high + 1.0
            if high > HIGHEST - 20 * np.log10(found):
                raise FaultError(f"its peaks do not reach {wanted:g} dBTP between the samples")
        while high - low > 0.02:
            middle = (low + high) / 2
            low, high = (low, middle) if reached(middle) >= wanted else (middle, high)
        sound = _limited(sound, high, rate)
        peaks = true_peaks(sound, sound_format)
        block = sound_format.block / rate
        over = np.flatnonzero(peaks > amplitude(limit))
        breaks = np.flatnonzero(np.diff(over) * block > APART) + 1
        end = sound.shape[1] / rate
        for event in np.split(over, breaks):
            self.did(
                event[0] * block,
                min((event[-1] + 1) * block, end),
                gain_db=high,
                reached_dbtp=20 * float(np.log10(peaks[event].max())),
                limit_dbtp=limit,
                setting=f"loudness.max_true_peak={limit:g}",
            )
        return sound


def _limited(sound: Float32, gain: float, rate: int) -> Float32:
    """The sound at that gain in dB, with no sample above full scale."""
    raised = sound * np.float32(amplitude(gain))
    over = np.abs(raised).max(axis=0)
    if over.max() <= CEILING:
        return raised
    reach = max(1, round(LOOK * rate))
    least = ndimage.minimum_filter1d(np.minimum(1, CEILING / np.maximum(over, 1e-9)), 2 * reach + 1)
    smooth = ndimage.uniform_filter1d(least, 2 * reach + 1)
    held: Float32 = np.clip(raised * smooth.astype(np.float32), -CEILING, CEILING)
    return held
