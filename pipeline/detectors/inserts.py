"""Inserts at another level: stretches of sound whose gain steps at one instant, and back later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.level_jump import (
    APART,
    DOWN,
    NEAR,
    REACH,
    SHIFT,
    SIDE,
    UNLIKE,
    UP,
    Edge,
    LevelJump,
    edge,
    figures,
    inputs,
    levels,
    net,
    shared,
    starts_of,
    steps,
)
from pipeline.measurements import Float32, Float64, Spectra

CONTEXT = 2.0  # seconds by which a clearer insert may end later and be taken in place of one
SHORTEST, LONGEST = 3.3, 7.5  # seconds; the turns of a conversation are shorter
LEAST_STEP, LARGEST = 4.5, 20.0  # dB; more is a fade or a pause
# Mean deviation of the quantiles' shifts, dB: below the first their median is the step, else what
# the net says. Below the second it is steady noise: an audience of which three times as many clap
# steps by 6.2 to 6.7 dB.
ALIKE, STEADY, LEAST_OF_STEADY = 2.0, 1.25, 7.0
# Log odds, chosen on 108 damaged files, 1.1 hours and 112 look-alikes of development sources, each
# judged by nets that had not heard its source: 64 of the inserts are found beside 7 false reports,
# none of them in the hours (-1: 68 and 25; 1: 50 and 4).
LIKELY = 0.0
LEAST_CONTEXT = 31  # windows at the ends of the sound in which no step is looked for
AT_LEAST = 32  # windows that are judged together: the net needs 144 beside them each time
KEPT = 12.0  # seconds of which `is_gain` can be asked
AROUND = 0.5  # seconds around a time, in which a step of gain is looked for
# Log odds of a step that does not come back: in an hour of development sources one place looked
# like one to all other rules, with -2.0
SINGLE = -1.5


@dataclass(frozen=True)
class Insert:
    """A stretch at another gain: seconds, dB, and log odds (LIKELY up)."""

    start: float
    end: float
    step: float
    odds: float


class Inserts:
    """Finds stretches at another gain, by nets that look at the levels of bands.

    Memory: levels over the longest insert and its context, 12 s.

    Args:
        nets: other ones than those of this process.
    """

    def __init__(self, nets: LevelJump | None = None) -> None:
        self._nets = nets
        self._level: Float32 = np.zeros((0, 0), np.float32)  # [F, BANDS] the latest
        self._said: Float32 = np.zeros((0, 3), np.float32)  # of the first of these
        self._dropped = 0  # windows before those
        self._looked = 0  # window up to which steps were looked for
        self._waiting: list[tuple[int, bool, float, float]] = []  # steps without their context
        self._edges: list[Edge] = []
        self._best: tuple[float, Edge, Edge, float] | None = None
        self._hop = self._time = 0.0

    def add(self, spectra: Spectra) -> list[Insert]:
        """The inserts that are known after these spectra."""
        if not len(spectra.power):
            return []
        if not self._hop:
            self._hop = spectra.hop
            self._time = spectra.time + spectra.window / 2
        made = levels(spectra.power, float(spectra.frequencies[-1]))
        self._level = np.concatenate([self._level, made]) if len(self._level) else made
        if len(self._level) - REACH - len(self._said) >= AT_LEAST:
            self._judge(len(self._level) - REACH)
        found = self._search(SIDE + APART)
        keep = round((LONGEST + KEPT) / self._hop)
        old = min(self._dropped + len(self._said) - keep, self._looked - keep) - self._dropped
        if old > 0:
            self._level, self._said = self._level[old:], self._said[old:]
            self._dropped += old
        return found

    def is_gain(self, time: float, up: bool) -> bool:
        """Whether about a time, at most KEPT ago, the gain steps up or down."""
        if not self._hop:
            return False
        place, around = (time - self._time) / self._hop - self._dropped, AROUND / self._hop
        part = self._said[max(0, round(place - around)) : max(0, round(place + around) + 1)]
        return bool(len(part)) and float(part[:, UP if up else DOWN].max()) >= SINGLE

    def finish(self) -> list[Insert]:
        """The rest of them."""
        if not self._hop:
            return []
        self._judge(len(self._level))
        found = self._search(LEAST_CONTEXT, last=True)
        best, self._best = self._best, None
        return found + ([self._insert(best)] if best is not None else [])

    def _judge(self, until: int) -> None:
        """Ask of the windows before an index of those that are kept."""
        done = len(self._said)
        if until <= done:
            return
        first = max(0, done - REACH)
        taken = inputs(self._level[first : until + REACH])
        said = shared().ask(taken) if self._nets is None else self._nets.of(taken)
        self._said = np.concatenate([self._said, said[done - first : until - first]])

    def _search(self, context: int, *, last: bool = False) -> list[Insert]:
        """Take steps that are known now, in order, and pair those with all their context."""
        ahead = 0 if last else NEAR
        first = max(self._looked, LEAST_CONTEXT) - self._dropped
        until = len(self._said) - ahead
        if until > first:
            begin = max(0, first - NEAR)
            self._waiting += [
                (begin + at + self._dropped, up, odds, step)
                for at, up, odds, step in steps(self._said[begin:], first - begin, until - begin)
            ]
            self._looked = until + self._dropped
        found: list[Insert] = []
        end = self._dropped + len(self._level)
        while self._waiting and self._waiting[0][0] + context <= end:
            place, up, odds, step = self._waiting.pop(0)
            at = place - self._dropped
            one = edge(self._level, at, place, up, odds, step)
            found += self._settled(place)
            self._pair(one)
            self._edges.append(one)
        ready = self._waiting[0][0] if self._waiting else self._looked
        return found + self._settled(ready)

    def _settled(self, place: int) -> list[Insert]:
        """The best insert, if no step from a place on can be the end of a clearer one."""
        longest = place - LONGEST / self._hop
        self._edges = [one for one in self._edges if one.place >= longest]
        best = self._best
        if best is None or (place - best[2].place) * self._hop <= CONTEXT:
            return []
        self._best = None
        self._edges = [one for one in self._edges if one.place >= best[2].place]
        return [self._insert(best)]

    def _pair(self, end: Edge) -> None:
        """Look for the start that goes with an end."""
        starts = starts_of(end, self._edges, SHORTEST / self._hop, LONGEST / self._hop)
        if not starts:
            return
        figure, enough = figures(starts, end)
        unlike, shift = figure[:, UNLIKE], figure[:, SHIFT]
        said = np.array([(one.step + end.step) / 2 for one in starts])
        step = np.where(unlike < ALIKE, shift, said)
        odds = (self._nets or net()).inserts(figure)
        least = np.where(unlike < STEADY, LEAST_OF_STEADY, LEAST_STEP)
        fits = enough & (odds >= LIKELY) & (step >= least) & (step <= LARGEST)
        if not fits.any():
            return
        at = int(np.where(fits, odds, -np.inf).argmax())
        if self._best is None or odds[at] > self._best[0]:
            self._best = float(odds[at]), starts[at], end, float(step[at] * (-1) ** end.up)

    def _insert(self, best: tuple[float, Edge, Edge, float]) -> Insert:
        odds, start, end, step = best
        seconds: Float64 = self._time + self._hop * np.array([start.place, end.place])
        return Insert(float(seconds[0]), float(seconds[1]), step, odds)
