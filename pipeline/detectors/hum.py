"""Hum: lines at the mains frequency and its multiples that stay while the programme changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

RATE = 2000  # samples a second are enough for the lines; the filter below passes 650 Hz
TAPS = 8  # length of the decimation filter, in samples of the lower rate
WINDOW = 0.5  # seconds: the lobe of a line is 8 Hz wide
HOP = 0.1  # seconds
MAINS = (50, 60)  # Hz
LINES = 10  # the mains frequency and the multiples that are looked at
SETTLED = 5  # windows after which the level of a line is known: the length of a window
STEADY = 3.0  # dB from the mean: above, something covers the line; below, it is missing
DIGITAL = 1e-10  # power (-100 dBFS): silence that no microphone makes
OPENING = 0.3  # seconds on either side of where such silence ends
ROOM = 3.0  # dB over the lines: what begins with them is the background of a take
FAINTER = 12.0  # dB under the strongest line: such lines tell nothing of when the hum begins
NEAR = (3, 9)  # bins on either side, from and to, that tell what a line rises from


class HumSettings(DetectorSettings):
    """Settings of the hum detector."""

    min_duration: float = setting(
        1.0, "s", "shortest hum of two or more lines", "quality.md A5: 1 s", ge=0.6
    )
    min_duration_single: float = setting(
        2.0, "s", "shortest hum of a single line", "chosen: most bass notes are shorter", ge=0.6
    )
    min_level: float = setting(
        -60.0, "dBFS", "weakest hum, the sum of its lines (RMS)", "quality.md A5: -50, less 10"
    )
    min_prominence: float = setting(
        12.0,
        "dB",
        "least height of a line over the sound within 18 Hz of it",
        "chosen: a bin of noise is 12 dB above its median once in 60,000",
    )
    tolerance: float = setting(
        0.5,
        "Hz",
        "largest distance from the mains frequency",
        "grids keep within 0.2 Hz (EN 50160: 1 %); the rest for the speed of a tape",
    )
    max_wander: float = setting(
        0.2,
        "Hz",
        "largest standard deviation of the frequency of a line",
        "calibrated on 49 min of sound: steady lines in it 0.2 to 1.1, hum 25 dB clear 0.01 to 0.2",
    )
    max_unsteady: float = setting(
        1.5,
        "dB",
        "largest standard deviation of the level of a line",
        "calibrated likewise: hum 25 dB clear 0.1 to 1.1, 12 dB clear 1.0 to 1.6",
    )


@dataclass(frozen=True)
class _Line:
    """One line over one interval, on one channel."""

    multiple: int
    start: float
    end: float
    seconds: float  # in which it was seen, not masked
    level: float  # dBFS
    prominence: float  # dB
    frequency: float  # Hz


class _Windows:
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
        self.time = 0.0  # of the first low-rate sample that waits

    def take(self, sound: SoundStatistics) -> npt.NDArray[np.complex64]:
        """Spectra [C, F, B] of the windows that end in this stretch."""
        if not self._low.shape[1] and not self._samples.shape[1]:
            self.time = sound.time + (len(self._taps) - 1) / 2 / sound.format.rate
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
        self.time += windows * self.hop / self.rate
        return np.asarray(spectra, dtype=np.complex64)


class HumDetector(SoundDetector):
    """Follows each multiple of 50 and of 60 Hz on each channel, in windows of half a second.

    A line is hum while it stands out, keeps its level and its frequency; where the programme covers
    it nothing is known, and where it is missing the hum has ended. Notes of music lie elsewhere
    (no note from A = 440 Hz is within 0.5 Hz of a low multiple), decay, and engines drift. Starts
    and ends are exact to 0.2 s where the programme leaves the line visible.
    """

    name = "hum"
    version = "2"
    kinds = (Kind.HUM,)
    summary = "Mains hum: steady lines at 50 or 60 Hz and multiples"
    Settings = HumSettings

    def __init__(self, settings: HumSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._windows = _Windows(sound_format)
        spacing = self._windows.rate / self._windows.size
        mains = np.repeat(MAINS, LINES)
        multiple = np.tile(np.arange(1, LINES + 1), len(MAINS))
        usable = mains * multiple < 0.4 * min(self._windows.rate, sound_format.rate)
        self._mains, self._multiple = mains[usable], multiple[usable]
        self._nominal = (self._mains * self._multiple).astype(np.float64)
        self._bins = np.round(self._nominal / spacing).astype(int)
        self._spacing = spacing
        self._reach = settings.tolerance * np.minimum(self._multiple, 4)
        shape = (sound_format.channels, len(self._bins))
        self._last: npt.NDArray[np.complex64] | None = None  # the lines' bins, a window before
        # per channel and line, of the track that is open: see _SUMS
        self._count = np.zeros(shape, dtype=int)
        self._start, self._end = np.zeros(shape), np.zeros(shape)
        self._against = np.zeros(shape, dtype=int)
        self._sums = np.zeros((5, *shape))  # level, level^2, frequency error, its square, height
        self._families: dict[tuple[int, int], list[_Line]] = {}
        self._first: float | None = None
        self._takes: list[tuple[float, float]] = []  # ends of digital silence, dBFS after each
        self._energy: Float64 = np.zeros(0)  # of the blocks around them, the loudest channel
        self._sound_end = 0.0

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if self._first is None:
            self._first = sound.time
        self._sound_end = sound.time + sound.samples.shape[1] / sound.format.rate
        self._watch(sound)
        spectra = self._windows.take(sound)
        count = spectra.shape[1]
        if not count or not len(self._bins):
            return []
        step = self._windows.hop / self._windows.rate
        centre = self._windows.time - count * step + self._windows.size / self._windows.rate / 2
        level, height, error = self._measure(spectra)
        found: list[Observation] = []
        for index in range(count):
            now = centre + index * step
            self._track(now, level[:, index], height[:, index], error[:, index])
        found += self._gather(centre + count * step)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        if self._first is None:
            return []
        reaches = self._end > self._sound_end - WINDOW / 2 - 2 * HOP  # to the very end
        self._end = np.where(reaches, self._sound_end, self._end)
        self._close(self._count > 0)
        return self._gather(np.inf)

    def _watch(self, sound: SoundStatistics) -> None:
        """Note where digital silence ends."""
        old, size = len(self._energy), max(1, round(OPENING / sound.block_seconds))
        energy = np.concatenate([self._energy, sound.energy.max(axis=0).astype(np.float64)])
        silent = energy < DIGITAL
        for at in np.flatnonzero(silent[:-1] & ~silent[1:]) + 1:
            if size <= at <= len(energy) - size and silent[at - size : at].all():
                level = 10 * np.log10(np.median(energy[at : at + size]) + 1e-20)
                time = sound.time + (at - old) * sound.block_seconds
                self._takes = [*self._takes, (float(time), float(level))][-100:]
        self._energy = energy[-(2 * size - 1) :]

    def _measure(self, spectra: npt.NDArray[np.complex64]) -> tuple[Float64, Float64, Float64]:
        """Of every line in every window [C, F, lines]: level in dBFS, height in dB, error in Hz."""
        power = (spectra.real**2 + spectra.imag**2).astype(np.float64) + 1e-20
        lobe = self._bins[:, None] + np.arange(-2, 3)
        level = 10 * np.log10(power[:, :, np.maximum(lobe, 0)].sum(axis=3))
        low, high = NEAR
        offsets = np.concatenate([np.arange(-high, -low + 1), np.arange(low, high + 1)])
        around = np.clip(self._bins[:, None] + offsets, 1, power.shape[2] - 1)
        floor = np.median(power[:, :, around], axis=3)
        height = 10 * np.log10(power[:, :, lobe[:, 1:4]].max(axis=3) / floor)
        # the phase a line gains over a hop tells its frequency
        lines = spectra[:, :, self._bins]
        last = lines[:, :1] if self._last is None else self._last
        self._last = lines[:, -1:]
        gain = np.angle(lines * np.conj(np.concatenate([last, lines[:, :-1]], axis=1)))
        step = self._windows.hop / self._windows.rate
        expected = 2 * np.pi * self._nominal * step
        error = (gain - expected + np.pi) % (2 * np.pi) - np.pi
        return level, height, error / (2 * np.pi * step)

    def _track(self, now: float, level: Float64, height: Float64, error: Float64) -> None:
        """Judge every line [C, lines] in the window with its centre at `now`."""
        rules = self.settings
        count = np.maximum(self._count, 1)
        mean = self._sums[0] / count
        going = self._count > 0
        clear = (height >= rules.min_prominence) & (np.abs(error) <= self._reach)
        clear &= level >= rules.min_level - 15  # lines weaker than this add nothing
        # while a window fills with the hum that begins in it, its level rises
        anew = going & clear & (self._count < SETTLED) & (level > mean + STEADY)
        self._count[anew] = 0
        going &= ~anew
        yes = clear & (~going | (np.abs(level - mean) <= STEADY))
        self._against = np.where(going & (level < mean - STEADY), self._against + 1, 0)
        self._close(self._against > 2)
        fresh = yes & (self._count == 0)
        self._start[fresh] = now - HOP
        self._sums[:, fresh] = 0
        self._end[yes] = now + HOP
        self._count[yes] += 1
        self._sums[:, yes] += np.stack([level, level**2, error, error**2, height])[:, yes]

    def _close(self, which: npt.NDArray[np.bool_]) -> None:
        """End tracks; keep those that could be lines of a hum."""
        rules = self.settings
        for channel, line in np.argwhere(which & (self._count > 0)):
            count = int(self._count[channel, line])
            sums = self._sums[:, channel, line] / count
            unsteady = np.sqrt(max(sums[1] - sums[0] ** 2, 0.0))
            wander = np.sqrt(max(sums[3] - sums[2] ** 2, 0.0))
            seconds = count * HOP + WINDOW / 2
            if (
                seconds >= rules.min_duration
                and unsteady <= rules.max_unsteady
                and wander <= rules.max_wander
            ):
                start = float(self._start[channel, line])
                begins = self._first is not None and start < self._first + WINDOW / 2
                self._families.setdefault((int(channel), int(self._mains[line])), []).append(
                    _Line(
                        multiple=int(self._multiple[line]),
                        start=self._first if begins and self._first is not None else start,
                        end=float(self._end[channel, line]),
                        seconds=seconds,
                        level=float(sums[0]),
                        prominence=float(sums[4]),
                        frequency=float(self._nominal[line] + sums[2]),
                    )
                )
        self._count[which] = 0
        self._against[which] = 0

    def _gather(self, now: float) -> list[Observation]:
        """Make hum of the lines that have ended, where no line of the same family goes on."""
        found = []
        for (channel, mains), lines in list(self._families.items()):
            last = max(line.end for line in lines)
            still = (self._count[channel] > 0) & (self._mains == mains)
            still &= self._start[channel] < last
            if now < np.inf and still.any():
                continue
            del self._families[channel, mains]
            hum = self._hum(channel, mains, lines)
            if hum is not None:
                found.append(hum)
        return found

    def _hum(self, channel: int, mains: int, lines: list[_Line]) -> Observation | None:
        rules = self.settings
        # the lowest lines and the clearest give the mains frequency; lines that deviate are notes
        best = max(lines, key=lambda line: line.prominence - 3 * line.multiple)
        fundamental = best.frequency / best.multiple
        lines = [
            line
            for line in lines
            if abs(line.frequency - fundamental * line.multiple) <= 0.1 * line.multiple + 0.2
        ]
        multiples = {line.multiple for line in lines}
        seconds = max(line.seconds for line in lines)
        level = 10 * np.log10(sum(10 ** (line.level / 10) for line in lines))
        single = len(multiples) == 1
        if min(multiples) > (2 if single else 4) or level < rules.min_level:
            return None
        if seconds < (rules.min_duration_single if single else rules.min_duration):
            return None
        # a room may have faint lines of its own, before and after
        strongest = max(line.level for line in lines)
        clear = [line for line in lines if line.level >= strongest - FAINTER]
        start, end = min(line.start for line in clear), max(line.end for line in clear)
        if any(abs(time - start) < WINDOW and after > level + ROOM for time, after in self._takes):
            return None  # it begins with the take
        prominence = max(line.prominence for line in lines)
        sure = np.interp(prominence, [rules.min_prominence, 30], [0.6, 0.95])
        sure *= np.interp(len(multiples), [1, 3], [0.85, 1])
        return Observation(
            kind=Kind.HUM,
            start=start,
            end=end,
            severity=ladder(float(level), -60, -50, -40, -30),
            confidence=float(sure * np.interp(seconds, [1, 4], [0.85, 1])),
            summary=f"steady line{'' if single else 's'} at {fundamental:.1f} Hz"
            f"{' x ' + ', '.join(str(n) for n in sorted(multiples))}, together {level:.0f} dBFS, "
            f"{prominence:.0f} dB above the sound around, for {end - start:.1f} s",
            evidence={
                "fundamental_hz": fundamental,
                "level_dbfs": float(level),
                "lines": float(len(multiples)),
                "prominence_db": prominence,
                "channel": float(channel),
                "seen_s": seconds,
                "duration_s": end - start,
            },
        )
