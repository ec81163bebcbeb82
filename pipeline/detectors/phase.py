"""Phase: a channel with inverted polarity, and stereo that is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

CELL = 0.1  # seconds that are judged together
COMPARED = 2  # bands, from the lowest, in which identical channels stay so in any codec
TREBLE = 0.8  # least correlation above them: as much as FFmpeg's AAC leaves of mono at 128 kb/s
NAMES = ("front", "back", "side")
FALSE_STEREO_SEVERITY = 0.15  # nobody hears it as a fault: it is a matter of delivery


class PhaseSettings(DetectorSettings):
    """Settings of the phase detector."""

    max_correlation: float = setting(
        -0.5,
        "",
        "mean correlation (three bands) below which a pair is in opposite phase",
        "lowest of 548 windows of 4 s of music and film: -0.44; identical sound inverted: -1",
        gt=-1,
        lt=0,
    )
    min_duration: float = setting(
        1.0,
        "s",
        "shortest opposite phase of identical channels; wide stereo takes longer in proportion",
        "no alarm in 93 clean and look-alike clips, many of them mono (aphasemeter: 2 s)",
        gt=0,
    )
    min_level: float = setting(
        -60.0, "dBFS", "weakest sound that is judged", "FFmpeg silencedetect: -60 dB"
    )
    max_imbalance: float = setting(
        6.0,
        "dB",
        "largest difference of level of a pair in opposite phase",
        "beyond it a sum to mono loses less than 6 dB",
    )
    false_stereo_correlation: float = setting(
        0.9995, "", "lowest correlation of identical channels", "Essentia FalseStereoDetector"
    )
    false_stereo_level: float = setting(
        0.5, "dB", "largest difference of level of identical channels", "less than is heard"
    )
    false_stereo_share: float = setting(
        0.95,
        "",
        "least share of the sound that is identical",
        "nearly all of the asset; noise of a copy shows in its quietest moments",
        gt=0,
        le=1,
    )
    false_stereo_duration: float = setting(
        3.0, "s", "least sound from which an asset is judged", "less shows one take"
    )


@dataclass
class _Spell:
    """A rise of the evidence, from when it left zero to when it was highest."""

    start: float = 0.0
    end: float = 0.0  # of the cell in which the evidence was highest
    evidence: float = 0.0
    highest: float = 0.0
    worst: tuple[float, float] = (0.0, 0.0)  # loss, time
    sums: Float64 = field(default_factory=lambda: np.zeros(4))  # cells, and their values
    until: Float64 = field(default_factory=lambda: np.zeros(4))  # `sums` at the end


class PhaseDetector(SoundDetector):
    """Correlation of the channels of each pair, in cells of 0.1 s.

    It is the mean over three bands, weighted by the root of their power, so that low frequencies
    count, but not alone. What it lies below `max_correlation` adds up as evidence, what it lies
    above takes away (CUSUM, Page 1954); pauses do neither. So inverted mono is found after
    `min_duration`, wide stereo later, and both ends are exact to a cell where the sound shows it.
    Music as wide as a correlation of 0.5 cannot be told from its inversion.

    Identical channels are reported once, over the whole asset, and with a low severity: mono that
    is delivered as stereo is usual for speech. Sound that is dual mono in part is a choice of the
    programme and not reported. Codecs replace noise in the treble by noise of their own (PNS in
    AAC), in each channel another: the two lower bands, where they keep the wave, are compared.
    """

    name = "phase"
    kinds = (Kind.PHASE_INVERSION, Kind.FALSE_STEREO)
    summary = "Channels of opposite phase, and stereo whose channels are identical"
    Settings = PhaseSettings

    def __init__(self, settings: PhaseSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._spells: list[_Spell] = []
        self._waiting: Float64 | None = None  # spectra of the cell that is not full yet
        self._first: float | None = None  # sound above the least level, seconds
        self._last = 0.0
        self._cells = np.zeros(2)  # of the front pair: with sound, and identical
        self._sums = np.zeros(3)  # of the front pair: left, right, cross power of all cells
        self._treble = np.zeros(3)  # the same above the compared bands

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        spectra = sound.spectra
        if not spectra.pairs:
            return []
        if not self._spells:
            self._spells = [_Spell() for _ in spectra.pairs]
        cross = spectra.cross.astype(np.float64)
        waiting = 0 if self._waiting is None else len(self._waiting)
        if self._waiting is not None:
            cross = np.concatenate([self._waiting, cross])
        per_cell = max(1, round(CELL / spectra.hop))
        count = len(cross) // per_cell
        self._waiting = cross[count * per_cell :]
        if not count:
            return []
        cells = cross[: count * per_cell].reshape(count, per_cell, *cross.shape[1:]).mean(axis=1)
        duration = per_cell * spectra.hop
        times = spectra.times[:1] if len(spectra.times) else np.array([spectra.time])
        times = times - waiting * spectra.hop + np.arange(count) * duration
        self._compare(cells[:, 0], times, duration)
        found: list[Observation] = []
        for index in range(len(self._spells)):
            judged, values = self._judge(cells[:, index])
            for cell in np.flatnonzero(judged):
                found += self._add(index, float(times[cell]), duration, values[cell])
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        for index in range(len(self._spells)):
            found += self._conclude(index)
        rules, (cells, identical), (left, right, both) = self.settings, self._cells, self._sums
        seconds = cells * CELL
        if self._first is None or seconds < rules.false_stereo_duration:
            return found
        if identical < rules.false_stereo_share * cells:
            return found
        high_left, high_right, high_both = self._treble
        if high_both < TREBLE * np.sqrt(high_left * high_right):
            return found
        difference = 10 * float(np.log10(left / right))
        correlation = float(both / np.sqrt(left * right))
        found.append(
            Observation(
                kind=Kind.FALSE_STEREO,
                start=self._first,
                end=self._last,
                severity=FALSE_STEREO_SEVERITY,
                confidence=float(np.clip(0.8 + 0.2 * seconds / 60, 0.8, 0.99)),
                summary=f"both channels carry the same sound (correlation {correlation:.5f}, "
                f"levels {difference:+.2f} dB apart): mono delivered as stereo",
                evidence={
                    "correlation": correlation,
                    "level_difference_db": difference,
                    "identical_share": float(identical / cells),
                    "sound_s": float(seconds),
                },
            )
        )
        return found

    def _compare(self, cells: Float64, times: Float64, duration: float) -> None:
        """Count how much of the sound is the same in both channels of the front pair, [T, 3, 3]."""
        left, right, both = cells[:, :, :COMPARED].sum(axis=2).T
        heard = (left + right) / 2 > 10 ** (self.settings.min_level / 10)
        if not heard.any():
            return
        left, right, both, times = left[heard], right[heard], both[heard], times[heard]
        self._treble += cells[heard, :, COMPARED:].sum(axis=(0, 2))
        limit = 10 ** (self.settings.false_stereo_level / 10)
        level = np.maximum(left, right) <= limit * np.minimum(left, right)
        same = level & (both >= self.settings.false_stereo_correlation * np.sqrt(left * right))
        self._cells += np.array([len(left), np.count_nonzero(same)])
        self._sums += np.array([left.sum(), right.sum(), both.sum()])
        self._first = float(times[0]) if self._first is None else self._first
        self._last = float(times[-1]) + duration

    def _judge(self, cells: Float64) -> tuple[npt.NDArray[np.bool_], Float64]:
        """Of a pair's cells [T, 3, 3]: which can be judged, and (correlation, low, loss) [T, 3]."""
        rules = self.settings
        left, right, both = cells[:, 0], cells[:, 1], cells[:, 2]
        power = (left + right) / 2
        total = np.maximum(power.sum(axis=1), 1e-30)
        each = both / np.sqrt(np.maximum(left * right, 1e-30))
        weight = np.sqrt(power)
        weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-15)
        correlation = (each * weight).sum(axis=1)
        ratio = np.maximum(left.sum(axis=1), 1e-30) / np.maximum(right.sum(axis=1), 1e-30)
        even = np.abs(10 * np.log10(ratio)) <= rules.max_imbalance
        mono = (power / 2 + both / 2).sum(axis=1)
        loss = -10 * np.log10(np.clip(mono / total, 1e-4, 1))
        judged = even & (total > 10 ** (rules.min_level / 10))
        return judged, np.stack([correlation, each[:, 0], loss], axis=1)

    def _add(
        self, index: int, time: float, duration: float, values: Float64
    ) -> Iterable[Observation]:
        """Weigh one cell of a pair; returns the spell that it ended."""
        limit = self.settings.max_correlation
        spell = self._spells[index]
        gain = (limit - float(values[0])) * duration
        if spell.evidence + gain <= 0:
            found = self._conclude(index)
            self._spells[index] = _Spell()
            return found
        if spell.evidence == 0:
            spell.start = time
        spell.evidence += gain
        spell.sums = spell.sums + np.concatenate([[1.0], values])
        if spell.evidence > spell.highest:
            spell.highest, spell.end, spell.until = spell.evidence, time + duration, spell.sums
        spell.worst = max(spell.worst, (float(values[2]), time))
        # as much against as is needed for: the end is certain
        if spell.highest - spell.evidence >= self._enough and spell.highest >= self._enough:
            return self._conclude(index)
        return []

    @property
    def _enough(self) -> float:
        """Evidence of identical channels in opposite phase over the least duration."""
        rules = self.settings
        return float((1 + rules.max_correlation) * rules.min_duration * 0.98)

    def _conclude(self, index: int) -> list[Observation]:
        spell, self._spells[index] = self._spells[index], _Spell()
        if spell.highest < self._enough:
            return []
        correlation, low, loss = (float(value) for value in spell.until[1:] / spell.until[0])
        seconds = spell.end - spell.start
        return [
            Observation(
                kind=Kind.PHASE_INVERSION,
                start=spell.start,
                end=spell.end,
                severity=ladder(loss, 3, 6, 10, 15),
                confidence=float(
                    np.interp(
                        correlation, [-0.95, -0.8, self.settings.max_correlation], [1, 0.85, 0.5]
                    )
                    * np.interp(seconds, [1, 2, 6], [0.7, 0.85, 0.98])
                ),
                summary=f"{NAMES[index]} channels of opposite phase for {seconds:.1f} s "
                f"(correlation {correlation:.2f}): a sum to mono loses {loss:.0f} dB",
                evidence={
                    "correlation": correlation,
                    "low_band_correlation": low,
                    "mono_loss_db": loss,
                    "duration_s": seconds,
                },
                peak=spell.worst[1],
            )
        ]
