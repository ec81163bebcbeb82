"""Floors of noise that a stream has from its beginning to its end.

What comes or goes shows at its ends, and a net hears it (`models/hiss.py`). What does neither shows
only by what it is: even, straight over frequency, and never missing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.measurements import Float64

WINDOW = 20  # cells in which a floor is measured
EVERY = 5  # cells from one measurement to the next
HISTORY = 300  # cells within which the floor must be found
LOWEST, HIGHEST = 1000.0, 16_000.0  # Hz; below lie rumble and air conditioning
BANDS_PER_OCTAVE = 2  # a band of noise then varies by less than 0.6 dB from cell to cell
BELOW = 3.0  # dB under the floor in two bands: five standard deviations, the noise is not there
PROGRAMME = 1.5  # dB over the floor, mean of the bands: a cell has programme
CONTRAST = 0.3  # share of the power in cells with programme: noise alone may be rain or applause
STEADY = 1.5  # dB by which the floor of a window may be off that of the stream
MOVING = 2.0  # dB, standard deviation of the level of cells over noise in the upper bands: not rain
TOP = 4  # bands in which noise is looked for alone, where the programme fills those below


class Rules(Protocol):
    """What a floor must be; see the settings of the hiss detector."""

    min_level: float
    max_spread: float
    max_roughness: float
    max_slope: float
    max_top_roughness: float
    max_top_slope: float
    min_steady: float


@dataclass
class _Floor:
    level: Float64  # dB, by band; below the bands it was seen in, on one line with those
    seen: slice  # those bands
    # cells, power, power of programme, level, its square; measurements, those that agree
    sums: Float64

    def is_missing(self, level: Float64) -> bool:
        return int(np.count_nonzero((level < self.level - BELOW)[self.seen])) >= 2

    def add(self, total: float, level: Float64) -> None:
        decibels = 10 * float(np.log10(max(total, 1e-15)))
        loud = float((level - self.level).mean()) > PROGRAMME
        self.sums[:5] += 1.0, total, total * loud, decibels, decibels**2


class NoiseFloor:
    """Measures the floor of half-octave bands over 2 s, by their quietest cells of 0.1 s.

    It is noise where those cells are alike (unlike breath, leaves, applause or a dying note) and
    the floor is a straight line over frequency. Where the programme fills the lower bands, the
    upper two octaves are judged alone, more strictly, the line is drawn on below them, and the
    level must move (rain alone does not). It is there as long as no two bands fall below it.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._first: list[tuple[float, Float64]] = []  # cells: power, levels of bands in dB
        self._recent: deque[Float64] = deque(maxlen=WINDOW)  # levels
        self._count = 0
        self._floor: _Floor | None = None
        self._over = False  # there is none
        self._width: Float64 = np.zeros(0)  # of each band, dB over one bin

    def add(self, cells: Float64, frequencies: Float64) -> None:
        """Take power spectra [N, B] of cells that follow each other, of bins at so many Hz."""
        top = min(HIGHEST, 0.84 * float(frequencies[-1]))
        lowest = min(LOWEST, top / 4)  # two octaves also of a telephone's sound
        bands = int(BANDS_PER_OCTAVE * np.log2(top / lowest) + 1e-6)
        if self._over or not len(cells) or bands < TOP:
            return
        bins = np.searchsorted(frequencies, lowest * 2 ** (np.arange(bands + 1) / BANDS_PER_OCTAVE))
        self._width = 10 * np.log10(np.diff(bins))
        levels = np.add.reduceat(cells[:, : bins[-1]], bins[:-1], axis=1)
        levels = 10 * np.log10(np.maximum(levels, 1e-15))
        for total, level in zip(cells.sum(axis=1), levels, strict=True):
            self._take(float(total), level)

    def finish(self) -> tuple[float, float] | None:
        """Level of the floor, 1 to 16 kHz, and of all sound, dBFS; None: there is no such floor."""
        floor = self._floor
        if floor is None or self._over:
            return None
        cells, power, programme, first, second, measured, agreed = floor.sums
        moving = float(np.sqrt(max(second / cells - (first / cells) ** 2, 0.0)))
        if (
            programme < CONTRAST * power
            or agreed < self._rules.min_steady * measured
            or (floor.seen.start and moving < MOVING)
        ):
            return None
        return _decibels(float((10 ** (floor.level / 10)).sum())), _decibels(power / cells)

    def _take(self, total: float, level: Float64) -> None:
        if self._over:
            return
        self._count += 1
        self._recent.append(level)
        if self._count <= HISTORY:
            self._first.append((total, level))
        if self._floor is not None and self._floor.is_missing(level):
            self._floor = None
        if self._floor is not None:
            self._floor.add(total, level)
        if self._count % EVERY == 0 and len(self._recent) == WINDOW:
            self._measure()
        if self._floor is None and self._count >= HISTORY:
            self._over = True

    def _measure(self) -> None:
        """Measure the floor of the last window: it is the first one, or agrees with that."""
        ordered = np.sort(np.array(self._recent), axis=0)
        level = ordered[: WINDOW // 4].mean(axis=0)
        spread = ordered[WINDOW // 4] - ordered[1]
        floor = self._floor
        if floor is not None:
            off = (level - floor.level)[floor.seen]
            even = float(spread[floor.seen].mean()) <= self._rules.max_spread
            floor.sums[5:] += 1, even and np.abs(off).mean() <= STEADY
            # louder noise than before has come
            self._over = off.mean() >= BELOW and self._line(level, spread) is not None
            return
        made = self._line(level, spread)
        if made is None or any(made.is_missing(one) for _, one in self._first):
            return
        for total, one in self._first:
            made.add(total, one)
        self._floor = made

    def _line(self, level: Float64, spread: Float64) -> _Floor | None:
        """The noise that a floor is, in all bands or in the upper ones; None: it is none."""
        rules, octaves = self._rules, np.arange(len(level)) / BANDS_PER_OCTAVE
        density = level - self._width
        for seen, rough, steep in (
            (slice(0, len(level)), rules.max_roughness, rules.max_slope),
            (slice(len(level) - TOP, len(level)), rules.max_top_roughness, rules.max_top_slope),
        ):
            slope, offset = np.polyfit(octaves[seen], density[seen], 1)
            line = slope * octaves + offset
            if (
                float(spread[seen].mean()) > rules.max_spread
                or np.abs(density - line)[seen].max() > rough
                or abs(slope) > steep
            ):
                continue
            whole = level.copy()
            below = slice(0, seen.start)
            whole[below] = np.minimum(level, line + self._width)[below]
            if _decibels(float((10 ** (whole / 10)).sum())) >= rules.min_level:
                return _Floor(whole, seen, np.array([0.0] * 5 + [1.0, 1.0]))
        return None


def _decibels(power: float) -> float:
    return 10 * float(np.log10(max(power, 1e-15)))
