"""Distortion: a stage that is driven too hard, so that the peaks of the wave are pressed together.

An overdriven stage lets peaks rise little over the mean level. Some programme is like that by
nature (a flute, a synthesiser, music out of a hard limiter), but stays so; what loses its peaks all
at once, at about the loudness that it had, and has them again some seconds later, was overdriven.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import in_a_row, ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

CELL = 0.1  # seconds
AROUND = 9  # cells over which a crest factor is measured
LOUD = 5.0  # dB under the loudest second around, below which a cell tells nothing
REACH = 6  # cells that take the crest factor of a loud one beside them
NONE = 30.0  # dB: the crest factor where nothing is loud
QUIETEST = -50.0  # dBFS
CHANNEL = 10.0  # dB under the loudest channel that a channel counts
GUARD, BESIDE = 3, 10  # cells between a stretch and what it is compared with, and of that
FEWEST_BESIDE = 4
LOWEST, STEP = 3.5, 0.5  # dB: crest factors at which stretches are looked for
INSIDE, OUTSIDE = 75, 25  # percentiles: nearly all of the one must be below nearly all of the other
LINES, TONE = 4, 0.95  # share of the power in so many lines of the spectrum: a line-up tone
CEILING, FAINTER = 1.06, 0.1  # half a decibel over the peaks; power, 10 dB under the usual
ALIKE = 1.5  # dB by which the crest factor of a single cell may be higher
LATE = GUARD + BESIDE  # cells after a stretch that must be known


class DistortionSettings(DetectorSettings):
    """Settings of the distortion detector."""

    max_crest: float = setting(
        10.0,
        "dB",
        "highest ratio of peak to RMS over 0.9 s of a stretch without its peaks",
        "calibrated on 42 development clips, overdriven and not: speech 12 to 20 dB, music 10 up",
        gt=0,
    )
    min_loss: float = setting(
        4.5,
        "dB",
        "by how much the ratio must be higher before and after",
        "calibrated on the same, which lose at most 2 dB, and on 2.8 hours of music and sounds of "
        "games, of which two stretches lose more",
        gt=0,
    )
    max_step: float = setting(
        7.0, "dB", "by how much the level may differ from that before and after", "calibrated", gt=0
    )
    min_duration: float = setting(0.8, "s", "shortest stretch", "calibrated", gt=0.3)
    max_duration: float = setting(
        9.0, "s", "longest stretch; what lasts longer may be the programme", "proposed", le=20
    )


@dataclass(frozen=True)
class _Stretch:
    first: int
    last: int  # exclusive
    crest: float  # dB
    loss: float  # dB

    @property
    def weight(self) -> float:
        """Of stretches that overlap, the one with most of this is taken."""
        return float(self.loss * np.sqrt(self.last - self.first))


@dataclass(frozen=True)
class _Cells:
    time: Float64  # start of each
    energy: Float64  # [C, N] mean square
    peak: Float64  # [C, N]
    tone: Float64  # [N] share of the power in the strongest lines

    def __len__(self) -> int:
        return len(self.time)

    def crest(self) -> tuple[Float64, Float64]:
        """Crest factor and level of each cell with those around it, dB."""
        mean = uniform_filter1d(self.energy, AROUND, axis=1, mode="nearest")
        peak = maximum_filter1d(self.peak, AROUND, axis=1, mode="nearest")
        mean = np.maximum(mean, 1e-12)
        counts = mean >= 10 ** (-CHANNEL / 10) * mean.max(axis=0)
        crest = 20 * np.log10(np.maximum(peak, 1e-9) / np.sqrt(mean))
        crest = (crest * counts).sum(axis=0) / counts.sum(axis=0)
        return _of_loud(crest, level := 10 * np.log10(mean.mean(axis=0))), level

    def ends(self, one: _Stretch) -> tuple[int, int]:
        """A stretch with what is pressed under the same ceiling beside it.

        Measured over what is around, the crest factor is that of other sound at the very ends.
        """
        channel = int(self.energy[:, one.first : one.last].sum(axis=1).argmax())
        peak, energy = self.peak[channel], self.energy[channel]
        highest = CEILING * peak[one.first : one.last].max()
        least = FAINTER * np.median(energy[one.first : one.last])
        crest = 20 * np.log10(np.maximum(peak, 1e-9) / np.sqrt(np.maximum(energy, 1e-12)))
        same = (peak <= highest) & (energy >= least) & (crest <= one.crest + ALIKE)
        first, last = one.first, one.last
        for _ in range(AROUND // 2):
            first -= bool(first > 0 and same[first - 1])
            last += bool(last < len(self) and same[last])
        return first, last


class DistortionDetector(SoundDetector):
    """Compares the crest factor of each stretch with that before and after it."""

    name = "distortion"
    kinds = (Kind.DISTORTION,)
    summary = (
        "An overdriven stage presses the peaks of the wave together for a while; codecs with too "
        "few bits are bandwidth_loss"
    )
    Settings = DistortionSettings

    settings: DistortionSettings

    def __init__(self, settings: DistortionSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._size = max(1, round(CELL * sound_format.rate / sound_format.block))  # blocks in one
        self._cells: _Cells | None = None
        self._energy = np.zeros((sound_format.channels, 0))  # of blocks that fill no cell yet
        self._peak = np.zeros((sound_format.channels, 0))
        self._until = -np.inf  # end of the last stretch that was told of
        self._end: float | None = None  # of the sound so far

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        self._gather(sound)
        return self._search(LATE)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._search(GUARD + FEWEST_BESIDE)

    def _gather(self, sound: SoundStatistics) -> None:
        if self._end is not None and abs(sound.time - self._end) > CELL:  # a gap: nothing beside
            self._cells = None
            self._energy, self._peak = self._energy[:, :0], self._peak[:, :0]
        self._end = sound.time + sound.energy.shape[1] * sound.block_seconds
        waiting = self._energy.shape[1]
        energy = np.concatenate([self._energy, sound.energy], axis=1)
        peak = np.concatenate([self._peak, sound.peak], axis=1)
        count = energy.shape[1] // self._size
        whole = count * self._size
        self._energy, self._peak = energy[:, whole:], peak[:, whole:]
        length = self._size * sound.block_seconds
        time = sound.time - waiting * sound.block_seconds + np.arange(count) * length
        shape = (len(energy), count, self._size)
        power = sound.spectra.power.astype(np.float64)
        strongest = np.sort(power, axis=1)[:, -LINES:].sum(axis=1)
        tone = np.append(strongest / np.maximum(power.sum(axis=1), 1e-12), 0.0)
        # a short stretch may have no spectrum of its own: no tone
        at = np.searchsorted(sound.spectra.times, time + length / 2).clip(0, len(tone) - 1)
        made = _Cells(
            time,
            energy[:, :whole].reshape(shape).mean(axis=2),
            peak[:, :whole].reshape(shape).max(axis=2),
            tone[at],
        )
        old = self._cells
        if old is None:
            self._cells = made
            return
        keep = round(self.settings.max_duration / CELL) + 2 * LATE
        self._cells = _Cells(
            np.concatenate([old.time, made.time])[-keep:],
            np.concatenate([old.energy, made.energy], axis=1)[:, -keep:],
            np.concatenate([old.peak, made.peak], axis=1)[:, -keep:],
            np.concatenate([old.tone, made.tone])[-keep:],
        )

    def _search(self, late: int) -> list[Observation]:
        """Stretches that have ended so many cells ago, the clearest first."""
        cells = self._cells
        if cells is None or len(cells) < 2 * (GUARD + FEWEST_BESIDE):
            return []
        crest, level = cells.crest()
        chosen: list[_Stretch] = []
        for one in sorted(self._stretches(crest, level), key=lambda one: -one.weight):
            if (
                one.last <= len(cells) - late
                and cells.time[one.first] >= self._until
                and not any(one.first < other.last and one.last > other.first for other in chosen)
                and float(np.median(cells.tone[one.first : one.last])) < TONE
            ):
                chosen.append(one)
        found = [self._observation(cells, one) for one in sorted(chosen, key=lambda o: o.first)]
        self._until = max([self._until, *(one.end for one in found)])
        return found

    def _stretches(self, crest: Float64, level: Float64) -> Iterator[_Stretch]:
        rules = self.settings
        shortest, longest = (round(s / CELL) for s in (rules.min_duration, rules.max_duration))
        for limit in np.arange(LOWEST, rules.max_crest + 2, STEP):
            for first, last in in_a_row(crest < limit):
                # measured over what is around, the ends of a stretch are not below the limit
                if not shortest - AROUND // 2 <= last - first <= longest:
                    continue
                sides = (
                    slice(max(0, first - GUARD - BESIDE), max(0, first - GUARD + 1)),
                    slice(last + GUARD - 1, last + GUARD + BESIDE),
                )
                if any(len(crest[side]) < FEWEST_BESIDE for side in sides):
                    continue
                inner = slice(first + 1, last - 1) if last - first > 4 else slice(first, last)
                within = float(np.percentile(crest[inner], INSIDE))
                loss = min(float(np.percentile(crest[side], OUTSIDE)) for side in sides) - within
                steps = [float(np.median(level[inner]) - np.median(level[side])) for side in sides]
                if (
                    within <= rules.max_crest
                    and loss >= rules.min_loss
                    and max(abs(step) for step in steps) < rules.max_step
                ):
                    yield _Stretch(first, last, within, loss)

    def _observation(self, cells: _Cells, one: _Stretch) -> Observation:
        first, last = cells.ends(one)
        start, end = float(cells.time[first]), float(cells.time[last - 1]) + CELL
        return Observation(
            Kind.DISTORTION,
            start=start,
            end=end,
            peak=(start + end) / 2,
            severity=ladder(one.loss, 3.0, 5.0, 7.0, 9.0),
            confidence=float(np.interp(one.loss, [3.0, 7.0], [0.55, 0.95])),
            summary=(
                f"peaks stand {one.crest:.1f} dB over the mean level for {end - start:.1f} s, "
                f"{one.loss:.1f} dB less than before and after: overdriven"
            ),
            evidence={"crest_db": one.crest, "loss_db": one.loss},
        )


def _of_loud(crest: Float64, level: Float64) -> Float64:
    """Quiet cells take the crest factor of the nearest loud one: pauses keep their peaks."""
    around = maximum_filter1d(level, 2 * round(1 / CELL) + 1)
    loud = np.flatnonzero((level > around - LOUD) & (level > QUIETEST))
    if not len(loud):
        return np.full_like(crest, NONE)
    cells = np.arange(len(crest))
    after = np.searchsorted(loud, cells).clip(0, len(loud) - 1)
    left, right = loud[np.maximum(after - 1, 0)], loud[after]
    nearest = np.where(np.abs(cells - left) <= np.abs(right - cells), left, right)
    return np.where(np.abs(nearest - cells) <= REACH, crest[nearest], NONE)
