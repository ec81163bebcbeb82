"""Clicks: impulses of a few samples that do not belong to the sound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

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
LEVEL_STEP = 8.0  # dB; the sound is as loud after a click as before it, unlike after a plosive
LEVEL_GUARD, LEVEL_WINDOW = 0.002, 0.02  # seconds: where that is measured
EDGE = 0.15  # of the largest error: what lies between the first and last such sample is the impulse
NEAR = 24  # samples before and after the largest error where those may be
# An impulse is over in so many samples: beside those that have most of the error, within so many
# before and after its peak, there is none that high, dB under the peak; and where the predictor
# puts other samples in their place, nothing is left as high. What lips, consonants and the pulses
# of voices set off goes on longer: of 16 alarms in 2.3 hours of speech 10 remain, and of 429 events
# of impulses in development sound that were found 424 are found still.
CORE, CORE_BEFORE, CORE_AFTER, APART, LEFT = 32, 60, 80, 9.5, -12.0
# dB by which the wave may be elsewhere after an impulse than where it was going, of its height: the
# edges of sawtooth waves and of plucked strings step and stay
STAYS = -3.0
LINE, MEAN = 16, 8  # samples beside an impulse by which that is judged
OVER = 0.0  # dB over the level of the sound around that an impulse has at least, to be heard
USUAL = 2.0  # times as far as the wave goes by itself
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
    min_level: float = setting(
        -36.0, "dBFS", "least height of an impulse", "calibrated: softer ones are lip noise", le=0
    )


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
    by a predictor that has not seen the outlier. Fainter impulses within 0.5 s of a clear one
    belong to it; where there are many of them, they are percussion, and so is what is not far
    clearer.
    """

    name = "click"
    version = "5"
    kinds = (Kind.CLICK,)
    summary = "Clicks, pops and crackle: impulses of 1 to 20 samples"
    Settings = ClickSettings

    settings: ClickSettings

    def __init__(self, settings: ClickSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._past: Float32 = np.zeros((sound_format.channels, 0), np.float32)
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
        clicks: list[_Click] = []
        floor = 10 ** (self.settings.min_level / 20)
        for channel, row in enumerate(samples):
            part = np.ascontiguousarray(row[first : max(stop - 1, first) + FRAME])
            for start in suspects(part, SUSPECT, floor):
                click = self._judge(samples, channel, first + int(start))
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

    def _judge(self, samples: Float32, channel: int, start: int) -> _Click | None:
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
        height = 20 * np.log10(max(error[at], 1e-9))
        before = error[max(at - GUARD_BEFORE - reach, ORDER) : at - GUARD_BEFORE]
        after = error[at + GUARD_AFTER : at + GUARD_AFTER + reach]
        if height < self.settings.min_level or min(len(before), len(after)) < reach:
            return None
        old, new = _level(before[-BESIDE:]), _level(after[:BESIDE])
        ratio = height - max(old, new)
        margin = height - 20 * np.log10(max(before.max(), after.max(), 1e-9))
        if ratio < WEAK or margin < WEAK_MARGIN:
            return None
        centre = first + at
        near = np.flatnonzero(error[max(at - NEAR, 0) : at + NEAR + 1] > EDGE * error[at])
        near += first + max(at - NEAR, 0)
        less = ALONE_BONUS if self._alone(samples, channel, centre) else 0.0
        start, stop = int(near[0]) - 2, int(near[-1]) + 3
        margin += less - max(new - old, 0.0) - max(self._rings(row, start, stop), 0.0)
        sure = (
            ratio >= self.settings.threshold - less
            and margin >= self.settings.margin
            and _apart(error, at) >= APART
            and self._goes_on(row, centre, start, stop)
            and self._added(row, start, stop, taps, height, OVER - less)
        )
        time = self._time + centre / self.format.rate
        return _Click(time, channel, float(height), float(ratio), sure)

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

    def _added(
        self, row: Float32, start: int, stop: int, taps: Float64, height: float, over: float
    ) -> bool:
        """Whether [start, stop) is of sound that goes on below and of an impulse.

        That is so much higher than the sound, dB, and nothing is left where it is taken away.
        """
        filled = interpolated(row, start, stop, taps)
        around = row[max(start - self._reach, 0) : stop + self._reach]
        swing = max(float(np.abs(row[start:stop] - filled).max()), 1e-9)
        if 20 * np.log10(swing) - _level(around) < over:
            return False
        mended = row[start - ORDER - 2 : stop + ORDER].astype(np.float64)
        mended[ORDER + 2 : ORDER + 2 + stop - start] = filled
        left = float(np.abs(np.convolve(mended, taps, "valid")).max())
        return bool(20 * np.log10(max(left, 1e-9)) - height <= LEFT)

    def _rings(self, row: Float32, start: int, stop: int) -> float:
        """By how much the second difference is larger just after [start, stop) than before, dB."""
        before, after = round(RING_BEFORE * self.format.rate), round(RING_AFTER * self.format.rate)
        calm = np.diff(row[max(start - 8 - before, 0) : start - 8], 2)
        rest = np.diff(row[stop + 4 : stop + 6 + after], 2)
        return _level(rest) - _level(calm)

    def _goes_on(self, row: Float32, centre: int, start: int, stop: int) -> bool:
        """Whether the sound after [start, stop) is as it would be without what is in there."""
        rate = self.format.rate
        guard, window = round(LEVEL_GUARD * rate), round(LEVEL_WINDOW * rate)
        left = row[max(centre - guard - window, 0) : max(centre - guard, 0)]
        right = row[centre + guard : centre + guard + window]
        if not len(left) or not len(right) or abs(_level(right) - _level(left)) > LEVEL_STEP:
            return False
        return self._stays(row, start, stop)

    def _stays(self, row: Float32, start: int, stop: int) -> bool:
        """Whether the wave is after [start, stop) where it was going, but for what it is in there.

        By its level or by its line: either is misled by other sound. As far as it goes by itself in
        such a time is no step.
        """
        old, new = row[max(start - self._reach, 0) : start], row[stop : stop + self._reach]
        if min(len(old), len(new)) < LINE:
            return False
        inside = row[start:stop]
        share = (np.arange(len(inside)) + 0.5) / len(inside)
        ahead = np.arange(len(inside)) + 0.5 - len(inside) / 2
        goes = _moves(old, new, MEAN, len(inside) + MEAN)
        for line, length in ((0, MEAN), (1, LINE)):
            apart = len(inside) / 2 + length / 2
            left, right = old[-length:], new[:length]
            went = float(left.mean()) + line * _slope(left) * apart
            comes = float(right.mean()) - line * _slope(right) * apart
            bridge = went * (1 - share) + comes * share
            bridge = bridge + line * ahead * (_slope(left) * (1 - share) + _slope(right) * share)
            swing = float(np.abs(inside - bridge).max())
            if abs(went - comes) < max(10 ** (STAYS / 20) * swing, USUAL * goes):
                return True
        return False

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


def _moves(old: Float32, new: Float32, length: int, apart: int) -> float:
    """How far the mean of `length` samples goes in `apart` samples, RMS."""
    steps = []
    for part in (old, new):
        means = np.convolve(part, np.ones(length) / length, "valid")
        steps.append(means[apart:] - means[:-apart])
    return float(np.sqrt(np.mean(np.square(np.concatenate(steps)))))


def _apart(error: Float64, at: int) -> float:
    """By how much the error's peak exceeds what is beside the samples that have most of it, dB."""
    first = max(at - CORE_BEFORE, ORDER)
    size = error[first : at + CORE_AFTER]
    total = np.concatenate([[0.0], np.cumsum(np.square(size))])
    core = int((total[CORE:] - total[:-CORE]).argmax())
    beside = max(size[:core].max(initial=1e-9), size[core + CORE :].max(initial=1e-9))
    return float(20 * np.log10(max(float(error[at]), 1e-9) / beside))


def _slope(values: Float32) -> float:
    """Of the line through some samples, per sample."""
    place = np.arange(len(values)) - (len(values) - 1) / 2
    return float(place @ values) / float(place @ place)
