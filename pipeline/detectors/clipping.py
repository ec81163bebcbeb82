"""Clipping: peaks that have been cut off, at full scale or below it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import Run, Runs, ladder
from pipeline.measure.clip import flat_tops
from pipeline.types import Float32, Kind, Observation, Segment, SoundFormat, SoundStatistics

BLOCK = 0.1  # seconds
GAP = 0.6  # seconds between loud moments that are cut off; the rest of the music is not loud enough
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
        "calibrated: 0.06 at most in loud limited music, 0.2 and more at 6 dB of clipping",
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


class ClippingDetector(SoundDetector):
    """Flat tops: peaks that are lower than the steepness of their sides promises.

    Edges of square waves are left out; soft clipping rounds the tops and is mostly not found.
    """

    name = "clipping"
    kinds = (Kind.CLIPPING,)
    summary = "Peaks of the wave are cut off: harsh, crackling loud passages"
    Settings = ClippingSettings

    settings: ClippingSettings

    def __init__(self, settings: ClippingSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._length = max(8, round(sound_format.rate * BLOCK))
        self._rest: Float32 = np.zeros((sound_format.channels, 0), np.float32)
        self._time: float | None = None
        self._exact = Runs(max_gap=GAP)
        self._coded = Runs(max_gap=GAP)
        self._ceiling = 0.0

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if self._time is None:
            self._time = sound.time
        samples = np.concatenate([self._rest, sound.samples], axis=1)
        blocks = samples.shape[1] // self._length
        self._rest = samples[:, blocks * self._length :].copy()
        times = self._time + np.arange(blocks) * self._length / self.format.rate
        self._time += blocks * self._length / self.format.rate
        found: list[Observation] = []
        for look, runs, share in (
            (EXACT, self._exact, self.settings.share),
            (CODED, self._coded, self.settings.coded_share),
        ):
            tops = np.zeros((samples.shape[0], blocks, 3), np.int32)
            ceiling = np.zeros((samples.shape[0], blocks), np.float32)
            flat_tops(samples, self._length, *look, tops, ceiling)
            flat, every = tops[:, :, 1], tops.sum(axis=2)
            # the channel that is worst in each block
            holds = (flat >= np.maximum(share * every, 1)).any(axis=0)
            self._ceiling = float(ceiling.max(initial=0.0)) or self._ceiling
            length = self._length / self.format.rate
            for run in runs.feed(times, length, holds, flat.max(axis=0)):
                found += self._judge(run, coded=look is CODED)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        for runs, coded in ((self._exact, False), (self._coded, True)):
            for run in runs.finish():
                found += self._judge(run, coded)
        return found

    def _judge(self, run: Run, coded: bool) -> list[Observation]:
        tops = round(run.mean_value * run.rows)
        if tops < self.settings.min_tops * (5 if coded else 1):
            return []
        duration = run.end - run.start
        rate = tops / duration
        level = float(20 * np.log10(max(self._ceiling, 1e-6)))
        return [
            Observation(
                kind=Kind.CLIPPING,
                start=run.start,
                end=run.end,
                peak=run.peak,
                severity=ladder(rate, 10.0, 40.0, 120.0, 300.0),
                confidence=float(np.interp(tops, [6, 60], [0.6, 0.7 if coded else 0.95])),
                summary=(
                    f"{tops} {'flattened' if coded else 'flat'} tops in {duration:.1f} s, "
                    f"{rate:.0f} a second, cut off near {level:.1f} dBFS"
                ),
                evidence={"flat_tops": tops, "flat_tops_per_s": rate, "ceiling_dbfs": level},
            )
        ]
