"""Timelines: the main statistics of an asset at one fixed rate, in bounded memory."""

from __future__ import annotations

import numpy as np

from pipeline.measurements import Segment
from pipeline.types import Timelines

RATE = 10.0  # values per second, halved as often as needed to keep MAX_POINTS
MAX_POINTS = 36_000  # one hour at 10 Hz

# name -> how values that fall into one slot are pooled; see docs/results.md for units
SERIES = {
    "luma": "mean",  # mean code value
    "motion": "max",  # mean absolute difference to the previous frame, code values
    "detail": "mean",  # mean absolute gradient, code values
    "level": "max",  # RMS of the loudest channel, dBFS
    "peak": "max",  # sample peak, dBFS
    "loudness_momentary": "max",  # of the 400 ms before, LUFS
    "loudness_short_term": "max",  # of the 3 s before, LUFS
}
FLOOR_DB = -120.0


class Timeline:
    """Pools statistics into slots; slots get coarser as the asset gets longer."""

    def __init__(self) -> None:
        self._rate = RATE
        self._sums = {name: np.zeros(1024) for name in SERIES}
        self._counts = {name: np.zeros(1024, np.int64) for name in SERIES}
        self._used = 0

    def update(self, segment: Segment) -> None:
        """Take the statistics of a segment."""
        picture = segment.picture
        if picture is not None:
            for name in ("luma", "motion", "detail"):
                self._add(name, picture.frames["time"], picture.frames[name])
        for sound in segment.sound:
            loudest = 10 * np.log10(np.maximum(sound.energy.max(axis=0), 1e-12))
            peak = 20 * np.log10(np.maximum(sound.peak.max(axis=0), 1e-6))
            self._add("level", sound.times, loudest)
            self._add("peak", sound.times, peak)
            ends = sound.times + sound.block_seconds - 1e-6
            for name, values in (
                ("loudness_momentary", sound.momentary),
                ("loudness_short_term", sound.short_term),
            ):
                known = ~np.isnan(values)
                self._add(name, ends[known], values[known])

    def result(self) -> Timelines:
        """All series; None where nothing was measured."""
        series: dict[str, list[float | None]] = {}
        for name, how in SERIES.items():
            counts = self._counts[name][: self._used]
            if not counts.any():
                continue
            sums = self._sums[name][: self._used]
            values = sums / np.maximum(counts, 1) if how == "mean" else sums
            series[name] = [
                round(float(value), 3) if count else None
                for value, count in zip(values, counts, strict=True)
            ]
        return Timelines(rate=self._rate, series=series)

    def _add(self, name: str, times: np.ndarray, values: np.ndarray) -> None:
        times = np.maximum(times, 0.0)
        while len(times) and times[-1] * self._rate >= MAX_POINTS:
            self._halve()
        slots = (times * self._rate + 1e-6).astype(np.int64)
        if not len(slots):
            return
        self._grow(int(slots.max()) + 1)
        sums, counts = self._sums[name], self._counts[name]
        if SERIES[name] == "mean":
            np.add.at(sums, slots, values)
        else:
            fresh = slots[counts[slots] == 0]
            sums[fresh] = -np.inf
            np.maximum.at(sums, slots, values)
        np.add.at(counts, slots, 1)

    def _grow(self, used: int) -> None:
        self._used = max(self._used, used)
        size = len(next(iter(self._sums.values())))
        if used > size:
            more = max(used, 2 * size) - size
            for name in SERIES:
                self._sums[name] = np.concatenate([self._sums[name], np.zeros(more)])
                self._counts[name] = np.concatenate([self._counts[name], np.zeros(more, np.int64)])

    def _halve(self) -> None:
        self._rate /= 2
        for name, how in SERIES.items():
            sums, counts = self._sums[name], self._counts[name]
            pairs, pair_counts = sums.reshape(-1, 2), counts.reshape(-1, 2)
            if how == "mean":
                self._sums[name] = pairs.sum(axis=1)
            else:
                self._sums[name] = np.where(pair_counts > 0, pairs, -np.inf).max(axis=1)
                self._sums[name][pair_counts.sum(axis=1) == 0] = 0
            self._counts[name] = pair_counts.sum(axis=1)
        self._used = -(-self._used // 2)
