"""Bandwidth loss: high frequencies cut off, by a wrong sample rate, a telephone line or a codec."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

CELL = 0.1  # seconds, what spectra are averaged over at first
WINDOW = 10  # cells in which a cut must show
EDGE = 20  # cells kept of both ends of a spell, to place the ends
BAND = 250.0  # Hz, about: bands narrow enough for the steepness, wide enough for speech
BELOW = 4  # bands below a cut that must have sound
SLOPE = 0.125  # of the cut-off: what the fall itself may take; the slack of common resamplers
FULL_DROP = 12.0  # dB: with less than this at any frequency, sound is not cut
EMPTY = 12.0  # dB over the usual level above the cut: a cell that is not cut, unless it is so much
CELL_DROP = 20.0  # dB softer than the bands below the cut
SAME_CUT = 0.25  # share by which cuts may differ that are one: a lossy codec moves them
SHARE = 0.6  # of the windows with sound below the cut that must show it
NEAR = 0.5  # of the cut-off: how far above it nothing may be left
# dB that may be left further up, where it is soft: images of a resampler, shaped noise of 16 bits
FAR, SOFT = 15.0, -80.0
FAINT = -95.0  # dBFS in a band above the cut: no more than codecs leave there
AUDIBLE = 1e-9  # power in a band (-90 dBFS), at the top: the sound is not cut


class BandwidthSettings(DetectorSettings):
    """Settings of the bandwidth detector."""

    max_cutoff: float = setting(
        12_000.0, "Hz", "highest cut that is reported", "quality.md A14: cut below 12 kHz"
    )
    min_cutoff: float = setting(
        2000.0, "Hz", "lowest cut that is looked for", "telephone band, ITU-T G.712: 3.4 kHz"
    )
    max_cutoff_throughout: float = setting(
        11_500.0,
        "Hz",
        "the same, of a cut that neither begins nor ends",
        "sounds of 22.05 kHz end at 11 kHz; FFmpeg's MP2 at 160 kbit/s leaves nothing above 11.9",
    )
    max_share: float = setting(
        0.75,
        "",
        "highest cut as a share of half the sample rate",
        "chosen: well below where resamplers cut by design (0.9 up)",
        gt=0,
        lt=1,
    )
    min_drop: float = setting(
        34.0,
        "dB",
        "least fall from 1 kHz below the cut to what is above it",
        "calibrated on 6 h of music, speech and effects: 39 up where cut, 34 at most by nature",
    )
    min_level: float = setting(
        -85.0,
        "dBFS",
        "least level in each band of 250 Hz below the cut",
        "30 dB over the noise of 16 bits (-118 dBFS in a band)",
    )
    min_duration: float = setting(
        3.0, "s", "shortest loss", "a telephone voice in a film is shorter or not alone", ge=1
    )
    max_gap: float = setting(0.3, "s", "longest moment of full bandwidth in it", "a click", ge=0)


@dataclass
class _Spell:
    start: float
    end: float
    rows: int
    drop: float  # sums over the rows
    cutoff: float
    first: list[Float64]  # the first cells
    last: Float64  # the last cells, [EDGE, B]
    against: int = 0  # windows of another bandwidth since the last that is cut
    weak: int = 0  # windows since then with sound below the cut that do not show it
    misses: int = 0  # such windows between the first that is cut and the last

    def goes_on(self, cutoff: float) -> bool:
        """Whether a cut there is this one."""
        return abs(cutoff * self.rows / self.cutoff - 1) <= SAME_CUT

    def ends(self, cutoff: float, width: float, step: float) -> tuple[float, float]:
        """Start and end, without cells at either end that have more above the cut than usual."""
        cut = round(cutoff / width)

        def heights(cells: Float64) -> tuple[Float64, Float64]:
            above = cells[:, _over(cut) :].max(axis=1)
            under = np.median(cells[:, cut - BELOW : cut], axis=1)
            return 10 * np.log10(np.maximum(above, 1e-15)), 10 * np.log10(np.maximum(under, 1e-15))

        above, under = heights(np.concatenate([np.asarray(self.first), self.last]))
        usual = max(float(np.median(above)) + EMPTY, FAINT)
        wide = (above > usual) & (above > under - CELL_DROP)
        late, early = np.flatnonzero(wide[:WINDOW]), np.flatnonzero(wide[-WINDOW:])
        start = self.start + (late[-1] + 1) * step if len(late) else self.start
        end = self.end - (WINDOW - early[0]) * step if len(early) else self.end
        return float(start), float(end)


def _over(cut: Any) -> Any:
    """The first band that a cut at the beginning of band `cut` leaves empty."""
    return cut + np.maximum(2, np.ceil(SLOPE * cut).astype(int))


def _above(level: Float64, below: Float64, cuts: Any) -> Float64:
    """Highest level of a band above each cut, dBFS [W, K], of [W, B], [W, K] below, and [K].

    Exact where it matters: where there is a fall.
    """
    found = level[:, _over(cuts)]
    for index in np.flatnonzero((below - found).max(axis=0) >= FULL_DROP):
        first = _over(cuts[index])
        far = first + math.ceil(NEAR * cuts[index])
        found[:, index] = level[:, first:far].max(axis=1)
        if far < level.shape[1]:
            left = level[:, far:].max(axis=1)
            left -= np.where(left < SOFT, FAR, 0)
            np.maximum(found[:, index], left, out=found[:, index])
    return found


class BandwidthDetector(SoundDetector):
    """Looks for a steep fall with nothing above it, in the mean spectrum of each second.

    Quiet and dull passages, in which the bands below a possible cut are empty too, are not judged.
    Both ends are exact to 0.1 s while there is broadband sound, and to 1 s otherwise. A loss that
    began or ended in the asset is more certain than an asset that is band-limited throughout.
    """

    name = "bandwidth"
    version = "3"
    kinds = (Kind.BANDWIDTH_LOSS,)
    summary = "High frequencies are cut off steeply"
    Settings = BandwidthSettings

    def __init__(self, settings: BandwidthSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._waiting: Float64 | None = None  # spectra of the cell that is not full yet
        self._cells: Float64 | None = None  # the last cells, [up to EDGE, B] mean power
        self._spell: _Spell | None = None
        self._next: _Spell | None = None  # of another cut, until the one before has ended
        self._width = self._step = 0.0  # of a band in Hz, of a cell in seconds
        self._tops: Any = 0  # [B] in how many windows so far a band was the highest with sound

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        spectra, rules = sound.spectra, self.settings
        merged = max(1, round(BAND / spectra.frequencies[1]))
        bands = len(spectra.frequencies) // merged
        width = self._width = float(merged * spectra.frequencies[1])
        lowest = max(BELOW, round(rules.min_cutoff / width))
        highest = min(rules.max_cutoff, rules.max_share * self.format.rate / 2) / width
        highest = min(round(highest), int((bands - 2) / (1 + SLOPE)) - 1)
        if highest < lowest:
            return []
        power = spectra.power[:, : bands * merged].astype(np.float64)
        power = power.reshape(len(power), bands, merged).sum(axis=2)
        time = spectra.time + (spectra.window - spectra.hop) / 2
        if self._waiting is not None:
            power = np.concatenate([self._waiting, power])
            time -= len(self._waiting) * spectra.hop
        size = max(1, round(CELL / spectra.hop))
        count = len(power) // size
        self._waiting = power[count * size :]
        if not count:
            return []
        cells = power[: count * size].reshape(count, size, bands).mean(axis=1)
        old = 0 if self._cells is None else len(self._cells)
        if self._cells is not None:
            cells = np.concatenate([self._cells, cells])
        step = self._step = size * spectra.hop
        time -= old * step
        self._cells = cells[-EDGE:]
        return self._judge(cells, old, time, lowest, highest)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._conclude()

    def _judge(
        self, cells: Float64, old: int, time: float, lowest: int, highest: int
    ) -> list[Observation]:
        """Judge the windows that end in each cell from `old` on; `time` is of the first cell."""
        rules, step = self.settings, self._step
        sums = np.cumsum(np.pad(cells, ((1, 0), (0, 0))), axis=0)
        ends = np.arange(max(old, WINDOW - 1), len(cells))
        if not len(ends):
            return []
        means = np.maximum((sums[ends + 1] - sums[ends + 1 - WINDOW]) / WINDOW, 1e-15)
        level = 10 * np.log10(means)
        cuts = np.arange(lowest, highest + 1)
        below = np.min([level[:, cuts - k] for k in range(1, BELOW + 1)], axis=0)
        drop = below - _above(level, below, cuts)
        drop[below < rules.min_level] = 0
        best = drop.argmax(axis=1)
        rows = np.arange(len(ends))
        most = drop[rows, best]
        # the fall may take several bands: the cut is where the first 10 dB are lost
        bands = np.arange(level.shape[1])
        near = (bands >= cuts[best][:, None]) & (bands < _over(cuts[best])[:, None])
        kept = near & (level >= (below[rows, best] - 10)[:, None])
        cutoff = (cuts[best] + kept.sum(axis=1)) * self._width
        yes = (most >= rules.min_drop) & (cutoff <= rules.max_cutoff)
        wider = (most >= rules.min_drop) & ~yes
        full = (most < FULL_DROP) & (means[:, _over(highest) :].max(axis=1) > AUDIBLE)
        heard = means > AUDIBLE
        top = np.where(heard.any(axis=1), bands[-1] - heard[:, ::-1].argmax(axis=1), 0)
        self._tops += np.bincount(top, minlength=len(bands))
        found: list[Observation] = []
        for row, end in enumerate(ends):
            last = cells[max(0, end + 1 - EDGE) : end + 1]
            seen = (last, time + (end + 1) * step, float(most[row]), float(cutoff[row]))
            spell = self._spell
            if spell is None or (yes[row] and spell.goes_on(cutoff[row])):
                if yes[row]:
                    self._spell, self._next = self._extend(spell, *seen), None
                continue
            at = round(spell.cutoff / spell.rows / self._width)
            spell.weak += bool(level[row, at - BELOW : at].min() >= rules.min_level)
            spell.against += bool(full[row] or wider[row] or yes[row])
            if yes[row]:
                goes_on = self._next is not None and self._next.goes_on(cutoff[row])
                self._next = self._extend(self._next if goes_on else None, *seen)
            elif full[row] or wider[row]:
                self._next = None
            if spell.against * step > rules.max_gap + 1e-6 + WINDOW * step:
                found += self._conclude()
                self._spell, self._next = self._next, None
        return found

    def _extend(
        self, spell: _Spell | None, cells: Float64, end: float, drop: float, cutoff: float
    ) -> _Spell:
        if spell is None:
            start = end - WINDOW * self._step
            spell = _Spell(start, end, 0, 0.0, 0.0, list(cells[-WINDOW:]), cells)
        elif len(spell.first) < EDGE:
            spell.first.append(cells[-1])
        spell.end, spell.last, spell.against = end, cells, 0
        spell.misses, spell.weak = spell.misses + spell.weak, 0
        spell.rows += 1
        spell.drop += drop
        spell.cutoff += cutoff
        return spell

    def _conclude(self) -> list[Observation]:
        spell, self._spell = self._spell, None
        if spell is None:
            return []
        cutoff = spell.cutoff / spell.rows
        if spell.rows < SHARE * (spell.rows + spell.misses):
            return []
        start, end = spell.ends(cutoff, self._width, self._step)
        if end - start < self.settings.min_duration - CELL:
            return []
        wider = self._tops[_over(round(cutoff / self._width)) :].sum()
        sudden = wider >= WINDOW
        if not sudden and cutoff > self.settings.max_cutoff_throughout:
            return []  # an encoder's own
        drop = spell.drop / spell.rows
        share = cutoff / (self.format.rate / 2)
        sure = np.interp(drop, [self.settings.min_drop, 50], [0.65, 0.95])
        return [
            Observation(
                kind=Kind.BANDWIDTH_LOSS,
                start=start,
                end=end,
                severity=ladder(cutoff, 12_000, 8000, 5500, 3600),
                confidence=float(sure * (1 if sudden else 0.75)),
                summary=f"nothing above {cutoff / 1000:.1f} kHz, {drop:.0f} dB below what lies "
                f"under it, for {end - start:.1f} s"
                + (", full bandwidth elsewhere" if sudden else ", never more"),
                evidence={
                    "cutoff_hz": cutoff,
                    "drop_db": drop,
                    "share_of_nyquist": share,
                    "full_bandwidth_elsewhere": float(sudden),
                    "duration_s": end - start,
                },
            )
        ]
