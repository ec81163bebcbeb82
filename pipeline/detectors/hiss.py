"""Hiss: a steady broadband floor under the programme, heard in its quiet moments."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.types import Float64, Kind, Observation, Segment, SoundFormat, SoundStatistics

CELL = 0.1  # seconds that are judged together
WINDOW = 20  # cells in which a floor is measured
EVERY = 5  # cells from one measurement to the next
HISTORY = 300  # cells kept, to find when a hiss began
LOWEST, HIGHEST = 1000.0, 16_000.0  # Hz; below lie rumble and air conditioning
BANDS_PER_OCTAVE = 2  # a band of noise then varies by less than 0.6 dB from cell to cell
BELOW = 3.0  # dB under the floor in two bands: five standard deviations, the hiss is not there
PROGRAMME = 1.5  # dB over the floor, mean of the bands: a cell has programme
CONTRAST = 0.3  # share of the power in cells with programme: noise alone may be rain or applause
STEADY = 1.5  # dB by which the floor of a window may be off that of the hiss


class HissSettings(DetectorSettings):
    """Settings of the hiss detector."""

    max_snr: float = setting(
        30.0, "dB", "highest ratio of programme to hiss", "quality.md A6: SNR below 30 dB"
    )
    min_snr: float = setting(
        6.0,
        "dB",
        "lowest ratio; with less, the noise is the programme",
        "calibrated on synthetic noise with 3 dB of modulation, alone: 3 to 4 dB",
    )
    min_level: float = setting(
        -65.0, "dBFS", "weakest hiss (RMS, 1 to 16 kHz)", "inaudible below, at usual volume"
    )
    min_duration: float = setting(2.0, "s", "shortest hiss", "also the window of the floor", ge=1)
    max_spread: float = setting(
        0.8,
        "dB",
        "largest spread of the quietest quarter of 2 s",
        "calibrated on 49 min of sound: 7 % of its windows below, with noise at 10 dB 71 %",
    )
    max_roughness: float = setting(
        1.5,
        "dB",
        "largest deviation of the floor's bands from a straight slope",
        "calibrated likewise: 5 % of its windows below, with noise at 10 dB 61 %",
    )
    max_slope: float = setting(
        6.5, "dB", "steepest fall of the floor per octave", "white 0, pink 3, brown 6"
    )
    min_steady: float = setting(
        0.4, "", "least share of the time in which the floor is seen unchanged", "speech: 0.5 up"
    )


@dataclass
class _Hiss:
    start: float
    end: float
    floor: Float64  # dB, by band
    sums: Float64  # cells, power, power of programme; measurements, those that agree


class HissDetector(SoundDetector):
    """Measures the floor of half-octave bands over 2 s, by their quietest cells of 0.1 s.

    It is hiss where those cells are alike (noise, unlike breath, leaves, applause or a dying note),
    the floor is a straight line over frequency, and the programme stands less than `max_snr` over
    it. Hiss is there as long as no two bands fall below the floor, which tells its start and its
    end to 0.1 s wherever the programme leaves two bands free, otherwise to the next pause.
    """

    name = "hiss"
    kinds = (Kind.HISS,)
    summary = "A steady broadband noise under the programme"
    Settings = HissSettings

    def __init__(self, settings: HissSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._waiting: Float64 | None = None  # spectra of the cell that is not full yet
        # per cell: start, power of all frequencies, level of each band in dB
        self._history: deque[tuple[float, float, Float64]] = deque(maxlen=HISTORY)
        self._hiss: _Hiss | None = None
        self._cells = 0
        self._width: Float64 = np.zeros(0)  # of each band, dB over one bin

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        spectra = sound.spectra
        power = spectra.power.astype(np.float64)
        time = spectra.time + (spectra.window - spectra.hop) / 2
        if self._waiting is not None:
            power = np.concatenate([self._waiting, power])
            time -= len(self._waiting) * spectra.hop
        size = max(1, round(CELL / spectra.hop))
        count = len(power) // size
        self._waiting = power[count * size :]
        top = min(HIGHEST, 0.42 * self.format.rate)
        bands = int(BANDS_PER_OCTAVE * np.log2(max(top, 1.0) / LOWEST) + 1e-6)
        if not count or bands < 4:
            return []
        edges = LOWEST * 2 ** (np.arange(bands + 1) / BANDS_PER_OCTAVE)
        bins = np.searchsorted(spectra.frequencies, edges)
        self._width = 10 * np.log10(np.diff(bins))
        cells = power[: count * size].reshape(count, size, -1).mean(axis=1)
        levels = np.add.reduceat(cells[:, : bins[-1]], bins[:-1], axis=1)
        levels = 10 * np.log10(np.maximum(levels, 1e-15))
        found: list[Observation] = []
        for index, (total, level) in enumerate(zip(cells.sum(axis=1), levels, strict=True)):
            start = time + index * size * spectra.hop
            found += self._add(start, size * spectra.hop, float(total), level)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._conclude()

    def _add(self, start: float, length: float, total: float, level: Float64) -> list[Observation]:
        self._history.append((start, total, level))
        self._cells += 1
        found: list[Observation] = []
        hiss = self._hiss
        if hiss is not None:
            if _missing(level, hiss.floor):
                found = self._conclude()
            else:
                hiss.end = start + length
                hiss.sums[:3] += 1, total, total * _loud(level, hiss.floor)
        if self._cells % EVERY == 0 and len(self._history) >= WINDOW:
            found += self._measure(start + length)
        return found

    def _measure(self, end: float) -> list[Observation]:
        """Measure the floor of the last window: it opens a hiss, or agrees with the one open."""
        rules, recent = self.settings, list(self._history)
        ordered = np.sort(np.array([cell[2] for cell in recent[-WINDOW:]]), axis=0)
        floor = ordered[: WINDOW // 4].mean(axis=0)
        spread = float((ordered[WINDOW // 4] - ordered[1]).mean())
        hiss = self._hiss
        if hiss is not None:
            even = spread <= rules.max_spread
            agrees = even and np.abs(floor - hiss.floor).mean() <= STEADY
            hiss.sums[3:] += 1, agrees
            if (floor - hiss.floor).mean() < BELOW:
                return []
        octaves = np.arange(len(floor)) / BANDS_PER_OCTAVE
        density = floor - self._width
        slope, offset = np.polyfit(octaves, density, 1)
        together = 10 * np.log10((10 ** (floor / 10)).sum())
        if (
            spread > rules.max_spread
            or np.abs(density - slope * octaves - offset).max() > rules.max_roughness
            or abs(slope) > rules.max_slope
            or together < rules.min_level
        ):
            return []
        made = _Hiss(end, end, floor, np.array([0.0, 0.0, 0.0, 1.0, 1.0]))
        for start, total, level in reversed(recent):
            if _missing(level, floor):
                break
            made.start = start
            made.sums[:3] += 1, total, total * _loud(level, floor)
        if hiss is not None:  # the noise has become louder
            hiss.end = made.start
        found = self._conclude()
        self._hiss = made
        return found

    def _conclude(self) -> list[Observation]:
        hiss, self._hiss = self._hiss, None
        rules = self.settings
        if hiss is None or hiss.end - hiss.start < rules.min_duration:
            return []
        cells, power, programme, measured, agreed = hiss.sums
        if programme < CONTRAST * power or agreed < rules.min_steady * measured:
            return []
        level = 10 * float(np.log10((10 ** (hiss.floor / 10)).sum()))
        snr = 10 * float(np.log10(power / cells)) - level
        if not rules.min_snr <= snr <= rules.max_snr:
            return []
        seconds = hiss.end - hiss.start
        sure = np.interp(snr, [rules.max_snr - 10, rules.max_snr], [0.9, 0.6])
        return [
            Observation(
                kind=Kind.HISS,
                start=hiss.start,
                end=hiss.end,
                severity=ladder(snr, 40, 30, 20, 10),
                confidence=float(sure * np.interp(seconds, [2, 8], [0.8, 1])),
                summary=f"a steady noise of {level:.0f} dBFS (1 to 16 kHz) in every quiet moment, "
                f"{snr:.0f} dB under the programme, for {seconds:.1f} s",
                evidence={"snr_db": snr, "level_dbfs": level, "duration_s": seconds},
            )
        ]


def _missing(level: Float64, floor: Float64) -> bool:
    return int(np.count_nonzero(level < floor - BELOW)) >= 2


def _loud(level: Float64, floor: Float64) -> bool:
    return float((level - floor).mean()) > PROGRAMME
