"""Loudness and true peak of the whole programme (ITU-R BS.1770-5, EBU R 128), against a target.

The figures are always measured; there is a verdict only where the user names a target, because
what is right for one outlet is wrong for another.
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import Run, Runs, ladder
from pipeline.measure.loudness import OFFSET, TruePeakMeter
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind


@dataclass(frozen=True)
class Target:
    """What an outlet asks for."""

    loudness: float  # LUFS
    tolerance: float  # LU
    true_peak: float  # dBTP
    source: str


TARGETS = {
    # the tolerance for live programmes; R 128 asks +-0.2 LU of what is normalised as a file
    "r128": Target(-23.0, 1.0, -1.0, "EBU R 128 (2020)"),
    "a85": Target(-24.0, 2.0, -2.0, "ATSC A/85"),
    "streaming": Target(-18.0, 2.0, -1.0, "AES TD1008"),
}
ABSOLUTE_GATE = -70.0  # LUFS (BS.1770-5)
RELATIVE_GATE = -10.0  # LU (BS.1770-5)
RANGE_GATE = -20.0  # LU (EBU Tech 3342)
RANGE_SHARES = (10.0, 95.0)  # percent (EBU Tech 3342)
HOP = 0.1  # seconds between measuring blocks: an overlap of 75 % (BS.1770-5)
SHORTEST_VERDICT = 3.0  # seconds of gated sound; less is too little to judge (one short-term block)
SAME_EVENT = 0.5  # seconds between overs of true peak that count as one
_FIGURES = (
    "loudness_integrated_lufs",
    "loudness_range_lu",
    "loudness_momentary_max_lufs",
    "loudness_short_term_max_lufs",
    "true_peak_max_dbtp",
)


class LoudnessSettings(DetectorSettings):
    """Settings of the loudness detector."""

    target: Literal["none", "r128", "a85", "streaming"] = setting(
        "none",
        "",
        "the outlet's rules to judge by: r128 (-23 LUFS +-1 LU, -1 dBTP), a85 (-24 LKFS +-2 dB, "
        "-2 dBTP), streaming (-18 LUFS +-2 LU, -1 dBTP); none: measure, but do not judge",
        "EBU R 128, ATSC A/85, AES TD1008",
    )
    tolerance: float | None = setting(
        None, "LU", "allowed deviation, instead of the target's own", "a choice of the user", ge=0
    )
    max_true_peak: float | None = setting(
        None, "dBTP", "highest true peak, instead of the target's own", "a choice of the user"
    )


def _energy(level: Float64 | float) -> Float64:
    return np.asarray(10 ** ((np.asarray(level, np.float64) - OFFSET) / 10))


def integrated(momentary: Float64) -> tuple[float, int] | None:
    """Gated loudness of the momentary loudness of all measuring blocks, BS.1770-5.

    Returns:
        LUFS and the number of blocks that passed the gates; None where none is above -70 LUFS.
    """
    loud = momentary[momentary > ABSOLUTE_GATE]
    if not len(loud):
        return None
    energy = _energy(loud)
    gate = OFFSET + 10 * np.log10(energy.mean()) + RELATIVE_GATE
    passed = energy[loud > gate]
    return float(OFFSET + 10 * np.log10(passed.mean())), len(passed)


def loudness_range(short_term: Float64) -> float | None:
    """LRA of the short-term loudness of all blocks, EBU Tech 3342; None where all is silent."""
    loud = short_term[short_term > ABSOLUTE_GATE]
    if not len(loud):
        return None
    gate = OFFSET + 10 * np.log10(_energy(loud).mean()) + RANGE_GATE
    low, high = np.percentile(loud[loud > gate], RANGE_SHARES)
    return float(high - low)


class LoudnessDetector(SoundDetector):
    """Integrated loudness, loudness range and true peak, as broadcasters measure them.

    Keeps two numbers for every 0.1 s: 2.3 MB for eight hours.
    """

    name = "loudness"
    kinds = (Kind.LOUDNESS, Kind.TRUE_PEAK)
    summary = "Programme loudness or true peak outside the limits of a chosen target"
    Settings = LoudnessSettings
    whole_stream = True

    settings: LoudnessSettings

    def __init__(self, settings: LoudnessSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._target = TARGETS.get(settings.target)
        self._momentary = array("f")
        self._short_term = array("f")
        self._start: float | None = None
        self._end = 0.0
        self._blocks = 0  # since the last gap
        self._meter = TruePeakMeter(sound_format)
        self._true_peak = 0.0
        self._peak_time = 0.0
        self._overs = Runs(max_gap=SAME_EVENT)
        limit = settings.max_true_peak
        if limit is None and self._target is not None:
            limit = self._target.true_peak
        self._limit = limit

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if self._start is None:
            self._start = sound.time
        elif sound.format != self.format or abs(sound.time - self._end) > 1e-3:
            self.format = sound.format
            self._blocks = 0
            self._meter = TruePeakMeter(sound.format)
        blocks = sound.energy.shape[1]
        self._end = sound.time + blocks * sound.block_seconds
        hop = max(1, round(HOP / sound.block_seconds))
        for series, kept in (
            (sound.momentary, self._momentary),
            (sound.short_term, self._short_term),
        ):
            # every hop-th block counted from the beginning of the contiguous stream
            chosen = series[(-self._blocks - 1) % hop :: hop]
            kept.extend(chosen[~np.isnan(chosen)].tolist())
        self._blocks += blocks
        return self._peaks(sound)

    def _peaks(self, sound: SoundStatistics) -> list[Observation]:
        floor = max(self._true_peak, 1e-6)
        if self._limit is not None:
            floor = min(floor, 10 ** (self._limit / 20))
        peaks = self._meter.measure(sound.samples, sound.peak, floor).max(axis=0)
        top = int(np.argmax(peaks))
        if peaks[top] > self._true_peak:
            self._true_peak = float(peaks[top])
            self._peak_time = float(sound.times[top])
        if self._limit is None:
            return []
        level = 20 * np.log10(np.maximum(peaks, 1e-6))
        runs = self._overs.feed(sound.times, sound.block_seconds, level > self._limit, level)
        return [self._over(run) for run in runs]

    def _over(self, run: Run) -> Observation:
        limit = 0.0 if self._limit is None else self._limit
        over = run.peak_value - limit
        return Observation(
            kind=Kind.TRUE_PEAK,
            start=run.start,
            end=run.end,
            peak=run.peak,
            # the meter of BS.1770 may read 0.5 dB low; whole decibels overload a converter
            severity=ladder(over, 0.3, 1.0, 2.0, 3.0),
            confidence=float(np.interp(over, [0.0, 0.3], [0.6, 0.99])),
            summary=f"true peak {run.peak_value:.1f} dBTP, {over:.1f} dB over the limit",
            evidence={"true_peak_dbtp": run.peak_value, "limit_dbtp": limit},
        )

    def standing(self) -> Iterable[Observation]:
        """Overs that last; the loudness of a programme is known at its end."""
        return [self._over(run) for run in copy.copy(self._overs).finish()]

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = [self._over(run) for run in self._overs.finish()]
        target, gated = self._target, integrated(np.asarray(self._momentary, np.float64))
        if target is None or gated is None or self._start is None:
            return found
        level, blocks = gated
        tolerance = self.settings.tolerance
        tolerance = target.tolerance if tolerance is None else tolerance
        off = level - target.loudness
        if blocks * HOP < SHORTEST_VERDICT or abs(off) <= tolerance:
            return found
        found.append(
            Observation(
                kind=Kind.LOUDNESS,
                start=self._start,
                end=self._end,
                severity=ladder(abs(off) - tolerance, 0.5, 2.0, 4.0, 8.0),
                # meters agree within 0.1 LU (EBU Tech 3341)
                confidence=float(np.interp(abs(off) - tolerance, [0.0, 0.1], [0.6, 0.99])),
                summary=(
                    f"{level:.1f} LUFS is {abs(off):.1f} LU too {'loud' if off > 0 else 'quiet'} "
                    f"for {target.source} ({target.loudness:g} LUFS ±{tolerance:g} LU)"
                ),
                evidence={
                    "loudness_integrated_lufs": level,
                    "target_lufs": target.loudness,
                    "deviation_lu": off,
                    "tolerance_lu": tolerance,
                },
            )
        )
        return found

    def measurements(self) -> dict[str, float]:
        """What could be measured: sound of less than 400 ms, or all silent, has no loudness."""
        momentary = np.asarray(self._momentary, np.float64)
        short_term = np.asarray(self._short_term, np.float64)
        gated = integrated(momentary)
        figures = (
            gated[0] if gated else None,
            loudness_range(short_term),
            momentary.max() if gated else None,
            short_term.max() if gated and len(short_term) else None,
            20 * np.log10(self._true_peak) if self._true_peak > 1e-6 else None,
        )
        return {
            name: round(float(value), 2)
            for name, value in zip(_FIGURES, figures, strict=True)
            if value is not None
        }
