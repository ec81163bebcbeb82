"""Dropouts: holes of milliseconds to a second, and what a decoder made up for lost packets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.detectors.holes import Hole, Holes
from pipeline.detectors.lost_packets import Loss, Losses
from pipeline.events import ladder
from pipeline.measurements import Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

TOGETHER = 0.5  # seconds between holes that are one event to a listener, in whatever channels

BESIDE = 0.1  # seconds around a hole, whose edges are exact, in which a net hears the same


class DropoutSettings(DetectorSettings):
    """Settings of the dropout detector."""

    min_duration: float = setting(
        0.005, "s", "shortest hole", "quality.md A2; Essentia GapsDetector takes 10 ms", ge=0.003
    )
    max_duration: float = setting(
        1.0,
        "s",
        "longest hole; what is longer is silence",
        "where the silence detector begins; Essentia GapsDetector goes to 3.5 s",
        ge=0.01,
        le=4,
    )
    depth: float = setting(
        20.0,
        "dB",
        "how far the level falls at both edges of a hole",
        "calibrated on 43 minutes of music, speech and effects, with holes coded to AAC",
        ge=10,
    )
    min_odds: float = setting(
        7.0,
        "",
        "highest log odds of an event without a hole, as the net has them",
        "chosen on 416 damaged files, 139 look-alikes and 0.8 hours of sound of development "
        "sources, each judged by a net that was fitted without its source: 388 of 544 places are "
        "found (272 by the rules alone) beside 2 false reports, both by the rules (6: 400 and 3; "
        "8: 369 and 2); 8 reports in 10.1 hours that nobody has proven clean (6: 19; 8: 5)",
        gt=0,
    )


class _Event:
    """Holes and losses close to each other, in any channels."""

    def __init__(self, start: float) -> None:
        self.start = self.end = start
        self.channels: set[int] = set()  # that have holes
        self.holes = [np.inf, -np.inf]  # start of the first of these, and end of the last
        self.depth, self.level = 0.0, 0.0
        self.odds = -np.inf  # highest log odds of a loss
        self.count = 0
        self.missing = 0.0  # seconds

    def add(self, one: Hole | Loss) -> None:
        """Take the next one, which starts no earlier than those before."""
        if one.start >= self.end:
            self.count += 1
        self.missing += max(one.end - max(one.start, self.end), 0.0)
        self.end = max(self.end, one.end)
        if isinstance(one, Loss):
            self.odds = max(self.odds, one.odds)
            return
        self.holes = [min(self.holes[0], one.start), max(self.holes[1], one.end)]
        self.channels.add(one.channel)
        self.depth = max(self.depth, one.depth)
        self.level = min(self.level, one.level)

    @property
    def interval(self) -> tuple[float, float]:
        """Start and end: of the holes, where what the net hears is not clearly beyond them."""
        first, last = self.holes
        return (
            first if first - self.start < BESIDE else self.start,
            last if self.end - last < BESIDE else self.end,
        )


class DropoutDetector(SoundDetector):
    """Holes with hard edges, and packets that were lost and concealed.

    Rules find the holes (`Holes`), in one channel or in all; a net hears what a decoder made up
    (`Losses`). What is close together is one event; without a hole in it, the net must be sure.
    """

    name = "dropout"
    version = "4"
    kinds = (Kind.DROPOUT,)
    summary = "Sound is missing for an instant: a hole with hard edges, or packets concealed"
    slow_to_ask = True
    Settings = DropoutSettings

    settings: DropoutSettings

    def __init__(self, settings: DropoutSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._holes = Holes(
            sound_format.rate, sound_format.channels,
            settings.min_duration, settings.max_duration, settings.depth,
        )  # fmt: skip
        self._losses = Losses(sound_format.rate)
        self._waiting: list[Hole | Loss] = []
        self._open: _Event | None = None

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        self._waiting += self._holes.add(sound.samples, sound.time)
        self._waiting += self._losses.add(sound.samples, sound.time)
        return self._take(min(self._holes.known, self._losses.known))

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        self._waiting += [*self._holes.finish(), *self._losses.finish()]
        return [*self._take(np.inf), *self._emit()]

    def _take(self, until: float) -> list[Observation]:
        """Put what ends before a time into events, in order."""
        ready = sorted((o for o in self._waiting if o.end < until), key=lambda one: one.start)
        self._waiting = [one for one in self._waiting if one.end >= until]
        found: list[Observation] = []
        for one in ready:
            if self._open is None or one.start - self._open.end > TOGETHER:
                found += self._emit()
                self._open = _Event(one.start)
            self._open.add(one)
        return found

    def _emit(self) -> list[Observation]:
        event, self._open = self._open, None
        least = self.settings.min_odds
        if event is None or (not event.channels and event.odds < least):
            return []
        start, end = event.interval
        length, channels = end - start, len(event.channels)
        evidence = {"duration_s": length}
        if channels:
            where = "" if channels == self.format.channels else f" in {channels} channel"
            where += "s" if where and channels > 1 else ""
            many = f"{event.count} holes within" if event.count > 1 else "a hole of"
            how = f"{where}, {event.depth:.0f} dB deep, with hard edges"
            sure = np.interp(event.depth, [self.settings.depth, 50.0], [0.65, 0.98])
            evidence |= {
                "depth_db": event.depth,
                "level_dbfs": event.level,
                "holes": event.count,
                "channels": channels,
            }
        else:
            many = f"{event.count} losses within" if event.count > 1 else "a loss of"
            how = " that a decoder concealed"
            sure = np.interp(event.odds, [least, least + 4], [0.6, 0.95])
            evidence |= {"losses": event.count, "log_odds": event.odds}
        return [
            Observation(
                kind=Kind.DROPOUT,
                start=start,
                end=end,
                # 10 ms: Essentia; a lost packet of speech is 20 ms; concealment hides up to 60 ms
                severity=ladder(event.missing, 0.01, 0.03, 0.1, 0.3),
                confidence=float(sure),
                summary=f"{many} {1e3 * length:.0f} ms{how}",
                evidence=evidence,
            )
        ]
