"""DC offset: the wave does not swing about zero."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

WINDOW = 1.0  # seconds; a Hann window of it passes nothing above 2 Hz, the lowest note has 16 Hz
FLANKS = 0.85  # mean of a smoothed offset of the shortest duration, in shares of its height
HEAD = 2.0  # seconds of an offset from which its size is taken, to place its edges


class DcOffsetSettings(DetectorSettings):
    """Settings of the DC offset detector."""

    threshold: float = setting(
        0.01, "of full scale", "smallest mean that counts", "quality.md A16: 1 %", gt=0, le=1
    )
    min_duration: float = setting(
        1.5,
        "s",
        "shortest offset",
        "calibrated: rumble and thumps in music last up to 1.4 s",
        ge=0.5,
    )


class _Channel:
    """The smoothed mean of one channel, and the run in which it is off."""

    def __init__(self, taps: int, kept: int) -> None:
        self.past = np.zeros(taps - 1)
        self._kept = kept
        self.clear()

    def clear(self) -> None:
        """No run is open."""
        self.head: list[float] = []  # smoothed means of the open run, the first of them
        self.tail: deque[float] = deque(maxlen=self._kept)  # and the last
        self.start = 0.0
        self.end = 0.0
        self.largest = 0.0
        self.peak = 0.0
        self.sum = 0.0
        self.count = 0

    def extend(self, value: float, time: float, block: float) -> None:
        """The run goes on, or begins."""
        if not self.count:
            self.start = time
        self.end = time + block
        if len(self.head) < self._kept:
            self.head.append(value)
        self.tail.append(value)
        if abs(value) > self.largest:
            self.largest, self.peak = abs(value), time
        self.sum += value
        self.count += 1


class DcOffsetDetector(SoundDetector):
    """A mean that stays away from zero for longer than any sound could hold it there."""

    name = "dc_offset"
    kinds = (Kind.DC_OFFSET,)
    summary = "The wave does not swing about zero, which wastes headroom and clicks at every cut"
    Settings = DcOffsetSettings

    settings: DcOffsetSettings

    def __init__(self, settings: DcOffsetSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._block = sound_format.block / sound_format.rate
        taps = max(4, round(WINDOW / self._block)) // 2 * 2 + 1
        window = np.hanning(taps + 2)[1:-1]
        self._window: Float64 = window / window.sum()
        self._channels = [
            _Channel(taps, round(HEAD / self._block)) for _ in range(sound_format.channels)
        ]
        self._began: float | None = None
        self._ended = 0.0

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        mean = sound.mean.astype(np.float64)
        if self._began is None:
            self._began = sound.time
            for channel, row in zip(self._channels, mean, strict=True):
                # as if the sound had begun before: an offset from the start is full at once
                channel.past = _mirrored(row, len(self._window) // 2)
        self._ended = float(sound.times[-1]) + self._block
        return self._feed(mean, sound.time)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        if self._began is None:
            return []
        half = len(self._window) // 2
        tail = np.stack([channel.past[-half:][::-1] for channel in self._channels])
        found = self._feed(tail, self._ended)
        for index, channel in enumerate(self._channels):
            found += self._close(index, channel)
        return found

    def _feed(self, mean: Float64, time: float) -> list[Observation]:
        found: list[Observation] = []
        half = len(self._window) // 2
        level = self.settings.threshold / 2  # of the flanks, which smoothing has made shallow
        for index, (channel, row) in enumerate(zip(self._channels, mean, strict=True)):
            joined = np.concatenate([channel.past, row])
            keep = len(self._window) - 1
            smooth = np.convolve(joined, self._window, "valid")
            channel.past = joined[-keep:]
            first = time - half * self._block
            if not channel.count and np.abs(smooth).max(initial=0.0) < level:
                continue
            for n, value in enumerate(smooth):
                if abs(value) < level or value * channel.sum < 0:
                    found += self._close(index, channel)
                if abs(value) >= level:
                    channel.extend(float(value), first + n * self._block, self._block)
        return found

    def _close(self, index: int, channel: _Channel) -> list[Observation]:
        if not channel.count:
            return []
        threshold = self.settings.threshold
        largest, offset = channel.largest, channel.sum / channel.count
        start, end, peak = channel.start, channel.end, channel.peak
        # each edge is where half of the offset beside it is reached
        head, tail = np.abs(channel.head), np.abs(list(channel.tail)[::-1])
        start += int(np.argmax(head >= head.max() / 2)) * self._block
        end -= int(np.argmax(tail >= tail.max() / 2)) * self._block
        channel.clear()
        start = max(start, self._began or 0.0)
        end = min(end, self._ended)
        if end - start < self.settings.min_duration - 0.05 or abs(offset) < FLANKS * threshold:
            return []
        return [
            Observation(
                kind=Kind.DC_OFFSET,
                start=start,
                end=end,
                peak=peak,
                severity=ladder(largest, 0.01, 0.03, 0.1, 0.25),
                confidence=float(np.interp(abs(offset) / threshold, [FLANKS, 2.0], [0.7, 0.98])),
                summary=(
                    f"channel {index + 1} is off zero by {100 * offset:.1f} % of full scale "
                    f"for {end - start:.1f} s"
                ),
                evidence={
                    "channel": index,
                    "offset_of_full_scale": offset,
                    "largest_of_full_scale": largest,
                    "duration_s": end - start,
                },
            )
        ]


def _mirrored(row: Float64, half: int) -> Float64:
    """What to put before the first values so that smoothing does not see zeros, [2 * half]."""
    head = np.resize(row[:half], half) if len(row) else np.zeros(half)
    return np.concatenate([head, head[::-1]])
