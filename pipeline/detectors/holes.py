"""Holes in sound: where it is gone at once and back at once, found on a grid of a millisecond.

The level steps down and up within a millisecond, and a hole is quieter than the programme gets by
itself. That tells it from the closure of a stop consonant, a staccato or a gated synthesiser, whose
gaps come again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.measurements import Float32, Float64

CELL = 0.001  # seconds; the grid on which edges are found
BESIDE = 8  # cells just before and after a hole whose level it is compared with
EDGE = 4  # cells within which the level must fall or rise (AAC rings for 2 to 3 ms)
CLEAN = 3  # cells after an edge that must be quiet
# dB by which the level steps from one cell to the next at both edges: in speech and music by 17
# in 58 minutes, but for one stop; with holes coded to AAC and MP3 by 24 up
STEP = 20.0
CONTEXT = 2.0  # seconds of sound before and after a hole that tell the programme's own floor
BELOW_FLOOR = 3.0  # dB by which a hole is quieter than the programme itself gets
# dB by which a hole must be deeper than asked for where a codec does not excuse it, that is at
# lengths other than those that AAC fills with what is beside them; or above the programme's floor
DEEPER = 6.0
BLURRED = 0.0085, 0.03  # seconds
DIGITAL = -90.0  # dBFS; a programme that has digital silence everywhere may have it here
FLOOR_SHARE = 3.0  # percent of a programme that is as quiet as its floor
# A hole in sound quieter than this is hardly heard: dBFS, or dB under a programme that is quieter
LOWEST, UNDER = -45.0, 12.0
PROGRAMME = -60.0  # dBFS; no programme below (FFmpeg silencedetect)
AMPLITUDE = 10.0, 15.0  # dB under the level beside it where a hole begins and ends
# holes that take up so much of the sound, of such a length, are how this music is made
MANNER_SHARE, MANNER_COUNT, MANNER_LENGTH = 0.12, 4, 0.028
# as are holes in time: share of those that follow each other as fast as most do, or twice so; and
# by how much that may differ
RHYTHM, OFF_BEAT = 0.6, 0.004


@dataclass(frozen=True)
class Hole:
    """One hole in one channel."""

    start: float
    end: float
    channel: int
    depth: float  # dB, of the shallower edge
    level: float  # dBFS inside
    beside: float  # dBFS, of the quieter edge
    hard: bool  # deep, with hard edges; else a gap that only tells how this music is made


class Holes:
    """Finds holes in one stream of sound, in one channel or in all.

    Args:
        rate: of the sound, Hz.
        channels: of it.
        shortest, longest: of a hole, seconds.
        depth: dB by which the level falls at both edges.
    """

    def __init__(
        self, rate: int, channels: int, shortest: float, longest: float, depth: float
    ) -> None:
        self._shortest, self._longest, self._depth = shortest, longest, depth
        self._samples = max(1, round(rate * CELL))  # in a cell
        self._cell = self._samples / rate
        self._rest: Float32 = np.zeros((channels, 0), np.float32)
        self._power: Float64 = np.zeros((channels, 0))  # per cell
        self._first = 0.0  # time of the first cell kept
        self._searched = 0  # cells whose falls have been looked at
        self._heard = np.zeros(2)  # cells with sound in them, and their power
        self._candidates: list[Hole] = []
        self.known = -np.inf  # seconds; holes that end before have been judged

    def add(self, samples: Float32, time: float) -> list[Hole]:
        """Those that are known after samples [C, N], of which the first is at a time."""
        if not self._power.shape[1]:
            self._first = time
        samples = np.concatenate([self._rest, samples], axis=1)
        count = samples.shape[1] // self._samples
        used = count * self._samples
        self._rest = samples[:, used:].copy()
        cells = samples[:, :used].reshape(samples.shape[0], count, self._samples)
        power = np.einsum("cns,cns->cn", cells, cells) / np.float32(self._samples)
        loud = power[power > 10 ** (PROGRAMME / 10)]
        self._heard += len(loud), float(loud.sum(dtype=np.float64))
        self._power = np.concatenate([self._power, np.maximum(power, 1e-14)], axis=1)
        return self._look(everything=False)

    def finish(self) -> list[Hole]:
        """The rest of them."""
        return self._look(everything=True)

    def _look(self, everything: bool) -> list[Hole]:
        longest = round(self._longest / self._cell)
        context = round(CONTEXT / self._cell)
        size = self._power.shape[1]
        # falls whose whole hole has arrived, and the sound just after it
        stop = size - EDGE - CLEAN - (0 if everything else longest + BESIDE)
        if stop > max(self._searched, BESIDE):
            for channel, power in enumerate(self._power):
                self._search(channel, power, max(self._searched, BESIDE), stop, longest)
            self._searched = stop
        first = self._first
        arrived = size - max(context, longest) - longest - BESIDE
        decided = np.inf if everything else first + arrived * self._cell
        found = self._decide(decided)
        old = min(self._searched - BESIDE, arrived - context - longest)
        if old > 0:
            self._power = self._power[:, old:]
            self._searched -= old
            self._first = first + old * self._cell
        return found

    def _search(self, channel: int, power: Float64, start: int, stop: int, longest: int) -> None:
        """Candidates that begin in cells start to stop: where the level falls, and comes back."""
        depth = self._depth
        total = np.concatenate([[0.0], np.cumsum(power[: stop + longest + BESIDE + 1])])
        index = np.arange(start, stop)
        with np.errstate(divide="ignore", invalid="ignore"):
            before = 10 * np.log10(
                np.maximum((total[index] - total[index - BESIDE]) / BESIDE, 1e-14)
            )
        level = 10 * np.log10(power)
        quiet = sliding_window_view(level[start + EDGE : stop + EDGE + CLEAN - 1], CLEAN)
        programme = 10 * np.log10(self._heard[1] / self._heard[0]) if self._heard[0] else 0.0
        falls = (before > min(LOWEST, programme - UNDER)) & (before - quiet.max(axis=1) >= depth)
        falls &= level[index - 1] > before - AMPLITUDE[0] - 2
        done = -1
        for cell in index[falls]:
            if cell <= done:
                continue
            beside = before[cell - start]
            first = int(cell)
            while level[first] > beside - AMPLITUDE[0]:  # ends within EDGE cells
                first += 1
            bottom = first
            while level[bottom] > beside - AMPLITUDE[1]:  # likewise
                bottom += 1
            back = np.flatnonzero(level[bottom : first + longest] > beside - AMPLITUDE[1])
            if not len(back):
                done = first + CLEAN
                continue
            done = last = bottom + int(back[0])
            after = power[last : last + BESIDE]
            if last - first < CLEAN:
                continue
            trim = min(EDGE - 1, (last - first) // 3)
            length = (last - first) * self._cell
            inside = 10 * np.log10(power[first + trim : last - trim].mean())
            next_to = 10 * np.log10(after.mean())
            edges = beside - inside, next_to - inside
            blurred = BLURRED[0] <= length < BLURRED[1]
            needed = depth if blurred else depth + DEEPER
            if not self._long_enough(length):
                continue
            # most of it at once: a voice or an instrument takes some milliseconds
            fall = -np.diff(level[first - EDGE : first + EDGE]).min(initial=0.0)
            rise = np.diff(level[last - EDGE : last + EDGE]).max(initial=0.0)
            hard = min(fall, rise) >= STEP and min(edges) >= needed
            begin = self._first + first * self._cell
            self._candidates.append(
                Hole(
                    begin,
                    begin + length,
                    channel,
                    float(min(edges)),
                    float(inside),
                    float(min(beside, next_to)),
                    hard,
                )
            )

    def _long_enough(self, length: float) -> bool:
        shortest, longest = self._shortest, self._longest
        return shortest - 1.5 * self._cell <= length < longest  # edges are found to a cell

    def _decide(self, until: float) -> list[Hole]:
        """Judge the candidates that have all their context."""
        self._candidates.sort(key=lambda hole: hole.start)
        found = [
            hole
            for hole in self._candidates
            if hole.hard and self.known < hole.end < until and self._stands_out(hole)
        ]
        self.known = max(self.known, until)
        keep = until - 2 * CONTEXT
        self._candidates = [hole for hole in self._candidates if hole.end >= keep]
        return found

    def _stands_out(self, hole: Hole) -> bool:
        """Not a gap of a kind that this programme has all the time."""
        near = [
            one
            for one in self._candidates
            if one.channel == hole.channel and abs(one.start - hole.start) <= CONTEXT
        ]
        power = self._power[hole.channel]
        start = max(round((hole.start - CONTEXT - self._first) / self._cell), 0)
        stop = round((hole.end + CONTEXT - self._first) / self._cell)
        if self._manner(near, (min(stop, len(power)) - start) * self._cell):
            return False
        alive = np.ones(len(power), bool)
        for one in near:
            if not one.hard:
                continue
            first = round((one.start - self._first) / self._cell)
            last = round((one.end - self._first) / self._cell)
            alive[max(first - 1, 0) : max(last + 1, 0)] = False
        around = power[start:stop][alive[start:stop]]
        around = around[: len(around) // CLEAN * CLEAN].reshape(-1, CLEAN).max(axis=1)
        if not len(around):
            return True
        floor = 10 * np.log10(np.percentile(around, FLOOR_SHARE))
        if hole.level < floor - BELOW_FLOOR:
            return True
        deep = hole.depth >= self._depth + DEEPER and hole.end - hole.start >= BLURRED[0]
        if hole.level <= DIGITAL:
            # a programme that falls silent by itself does not do so from its full level and back
            deep &= hole.beside > 10 * np.log10(around.mean()) - UNDER
        return bool(deep)

    @staticmethod
    def _manner(near: Sequence[Hole], context: float) -> bool:
        """Whether music is made with such gaps: they take much of it, or come in time.

        Lost packets take as much, but leave nothing at all, and do not come in time.
        """
        if len(near) < MANNER_COUNT:
            return False
        lengths = np.array([one.end - one.start for one in near])
        gaps = np.diff([one.start for one in near])
        usual = float(np.median(gaps))
        beats = np.minimum(np.abs(gaps - usual), np.abs(gaps - 2 * usual))
        if (beats <= max(OFF_BEAT, 0.02 * usual)).mean() >= RHYTHM:
            return True
        digital = max(one.level for one in near if one.hard) <= DIGITAL
        much = float(lengths.sum()) > MANNER_SHARE * context
        return much and not digital and float(np.median(lengths)) >= MANNER_LENGTH
