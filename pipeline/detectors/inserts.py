"""Inserts at another level: stretches of sound whose gain steps at one instant, and back later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.detectors.base import Unchanging
from pipeline.measurements import Float64, Spectra

# A change of gain does two things that no programme does. It shifts every quantile of the level of
# every band alike, compared over seconds; and at its instant it changes the short-time spectrum by
# the same in all bands. Calibrated on the sound of 47 development clips, with steps of 6 to 15 dB
# and without, and on look-alikes in them.
LOWEST, OCTAVES = 60.0, 8  # Hz; the bands are as many octaves, halved for the instant
QUANTILES = (10, 30, 50, 70, 90)  # per cent
NEVER = -80.0  # dBFS in a band: a gate or a codec may have emptied it
LEAST, LEAST_SHARE = 8, 0.5  # quantiles of bands that must have sound, and their share
TORN = 0.1  # share of the quantiles of bands that may be silent on one side alone
CELL = 2  # spectra whose mean is one cell, of 43 ms
GRID = 0.1  # seconds between the places that are looked at
CONTEXT, LEAST_CONTEXT = 2.0, 0.9  # seconds on either side of both ends; at the ends of the sound
SHORTEST, LONGEST = 3.0, 8.0  # seconds
LEAST_STEP = 7.0  # dB; applause that sets in and ends: 6.8
LARGEST = 20.0  # dB; more is a fade or a pause
EITHER = 3.0  # dB that every edge of an insert must show by itself
UNLIKE = 2.0  # the mean deviation of the shifts from their median counts so many times
UNLIKE_SHARE = 0.42  # and is at most this share of the step
# An insert has one level: the loud moments of seconds inside it, so far from its ends, differ by at
# most so many steps, a pause left out. Of 61 on the development split they do by 1.2 at most; two
# speakers who take turns within what else would be one by 1.5 up, but for two of eleven.
INSIDE, SECOND = 0.7, 1.0  # seconds
LOUD, SPARSE = (50, 70, 90), 4  # per cent; cells between the beginnings of seconds, 0.17 s
MOST = 80  # per cent of the seconds; the others may be a pause
RANGE = 1.4
# Share of the step by which the seconds beside a louder stretch may rise towards it, both together.
# Of inserts on the development split 0.62 at most, 35 of 42 programmes that fade in and out by more
FADES = 0.8
LEAST_CLEAR = 1.0  # dB that remain of the step then
# Share of the step by which the soft or loud moments may have shifted otherwise than the rest. The
# pauses of a quieter speaker are no quieter (0.3 up), fades leave nothing of some (0.4 up).
ONE_SIDED = 0.22
# The instant: mean of so many spectra on either side, without those that the step lies in
BESIDE, APART = 3, 1
REACH = 0.6  # seconds around the edge of the quantiles, in which the instant is looked for
EMPTY = -95.0  # dBFS in a band of half an octave: nothing that could step
FEWEST = 5  # bands that must have sound
# mean deviation of the bands' steps from the step, in shares of it: steps 0.1 to 0.5; 1 is none
WORST = 0.55
NONE, WEIGHT = 0.8, 10.0  # sum of both ends without a step, and dB that each share less is worth
# Of a step that does not come back, the same two, and their sum. Music that sets in steps as well,
# but hardly ever alike: one of 22 such steps in 3.2 h passes.
SINGLE_ONE_SIDED, SINGLE = 0.3, 0.75
CERTAIN = 0.2  # the instant alone is enough: music that sets in 0.28 up
CLEAR = 4.0  # dB of both together: clean clips 2.4 at most, steps of 8 dB and more 4.7 up


@dataclass(frozen=True)
class Insert:
    """A stretch at another gain: seconds, dB, and dB by which it is clear (CLEAR up)."""

    start: float
    end: float
    step: float
    clear: float


@dataclass(frozen=True)
class _Edge(Unchanging):
    """A place where the quantiles of the bands shift."""

    place: int  # cells since the beginning
    shifts: Float64  # [Q, B] dB
    heard: npt.NDArray[np.bool_]  # [Q, B]: those with sound on both sides
    step: float  # median, dB


class Inserts:
    """Finds stretches at another gain, by the bands of the spectra.

    Memory: the levels of the bands over the longest insert and its context, 12 s.
    """

    def __init__(self) -> None:
        self._octaves: Float64 = np.zeros((0, 0))  # [F, B] dB, the latest
        self._halves: Float64 = np.zeros((0, 0))  # [F, 2B] dB, of the same spectra
        self._dropped = 0  # cells before those
        self._next = 0  # cell that is looked at next
        self._edges: list[_Edge] = []
        self._best: Insert | None = None
        self._instants: dict[tuple[int, int], tuple[float, float]] = {}
        self._hop = self._time = 0.0

    def add(self, spectra: Spectra) -> list[Insert]:
        """The inserts that are known after these spectra."""
        if not len(spectra.power):
            return []
        if not self._hop:
            self._hop = spectra.hop
            self._time = spectra.time + (spectra.window - spectra.hop) / 2
        edges = LOWEST * 2.0 ** (np.arange(2 * OCTAVES + 1) / 2)
        bands = int(np.count_nonzero(0.95 * spectra.frequencies[-1] >= edges[::2])) - 1
        if bands < 1:
            return []
        bins = np.searchsorted(spectra.frequencies, edges[: 2 * bands + 1])
        power = np.add.reduceat(spectra.power[:, : bins[-1]], bins[:-1], axis=1)
        halves = power.astype(np.float64)
        octaves = halves.reshape(len(halves), bands, 2).sum(axis=2)
        self._octaves = _joined(self._octaves, _decibels(octaves))
        self._halves = _joined(self._halves, _decibels(halves))
        found = self._search(self._cells(CONTEXT))
        keep = self._cells(LONGEST + CONTEXT + 2 * REACH)
        old = self._next - keep - self._dropped
        if old > 0:
            self._octaves = self._octaves[old * CELL :]
            self._halves = self._halves[old * CELL :]
            self._dropped += old
            self._instants = {
                key: value for key, value in self._instants.items() if key[0] >= self._dropped
            }
        return found

    def is_gain(self, time: float, step: float) -> bool:
        """Whether a step of so many dB at a time, at most 10 s ago, is one of gain alone."""
        place = round((time - self._time) / (CELL * self._hop)) if self._hop else 0
        at, side = place - self._dropped, self._cells(CONTEXT)
        before = _cells(self._octaves[max(0, at - side) * CELL : max(0, at) * CELL])
        after = _cells(self._octaves[max(0, at) * CELL : max(0, at + side) * CELL])
        if not len(before) or not len(after):
            return False
        low, high = _quantiles(before), _quantiles(after)
        shifts, heard = high - low, (low > NEVER) & (high > NEVER)
        if heard.sum() < LEAST:
            return False
        median = _median(shifts[heard])
        unlike = float(np.abs(shifts[heard] - median).mean())
        instant = self._instant(place, step)[0]
        return instant <= CERTAIN or (
            median * step > 0
            and _one_sided(shifts, heard, median) <= SINGLE_ONE_SIDED * abs(median)
            and unlike / abs(median) + instant <= SINGLE
        )

    def finish(self) -> list[Insert]:
        """The rest of them."""
        if not self._hop:
            return []
        found = self._search(self._cells(LEAST_CONTEXT))
        last, self._best = self._best, None
        return found + ([last] if last is not None else [])

    def _cells(self, seconds: float) -> int:
        return round(seconds / (CELL * self._hop))

    def _search(self, after: int) -> list[Insert]:
        cells = _cells(self._octaves)
        side, least = self._cells(CONTEXT), self._cells(LEAST_CONTEXT)
        hop = max(1, self._cells(GRID))
        found: list[Insert] = []
        self._next = max(self._next, least)
        while self._next - self._dropped + after <= len(cells):
            at = self._next - self._dropped
            edge = self._edge(cells[max(0, at - side) : at], cells[at : at + side])
            if edge is not None:
                self._pair(edge)
                self._edges.append(edge)
            self._next += hop
            longest = self._next - self._cells(LONGEST)
            self._edges = [edge for edge in self._edges if edge.place >= longest]
            best = self._best
            if best is not None and self._seconds(self._next) - best.end > CONTEXT:
                found.append(best)
                self._best = None
                self._edges = [it for it in self._edges if self._seconds(it.place) >= best.end]
        return found

    def _seconds(self, place: float) -> float:
        return self._time + place * CELL * self._hop

    def _edge(self, before: Float64, after: Float64) -> _Edge | None:
        low, high = _quantiles(before), _quantiles(after)
        shifts, heard = high - low, (low > NEVER) & (high > NEVER)
        # a gain leaves nothing of what is far above where it is silent
        torn = (np.minimum(low, high) <= NEVER) & (np.maximum(low, high) > NEVER + LARGEST)
        if heard.sum() < max(LEAST, LEAST_SHARE * heard.size) or torn.mean() > TORN:
            return None
        step = _median(shifts[heard])
        return _Edge(self._next, shifts, heard, step) if abs(step) >= EITHER else None

    def _pair(self, end: _Edge) -> None:
        """Look for the start that goes with an end."""
        for start in self._edges:
            seconds = (end.place - start.place) * CELL * self._hop
            heard = start.heard & end.heard
            if start.step * end.step > 0 or seconds < SHORTEST or heard.sum() < LEAST:
                continue
            shifts = (start.shifts - end.shifts) / 2
            step = _median(shifts[heard])
            unlike = float(np.abs(shifts[heard] - step).mean())
            weaker = min(abs(start.step), abs(end.step))
            clear = min(abs(step), weaker + 2) - UNLIKE * unlike
            if (
                clear < LEAST_CLEAR
                or unlike > UNLIKE_SHARE * abs(step)
                or not LEAST_STEP <= abs(step) <= LARGEST
                or _one_sided(shifts, heard, step) > ONE_SIDED * abs(step)
                or self._fades(start.place, end.place, step)
            ):
                continue
            begins, ends = self._nearest(start.place, step), self._nearest(end.place, -step)
            if max(begins[0], ends[0]) > WORST or not SHORTEST <= ends[1] - begins[1] <= LONGEST:
                continue
            clear += WEIGHT * (NONE - begins[0] - ends[0])
            if (
                clear >= CLEAR
                and (self._best is None or clear > self._best.clear)
                and self._range(begins[1], ends[1]) <= RANGE * abs(step)
            ):
                self._best = Insert(begins[1], ends[1], step, clear)

    def _range(self, start: float, end: float) -> float:
        """How far apart the loud moments of the seconds between two times are, dB."""
        margin, second = self._cells(INSIDE), self._cells(SECOND)
        first, last = (self._cells(time - self._time) - self._dropped for time in (start, end))
        inside = _cells(self._octaves[(first + margin) * CELL : (last - margin) * CELL])
        seconds = np.lib.stride_tricks.sliding_window_view(np.maximum(inside, NEVER), second, 0)
        loud = np.percentile(seconds[::SPARSE], LOUD, axis=2)
        apart = np.median(loud[:, :, None] - loud[:, None], axis=(0, 3))
        return float(np.percentile(apart.max(axis=0), MOST))

    def _fades(self, start: int, end: int, step: float) -> bool:
        """Whether a louder stretch is what fades leave: both sides together rise towards it."""
        if step <= 0:
            return False
        side = self._cells(CONTEXT)
        first, last = start - self._dropped, end - self._dropped
        cells = _cells(self._octaves[max(0, first - side) * CELL : (last + side) * CELL])
        before = cells[: min(first, side)]
        after = cells[min(first, side) + last - first :]
        return _rise(before) + _rise(after[::-1]) > FADES * step

    def _nearest(self, place: int, step: float) -> tuple[float, float]:
        """The instant about a place, or about that instant, where that is a clearer one."""
        first = self._instant(place, step)
        again = round((first[1] - self._time) / (CELL * self._hop))
        return min(first, self._instant(again, step))

    def _instant(self, place: int, step: float) -> tuple[float, float]:
        """Where about a place the bands step by most nearly `step`: deviation and time, s."""
        step = round(2 * step) / 2
        key = place, int(2 * step)
        if key in self._instants:
            return self._instants[key]
        middle, reach = (place - self._dropped) * CELL, round(REACH / self._hop)
        near = APART + BESIDE
        first = max(middle - reach, near)
        last = min(middle + reach, len(self._halves) - near)
        found = 1.0, self._seconds(place)
        if last > first:
            part = self._halves[first - near : last + near]
            total = np.cumsum(np.pad(part, ((1, 0), (0, 0))), axis=0)
            means = (total[BESIDE:] - total[:-BESIDE]) / BESIDE
            count = last - first
            before, after = means[:count], means[near + APART : near + APART + count]
            heard = np.minimum(before, after) > EMPTY
            off = np.minimum(np.abs(after - before - step), abs(step)) * heard
            few = heard.sum(axis=1)
            share = np.where(few >= FEWEST, off.sum(axis=1) / np.maximum(few, 1) / abs(step), 1.0)
            at = int(share.argmin())
            found = float(share[at]), self._seconds(self._dropped + (first + at) / CELL)
        self._instants[key] = found
        return found


def _cells(levels: Float64) -> Float64:
    """Means of CELL successive rows."""
    count = len(levels) // CELL
    means: Float64 = levels[: count * CELL].reshape(count, CELL, levels.shape[1]).mean(axis=1)
    return means


def _rise(level: Float64) -> float:
    """How much louder the second half is than the first, in the median band, dB."""
    half = len(level) // 2
    audible = np.maximum(level, NEVER)
    return float(np.median(audible[half:].mean(axis=0) - audible[:half].mean(axis=0)))


def _joined(old: Float64, new: Float64) -> Float64:
    return np.concatenate([old, new]) if len(old) else new


def _decibels(power: Float64) -> Float64:
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)))


def _quantiles(level: Float64) -> Float64:
    """[Q, B] quantiles of each band, as np.percentile has them but without its checks."""
    places = np.array(QUANTILES) / 100 * (len(level) - 1)
    below = places.astype(np.intp)
    rest = (places - below)[:, None]
    ordered = np.sort(level, axis=0)
    return ordered[below] * (1 - rest) + ordered[np.minimum(below + 1, len(level) - 1)] * rest


def _median(values: Float64) -> float:
    """Of one row, as np.median has it but without its checks, which take ten times as long."""
    ordered, middle = np.sort(values), len(values) // 2
    if len(values) % 2:
        return float(ordered[middle])
    return float(ordered[middle - 1] + ordered[middle]) / 2


def _one_sided(shifts: Float64, heard: npt.NDArray[np.bool_], step: float) -> float:
    """The most by which one quantile, of the median band, has shifted otherwise, dB."""
    return max(
        abs(_median(row[has]) - step) for row, has in zip(shifts, heard, strict=True) if has.any()
    )
