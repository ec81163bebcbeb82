"""Clicks: impulses of a few samples that do not belong to the sound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models import clicks
from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import Recurring, ladder
from pipeline.measure.lpc import FRAME, HOP, ORDER, interpolated, residual, suspects
from pipeline.measurements import (
    Float32,
    Float64,
    Observation,
    Segment,
    SoundFormat,
    SoundStatistics,
)
from pipeline.types import Kind

# Seconds before and after an impulse whose prediction error it must exceed: one or two periods of
# the lowest voice, whose own impulses come once in each
REACH = 0.025
BRIDGED = 24, 48  # samples before and after the largest step that the predictor does not see
GUARD_BEFORE, GUARD_AFTER = 26, 36  # samples beside a click that may still be of it: its edges
BESIDE = 270  # samples before and after, over whose error a click is measured
# dB by which the sound may be louder after an impulse, or before it: where sound is cut off or
# begins is an edge. On development sound 87.0 % of clicks are found in place of 87.7 %.
STEP = 20.0
LEVEL_GUARD, LEVEL_WINDOW = 0.002, 0.02  # seconds: where the sound before and after is measured
EDGE = 0.15  # of the largest error: what lies between the first and last such sample is the impulse
NEAR = 24  # samples before and after the largest error where those may be
OVER = 0.0  # dB over the level of the sound around that an impulse has at least, to be heard
# Where the predictor puts other samples in place of an impulse, nothing is left as high, dB under
# the peak: what was struck rings on
LEFT = -12.0
RING_BEFORE, RING_AFTER = 0.003, 0.001  # seconds: where it is measured whether a hit rings on
# An impulse in one channel alone, though there is sound in another, is not of an instrument: that
# much less of it is enough
ALONE, ALONE_BONUS, HEARD = -15.0, 3.0, -20.0  # dB
# Beside a clear impulse, and as a sign of busy music, less is enough
WEAK, WEAK_MARGIN = 16.0, 5.0  # dB
SURE_SHARE = 0.15  # of the impulses of an event that must be clear ones
BUSY, LAST, ALWAYS = 8, 10.0, 36.0  # so many in so many seconds are percussion; dB never doubted
SUSPECT = 8.0  # times the mean second difference, below which nothing is worth predicting
TOGETHER = 0.5  # seconds between clicks that are one event (crackle)
# Percussion keeps coming: of impulses no clearer than that, so many within so many seconds are of
# the programme, and the next ones too. In 3.2 hours of music and sounds of games, 19 remain of 22.
DOUBTFUL, RECURRING, MEMORY = 32.0, 2, 120.0


Values = TypeVar("Values", Float32, Float64)


class ClickSettings(DetectorSettings):
    """Settings of the click detector."""

    threshold: float = setting(
        22.0,
        "dB",
        "how far an impulse stands out from the prediction error on both sides of it",
        "Essentia ClickDetector takes 30 dB, with the impulse in its predictor; calibrated on 980 "
        "impulses in 47 development clips and on 3.2 hours of music, speech and sounds of games",
        ge=15,
    )
    margin: float = setting(
        12.0,
        "dB",
        "how far it stands out from the largest error within 25 ms on both sides, less what the "
        "sound is busier after it than before: a drum hit rattles on",
        "calibrated on the same",
        ge=3,
    )
    likely: float = setting(
        5.0,
        "log odds",
        "what the net says at least of an impulse that stands out so: lips, strings, drums and "
        "synthesisers make impulses too",
        "cross-fitted over the sources of the development split, see models/weights/clicks.md",
    )
    min_level: float = setting(
        -36.0, "dBFS", "least height of an impulse", "calibrated: softer ones are lip noise", le=0
    )


@dataclass(frozen=True)
class Impulse:
    """What stands out of the prediction error.

    Attributes:
        channel: that it is in.
        centre: sample of its peak; [start, stop) are those that are of it.
        height: of the peak in the error, dBFS.
        ratio: by how much it exceeds the error beside it, dB.
        margin: by how much it exceeds the largest error within 25 ms, dB.
        before, after: level of the error on either side, dBFS.
        alone: whether it is in no other channel, though there is sound in one.
        taps: [ORDER + 1] of the predictor.
        error: [2 * REACH of models.clicks] magnitude of the error around the peak.
    """

    channel: int
    centre: int
    start: int
    stop: int
    height: float
    ratio: float
    margin: float
    before: float
    after: float
    alone: bool
    taps: Float64
    error: Float64


@dataclass
class _Click:
    time: float
    channel: int
    height: float  # dBFS
    ratio: float  # dB
    sure: bool  # it is one by itself


class _Event:
    """Clicks close to each other."""

    def __init__(self, click: _Click) -> None:
        self.first = self.last = click.time
        self.worst = click
        self.count = 1
        self.times = [click.time]  # the last ones
        self.channels = {click.channel}
        self.sure = int(click.sure)
        self.ratio = click.ratio if click.sure else 0.0

    def add(self, click: _Click) -> None:
        """Take the next click."""
        if click.time - self.last > 0.001:  # not the same in another channel
            self.count += 1
            self.times = [*self.times[1 - BUSY :], click.time]
        self.last = max(self.last, click.time)
        self.channels.add(click.channel)
        if click.sure:
            self.sure += 1
            self.ratio = max(self.ratio, click.ratio)
        if click.height > self.worst.height:
            self.worst = click


class ClickDetector(SoundDetector):
    """Impulses in the error of linear prediction that come from nowhere and leave nothing.

    Only frames with an outlier in their second difference are predicted, which is few of them, and
    by a predictor that has not seen the outlier. What stands out is heard by a small net
    (models/clicks.py), which knows what lips, strings and drums do. Fainter impulses within 0.5 s
    of a clear one belong to it; where there are many of them, they are percussion, and so is what
    is not far clearer.
    """

    name = "click"
    version = "7"
    kinds = (Kind.CLICK,)
    summary = "Clicks, pops and crackle: impulses of 1 to 20 samples"
    Settings = ClickSettings

    settings: ClickSettings

    def __init__(self, settings: ClickSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._past: Float32 = np.zeros((sound_format.channels, 0), np.float32)
        self._floor = 10 ** (settings.min_level / 20)
        self._reach = round(REACH * sound_format.rate)
        self._kept = self._reach + 2 * FRAME  # samples before and after a frame that are looked at
        self._time = 0.0  # of the first sample kept
        self._first = 0  # frame starts before this one have been looked at
        self._open: _Event | None = None
        self._doubtful = Recurring(RECURRING, MEMORY)
        self._weak: deque[float] = deque(maxlen=200)  # times of the last impulses

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if not self._past.shape[1]:
            self._time = sound.time
        samples = np.concatenate([self._past, sound.samples], axis=1)
        stop = samples.shape[1] - FRAME - self._kept
        found: list[Observation] = []
        if stop > self._first:
            found = self._search(samples, self._first, stop)
            self._first += (stop - self._first) // HOP * HOP
        old = max(self._first - self._kept, 0)
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
        heard: list[_Click] = []
        for channel, row in enumerate(samples):
            part = np.ascontiguousarray(row[first : max(stop - 1, first) + FRAME])
            for start in suspects(part, SUSPECT, self._floor):
                click = self._judge(samples, channel, first + int(start))
                if click is not None:
                    heard.append(click)
        found: list[Observation] = []
        for click in sorted(heard, key=lambda one: one.time):
            if self._open is not None and click.time - self._open.last <= TOGETHER:
                self._open.add(click)
            else:
                found += self._emit()
                self._open = _Event(click)
        return found

    def impulses(self, samples: Float32) -> list[Impulse]:
        """All that stands out of a sound [C, N]; most of it is no click."""
        found = []
        for channel, row in enumerate(samples):
            for start in suspects(np.ascontiguousarray(row), SUSPECT, self._floor):
                one = self._measured(samples, channel, int(start))
                if one is not None:
                    found.append(one)
        return found

    def _measured(self, samples: Float32, channel: int, start: int) -> Impulse | None:
        """What stands out in the middle half of the frame that starts there, if anything does."""
        row = samples[channel]
        middle = start + HOP // 2
        steps = np.abs(np.diff(row[middle - 1 : middle + HOP + 1], 2))
        place = middle + int(steps.argmax())
        reach = self._reach
        first, last = max(place - reach - FRAME, 0), min(place + reach + FRAME, len(row))
        at = place - first
        error: Float64 = np.zeros(last - first)
        hidden = max(at - BRIDGED[0], 1), min(at + BRIDGED[1], len(error) - 1)
        taps = residual(np.ascontiguousarray(row[first:last]), *hidden, error)
        np.abs(error, out=error)
        low = max(at - NEAR, ORDER)
        at = low + int(error[low : at + 2 * NEAR].argmax())
        height = float(20 * np.log10(max(error[at], 1e-9)))
        before = error[max(at - GUARD_BEFORE - reach, ORDER) : at - GUARD_BEFORE]
        after = error[at + GUARD_AFTER : at + GUARD_AFTER + reach]
        if height < self.settings.min_level or min(len(before), len(after)) < reach:
            return None
        old, new = _level(before[-BESIDE:]), _level(after[:BESIDE])
        ratio = height - max(old, new)
        margin = height - 20 * float(np.log10(max(before.max(), after.max(), 1e-9)))
        if ratio < WEAK or margin < WEAK_MARGIN:
            return None
        centre = first + at
        near = np.flatnonzero(error[max(at - NEAR, 0) : at + NEAR + 1] > EDGE * error[at])
        near += first + max(at - NEAR, 0)
        alone = self._alone(samples, channel, centre)
        beside = _window(error, at, clicks.REACH)
        edges = int(near[0]) - 2, int(near[-1]) + 3
        return Impulse(
            channel, centre, *edges, height, ratio, margin, old, new, alone, taps, beside
        )

    def is_clear(self, samples: Float32, impulse: Impulse) -> bool:
        """Whether an impulse stands out of its sound [C, N] by so much that the net is asked."""
        row = samples[impulse.channel]
        less = ALONE_BONUS if impulse.alone else 0.0
        # a drum hit rattles on
        rise = max(impulse.after - impulse.before, 0.0)
        rings = max(self._rings(row, impulse.start, impulse.stop), 0.0)
        return (
            impulse.ratio >= self.settings.threshold - less
            and impulse.margin + less - rise - rings >= self.settings.margin
            and abs(self._louder(row, impulse.centre)) <= STEP
            and self._added(row, impulse, OVER - less)
        )

    def inputs(self, samples: Float32, impulse: Impulse) -> Float32:
        """What the net takes of an impulse of a sound [C, N]."""
        row, centre, rate = samples[impulse.channel], impulse.centre, self.format.rate
        facts = (
            *(impulse.height, impulse.ratio, impulse.margin, impulse.before, impulse.after),
            *(20.0 * impulse.alone, self._louder(row, centre)),
        )
        figures = np.array(facts, np.float32)
        return clicks.inputs(figures, impulse.error, _window(row, centre, clicks.WAVE), rate)

    def _judge(self, samples: Float32, channel: int, start: int) -> _Click | None:
        one = self._measured(samples, channel, start)
        if one is None:
            return None
        sure = self.is_clear(samples, one) and (
            float(clicks.shared().ask(self.inputs(samples, one))) >= self.settings.likely
        )
        time = self._time + one.centre / self.format.rate
        return _Click(time, channel, one.height, one.ratio, sure)

    def _louder(self, row: Float32, centre: int) -> float:
        """By how much the sound is louder after an impulse than before it, dB."""
        guard, window = (round(s * self.format.rate) for s in (LEVEL_GUARD, LEVEL_WINDOW))
        left = row[max(centre - guard - window, 0) : max(centre - guard, 0)]
        right = row[centre + guard : centre + guard + window]
        return _level(right) - _level(left) if len(left) and len(right) else 0.0

    def _alone(self, samples: Float32, channel: int, centre: int) -> bool:
        """Whether an impulse is in no other channel, though there is sound in one."""
        if len(samples) < 2:
            return False
        others = np.arange(len(samples)) != channel
        reach = round(LEVEL_WINDOW * self.format.rate)
        around = samples[:, max(centre - reach, 0) : centre + reach]
        level = np.square(around, dtype=np.float64).mean(axis=1)
        if level[others].max() < level[channel] * 10 ** (HEARD / 10):
            return False
        steps = np.abs(np.diff(samples[:, max(centre - 6, 0) : centre + 6], 2, axis=1)).max(axis=1)
        return bool(steps[others].max() < steps[channel] * 10 ** (ALONE / 20))

    def _added(self, row: Float32, impulse: Impulse, over: float) -> bool:
        """Whether it is sound that goes on below and an impulse, which is so much higher, dB.

        Then nothing is left where the impulse is taken away.
        """
        start, stop, taps = impulse.start, impulse.stop, impulse.taps
        filled = interpolated(row, start, stop, taps)
        around = row[max(start - self._reach, 0) : stop + self._reach]
        swing = max(float(np.abs(row[start:stop] - filled).max()), 1e-9)
        if 20 * np.log10(swing) - _level(around) < over:
            return False
        mended = row[start - ORDER - 2 : stop + ORDER].astype(np.float64)
        mended[ORDER + 2 : ORDER + 2 + stop - start] = filled
        left = float(np.abs(np.convolve(mended, taps, "valid")).max())
        return bool(20 * np.log10(max(left, 1e-9)) - impulse.height <= LEFT)

    def _rings(self, row: Float32, start: int, stop: int) -> float:
        """By how much the second difference is larger just after [start, stop) than before, dB."""
        before, after = round(RING_BEFORE * self.format.rate), round(RING_AFTER * self.format.rate)
        calm = np.diff(row[max(start - 8 - before, 0) : start - 8], 2)
        rest = np.diff(row[stop + 4 : stop + 6 + after], 2)
        return _level(rest) - _level(calm)

    def _emit(self) -> list[Observation]:
        event, self._open = self._open, None
        if event is None:
            return []
        lately = sum(event.first - LAST <= time < event.first - TOGETHER for time in self._weak)
        self._weak.extend(event.times)
        if event.sure < SURE_SHARE * event.count:
            return []
        if event.ratio < ALWAYS and lately > BUSY:
            return []
        if event.ratio < DOUBTFUL and self._doubtful.again(event.first):
            return []
        worst = event.worst
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
                    np.interp(event.ratio, [self.settings.threshold, 40.0], [0.6, 0.97])
                ),
                summary=(
                    f"{what} of {worst.height:.0f} dBFS, {event.ratio:.0f} dB over what the sound "
                    "beside it explains"
                ),
                evidence={
                    "impulses": event.count,
                    "height_dbfs": worst.height,
                    "ratio_db": event.ratio,
                    "channels": len(event.channels),
                },
            )
        ]


def _level(values: Float64 | Float32) -> float:
    """RMS in dBFS."""
    return float(10 * np.log10(max(float(np.mean(np.square(values, dtype=np.float64))), 1e-12)))


def _window(values: Values, centre: int, reach: int) -> Values:
    """[2 reach] values around one; 0 where there are none."""
    made = np.zeros(2 * reach, values.dtype)
    first, last = max(centre - reach, 0), min(centre + reach, len(values))
    made[first - centre + reach : last - centre + reach] = values[first:last]
    return made
