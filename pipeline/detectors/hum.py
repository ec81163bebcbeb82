"""Hum: lines at the mains frequency and its multiples that keep their phase under the programme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.detectors.mains import STEP, Comb, Fit, Walk, Windows
from pipeline.events import ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

MAINS = (50, 60)  # Hz
LOOK = 5  # windows from one look to the next: half a second
BLOCKS = (24, 8)  # windows that are looked at together: 2.8 s, and 1.2 s for what is short
REMEMBERED = 150  # windows: where a hum begins is looked for so far back, 15 s
# What has no other source here was chosen on 141 pieces of sound of development sources and on what
# is reported in 8.4 hours of them (docs/accuracy.md).
# Shares of the evidence that is wanted, without which nothing is fitted, and not finely: they cost
# one of 455 hums that were found with less.
PROMISING, LIKELY = 0.8, 0.6
LINE = 6.0  # nats of a line that counts as one; in ten minutes of white noise no line had over 4.1
FRESH = 0.8  # a later fit that is nearly as clear is followed instead: the mains drift
GIVE_UP = 8.0  # nats against the lines after which they have ended
EDGE = 0.1  # seconds from the middle of the last window that tells for a hum to its end
NEAR_END = 3  # windows from either end of the sound: what reaches so far goes on to it
# Chords have lines that fit by chance: evidence counts up to this multiple; one of the LOW ones is
# seen, or several others; and not only such as would be a note with its overtones.
COUNTED, LOW, SEVERAL = 6, 2, 3
USUAL, UNUSUAL = 0.15, 2.0  # Hz off; how many times the evidence is wanted from there on
DIGITAL = 1e-10  # power (-100 dBFS): silence that no microphone makes
OPENING = 0.3  # seconds on either side of where such silence ends
ROOM = 3.0  # dB over the lines: what begins with them is the background of a take
BEGINS = 0.5  # seconds between such a beginning and that of the lines


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
    min_evidence: float = setting(
        20.0,
        "nats",
        "by how much a steady line explains 2.8 s better than chance",
        "calibrated on 8.4 hours of development sources: see docs/accuracy.md",
        ge=10,
    )
    tolerance: float = setting(
        0.5,
        "Hz",
        "largest distance from the mains frequency",
        "grids keep within 0.2 Hz (EN 50160: 1 %); the rest for the speed of a tape",
        gt=0,
        le=1,
    )


@dataclass
class _Open:
    """A hum that goes on.

    Attributes:
        fit: the clearest.
        channel: which it is of.
        ahead: the walk from its middle to the last window yet.
        first: window that tells for it.
    """

    fit: Fit
    channel: int
    ahead: Walk
    first: int


class HumDetector(SoundDetector):
    """Fits phasors to the multiples of 50 and of 60 Hz, in windows of half a second.

    Of each channel, and of the difference of the first two: what hums in one of them stands clear
    of all that both have. Lines that keep one phase for 1.2 or 2.8 s are hum, and are followed from
    there in both directions for as long as the windows tell for them; where the programme covers
    them nothing is known. Notes of music lie elsewhere (no note from A = 440 Hz is within 0.5 Hz of
    a low multiple), decay, and engines drift. Starts and ends are exact to 0.2 s where the
    programme leaves the lines visible.
    """

    name = "hum"
    version = "3"
    kinds = (Kind.HUM,)
    summary = "Mains hum: steady lines at 50 or 60 Hz and multiples"
    Settings = HumSettings

    def __init__(self, settings: HumSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._windows = Windows(sound_format)
        combs = [Comb(mains, self._windows, sound_format.rate, REMEMBERED) for mains in MAINS]
        self._combs = [comb for comb in combs if len(comb.multiples)]
        self._open: dict[tuple[int, int], _Open] = {}  # by comb and signal
        self._looked = 0  # windows
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
        if spectra.shape[0] > 1:
            spectra = np.concatenate([spectra, spectra[:1] - spectra[1:2]])
        found: list[Observation] = []
        for comb in self._combs:
            comb.take(spectra)
        while self._combs and self._looked + LOOK <= self._combs[0].stop:
            self._looked += LOOK
            for number in range(len(self._combs)):
                found += self._follow(number, self._looked - LOOK, self._looked)
                self._look(number, self._looked)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        for number, comb in enumerate(self._combs):
            found += self._follow(number, self._looked, comb.stop, last=True)
        return found

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

    def _follow(
        self, number: int, first: int, stop: int, *, last: bool = False
    ) -> list[Observation]:
        """Follow what is open through the next windows; returns what has ended."""
        found = []
        for key, hum in list(self._open.items()):
            if key[0] != number:
                continue
            hum.ahead.go(self._combs[number], first, stop)
            if hum.ahead.over or last:
                del self._open[key]
                found += self._hum(number, hum)
        return found

    def _look(self, number: int, stop: int) -> None:
        """Look for lines in the windows before `stop`; the clearest fit of a hum is kept."""
        comb, wanted = self._combs[number], self.settings.min_evidence
        for first in (stop - count for count in BLOCKS):
            if first < comb.start:
                continue
            nats, offsets = comb.coherence(first, stop, self.settings.tolerance)
            signals = np.flatnonzero(nats > PROMISING * wanted)
            for fit in comb.fits(first, stop, signals, offsets[signals]) if len(signals) else ():
                if fit.total < LIKELY * wanted:
                    continue
                near = fit.offset + np.array([-STEP / 2, STEP / 2])
                finer = comb.fits(first, stop, np.repeat(fit.signal, 2), near)
                best = self._seen(comb, max([fit, *finer], key=lambda one: one.total))
                known = self._open.get((number, fit.signal))
                if best is not None and (known is None or best.total > FRESH * known.fit.total):
                    own = fit.signal < self.format.channels
                    channel = fit.signal if own else comb.louder(best, first, stop)
                    self._open[number, fit.signal] = _opened(comb, best, channel, stop, known)

    def _seen(self, comb: Comb, fit: Fit) -> Fit | None:
        """The lines of a fit that are seen, if they are hum."""
        seen = fit.only(fit.evidence > LINE)
        multiples = comb.multiples[seen.lines]
        counted = float(seen.evidence[multiples <= COUNTED].sum())
        wanted = self.settings.min_evidence * (UNUSUAL if abs(fit.offset) > USUAL else 1.0)
        if (
            counted < wanted
            or (multiples[0] > LOW and len(multiples) < SEVERAL)
            or np.gcd.reduce(multiples) > LOW
        ):
            return None
        return seen

    def _hum(self, number: int, hum: _Open) -> list[Observation]:
        rules, fit, comb, windows = self.settings, hum.fit, self._combs[number], self._windows
        start = windows.first + hum.first * windows.step - EDGE
        end = windows.first + hum.ahead.reached * windows.step + EDGE
        if hum.first < NEAR_END and self._first is not None:
            start = self._first
        if hum.ahead.reached >= comb.stop - NEAR_END:
            end = self._sound_end
        multiples = comb.multiples[fit.lines]
        single = len(multiples) == 1
        shortest = rules.min_duration_single if single else rules.min_duration
        power = np.abs(fit.phasors) ** 2
        level = float(10 * np.log10(power.sum() + 1e-20))
        if level < rules.min_level or end - start < shortest - EDGE:
            return []
        if any(abs(time - start) < BEGINS and after > level + ROOM for time, after in self._takes):
            return []  # it begins with the take
        fundamental = comb.mains + fit.offset
        sure = np.interp(fit.total, [rules.min_evidence, 4 * rules.min_evidence], [0.6, 0.95])
        sure *= np.interp(len(multiples), [1, 3], [0.85, 1])
        return [
            Observation(
                kind=Kind.HUM,
                start=start,
                end=end,
                severity=ladder(level, -60, -50, -40, -30),
                confidence=float(sure * np.interp(end - start, [1, 4], [0.85, 1])),
                summary=f"steady line{'' if single else 's'} at {fundamental:.1f} Hz"
                f"{' x ' + ', '.join(str(n) for n in multiples)}, together {level:.0f} dBFS, "
                f"for {end - start:.1f} s",
                evidence={
                    "fundamental_hz": fundamental,
                    "level_dbfs": level,
                    "lines": float(len(multiples)),
                    "evidence_nats": fit.total,
                    "channel": float(hum.channel),
                    "duration_s": end - start,
                },
            )
        ]


def _opened(comb: Comb, fit: Fit, channel: int, stop: int, known: _Open | None) -> _Open:
    """A hum around a fit that ends before window `stop`; what is known of where it began counts."""
    middle = int(fit.at)
    back, ahead = Walk(fit, GIVE_UP), Walk(fit, GIVE_UP)
    back.go(comb, comb.start, middle + 1, backwards=True)
    ahead.go(comb, middle, stop)
    # a fit that is clearer by far tells better where it began; others lose it as the mains drift
    clearer = known is None or (back.over and fit.total > known.fit.total / FRESH)
    first = back.reached if known is None or clearer else min(back.reached, known.first)
    return _Open(fit, channel, ahead, first)
