"""Distortion: a stage that is driven too hard, or a codec with far too few bits, for a while.

A net (`models/distortion.py`) hears it in the spectrum and in how the samples of the wave are
spread. Some programme is like that by nature (electric guitars, chip music, telephone speech), but
stays so; what becomes so all at once, at about the loudness that it had, and is as before some
seconds later, is a defect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from models.distortion import FAULTS, INPUTS, REACH, rows, shared
from pipeline.detectors.base import DetectorSettings, SoundDetector, Unchanging, setting
from pipeline.events import in_a_row, ladder
from pipeline.measurements import (
    Float32,
    Float64,
    Observation,
    Segment,
    SoundFormat,
    SoundStatistics,
)
from pipeline.types import Kind

CELL = 0.1  # seconds
AROUND = 5  # cells over which odds are averaged where stretches are looked for
LOUD = 20.0  # dB under the loudest second around, below which a cell tells nothing
REACH_OF_LOUD = 6  # cells that take the odds of a loud one beside them
NONE = -6.0  # log odds: of cells where nothing is loud; and the least that counts
QUIETEST = -50.0  # dBFS
GUARD, BESIDE = 3, 10  # cells between a stretch and what it is compared with, and of that
FEWEST_BESIDE = 4
LIMITS = np.arange(-3.0, 4.5, 0.5)  # log odds at which stretches are looked for
INSIDE, OUTSIDE = 25, 75  # percentiles: nearly all of the one must be above nearly all of the other
LATE = GUARD + BESIDE  # cells after a stretch that must be known
CHOSEN = (
    "chosen on 55 damaged files and 9.0 hours of sound of development sources, each judged by a "
    "net that was fitted without its source"
)
_SAID = {
    "overdriven": "the wave is bent as by a stage that is driven too hard",
    "starved": "it sounds like a codec with far too few bits",
}


class DistortionSettings(DetectorSettings):
    """Settings of the distortion detector."""

    min_odds: float = setting(
        0.0, "", "log odds of a fault, as the net has them, in nearly all of a stretch",
        f"{CHOSEN}: 20 are found, beside 5 reports in the hours (-1: 20 and 10; 1: 19 and 3); 25 "
        "reports in 1.1 hours of electronic music, whose effects come and go, were left out",
    )  # fmt: skip
    min_rise: float = setting(
        3.5, "", "by how much they must be higher than before and after",
        f"{CHOSEN} (2.5: 20 and 6; 4.5: 19 and 2)", gt=0,
    )  # fmt: skip
    min_weight: float = setting(
        7.5, "", "least rise times the root of the seconds that it lasts: what is short must stand "
        "out more", f"{CHOSEN} (6: 20 and 9; 9: 16 and 3)", gt=0,
    )  # fmt: skip
    max_step: float = setting(
        7.0, "dB", "by how much the level may differ from that before and after",
        "kept from version 1, calibrated there: what is overdriven stays about as loud", gt=0,
    )  # fmt: skip
    min_duration: float = setting(
        1.0, "s", "shortest stretch",
        "chosen on development sources: what stands out by nature is shorter", gt=0.3,
    )  # fmt: skip
    max_duration: float = setting(
        9.0, "s", "longest stretch; what lasts longer may be the programme", "proposed", le=20
    )


@dataclass(frozen=True)
class _Stretch:
    fault: int  # index in FAULTS
    first: int
    last: int  # exclusive
    odds: float
    rise: float

    @property
    def weight(self) -> float:
        """Of stretches that overlap, the one with most of this is taken."""
        return float(self.rise * np.sqrt((self.last - self.first) * CELL))


@dataclass(frozen=True)
class _Cells(Unchanging):
    time: Float64  # start of each
    odds: Float64  # [N, 2] log odds of the faults that are told
    level: Float64  # [N] dBFS

    def __len__(self) -> int:
        return len(self.time)


class DistortionDetector(SoundDetector):
    """Compares how distorted each stretch sounds with what is before and after it."""

    name = "distortion"
    version = "3"
    kinds = (Kind.DISTORTION,)
    summary = "An overdriven stage, or a codec with far too few bits, for a while"
    slow_to_ask = True
    Settings = DistortionSettings

    settings: DistortionSettings

    def __init__(self, settings: DistortionSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._windows: Float32 = np.zeros((0, INPUTS), np.float32)  # from REACH before the next
        self._ahead = 0  # of these, windows that are judged already
        self._times: Float64 = np.zeros(0)  # of the middle of each
        self._levels: Float64 = np.zeros(0)  # dBFS
        self._judged: list[tuple[float, npt.NDArray[np.float32], float]] = []  # in no cell yet
        self._begun: float | None = None  # start of the first cell
        self._cells = _Cells(np.zeros(0), np.zeros((0, len(_SAID))), np.zeros(0))
        self._until = -np.inf  # end of the last stretch that was told of

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        self._gather(sound)
        return self._search(LATE)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        self._judge(len(self._windows))
        return self._search(GUARD + FEWEST_BESIDE)

    def _gather(self, sound: SoundStatistics) -> None:
        spectra = sound.spectra
        if not len(spectra.power):
            return
        taken = rows(spectra.power, float(spectra.frequencies[-1]), spectra.wave)
        self._windows = np.concatenate([self._windows, taken])
        self._times = np.concatenate([self._times, spectra.times + spectra.hop / 2])
        self._levels = np.concatenate([self._levels, 20.0 * spectra.wave[:, 0]])
        self._judge(len(self._windows) - REACH)

    def _judge(self, until: int) -> None:
        """Judge the windows before an index, and make cells of them."""
        if until <= self._ahead:
            return
        said = shared().ask(self._windows)[self._ahead : until, : len(_SAID)]
        at = slice(self._ahead, until)
        self._judged += zip(self._times[at], said, self._levels[at], strict=True)
        keep = max(until - REACH, 0)
        self._windows, self._times = self._windows[keep:], self._times[keep:]
        self._levels, self._ahead = self._levels[keep:], until - keep
        self._fill()

    def _fill(self) -> None:
        """Cells of the windows that are judged, but for the last one, which may not be full."""
        times = np.array([time for time, _, _ in self._judged])
        if self._begun is None:
            self._begun = float(times[0])
        cell = ((times - self._begun) / CELL).astype(int)
        full = cell < cell[-1]
        if not full.any():
            return
        which, place = np.unique(cell[full], return_inverse=True)
        count = np.bincount(place)
        judged = self._judged[: len(place)]
        self._judged = self._judged[len(place) :]
        odds = np.stack([row for _, row, _ in judged]).clip(NONE, -NONE)
        power = 10 ** (np.array([level for _, _, level in judged]) / 10)
        made = _Cells(
            self._begun + which * CELL,
            np.stack([np.bincount(place, column) / count for column in odds.T], 1),
            10 * np.log10(np.maximum(np.bincount(place, power) / count, 1e-12)),
        )
        keep = round(self.settings.max_duration / CELL) + 2 * LATE
        old = self._cells
        self._cells = _Cells(
            *(
                np.concatenate([getattr(old, name), getattr(made, name)])[-keep:]
                for name in ("time", "odds", "level")
            )
        )

    def _search(self, late: int) -> list[Observation]:
        """Stretches that have ended so many cells ago, the clearest first."""
        cells = self._cells
        if len(cells) < 2 * (GUARD + FEWEST_BESIDE):
            return []
        chosen: list[_Stretch] = []
        for one in sorted(self._stretches(), key=lambda one: -one.weight):
            if (
                one.last <= len(cells) - late
                and cells.time[one.first] >= self._until
                and not any(one.first < other.last and one.last > other.first for other in chosen)
            ):
                chosen.append(one)
        found = [self._observation(one) for one in sorted(chosen, key=lambda o: o.first)]
        self._until = max([self._until, *(one.end for one in found)])
        return found

    def _stretches(self) -> Iterator[_Stretch]:
        rules, cells = self.settings, self._cells
        shortest, longest = (round(s / CELL) for s in (rules.min_duration, rules.max_duration))
        for fault in range(len(_SAID)):
            odds = _of_loud(cells.odds[:, fault], cells.level)
            smooth = uniform_filter1d(odds, AROUND, mode="nearest")
            seen: set[tuple[int, int]] = set()
            for limit in LIMITS:
                for first, last in in_a_row(smooth > limit):
                    if not shortest <= last - first <= longest or (first, last) in seen:
                        continue
                    seen.add((first, last))
                    one = self._compared(_Stretch(fault, first, last, 0.0, 0.0), smooth)
                    if one is not None:
                        yield one

    def _compared(self, one: _Stretch, smooth: Float64) -> _Stretch | None:
        """A stretch beside what is before and after, if it stands out of that."""
        rules, level = self.settings, self._cells.level
        first, last = one.first, one.last
        sides = (
            slice(max(0, first - GUARD - BESIDE), max(0, first - GUARD + 1)),
            slice(last + GUARD - 1, last + GUARD + BESIDE),
        )
        if any(len(smooth[side]) < FEWEST_BESIDE for side in sides):
            return None
        inner = slice(first + 1, last - 1)
        within = float(np.percentile(smooth[inner], INSIDE))
        rise = within - max(float(np.percentile(smooth[side], OUTSIDE)) for side in sides)
        power = 10 ** (level / 10)
        steps = [10 * np.log10(power[inner].mean() / power[side].mean()) for side in sides]
        risen = replace(one, odds=within, rise=rise)
        if (
            within < rules.min_odds
            or rise < rules.min_rise
            or risen.weight < rules.min_weight
            or max(abs(step) for step in steps) > rules.max_step
        ):
            return None
        return risen

    def _observation(self, one: _Stretch) -> Observation:
        cells = self._cells
        start, end = float(cells.time[one.first]), float(cells.time[one.last - 1]) + CELL
        fault = FAULTS[one.fault]
        return Observation(
            Kind.DISTORTION,
            start=start,
            end=end,
            peak=(start + end) / 2,
            severity=ladder(one.odds, 0.0, 1.5, 3.0, 5.0),
            confidence=float(np.interp(one.rise, [3.0, 7.0], [0.55, 0.95])),
            summary=f"for {end - start:.1f} s {_SAID[fault]}, and not before and after",
            evidence={f"{fault}_log_odds": one.odds, "rise": one.rise},
        )


def _of_loud(odds: Float64, level: Float64) -> Float64:
    """Quiet cells take the odds of the nearest loud one: pauses tell nothing."""
    around = maximum_filter1d(level, 2 * round(1 / CELL) + 1)
    loud = np.flatnonzero((level > around - LOUD) & (level > QUIETEST))
    if not len(loud):
        return np.full_like(odds, NONE)
    cells = np.arange(len(odds))
    after = np.searchsorted(loud, cells).clip(0, len(loud) - 1)
    left, right = loud[np.maximum(after - 1, 0)], loud[after]
    nearest = np.where(np.abs(cells - left) <= np.abs(right - cells), left, right)
    return np.where(np.abs(nearest - cells) <= REACH_OF_LOUD, odds[nearest], NONE)
