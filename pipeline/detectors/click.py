"""Clicks: impulses of a few samples that do not belong to the sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import Recurring, ladder
from pipeline.measure.lpc import FRAME, HOP, ORDER, residual, suspects
from pipeline.types import (
    Float32,
    Float64,
    Kind,
    Observation,
    Segment,
    SoundFormat,
    SoundStatistics,
)

REACH = 1024  # samples before and after a frame that are looked at
GUARD_BEFORE, GUARD_AFTER = 12, 36  # samples beside a click that may still be of it
BESIDE = 270  # samples before and after, whose prediction error a click must exceed
LEVEL_STEP = 8.0  # dB; the sound is as loud after a click as before it, unlike after a plosive
LEVEL_GUARD, LEVEL_WINDOW = 0.002, 0.02  # seconds: where that is measured
RATTLE = 4.0  # dB by which the prediction error may be larger after an impulse than before it
SUSPECT = 8.0  # times the mean second difference, below which nothing is worth predicting
TOGETHER = 0.5  # seconds between clicks that are one event (crackle)
# Percussion keeps coming: of impulses no clearer than that, so many within so many seconds are of
# the programme, and the next ones too. In 2.8 hours of music and sounds of games, 26 remain of 104.
DOUBTFUL, RECURRING, MEMORY = 32.0, 2, 120.0


class ClickSettings(DetectorSettings):
    """Settings of the click detector."""

    threshold: float = setting(
        27.0,
        "dB",
        "how far an impulse stands out from the prediction error on both sides of it",
        "Essentia ClickDetector takes 30 dB; calibrated on 43 minutes of music, speech and effects",
        ge=15,
    )
    margin: float = setting(
        13.0,
        "dB",
        "how far it stands out from the largest error on both sides: a drum hit rattles on",
        "calibrated on the same",
        ge=3,
    )
    min_level: float = setting(
        -36.0, "dBFS", "least height of an impulse", "calibrated: softer ones are lip noise", le=0
    )


@dataclass
class _Click:
    time: float
    channel: int
    height: float  # dBFS
    ratio: float  # dB


class _Event:
    """Clicks close to each other."""

    def __init__(self, click: _Click) -> None:
        self.first = self.last = click.time
        self.worst = click
        self.count = 1
        self.channels = {click.channel}

    def add(self, click: _Click) -> None:
        """Take the next click."""
        if click.time - self.last > 0.001:  # not the same in another channel
            self.count += 1
        self.last = max(self.last, click.time)
        self.channels.add(click.channel)
        if click.height > self.worst.height:
            self.worst = click


class ClickDetector(SoundDetector):
    """Impulses in the error of linear prediction that come from nowhere and leave nothing.

    Only frames with an outlier in their second difference are predicted, which is few of them.
    """

    name = "click"
    version = "2"
    kinds = (Kind.CLICK,)
    summary = "Clicks, pops and crackle: impulses of 1 to 20 samples"
    Settings = ClickSettings

    settings: ClickSettings

    def __init__(self, settings: ClickSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._past: Float32 = np.zeros((sound_format.channels, 0), np.float32)
        self._time = 0.0  # of the first sample kept
        self._first = 0  # frame starts before this one have been looked at
        self._open: _Event | None = None
        self._doubtful = Recurring(RECURRING, MEMORY)

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if not self._past.shape[1]:
            self._time = sound.time
        samples = np.concatenate([self._past, sound.samples], axis=1)
        stop = samples.shape[1] - FRAME - REACH
        found: list[Observation] = []
        if stop > self._first:
            found = self._search(samples, self._first, stop)
            self._first += (stop - self._first) // HOP * HOP
        old = max(self._first - REACH, 0)
        self._past = samples[:, old:].copy()
        self._first -= old
        self._time += old / self.format.rate
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._search(self._past, self._first, self._past.shape[1] - FRAME)
        return [*found, *self._emit()]

    def _search(self, samples: Float32, first: int, stop: int) -> list[Observation]:
        """Clicks in the middle halves of the frames that start in [first, stop)."""
        clicks: list[_Click] = []
        floor = 10 ** (self.settings.min_level / 20)
        for channel, row in enumerate(samples):
            part = np.ascontiguousarray(row[first : max(stop - 1, first) + FRAME])
            for start in suspects(part, SUSPECT, floor):
                click = self._judge(row, first + int(start), channel)
                if click is not None:
                    clicks.append(click)
        found: list[Observation] = []
        for click in sorted(clicks, key=lambda one: one.time):
            if self._open is not None and click.time - self._open.last <= TOGETHER:
                self._open.add(click)
            else:
                found += self._emit()
                self._open = _Event(click)
        return found

    def _judge(self, row: Float32, start: int, channel: int) -> _Click | None:
        first, last = max(start - HOP, 0), min(start + FRAME + HOP, len(row))
        error: Float64 = np.zeros(last - first)
        residual(np.ascontiguousarray(row[first:last]), error)
        np.abs(error, out=error)
        low = start - first + HOP // 2
        at = low + int(np.argmax(error[low : low + HOP]))
        height = 20 * np.log10(max(error[at], 1e-9))
        before = error[max(at - GUARD_BEFORE - BESIDE, ORDER) : at - GUARD_BEFORE]
        after = error[at + GUARD_AFTER : at + GUARD_AFTER + BESIDE]
        if height < self.settings.min_level or min(len(before), len(after)) < BESIDE // 4:
            return None
        ratio = height - max(_level(before), _level(after))
        if _level(after) - _level(before) > RATTLE:
            return None
        margin = height - 20 * np.log10(max(before.max(), after.max(), 1e-9))
        if ratio < self.settings.threshold or margin < self.settings.margin:
            return None
        centre = first + at
        guard = round(LEVEL_GUARD * self.format.rate)
        window = round(LEVEL_WINDOW * self.format.rate)
        left = row[max(centre - guard - window, 0) : max(centre - guard, 0)]
        right = row[centre + guard : centre + guard + window]
        if not len(left) or not len(right) or abs(_level(right) - _level(left)) > LEVEL_STEP:
            return None
        time = self._time + centre / self.format.rate
        return _Click(time, channel, float(height), float(ratio))

    def _emit(self) -> list[Observation]:
        event, self._open = self._open, None
        if event is None:
            return []
        worst = event.worst
        if worst.ratio < DOUBTFUL and self._doubtful.again(event.first):
            return []
        end = event.last + 20 / self.format.rate
        what = "an impulse" if event.count == 1 else f"{event.count} impulses"
        return [
            Observation(
                kind=Kind.CLICK,
                start=event.first,
                end=end,
                peak=worst.time,
                severity=min(
                    1.0, ladder(worst.height, -32.0, -22.0, -14.0, -6.0) + 0.03 * (event.count - 1)
                ),
                confidence=float(
                    np.interp(worst.ratio, [self.settings.threshold, 40.0], [0.6, 0.97])
                ),
                summary=(
                    f"{what} of {worst.height:.0f} dBFS, {worst.ratio:.0f} dB over what the sound "
                    "beside it explains"
                ),
                evidence={
                    "impulses": event.count,
                    "height_dbfs": worst.height,
                    "ratio_db": worst.ratio,
                    "channels": len(event.channels),
                },
            )
        ]


def _level(values: Float64 | Float32) -> float:
    """RMS in dBFS."""
    return float(10 * np.log10(max(float(np.mean(np.square(values, dtype=np.float64))), 1e-12)))
