"""Lines of the mains in sound: their phases in windows of half a second, and how long they last.

A line of hum turns at one rate; where its windows are turned back by that rate it stands still as
one phasor, while what the programme has there turns on. Each window tells as much as a Cauchy
distribution around the phasor allows, with the power that lies near the line as its scale: what is
loud tells little, however loud it is. (An M-estimate: Huber and Ronchetti, Robust Statistics.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from pipeline.measurements import Float64, SoundFormat, SoundStatistics

Complex = npt.NDArray[np.complex128]
Lines = npt.NDArray[np.intp]

RATE = 2000  # samples a second are enough for the lines; the filter below passes 650 Hz
TAPS = 8  # length of the decimation filter, in samples of the lower rate
WINDOW = 0.5  # seconds: the lobe of a line is 8 Hz wide
HOP = 0.1  # seconds
HIGHEST = 650.0  # Hz, of a line that is looked at
MOST_LINES = 12
NEAR = (3, 9)  # bins on either side, from and to, that tell the power around a line
LEAST = 1e-12  # of that power: what digital silence has
# Proposed, and not varied but for ROUNDS (6 find no more than one of 455 hums that 4 do not); the
# thresholds in hum.py were chosen with them, on 141 pieces of sound of development sources.
OVER = 3.0  # windows that overlap so far tell about as much as one that does not
ROUNDS = 4  # of reweighting
STEP = 0.02  # Hz between offsets that are tried
CLEAREST = 3.0  # nats that one window of one line may tell
FOLLOWED = 0.1  # how far a phasor follows each window: mains frequency and level drift
# what a window must lie within, to be followed: power around the line, and of the line itself
NEAR_NOISE, NEAR_LINE = 4.0, 0.25


class Windows:
    """Samples at the low rate, and the spectra of half a second of them, ten times a second."""

    def __init__(self, sound_format: SoundFormat) -> None:
        self.factor = max(1, sound_format.rate // RATE)
        self.rate = sound_format.rate / self.factor
        length = TAPS * self.factor
        taps = np.sinc((np.arange(length) - (length - 1) / 2) / self.factor) * np.hamming(length)
        self._taps = (taps / taps.sum()).astype(np.float32)
        if self.factor == 1:
            self._taps = np.ones(1, dtype=np.float32)
        self.size, self.hop = round(WINDOW * self.rate), round(HOP * self.rate)
        window = np.hanning(self.size + 1)[:-1]
        self._window = (window / np.sqrt((window**2).sum() * self.size / 2)).astype(np.float32)
        self._samples = np.zeros((sound_format.channels, 0), dtype=np.float32)
        self._low = np.zeros((sound_format.channels, 0), dtype=np.float32)
        self._begun = False
        self.first = 0.0  # seconds, the middle of the first window

    @property
    def step(self) -> float:
        """Seconds from one window to the next."""
        return self.hop / self.rate

    def take(self, sound: SoundStatistics) -> npt.NDArray[np.complex64]:
        """Spectra [C, F, B] of the windows that end in this stretch."""
        if not self._begun:
            self._begun = True
            delay = (len(self._taps) - 1) / 2 / sound.format.rate
            self.first = sound.time + delay + self.size / self.rate / 2
        samples = np.concatenate([self._samples, sound.samples], axis=1)
        count = max(0, (samples.shape[1] - len(self._taps)) // self.factor + 1)
        if count:
            views = np.lib.stride_tricks.sliding_window_view(samples, len(self._taps), axis=1)
            low = views[:, :: self.factor][:, :count] @ self._taps
            self._low = np.concatenate([self._low, low], axis=1)
        self._samples = samples[:, count * self.factor :].copy()
        windows = max(0, (self._low.shape[1] - self.size) // self.hop + 1)
        if not windows:
            return np.zeros((samples.shape[0], 0, self.size // 2 + 1), dtype=np.complex64)
        views = np.lib.stride_tricks.sliding_window_view(self._low, self.size, axis=1)
        spectra = scipy.fft.rfft(views[:, :: self.hop][:, :windows] * self._window, axis=2)
        self._low = self._low[:, windows * self.hop :].copy()
        return np.asarray(spectra, dtype=np.complex64)


@dataclass
class Fit:
    """Phasors that explain the windows around one.

    Attributes:
        signal: in which.
        at: index of the window in the middle, from the first of the sound; may be halfway.
        offset: Hz from the nominal mains frequency.
        lines: those that are seen.
        phasors: of them, at `at`; a line of RMS 1.0 has a magnitude of 1.0.
        evidence: of each, nats by which it explains them better than nothing would.
    """

    signal: int
    at: float
    offset: float
    lines: Lines
    phasors: Complex
    evidence: Float64

    @property
    def total(self) -> float:
        """Nats of all lines."""
        return float(self.evidence.sum())

    def only(self, which: npt.NDArray[np.bool_]) -> Fit:
        """With some of its lines alone."""
        kept = {name: getattr(self, name)[which] for name in ("lines", "phasors", "evidence")}
        return replace(self, **kept)


class Comb:
    """The multiples of one mains frequency in windows of one sound format, and their history.

    Attributes:
        mains: nominal frequency, Hz.
        multiples: those that are looked at, [L].
        start: index of the first window that is remembered.
        lines: their phasors against the nominal phase [S, H, L], for S signals.
        around: power near each, likewise.
    """

    def __init__(self, mains: float, windows: Windows, rate: int, remembered: int) -> None:
        spacing = windows.rate / windows.size
        multiples = np.arange(1, MOST_LINES + 1)
        top = min(0.4 * min(windows.rate, rate), HIGHEST)
        self.mains, self.multiples = mains, multiples[mains * multiples <= top]
        self.start = 0
        self.lines: Complex = np.zeros((0, 0, len(self.multiples)), np.complex128)
        self.around: Float64 = np.zeros((0, 0, len(self.multiples)))
        self._bins = np.round(self.multiples * mains / spacing).astype(int)
        low, high = NEAR
        beside = np.concatenate([np.arange(-high, -low + 1), np.arange(low, high + 1)])
        self._beside = np.clip(self._bins[:, None] + beside, 1, windows.size // 2)
        self._step, self._remembered = windows.step, remembered

    @property
    def stop(self) -> int:
        """Index of the window after the last."""
        return self.start + int(self.lines.shape[1])

    def take(self, spectra: npt.NDArray[np.complex64]) -> None:
        """Remember the next windows [S, F, B]."""
        power = spectra.real**2 + spectra.imag**2
        around = np.median(power[:, :, self._beside], axis=3).astype(np.float64) / np.log(2) + LEAST
        times = (self.stop + np.arange(spectra.shape[1])) * self._step
        back = np.exp(-2j * np.pi * self.mains * times[:, None] * self.multiples)
        lines = spectra[:, :, self._bins] * back
        if self.lines.shape[1]:
            lines = np.concatenate([self.lines, lines], axis=1)
            around = np.concatenate([self.around, around], axis=1)
        forgotten = max(lines.shape[1] - self._remembered, 0)
        self.lines, self.around = lines[:, forgotten:], around[:, forgotten:]
        self.start += forgotten

    def turned(self, first: int, stop: int, at: float, offset: float | Float64) -> Complex:
        """What turns lines that are off by `offset` Hz back to `at`, [..., stop - first, L]."""
        times = (np.arange(first, stop) - at) * self._step
        turned: Complex = np.exp(-2j * np.pi * offset * times[:, None] * self.multiples)
        return turned

    def coherence(self, first: int, stop: int, tolerance: float) -> tuple[Float64, Float64]:
        """How well each signal's lines keep a phase: nats [S], and at which offset, Hz [S]."""
        lines, around = self._stretch(first, stop)
        unit = lines / np.sqrt(around + np.abs(lines) ** 2)
        offsets, turns = _turns(stop - first, tuple(self.multiples.tolist()), self._step, tolerance)
        sums = np.matmul(turns, unit.transpose(2, 1, 0))  # [L, offsets, S]
        power = (np.abs(unit) ** 2).sum(axis=1).T[:, None]  # [L, 1, S]
        share = np.minimum(np.abs(sums) ** 2 / ((stop - first) * power + 1e-9), 0.999)
        nats = -np.log(1 - share).sum(axis=0) * (stop - first) / OVER
        best = nats.argmax(axis=0)
        return nats[best, np.arange(nats.shape[1])], offsets[best]

    def fits(self, first: int, stop: int, signals: Lines, offsets: Float64) -> list[Fit]:
        """Phasors of all lines in the windows from `first` to `stop`, of signals [N] at offsets."""
        at = (first + stop - 1) / 2
        lines, around = (one[signals] for one in self._stretch(first, stop))
        still = lines * self.turned(first, stop, at, offsets[:, None, None])
        power = still.real**2 + still.imag**2
        weight = 1 / (around + power)
        for _ in range(ROUNDS + 1):
            phasors = (weight * still).sum(axis=1) / weight.sum(axis=1)
            off = still - phasors[:, None]
            weight = 1 / (around + off.real**2 + off.imag**2)
        nats = np.maximum(np.log((around + power) * weight).sum(axis=1) / OVER, 0.0)
        every = np.arange(len(self.multiples))
        return [
            Fit(int(signal), at, float(offset), every, one, told)
            for signal, offset, one, told in zip(signals, offsets, phasors, nats, strict=True)
        ]

    def louder(self, fit: Fit, first: int, stop: int) -> int:
        """In which of the first two signals the lines of a fit of their difference are."""
        both = self.fits(first, stop, np.arange(2), np.repeat(fit.offset, 2))
        return int(np.argmax([(np.abs(one.phasors[fit.lines]) ** 2).sum() for one in both]))

    def _stretch(self, first: int, stop: int) -> tuple[Complex, Float64]:
        part = slice(first - self.start, stop - self.start)
        return self.lines[:, part], self.around[:, part]


@cache
def _turns(
    count: int, multiples: tuple[int, ...], step: float, tolerance: float
) -> tuple[Float64, Complex]:
    """Offsets, Hz, and what turns back the lines that are so far off [L, offsets, windows]."""
    offsets = np.arange(-tolerance, tolerance + STEP / 2, STEP)
    times = (np.arange(count) - (count - 1) / 2) * step
    return offsets, np.exp(
        -2j * np.pi * np.array(multiples)[:, None, None] * offsets[:, None] * times
    )


@dataclass
class Walk:
    """From the middle of a fit in one direction, for as long as its lines are there.

    Attributes:
        reached: the last window that told for them.
        over: nothing has told for them for so long that they have ended.
    """

    fit: Fit
    give_up: float  # nats against them
    reached: int = -1
    over: bool = False
    _phasors: Complex = field(init=False)
    _nats: float = 0.0
    _most: float = 0.0

    def __post_init__(self) -> None:
        self.reached = int(self.fit.at)
        self._phasors = self.fit.phasors.copy()

    def go(self, comb: Comb, first: int, stop: int, *, backwards: bool = False) -> None:
        """Look at the windows from `first` to before `stop`, until it is over."""
        fit, part = self.fit, slice(first - comb.start, stop - comb.start)
        still = comb.lines[fit.signal, part] * comb.turned(first, stop, fit.at, fit.offset)
        still, around = still[:, fit.lines], comb.around[fit.signal, part][:, fit.lines]
        for n in range(stop - first)[:: -1 if backwards else 1]:
            if self.over:
                return
            self._look(first + n, still[n], around[n])

    def _look(self, index: int, still: Complex, around: Float64) -> None:
        off = still - self._phasors
        away = np.abs(off) ** 2
        nats = np.log((around + np.abs(still) ** 2) / (around + away))
        self._nats += float(np.clip(nats, -CLEAREST, CLEAREST).sum()) / OVER
        if self._nats > self._most:
            self._most, self.reached = self._nats, index
        self.over = self._most - self._nats > self.give_up
        power = np.abs(self._phasors) ** 2
        near = away < NEAR_NOISE * around + NEAR_LINE * power
        self._phasors = np.where(
            near, self._phasors + FOLLOWED * off * power / (power + around), self._phasors
        )
