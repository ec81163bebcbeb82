"""Clipping: peaks that have been cut off, at full scale or below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measure.clip import flat_tops
from pipeline.types import Float32, Kind, Observation, Segment, SoundFormat, SoundStatistics

BLOCK = 0.1  # seconds
# seconds between loud moments that are cut off, while nothing is louder than they: what lies
# between is not loud enough to be cut
GAP = 2.0
NEAR = 0.6  # seconds within which tops must be enough in number
OVER, UNDER = 3.0, 6.0  # dB by which peaks may be off the ceiling (codecs ripple it)
OFTEN = 1.0  # dB by which the top, that half a percent of the samples exceed, may be over it
# (share of samples beyond the top, shelf, steepness) of the two looks at each block: for tops that
# are exactly flat, and for those that a lossy codec has made uneven
EXACT = (0.0, 0.92, 3.0)
CODED = (0.005, 0.85, 2.0)


class ClippingSettings(DetectorSettings):
    """Settings of the clipping detector."""

    min_tops: int = setting(
        6, "", "fewest flat tops that count", "calibrated: one or two are found by chance", ge=1
    )
    share: float = setting(
        0.1,
        "",
        "share of the highest peaks that must be flat",
        "calibrated: 0.06 at most in loud limited music",
        gt=0,
        le=1,
    )
    coded_share: float = setting(
        0.5,
        "",
        "the same after a lossy codec, which flattens some peaks by itself",
        "calibrated on AAC at 128 kb/s",
        gt=0,
        le=1,
    )


@dataclass
class _Cut:
    """Loud moments that are cut off at one height."""

    start: float
    end: float
    ceiling: float  # dBFS, the highest peak
    flat: float = 0.0  # exactly flat tops
    coded: float = 0.0  # those that a codec has made uneven
    near: tuple[float, float] = (0.0, 0.0)  # the same of the moments less than NEAR apart
    enough: bool = False  # some such moments had enough tops
    most: float = 0.0
    peak: float = 0.0  # when there were most


class ClippingDetector(SoundDetector):
    """Flat tops: peaks that are lower than the steepness of their sides promises.

    Blocks of 0.1 s are judged, and those that are cut off at one height belong together as long as
    nothing exceeds it. Edges of square waves are left out; soft clipping rounds the tops and is
    mostly not found.
    """

    name = "clipping"
    version = "2"
    kinds = (Kind.CLIPPING,)
    summary = "Peaks of the wave are cut off: harsh, crackling loud passages"
    Settings = ClippingSettings

    settings: ClippingSettings

    def __init__(self, settings: ClippingSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._length = max(8, round(sound_format.rate * BLOCK))
        self._rest: Float32 = np.zeros((sound_format.channels, 0), np.float32)
        self._time: float | None = None
        self._cut: _Cut | None = None

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if self._time is None:
            self._time = sound.time
        samples = np.concatenate([self._rest, sound.samples], axis=1)
        blocks = samples.shape[1] // self._length
        self._rest = samples[:, blocks * self._length :].copy()
        seconds = self._length / self.format.rate
        times = self._time + np.arange(blocks) * seconds
        self._time += blocks * seconds
        counts, levels = [], []
        for look, share in (
            (EXACT, self.settings.share),
            (CODED, self.settings.coded_share),
        ):
            tops = np.zeros((samples.shape[0], blocks, 3), np.int32)
            ceiling = np.zeros((samples.shape[0], blocks), np.float32)
            flat_tops(samples, self._length, *look, tops, ceiling)
            flat, every = tops[:, :, 1], tops.sum(axis=2)
            # the channel that is worst in each block
            holds = flat >= np.maximum(share * every, 1)
            counts.append(np.where(holds, flat, 0).max(axis=0))
            levels.append(20 * np.log10(np.maximum(ceiling.max(axis=0), 1e-6)))
        found: list[Observation] = []
        for row in zip(times, *counts, *levels, strict=True):
            found += self._add(seconds, *(float(value) for value in row))
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._conclude()

    def _add(
        self, seconds: float, time: float, flat: float, coded: float, peak: float, top: float
    ) -> list[Observation]:
        """Take a block: its tops of both kinds, its peak and the top of the coded look in dBFS."""
        found: list[Observation] = []
        cut = self._cut
        if cut is not None and (
            top > cut.ceiling + OFTEN or peak > cut.ceiling + OVER or time - cut.end > GAP
        ):
            found, cut = self._conclude(), None
        if not flat and not coded:
            return found
        if cut is None:
            cut = self._cut = _Cut(time, time, peak)
        elif peak < cut.ceiling - UNDER:
            return found  # not loud enough to have been cut there
        close = time - cut.end <= NEAR
        cut.near = (cut.near[0] * close + flat, cut.near[1] * close + coded)
        cut.flat, cut.coded = cut.flat + flat, cut.coded + coded
        least = self.settings.min_tops
        cut.enough |= cut.near[0] >= least or cut.near[1] >= 5 * least
        cut.end, cut.ceiling = time + seconds, max(cut.ceiling, peak)
        if max(flat, coded) > cut.most:
            cut.most, cut.peak = max(flat, coded), time
        return found

    def _conclude(self) -> list[Observation]:
        cut, self._cut = self._cut, None
        if cut is None or not cut.enough:
            return []
        exact = cut.flat >= self.settings.min_tops
        tops = round(max(cut.flat, cut.coded))
        duration = cut.end - cut.start
        rate = tops / duration
        return [
            Observation(
                kind=Kind.CLIPPING,
                start=cut.start,
                end=cut.end,
                peak=cut.peak,
                severity=ladder(rate, 10.0, 40.0, 120.0, 300.0),
                confidence=float(np.interp(tops, [6, 60], [0.6, 0.95 if exact else 0.7])),
                summary=(
                    f"{tops} {'flat' if exact else 'flattened'} tops in {duration:.1f} s, "
                    f"{rate:.0f} a second, cut off near {cut.ceiling:.1f} dBFS"
                ),
                evidence={
                    "flat_tops": float(tops),
                    "flat_tops_per_s": rate,
                    "ceiling_dbfs": cut.ceiling,
                },
            )
        ]
