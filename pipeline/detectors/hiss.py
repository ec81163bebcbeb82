"""Hiss: a steady broadband floor under the programme, heard in its quiet moments."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from pipeline.detectors.base import DetectorSettings, SoundDetector, Unchanging, setting
from pipeline.events import Recurring, in_a_row, ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

CELL = 0.1  # seconds that are judged together
WINDOW = 20  # cells in which a floor is measured
EVERY = 5  # cells from one measurement to the next
RISES_EVERY = 10  # cells from one look at what comes and goes to the next
HISTORY = 300  # cells kept, to find when a hiss began
LOWEST, HIGHEST = 1000.0, 16_000.0  # Hz; below lie rumble and air conditioning
BANDS_PER_OCTAVE = 2  # a band of noise then varies by less than 0.6 dB from cell to cell
BELOW = 3.0  # dB under the floor in two bands: five standard deviations, the hiss is not there
PROGRAMME = 1.5  # dB over the floor, mean of the bands: a cell has programme
CONTRAST = 0.3  # share of the power in cells with programme: noise alone may be rain or applause
STEADY = 1.5  # dB by which the floor of a window may be off that of the hiss
MOVING = 2.0  # dB, standard deviation of the level of cells over hiss in the upper bands: not rain
DIGITAL = 1e-10  # power (-100 dBFS): silence that no microphone makes
OPENING = 5  # cells after such silence: where they are noise alone, a take has been cut in
TOP = 4  # bands in which hiss is looked for alone, where the programme fills those below
# a hiss that comes or goes
OPEN = 6  # cells: what is shorter is no part of a floor
LEVELS = np.arange(-75.0, -20.0, 2.0)  # dB of the upper bands, at which floors are looked for
ABOVE = (2, 4)  # bands that are looked at together, counted from the top
BESIDE = 12  # cells on each side with which a floor is compared
FEWEST_BESIDE = 4  # cells
BESIDE_SHARE = 60  # percentile of the floor beside
WAVERS = 3.0  # dB between the 10th and 90th percentile of a floor that is one
LOOSE = 1.5  # dB from the 5th to the 25th percentile of its cells: noise hardly varies
SMOOTH = 1.0  # dB by which its bands may be off a straight slope
SLOPES = (-8.0, 5.0)  # dB per octave of that slope
ONE_SIDE = 2.0  # times the rise that is wanted where one side alone is known
# A synthesiser's noise keeps coming: after so many within so many seconds, further ones are of the
# programme
RECURRING, MEMORY = 2, 120.0
FAINT = -68.0  # dBFS


class HissSettings(DetectorSettings):
    """Settings of the hiss detector."""

    max_snr: float = setting(
        34.0,
        "dB",
        "highest ratio of programme to hiss",
        "quality.md A6: SNR below 30 dB; of pink noise 4 dB lie outside 1 to 16 kHz",
    )
    max_snr_throughout: float = setting(
        27.0,
        "dB",
        "the same, of a hiss that neither begins nor ends",
        "calibrated on clean recordings of speech, whose rooms have 28 to 31 dB",
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
    max_top_roughness: float = setting(
        1.0,
        "dB",
        "the same, of the upper two octaves alone",
        "chosen on 11 clips with noise at 18 dB: 0.8 at most in speech",
    )
    max_top_slope: float = setting(
        3.8,
        "dB",
        "steepest fall per octave of the upper two octaves alone",
        "white 0, pink 3; chosen on 11 clips with noise at 18 dB and on rain and chiptune",
    )
    min_rise: float = setting(
        4.0,
        "dB",
        "least rise of the floor of a hiss that comes or goes",
        "calibrated on development sources: 2.5 to 4 dB find the same",
    )
    min_steady: float = setting(
        0.4, "", "least share of the time in which the floor is seen unchanged", "speech: 0.5 up"
    )


@dataclass(frozen=True)
class _Cell(Unchanging):
    start: float
    power: float
    levels: Float64  # dB, by band


@dataclass
class _Hiss:
    start: float
    end: float
    floor: Float64  # dB, by band; below the bands it was seen in, on one line with those
    seen: slice  # those bands
    # cells, power, power of programme, level, its square; measurements, those that agree
    sums: Float64


class HissDetector(SoundDetector):
    """Measures the floor of half-octave bands over 2 s, by their quietest cells of 0.1 s.

    It is hiss where those cells are alike (noise, unlike breath, leaves, applause or a dying note),
    the floor is a straight line over frequency, and the programme stands less than `max_snr` over
    it. Where the programme fills the lower bands, the upper two octaves are judged alone, more
    strictly, the line is drawn on below them, and the level must move (rain alone does not).

    Hiss is there as long as no two bands fall below the floor, which tells its start and its end to
    0.1 s wherever the programme leaves two bands free, otherwise to the next pause.

    Apart from that, a floor of the upper bands that comes or goes at once and does not move in
    between is hiss, whatever the programme does below: no programme has such a floor.
    """

    name = "hiss"
    version = "5"
    kinds = (Kind.HISS,)
    summary = "A steady broadband noise under the programme"
    slow_to_ask = True
    Settings = HissSettings

    def __init__(self, settings: HissSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._waiting: Float64 | None = None  # spectra of the cell that is not full yet
        # per cell: start, power of all frequencies, level of each band in dB
        self._history: deque[_Cell] = deque(maxlen=HISTORY)
        self._hiss: _Hiss | None = None
        self._cells = 0
        self._first = 0.0  # start of the first cell
        self._reported: deque[tuple[float, float]] = deque(maxlen=20)
        self._begun: _Rise | None = None  # still lasts
        self._recurring = Recurring(RECURRING, MEMORY)
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
        lowest = min(LOWEST, top / 4)  # two octaves also of a telephone's sound
        bands = int(BANDS_PER_OCTAVE * np.log2(top / lowest) + 1e-6)
        if not count or bands < 4:
            return []
        edges = lowest * 2 ** (np.arange(bands + 1) / BANDS_PER_OCTAVE)
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
        return self._conclude(last=True) + self._risen(everything=True)

    def _add(self, start: float, length: float, total: float, level: Float64) -> list[Observation]:
        self._history.append(_Cell(start, total, level))
        if not self._cells:
            self._first = start
        self._cells += 1
        found: list[Observation] = []
        hiss = self._hiss
        if hiss is not None:
            if _missing(level, hiss):
                found = self._conclude()
            else:
                hiss.end = start + length
                hiss.sums[:5] += _cell(total, level, hiss.floor)
        if self._cells % EVERY == 0 and len(self._history) >= WINDOW:
            found += self._measure(start + length)
        if self._cells % RISES_EVERY == 0:
            found += self._risen()
        return found

    def _measure(self, end: float) -> list[Observation]:
        """Measure the floor of the last window: it opens a hiss, or agrees with the one open."""
        rules, recent = self.settings, list(self._history)
        ordered = np.sort(np.array([cell.levels for cell in recent[-WINDOW:]]), axis=0)
        floor = ordered[: WINDOW // 4].mean(axis=0)
        spread = ordered[WINDOW // 4] - ordered[1]
        hiss = self._hiss
        if hiss is not None:
            off = (floor - hiss.floor)[hiss.seen]
            even = float(spread[hiss.seen].mean()) <= rules.max_spread
            hiss.sums[5:] += 1, even and np.abs(off).mean() <= STEADY
            if off.mean() < BELOW:
                return []
        made = self._line(floor, spread, end)
        if made is None:
            return []
        first = len(recent)
        while first and not _missing(recent[first - 1].levels, made):
            first -= 1
            cell = recent[first]
            made.start = cell.start
            made.sums[:5] += _cell(cell.power, cell.levels, made.floor)
        opening = [_loud(cell.levels, made.floor) for cell in recent[first : first + OPENING]]
        if (
            any(_is_digital(cell.levels) for cell in recent[max(0, first - 2) : first])
            and 2 * sum(opening) < OPENING
        ):
            return []  # the background of a take, which begins with it
        if hiss is not None:  # the noise has become louder
            hiss.end = made.start
        found = self._conclude()
        self._hiss = made
        return found

    def _line(self, floor: Float64, spread: Float64, end: float) -> _Hiss | None:
        """The hiss that a floor is, in all bands or in the upper ones; None: it is none."""
        rules, octaves = self.settings, np.arange(len(floor)) / BANDS_PER_OCTAVE
        density = floor - self._width
        for seen, rough, steep in (
            (slice(0, len(floor)), rules.max_roughness, rules.max_slope),
            (slice(len(floor) - TOP, len(floor)), rules.max_top_roughness, rules.max_top_slope),
        ):
            slope, offset = np.polyfit(octaves[seen], density[seen], 1)
            line = slope * octaves + offset
            if (
                float(spread[seen].mean()) > rules.max_spread
                or np.abs(density - line)[seen].max() > rough
                or abs(slope) > steep
            ):
                continue
            whole = floor.copy()
            below = slice(0, seen.start)
            whole[below] = np.minimum(floor, line + self._width)[below]
            if 10 * np.log10((10 ** (whole / 10)).sum()) >= rules.min_level:
                return _Hiss(end, end, whole, seen, np.array([0.0] * 5 + [1.0, 1.0]))
        return None

    def _is_known(self, start: float, end: float) -> bool:
        return any(start < known[1] and end > known[0] for known in self._reported)

    def _risen(self, everything: bool = False) -> list[Observation]:
        """Floors that have come and gone; with `everything` also those that still last."""
        if len(self._history) < WINDOW + FEWEST_BESIDE:
            return []
        times = np.array([cell.start for cell in self._history])
        powers = np.array([cell.power for cell in self._history])
        levels = np.array([cell.levels for cell in self._history])
        floors = _opened(levels)
        end = len(times)
        made: list[tuple[_Rise, bool]] = []
        for above in ABOVE:
            floor = floors[:, -above:].mean(axis=1)
            cells = levels[:, -above:].mean(axis=1)
            for least in LEVELS:
                for first, last in in_a_row(floor >= least):
                    if (last - first) * CELL < self.settings.min_duration - 1e-6:
                        continue
                    rise = self._rise(times, powers, levels, floor, cells, first, last)
                    if rise is not None:
                        made.append((rise, last > end - BESIDE))
        found: list[Observation] = []
        chosen: list[_Rise] = []
        self._begun = None
        for rise, lasts in sorted(made, key=lambda one: -one[0].rise):
            if any(rise.start < one.end and rise.end > one.start for one in chosen):
                continue
            chosen.append(rise)
            if lasts and not everything:
                self._begun = rise
            elif not self._is_known(rise.start, rise.end) and not self._lasts(rise):
                self._reported.append((rise.start, rise.end))
                if not self._recurring.again(rise.start):
                    found.append(_observation(rise))
        return found

    def _lasts(self, rise: _Rise) -> bool:
        """Whether the other method is about to tell of it."""
        return self._hiss is not None and self._hiss.start < rise.end

    def _rise(
        self,
        times: Float64,
        powers: Float64,
        levels: Float64,
        floor: Float64,
        cells: Float64,
        first: int,
        last: int,
    ) -> _Rise | None:
        rules = self.settings
        inside = slice(first, last)
        low, quarter = np.percentile(cells[inside], [5, 25])
        bottom, top = np.percentile(floor[inside], [10, 90])
        if top - bottom > WAVERS or quarter - low > LOOSE:
            return None
        start, usual = times[first], float(np.median(floor[inside]))
        sides = [
            float(np.percentile(floor[side], BESIDE_SHARE))
            for side in (slice(max(0, first - BESIDE), first), slice(last, last + BESIDE))
            if len(floor[side]) >= FEWEST_BESIDE and (powers[side] < DIGITAL).sum() < 2
        ]
        begun = self._begun
        if first == 0 and begun is not None and abs(begun.floor - usual) <= WAVERS:
            start = begun.start  # longer ago than is remembered
            sides.append(low - begun.rise)
        if not sides:
            return None
        rise = float(low) - max(sides)
        if rise < rules.min_rise * (1.0 if len(sides) == 2 else ONE_SIDE):
            return None
        bands = np.percentile(levels[inside], 10, axis=0)
        density = (bands - self._width)[-TOP:]
        octaves = np.arange(TOP) / BANDS_PER_OCTAVE
        slope, offset = np.polyfit(octaves, density, 1)
        if (
            np.abs(density - slope * octaves - offset).max() > SMOOTH
            or not SLOPES[0] <= slope <= SLOPES[1]
        ):
            return None
        level = 10 * float(np.log10((10 ** (bands / 10)).sum()))
        snr = 10 * float(np.log10(powers[inside].mean())) - level
        if level < FAINT or not rules.min_snr / 2 <= snr <= rules.max_snr + 6:
            return None
        return _Rise(float(start), float(times[last - 1]) + CELL, usual, rise, level, snr)

    def _conclude(self, last: bool = False) -> list[Observation]:
        """End the hiss; `last`: with the stream."""
        hiss, self._hiss = self._hiss, None
        rules = self.settings
        if hiss is None or hiss.end - hiss.start < rules.min_duration:
            return []
        cells, power, programme, first, second, measured, agreed = hiss.sums
        if programme < CONTRAST * power or agreed < rules.min_steady * measured:
            return []
        moving = float(np.sqrt(max(second / cells - (first / cells) ** 2, 0.0)))
        if hiss.seen.start and moving < MOVING:
            return []
        level = 10 * float(np.log10((10 ** (hiss.floor / 10)).sum()))
        snr = 10 * float(np.log10(power / cells)) - level
        throughout = last and hiss.start <= self._first
        highest = rules.max_snr_throughout if throughout else rules.max_snr
        if not rules.min_snr <= snr <= highest:
            return []
        if self._is_known(hiss.start, hiss.end):
            return []
        self._reported.append((hiss.start, hiss.end))
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


@dataclass(frozen=True)
class _Rise:
    """A floor that comes or goes."""

    start: float
    end: float
    floor: float  # dB, of the upper bands
    rise: float  # dB
    level: float  # dBFS, 1 to 16 kHz
    snr: float  # dB


def _observation(rise: _Rise) -> Observation:
    seconds = rise.end - rise.start
    return Observation(
        kind=Kind.HISS,
        start=rise.start,
        end=rise.end,
        severity=ladder(rise.snr, 40, 30, 20, 10),
        confidence=float(np.interp(rise.rise, [4, 20], [0.6, 0.95])),
        summary=f"a steady noise of {rise.level:.0f} dBFS (1 to 16 kHz) that comes and goes at "
        f"once, {rise.rise:.0f} dB over the floor beside, {rise.snr:.0f} dB under the programme, "
        f"for {seconds:.1f} s",
        evidence={
            "snr_db": rise.snr,
            "level_dbfs": rise.level,
            "rise_db": rise.rise,
            "duration_s": seconds,
        },
    )


def _opened(values: Float64) -> Float64:
    """What lasts: every peak that is shorter than OPEN cells is cut off [cell, band]."""
    least = minimum_filter1d(values, OPEN, axis=0)
    return np.asarray(maximum_filter1d(least, OPEN, axis=0, origin=OPEN % 2 - 1))


def _is_digital(level: Float64) -> bool:
    """Whether the bands have nothing; hum below them is no sound of a microphone either."""
    return float((10 ** (level / 10)).sum()) < DIGITAL


def _missing(level: Float64, hiss: _Hiss) -> bool:
    return int(np.count_nonzero((level < hiss.floor - BELOW)[hiss.seen])) >= 2


def _cell(total: float, level: Float64, floor: Float64) -> tuple[float, ...]:
    """What a cell adds to the sums of a hiss."""
    decibels = 10 * float(np.log10(max(total, 1e-15)))
    return 1.0, total, total * _loud(level, floor), decibels, decibels**2


def _loud(level: Float64, floor: Float64) -> bool:
    return float((level - floor).mean()) > PROGRAMME
