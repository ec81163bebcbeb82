"""Hiss: a steady broadband noise under the programme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from models.hiss import (
    COARSE,
    GAP,
    LEVEL,
    MEAN,
    REACH,
    THERE,
    cells,
    inputs,
    levels,
    shared,
    windows_of_a_cell,
)
from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.detectors.noise_floors import NoiseFloor
from pipeline.events import ladder
from pipeline.measurements import (
    Float32,
    Float64,
    Observation,
    Segment,
    SoundFormat,
    SoundStatistics,
)
from pipeline.types import Kind

AT_LEAST = 10  # cells that are judged together: the net needs 146 beside them each time
CHOSEN = (
    "chosen on 426 damaged files and 2.9 hours of sound of development sources, each judged by a "
    "net that was fitted without its source"
)


class HissSettings(DetectorSettings):
    """Settings of the hiss detector."""

    min_odds: float = setting(
        1.5, "", "mean log odds of a hiss that comes or goes, as the net has them",
        f"{CHOSEN}: 352 are found, beside 3 reports in the hours (1.25: 355 and 4; 1.75: 345 "
        "and 2), and none in 133 look-alikes",
    )  # fmt: skip
    min_weight: float = setting(
        5.0, "s", "least log odds times the seconds that it lasts: what is short must be clearer",
        f"{CHOSEN} (4: 356 and 4; 6: 348 and 2)", gt=0,
    )  # fmt: skip
    max_snr: float = setting(
        40.0, "dB", "highest ratio of programme to hiss",
        "quality.md A6: SNR below 30 dB; the net hears hiss of 32 dB, and errs by some dB",
    )  # fmt: skip
    max_snr_throughout: float = setting(
        27.0, "dB", "the same, of a hiss that neither begins nor ends",
        "calibrated on clean recordings of speech, whose rooms have 28 to 31 dB",
    )  # fmt: skip
    min_snr: float = setting(
        6.0, "dB", "lowest ratio; with less, the noise is the programme",
        "calibrated on synthetic noise with 3 dB of modulation, alone: 3 to 4 dB",
    )  # fmt: skip
    min_duration: float = setting(
        2.0, "s", "shortest hiss", "the net is fitted to hiss of 2 s and longer", ge=1
    )
    # of a hiss that neither begins nor ends
    min_level: float = setting(
        -65.0, "dBFS", "weakest hiss throughout (RMS, 1 to 16 kHz)",
        "inaudible below, at usual volume",
    )  # fmt: skip
    max_spread: float = setting(
        0.8, "dB", "largest spread of the quietest quarter of 2 s, of a hiss throughout",
        "calibrated on 49 min of sound: 7 % of its windows below, with noise at 10 dB 71 %",
    )  # fmt: skip
    max_roughness: float = setting(
        1.5, "dB", "largest deviation of its floor's bands from a straight slope",
        "calibrated likewise: 5 % of its windows below, with noise at 10 dB 61 %",
    )  # fmt: skip
    max_slope: float = setting(
        6.5, "dB", "steepest fall of its floor per octave", "white 0, pink 3, brown 6"
    )
    max_top_roughness: float = setting(
        1.0, "dB", "largest deviation of the upper two octaves alone",
        "chosen on 11 clips with noise at 18 dB: 0.8 at most in speech",
    )  # fmt: skip
    max_top_slope: float = setting(
        3.8, "dB", "steepest fall per octave of the upper two octaves alone",
        "white 0, pink 3; chosen on 11 clips with noise at 18 dB and on rain and chiptune",
    )  # fmt: skip
    min_steady: float = setting(
        0.4, "", "least share of the time in which its floor is seen unchanged", "speech: 0.5 up"
    )


@dataclass
class _Hiss:
    """Cells in a row under which there is hiss.

    Attributes:
        first, last: cells; the last one is of it.
        sums: cells, log odds, level (dB) and power of them.
        doubted: sums of those after the last one, which are of it if it goes on.
    """

    first: int
    last: int
    sums: Float64
    doubted: Float64


class HissDetector(SoundDetector):
    """Asks a net (`models/hiss.py`) of each tenth of a second whether noise lies under it.

    Cells in a row are judged together, by the mean of their log odds: that tells a hiss that comes
    or goes. One that is there from the first cell to the last has no ends to be known by, and is
    left to the rules of `NoiseFloor`.
    """

    name = "hiss"
    version = "6"
    kinds = (Kind.HISS,)
    summary = "A steady broadband noise under the programme"
    slow_to_ask = True
    Settings = HissSettings

    settings: HissSettings

    def __init__(self, settings: HissSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._waiting: Float32 | None = None  # spectra of the cell that is not full yet
        self._cells: Float32 = np.zeros((0, 2, COARSE), np.float32)  # from REACH before the next
        self._powers: Float64 = np.zeros(0)  # of the cells, of all frequencies
        self._ahead = 0  # of these cells, those that are judged already
        self._dropped = 0  # cells before those
        self._time = self._cell = 0.0  # seconds: start of the first cell, and length of each
        self._hiss: _Hiss | None = None
        self._floor = NoiseFloor(settings)

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        spectra = sound.spectra
        size = windows_of_a_cell(spectra.hop)
        power = spectra.power
        if self._waiting is None:
            self._time = spectra.time + (spectra.window - spectra.hop) / 2
            self._cell = size * spectra.hop
        else:
            power = np.concatenate([self._waiting, power])
        full = len(power) // size * size
        self._waiting, power = power[full:], power[:full]
        if not full:
            return []
        level = levels(power, float(spectra.frequencies[-1]))
        mean = power.reshape(full // size, size, -1).mean(axis=1, dtype=np.float64)
        self._cells = np.concatenate([self._cells, cells(level, size)])
        self._powers = np.concatenate([self._powers, mean.sum(axis=1)])
        self._floor.add(mean, spectra.frequencies)
        if len(self._cells) - REACH - self._ahead < AT_LEAST:
            return []
        return self._judge(len(self._cells) - REACH)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._judge(len(self._cells))
        end = self._dropped + len(self._cells)
        hiss = self._hiss
        if hiss is None or hiss.first or hiss.last < end - 1:
            found += self._conclude()
        floor = self._floor.finish()
        if floor is None or found:
            return found
        level, power = floor
        return found + self._observed(0, end, level, power, None)

    def _judge(self, until: int) -> list[Observation]:
        """Judge the cells before an index."""
        if until <= self._ahead:
            return []
        said = shared().ask(inputs(self._cells))
        found: list[Observation] = []
        for at in range(self._ahead, until):
            level = 10 * (float(said[at, LEVEL]) + MEAN)
            cell = np.array([1.0, float(said[at, THERE]), level, self._powers[at]])
            found += self._take(self._dropped + at, cell)
        old = max(until - REACH, 0)
        self._cells, self._powers = self._cells[old:], self._powers[old:]
        self._dropped, self._ahead = self._dropped + old, until - old
        return found

    def _take(self, at: int, cell: Float64) -> list[Observation]:
        """Take a cell: it is of the hiss that is open, opens one, or ends it."""
        hiss, likely = self._hiss, cell[1] >= 0
        if hiss is None:
            if likely:
                self._hiss = _Hiss(at, at, cell, np.zeros(4))
        elif likely:
            hiss.sums += hiss.doubted + cell
            hiss.doubted = np.zeros(4)
            hiss.last = at
        else:
            hiss.doubted += cell
            if at - hiss.last > GAP:
                return self._conclude()
        return []

    def _conclude(self) -> list[Observation]:
        """End the hiss that is open."""
        hiss, self._hiss = self._hiss, None
        if hiss is None:
            return []
        count = hiss.sums[0]
        odds, level, power = (float(one) for one in hiss.sums[1:] / count)
        enough = odds >= self.settings.min_odds
        if not enough or odds * count * self._cell < self.settings.min_weight:
            return []
        return self._observed(
            hiss.first, hiss.last + 1, level, 10 * float(np.log10(max(power, 1e-15))), odds
        )

    def _observed(
        self, first: int, end: int, level: float, power: float, odds: float | None
    ) -> list[Observation]:
        """A hiss of a level under sound of a level, dBFS; without odds it is there throughout."""
        rules, snr, seconds = self.settings, power - level, (end - first) * self._cell
        highest = rules.max_snr if odds is not None else rules.max_snr_throughout
        if seconds < rules.min_duration - 1e-6 or not rules.min_snr <= snr <= highest:
            return []
        if odds is not None:
            sure = np.interp(odds, [rules.min_odds, rules.min_odds + 2], [0.6, 0.95])
        else:
            sure = np.interp(snr, [highest - 10, highest], [0.9, 0.6])
        start = self._time + first * self._cell
        evidence = {"snr_db": snr, "level_dbfs": level, "duration_s": seconds}
        if odds is not None:
            evidence["log_odds"] = odds
        return [
            Observation(
                kind=Kind.HISS,
                start=start,
                end=start + seconds,
                severity=ladder(snr, 40, 30, 20, 10),
                confidence=float(sure),
                summary=f"a steady noise of {level:.0f} dBFS (1 to 16 kHz) under the programme, "
                f"{snr:.0f} dB below it, for {seconds:.1f} s",
                evidence=evidence,
            )
        ]
