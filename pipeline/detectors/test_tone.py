"""Test tone: a steady sine, left in from line-up or sent instead of the programme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Float64, Observation, Segment, SoundStatistics, Spectra
from pipeline.types import Kind

LOBE = 3  # bins on either side of a peak in which a Hann window leaves a sine (2, 1 to spare)
LINE_UP = (400.0, 440.0, 900.0, 997.0, 1000.0, 2000.0)  # Hz: EBU, BLITS, SMPTE, AES17, old BBC
SETTLED = 3  # windows after which the level of a tone is known


class TestToneSettings(DetectorSettings):
    """Settings of the test tone detector."""

    __test__ = False  # not a test case, whatever its name

    min_duration: float = setting(
        1.0, "s", "shortest tone", "quality.md A18; censor beeps and time signals are shorter", gt=0
    )
    min_level: float = setting(
        -50.0,
        "dBFS",
        "weakest tone, full-scale sine = 0 dBFS (AES17)",
        "30 dB below line-up: EBU R 68 -18 dBFS, SMPTE RP 155 -20 dBFS",
    )
    min_frequency: float = setting(
        120.0, "Hz", "lowest tone; what lies below is left to hum", "line-up tones are 400 Hz up"
    )
    min_purity: float = setting(
        0.98,
        "",
        "share of the power that lies in one line",
        "calibrated on tone through AAC (0.999); 49 min of music, speech and film: no alarm at 0.9",
        gt=0,
        lt=1,
    )
    max_drift: float = setting(
        0.003,
        "",
        "largest change of frequency within a tone",
        "vibrato is 0.01 up, a semitone 0.06",
    )
    max_level_change: float = setting(
        1.0, "dB", "largest change of level within a tone", "struck and plucked notes decay faster"
    )
    max_gap: float = setting(
        0.5, "s", "longest interruption of one tone", "EBU Tech 3304: 0.25 s every 3 s", ge=0
    )


@dataclass
class _Tone:
    start: float
    end: float
    windows: int
    frequency: float  # Hz
    level: float  # dBFS
    purity: float
    gaps: int = 0


class TestToneDetector(SoundDetector):
    """One line that holds nearly all the power, at one frequency and one level.

    Held notes have harmonics, vibrato or decay. Both ends are exact to one hop of the spectra
    (21 ms). A tone on some channels only is found where the others are silent.
    """

    __test__ = False

    name = "test_tone"
    kinds = (Kind.TEST_TONE,)
    summary = "A steady sine such as 1 kHz line-up tone, also one that identification interrupts"
    Settings = TestToneSettings

    _tone: _Tone | None = None
    _hop = 0.0

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        spectra, rules = sound.spectra, self.settings
        self._hop = spectra.hop
        frequency, level, purity = _lines(spectra)
        pure = (
            (purity >= rules.min_purity)
            & (level >= rules.min_level)
            & (frequency >= rules.min_frequency)
        )
        starts = spectra.time + np.arange(len(pure)) * spectra.hop
        found: list[Observation] = []
        for index in np.flatnonzero(pure):
            row = _Tone(
                start=float(starts[index]),
                end=float(starts[index]) + spectra.window,
                windows=1,
                frequency=float(frequency[index]),
                level=float(level[index]),
                purity=float(purity[index]),
            )
            found += self._take(row)
        if len(pure):
            found += self._expire(float(starts[-1]))
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        tone, self._tone = self._tone, None
        if tone is None:
            return []
        # a tone of just the least duration loses up to a hop at either end
        length = tone.windows * self._hop + self._hop
        if length < self.settings.min_duration - 2 * self._hop:
            return []
        known = any(abs(tone.frequency / nominal - 1) < 0.002 for nominal in LINE_UP)
        longer = np.clip((length - self.settings.min_duration) / 4, 0, 1)
        broken = f", interrupted {tone.gaps} times" if tone.gaps else ""
        return [
            Observation(
                kind=Kind.TEST_TONE,
                start=tone.start,
                end=tone.end,
                severity=ladder(tone.level, -50, -40, -30, -20),
                confidence=float(0.7 + 0.2 * longer + 0.1 * known),
                summary=f"a steady tone of {tone.frequency:.0f} Hz at {tone.level:.0f} dBFS for "
                f"{tone.end - tone.start:.1f} s{broken}, {tone.purity:.1%} of all power",
                evidence={
                    "frequency_hz": tone.frequency,
                    "level_dbfs": tone.level,
                    "purity": tone.purity,
                    "interruptions": float(tone.gaps),
                    "duration_s": tone.end - tone.start,
                },
            )
        ]

    def _take(self, row: _Tone) -> Iterable[Observation]:
        """Go on with the tone, or conclude it and begin another, with one window of pure tone."""
        found = self._expire(row.start)
        tone, rules = self._tone, self.settings
        if tone is not None:
            if abs(row.frequency / tone.frequency - 1) > rules.max_drift:
                found = self.finish()
            elif abs(row.level - tone.level) > rules.max_level_change:
                if tone.windows >= SETTLED:
                    return found  # the other channel is interrupted, or the tone decays
            else:
                share = 1 / (tone.windows + 1)
                tone.gaps += row.start - tone.end > self._hop
                tone.end, tone.windows = row.end, tone.windows + 1
                tone.frequency += (row.frequency - tone.frequency) * share
                tone.level += (row.level - tone.level) * share
                tone.purity += (row.purity - tone.purity) * share
                return found
        self._tone = row
        return found

    def _expire(self, start: float) -> Iterable[Observation]:
        tone = self._tone
        return self.finish() if tone and start - tone.end > self.settings.max_gap else []


def _lines(spectra: Spectra) -> tuple[Float64, Float64, Float64]:
    """Of the strongest line of each window: frequency in Hz, level in dBFS, share of the power."""
    power = spectra.power.astype(np.float64)
    count, bins = power.shape
    rows = np.arange(count)
    top = power.argmax(axis=1)
    around = np.clip(top[:, None] + np.arange(-LOBE, LOBE + 1), 0, bins - 1)
    at_edge = np.diff(around, axis=1, prepend=-1) == 0  # a bin counted twice
    lobe = np.where(at_edge, 0.0, power[rows[:, None], around]).sum(axis=1)
    total = np.maximum(power.sum(axis=1), 1e-20)
    # a sine between two bins of a Hann window: the ratio of the two gives its place
    below, above = power[rows, np.maximum(top - 1, 0)], power[rows, np.minimum(top + 1, bins - 1)]
    ratio = np.sqrt(np.maximum(below, above) / np.maximum(power[rows, top], 1e-20))
    offset = (2 * ratio - 1) / (ratio + 1) * np.where(above >= below, 1, -1)
    frequency = (top + offset) * spectra.frequencies[1]
    return frequency, 10 * np.log10(np.maximum(2 * lobe, 1e-20)), lobe / total
