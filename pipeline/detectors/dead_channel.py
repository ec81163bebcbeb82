"""Dead channel: one channel carries nothing while the others carry programme."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import in_a_row, ladder
from pipeline.measure.loudness import channel_names
from pipeline.measurements import Float32, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

Index = npt.NDArray[np.intp]

LIVE = -50.0  # dBFS; programme that one would miss in another channel
DIGITAL = -90.0  # dBFS
# effects channels are silent for long stretches of every film; so is the centre of music in 5.1
WATCHED = {"FL", "FR"}
CENTRE = "FC"


class DeadChannelSettings(DetectorSettings):
    """Settings of the dead channel detector."""

    min_duration: float = setting(
        2.0, "s", "shortest loss, of time in which other channels carry sound", "quality.md A3: 2-5"
    )
    min_centre: float = setting(
        20.0,
        "s",
        "the same for the centre channel, which may rest between lines of dialogue",
        "a choice: dialogue in film pauses for longer than music does",
    )
    threshold: float = setting(
        -60.0, "dBFS", "a channel below it is silent", "FFmpeg silencedetect: -60 dB", le=-40
    )
    depth: float = setting(
        40.0, "dB", "how far below the loudest channel", "calibrated: beyond any pan pot", ge=20
    )


class _Watch:
    """One channel: how long it has been dead while others lived."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.end = 0.0
        self.live = 0.0  # seconds
        self.level = 0.0  # sum of dBFS over the blocks that count
        self.other = 0.0
        self.blocks = 0

    def add(self, sound: SoundStatistics, level: Float32, other: Float32, blocks: Index) -> None:
        """Blocks in which the channel is dead, with its level and that of the loudest."""
        times = sound.times
        if self.start is None:
            self.start = float(times[blocks[0]])
        self.end = float(times[blocks[-1]]) + sound.block_seconds
        self.live += len(blocks) * sound.block_seconds
        self.level += float(level.sum())
        self.other += float(other.sum())
        self.blocks += len(blocks)


class DeadChannelDetector(SoundDetector):
    """Left, right or centre silent while others carry programme.

    Where everything is quiet nothing can be said: that neither ends a loss nor adds to it.
    """

    name = "dead_channel"
    kinds = (Kind.DEAD_CHANNEL,)
    summary = "One channel carries nothing while the others carry programme"
    Settings = DeadChannelSettings

    settings: DeadChannelSettings

    def __init__(self, settings: DeadChannelSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        names = channel_names(sound_format)
        if sound_format.channels == 2 and not set(names) >= WATCHED:
            names = ["FL", "FR"]
        self._names = names
        self._watched = {
            index: _Watch()
            for index, name in enumerate(names)
            if len(names) > 1 and (name in WATCHED or name == CENTRE)
        }
        self._began: float | None = None
        self._ended = 0.0

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if self._began is None:
            self._began = sound.time
        power = np.maximum(sound.energy - sound.mean**2, 1e-12)
        level = 10 * np.log10(power)
        loudest = level.max(axis=0)
        times = sound.times
        self._ended = float(times[-1]) + sound.block_seconds
        found: list[Observation] = []
        for index in self._watched:
            quiet = level[index] < self.settings.threshold
            dead = quiet & (loudest > LIVE) & (level[index] < loudest - self.settings.depth)
            runs = in_a_row(quiet)
            if not runs or runs[0][0] > 0:
                found += self._close(index)
            for first, stop in runs:
                watch = self._watched[index]
                part = np.flatnonzero(dead[first:stop]) + first
                if len(part):
                    watch.add(sound, level[index, part], loudest[part], part)
                if stop < len(times):
                    found += self._close(index)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return [seen for index in self._watched for seen in self._close(index)]

    def _close(self, index: int) -> list[Observation]:
        watch, self._watched[index] = self._watched[index], _Watch()
        name = self._names[index]
        centre = name == CENTRE
        needed = self.settings.min_centre if centre else self.settings.min_duration
        if watch.start is None or watch.live < needed:
            return []
        level, other = watch.level / watch.blocks, watch.other / watch.blocks
        began = watch.start if self._began is None else self._began
        through = watch.start - began < 0.1 and self._ended - watch.end < 0.1
        sure = 0.95 if level < DIGITAL else 0.8
        sure *= float(np.interp(watch.live / needed, [1.0, 2.0], [0.75, 1.0]))
        word = {"FL": "left", "FR": "right", "FC": "centre"}[name]
        return [
            Observation(
                kind=Kind.DEAD_CHANNEL,
                start=watch.start,
                end=watch.end,
                severity=max(ladder(watch.live, 2.0, 5.0, 10.0, 20.0), 0.9 if through else 0.0),
                confidence=sure * (0.7 if centre else 1.0),
                summary=(
                    f"the {word} channel is at {level:.0f} dBFS for {watch.live:.1f} s while "
                    f"another is at {other:.0f} dBFS{', all through' if through else ''}"
                ),
                evidence={
                    "channel": index,
                    "duration_s": watch.end - watch.start,
                    "live_s": watch.live,
                    "level_dbfs": level,
                    "others_dbfs": other,
                },
            )
        ]
