"""Silence: programme sound is missing, judged against the programme's own level and floor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import Run, Runs, in_a_row, ladder
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

BEHIND, AHEAD = 60.0, 10.0  # seconds of context before and after the block that is judged
HIGHEST, LOWEST = -40.0, -75.0  # dBFS; bounds of what may count as quiet, whatever the programme
NO_PROGRAMME = -60.0  # dBFS; quiet, where nothing louder has been heard (FFmpeg silencedetect)
DIGITAL = -90.0  # dBFS; below the noise of 16-bit sound: nobody recorded this
BRIDGED = 0.03  # seconds; a single tick does not end a silence
EDGE = 0.05  # seconds before a silence in which the sound must still be there for it to be cut
EDGE_DROP = 16.0  # dB from there to the silence
FOREIGN = 8.0  # dB by which a noise floor differs from the programme's own
FAR = 15.0  # dB under the programme's own floor: further than speech falls between words
STEADY = 1.5  # dB, half the spread of levels in a noise floor that nobody plays or speaks over
NEAR = 4.0  # dB above its own level, and twice its spread, up to which a silence reaches
SHORTEST_WHOLE = 0.3  # seconds; an asset that is silent all through has no minimum
PAUSE = 0.8  # seconds; shorter quiet belongs to speech and music and tells their floor


class SilenceSettings(DetectorSettings):
    """Settings of the silence detector."""

    min_duration: float = setting(
        1.0,
        "s",
        "shortest silence that sets in sharply and falls below the programme's own floor",
        "AWS MediaLive input-loss failover; FFmpeg's silencedetect takes 2 s",
        ge=0.05,
    )
    min_foreign: float = setting(
        2.0,
        "s",
        "shortest silence that is digital, or sets in sharply with a floor that is not the "
        "programme's",
        "FFmpeg silencedetect: 2 s",
        ge=0.05,
    )
    min_pause: float = setting(
        3.5,
        "s",
        "shortest silence that could be a pause: it fades into what may be the room's own tone",
        "calibrated on 30 pieces of music and 13 speakers: no pause in the music reached 3 s",
        ge=0.05,
    )
    depth: float = setting(
        18.0,
        "dB",
        "how far below the programme's level sound counts as quiet",
        "calibrated: a -50 dBFS floor under a programme at -23 LUFS is silence",
        ge=6,
    )


@dataclass
class _Quiet:
    """A quiet run that waits for what comes after it."""

    start: float
    end: float
    level: float  # dBFS
    spread: float  # dB, of the levels inside
    edge: float  # dBFS just before; -inf where that is not known


class SilenceDetector(SoundDetector):
    """No programme sound in any channel.

    How long a quiet run must last depends on how it looks. A mute sets in within milliseconds and
    is quieter than anything else in the programme, or has another noise floor; a pause fades into
    the room tone that was there all along.
    """

    name = "silence"
    kinds = (Kind.SILENCE,)
    summary = "No programme sound in any channel, judged against the programme's own level"
    Settings = SilenceSettings
    whole_stream = True

    settings: SilenceSettings

    def __init__(self, settings: SilenceSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._times: Float64 = np.zeros(0)
        self._levels: Float64 = np.zeros(0)  # dBFS per block
        self._judged = 0  # blocks of the context that have been judged
        self._runs = Runs(min_duration=0.3, max_gap=BRIDGED)
        self._programme: float | None = None
        self._waiting: list[_Quiet] = []
        self._block = 0.01
        self._start: float | None = None
        self._end = 0.0

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        # without the mean of each block: neither an offset nor rumble is programme
        power = np.maximum(sound.energy - sound.mean**2, 0).max(axis=0).astype(np.float64)
        times = sound.times
        if self._start is None:
            self._start = sound.time
        elif len(self._times) and times[0] < self._times[-1]:  # the clock went back
            times = times - times[0] + self._times[-1] + sound.block_seconds
        self._block = sound.block_seconds
        self._end = float(times[-1]) + self._block
        self._times = np.concatenate([self._times, times])
        self._levels = np.concatenate([self._levels, 10 * np.log10(np.maximum(power, 1e-12))])
        return self._judge(self._end - AHEAD)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._judge(self._end + AHEAD)
        self._wait(self._runs.finish())
        floor = self._floor()
        found += [seen for quiet in self._waiting for seen in self._decide(quiet, floor)]
        self._waiting = []
        return found

    def _judge(self, until: float) -> list[Observation]:
        stop = int(np.searchsorted(self._times, until))
        if stop <= self._judged:
            return []
        loud = self._levels[self._levels > NO_PROGRAMME]
        if len(loud) * self._block >= 0.2:
            power = 10 ** (loud / 10)
            self._programme = float(10 * np.log10(power[power > 0.1 * power.mean()].mean()))
        quiet = NO_PROGRAMME
        if self._programme is not None:
            quiet = float(np.clip(self._programme - self.settings.depth, LOWEST, HIGHEST))
        rows = slice(self._judged, stop)
        levels = self._levels[rows]
        self._wait(self._runs.feed(self._times[rows], self._block, levels < quiet, -levels))
        self._judged = stop
        found: list[Observation] = []
        if self._waiting:
            floor = self._floor()
            found = [seen for one in self._waiting for seen in self._decide(one, floor)]
            self._waiting = []
        now = float(self._times[stop - 1])
        old = int(np.searchsorted(self._times, now - BEHIND))
        self._times, self._levels = self._times[old:], self._levels[old:]
        self._judged -= old
        return found

    def _wait(self, runs: list[Run]) -> None:
        for run in runs:
            first = int(np.searchsorted(self._times, run.start - 1e-6))
            stop = int(np.searchsorted(self._times, run.end - 1e-6))
            inside = self._levels[first:stop]
            if not len(inside) or self._times[first] > run.start + self._block:
                # longer than the context, which has forgotten how it began
                self._waiting.append(_Quiet(run.start, run.end, -run.mean_value, np.inf, -np.inf))
                continue
            # a mute may lie within a pause, which is quiet but not as quiet
            low, level, high = (float(value) for value in np.percentile(inside, [10, 30, 50]))
            near = np.flatnonzero(inside < max(level + NEAR + 2 * (level - low), DIGITAL))
            last, first = first + int(near[-1]) + 1, first + int(near[0])
            before = self._levels[max(first - round(EDGE / self._block), 0) : first]
            edge = float(10 * np.log10(np.mean(10 ** (before / 10)))) if len(before) else -np.inf
            self._waiting.append(
                _Quiet(
                    float(self._times[first]),
                    float(self._times[last - 1]) + self._block,
                    level,
                    high - low,
                    edge,
                )
            )

    def _floor(self) -> float:
        """The quietest that the programme gets: 5th percentile outside longer silences, dBFS."""
        if self._programme is None:
            return -np.inf
        quiet = np.clip(self._programme - self.settings.depth, LOWEST, HIGHEST)
        alive = np.ones(len(self._levels), bool)
        for first, stop in in_a_row(self._levels < quiet):
            if (stop - first) * self._block > PAUSE:
                alive[first:stop] = False
        levels = self._levels[alive]
        return float(np.percentile(levels, 5)) if len(levels) else -np.inf

    def _decide(self, quiet: _Quiet, floor: float) -> list[Observation]:
        start, end, level = quiet.start, quiet.end, quiet.level
        began = self._start or 0.0
        duration = end - start
        whole = start - began < 0.02 and self._end - end < 0.02
        below = level < floor - FOREIGN
        alive = floor - 3
        if self._programme is not None:
            alive = min(alive, self._programme - self.settings.depth + 3)
        cut = quiet.edge - level > EDGE_DROP and quiet.edge > alive
        other = level > floor + FOREIGN and quiet.spread < STEADY
        if whole:
            needed = SHORTEST_WHOLE
        elif cut and below and level < max(floor - FAR, DIGITAL):
            needed = self.settings.min_duration
        elif level < DIGITAL or (cut and (below or other)):
            needed = self.settings.min_foreign
        else:
            needed = self.settings.min_pause
        if duration < needed - 1e-6:
            return []
        evidence = {"duration_s": duration, "level_dbfs": level}
        words = "digital silence" if level < DIGITAL else f"{level:.0f} dBFS"
        if self._programme is None:
            summary = f"nothing but {words} for {duration:.2f} s"
        else:
            evidence |= {"programme_dbfs": self._programme}
            summary = (
                f"{words} for {duration:.2f} s in a programme at {self._programme:.0f} dBFS"
                f"{', cut in sharply' if cut else ''}"
            )
        sure = 0.9 if level < DIGITAL else 0.75
        sure += 0.08 if cut and below else 0.0 if cut or below else -0.2
        sure *= float(np.interp(duration / needed, [1.0, 1.5], [0.8, 1.0]))
        return [
            Observation(
                kind=Kind.SILENCE,
                start=start,
                end=end,
                severity=1.0 if whole else ladder(duration, 2.0, 5.0, 10.0, 20.0),
                confidence=0.98 if whole and level < DIGITAL else sure,
                summary=summary,
                evidence=evidence,
            )
        ]
