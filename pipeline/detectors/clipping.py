"""Clipping: peaks that have been cut off, at full scale or below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measure.clip import driven, flat_tops
from pipeline.measurements import Float32, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

BLOCK = 0.1  # seconds
# seconds between loud moments that are cut off, while nothing is louder than they: what lies
# between is not loud enough to be cut
GAP = 2.0
NEAR = 0.6  # seconds within which tops must be enough in number
OVER, UNDER = 3.0, 6.0  # dB by which peaks may be off the ceiling (codecs ripple it)
OFTEN = 1.0  # dB by which the top, that half a percent of the samples exceed, may be over it
HARD = 3  # blocks near each other that are cut off for the most part
# Peaks that are as high as those that are flat were cut off with them, also where a codec has
# rounded them: off by `SPREAD` times what three quarters of the flat ones are, within limits in dB,
# and no further apart than `REACH` seconds. Chosen on 54 files of development sources (F1 0.65 to
# 0.71; the same for a REACH of 0.4 to 0.7, and for lower limits to 0.2 and upper ones from 0.5 on).
SPREAD, LEAST_OFF, MOST_OFF = 1.5, 0.05, 1.0
REACH = 0.5
KEPT = 300  # blocks that are known for that
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
    last: float  # end of the last moment with a top, also a single one
    ceiling: float  # dBFS, the highest peak
    flat: float = 0.0  # exactly flat tops
    coded: float = 0.0  # those that a codec has made uneven
    # the same, and the moments that are cut off for the most part, of those less than NEAR apart
    near: tuple[float, float, float] = (0.0, 0.0, 0.0)
    enough: bool = False  # some such moments had enough tops
    most: float = 0.0
    peak: float = 0.0  # when there were most


class _Block(NamedTuple):
    """What was found in a block: seconds, tops of all kinds, levels in dBFS."""

    seconds: float  # its length
    time: float
    hard: float  # moments that are cut off for the most part
    flat: float  # exactly flat tops
    coded: float  # those that a codec has made uneven
    peak: float  # ceiling of the exact look
    top: float  # of the coded look


class ClippingDetector(SoundDetector):
    """Flat tops: peaks that are lower than the steepness of their sides promises.

    Where there is more cut off than left, there are no tops to speak of; then the wave stays near
    its largest values and passes between them in a few samples, which no natural sound does.
    Blocks of 0.1 s are judged, and those that are cut off at one height belong together as long as
    nothing exceeds it. Edges of square waves are left out; soft clipping rounds the tops and is
    mostly not found.
    """

    name = "clipping"
    version = "5"
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
        self._held: _Cut | None = None  # that ended; one of the same height may follow
        self._lower: _Cut | None = None  # what may have been cut off lower down, beside it
        # of the last blocks: time, peak in dBFS, whether there were tops that were cut off
        self._recent = np.full((KEPT, 3), -np.inf)

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
        hard = np.zeros(blocks)
        for block, (cuts, height) in driven(samples, self._length).items():
            hard[block] = cuts
            for level in levels:
                level[block] = min(level[block], 20 * np.log10(height))
        found: list[Observation] = []
        for row in zip(times, hard, *counts, *levels, strict=True):
            found += self._add(_Block(seconds, *(float(value) for value in row)))
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._conclude()
        return found if self._held is None else [*found, self._observation(self._held)]

    def _add(self, block: _Block) -> list[Observation]:
        self._recent[:-1] = self._recent[1:]
        self._recent[-1] = block.time, block.peak, block.hard or block.flat or block.coded
        found: list[Observation] = []
        if self._held is not None and self._cut is None and block.time - self._held.end > GAP:
            found.append(self._observation(self._held))
            self._held = None
        cut = self._cut
        if cut is not None and (
            block.top > cut.ceiling + (OVER if block.hard else OFTEN)
            or block.peak > cut.ceiling + OVER
            or block.time - cut.last > GAP
        ):
            found += self._conclude()
            cut = self._lower = None
        if not block.hard and not block.flat and not block.coded:
            return found
        if cut is None or block.peak >= cut.ceiling - UNDER:
            self._cut = self._extend(cut, block)
            return found
        # it is not loud enough to have been cut there, but lower down it may be
        lower = self._lower
        if lower is not None and (
            block.top > lower.ceiling + (OVER if block.hard else OFTEN)
            or block.time - lower.last > GAP
        ):
            lower = None
        self._lower = lower = self._extend(lower, block)
        if lower.enough and (not cut.enough or block.time - cut.last > NEAR):
            found += self._conclude()
            self._cut, self._lower = lower, None
        return found

    def _extend(self, cut: _Cut | None, block: _Block) -> _Cut:
        if cut is None:
            cut = _Cut(block.time, block.time, block.time, block.peak)
        close = block.time - cut.last <= NEAR
        cut.last = block.time + block.seconds
        cut.near = (
            cut.near[0] * close + block.flat,
            cut.near[1] * close + block.coded,
            cut.near[2] * close + bool(block.hard),
        )
        cut.flat, cut.coded = cut.flat + max(block.flat, block.hard), cut.coded + block.coded
        least = self.settings.min_tops
        cut.enough |= cut.near[0] >= least or cut.near[1] >= 5 * least or cut.near[2] >= HARD
        # what is by chance does not make it longer
        if close or block.flat + block.hard > 1 or block.coded > least:
            cut.end = block.time + block.seconds
        cut.ceiling = max(cut.ceiling, block.peak)
        if max(block.flat, block.coded, block.hard) > cut.most:
            cut.most, cut.peak = max(block.flat, block.coded, block.hard), block.time
        return cut

    def _conclude(self) -> list[Observation]:
        """End the cut; what was held back ends with it, unless they are one."""
        cut, self._cut = self._cut, None
        if cut is None or not cut.enough:
            return []
        held, self._held = self._held, cut
        if held is None:
            return []
        if cut.start - held.end > NEAR or abs(cut.ceiling - held.ceiling) > OFTEN:
            return [self._observation(held)]
        # a codec may let something between them stick out
        cut.start, cut.flat, cut.coded = held.start, cut.flat + held.flat, cut.coded + held.coded
        cut.ceiling = max(cut.ceiling, held.ceiling)
        if held.most > cut.most:
            cut.most, cut.peak = held.most, held.peak
        return []

    def _as_high(self, cut: _Cut) -> tuple[float, float]:
        """Start and end of the peaks around that are as high as those that are cut off."""
        time, peak, tops = self._recent.T
        own = peak[(time >= cut.start) & (time < cut.end) & (tops > 0)]
        if len(own) < 2:
            return cut.start, cut.end
        height = float(np.median(own))
        off = SPREAD * float(np.percentile(np.abs(own - height), 75))
        high = time[np.abs(peak - height) <= min(max(off, LEAST_OFF), MOST_OFF)]
        start, end, length = cut.start, cut.end, self._length / self.format.rate
        for before in high[high < start][::-1]:
            if start - before - length > REACH:
                break
            start = float(before)
        for after in high[high >= end]:
            if after - end > REACH:
                break
            end = float(after) + length
        return start, end

    def _observation(self, cut: _Cut) -> Observation:
        exact = cut.flat >= self.settings.min_tops
        tops = round(max(cut.flat, cut.coded))
        start, end = self._as_high(cut)
        duration = end - start
        rate = tops / duration
        return Observation(
            kind=Kind.CLIPPING,
            start=start,
            end=end,
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
