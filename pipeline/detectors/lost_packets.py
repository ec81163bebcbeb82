"""Packets that were lost and concealed: a net hears what a decoder made up in their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from models.packet_loss import COARSE, FIGURES, LEAST, REACH, PacketLoss, inputs, shared
from pipeline.events import in_a_row
from pipeline.measure.concealment import ConcealmentMeter
from pipeline.measurements import Float32

AT_LEAST = 400  # cells that are judged together: the net needs 126 beside them each time
LIKELY = 0.0  # log odds of a cell that is of a loss
LONGEST = 200  # cells in a row; what is longer is how this sound is made
SETTLED = 20  # cells at the ends of the sound in which no loss begins or ends
CLOSE = 10  # cells, 50 ms
GAP = 2  # cells in a row that may be doubted within one


@dataclass(frozen=True)
class Loss:
    """What a decoder made up: seconds, and the highest log odds of its cells."""

    start: float
    end: float
    odds: float


def losses(
    odds: Float32, cell: float, begin: float, *, first: bool = False, last: bool = False
) -> list[Loss]:
    """Cells in a row that are likely of a loss.

    Args:
        odds: [F] log odds of cells that follow each other, as `sounding` leaves them.
        cell: seconds of one.
        begin: time of the first, seconds.
        first: whether the sound begins with these, so that nothing was before to be lost.
        last: whether it ends with them.
    """
    lowest, highest = SETTLED * first, len(odds) - SETTLED * last
    return [
        Loss(begin + start * cell, begin + stop * cell, float(odds[start:stop].max()))
        for start, stop in _runs(odds)
        if start >= lowest and stop <= highest and stop - start <= LONGEST
    ]


def sounding(odds: Float32, figures: Float32) -> Float32:
    """Log odds [F], but for cells [F, FIGURES] close to silence: struck tones die away into it.

    What they repeat of themselves is as regular as what a decoder makes up, and holes are found by
    rules.
    """
    silent = maximum_filter1d(figures[:, :COARSE].max(axis=1) <= LEAST, 2 * CLOSE + 1)
    made: Float32 = np.where(silent, -np.inf, odds)
    return made


def _runs(odds: Float32) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for first, last in in_a_row(odds >= LIKELY):
        if runs and first - runs[-1][1] <= GAP:
            runs[-1] = runs[-1][0], last
        else:
            runs.append((first, last))
    return runs


class Losses:
    """Finds losses in one stream of sound.

    Args:
        rate: of the sound, Hz.
        net: another one than that of this process.
    """

    def __init__(self, rate: int, net: PacketLoss | None = None) -> None:
        self._meter = ConcealmentMeter(rate)
        self._net = net
        self._cell = self._meter.cell / rate  # seconds
        self._figures: Float32 = np.zeros((0, FIGURES), np.float32)  # from REACH before the next
        self._ahead = 0  # of these cells, those that are judged already
        self._odds: Float32 = np.zeros(0, np.float32)  # of those, the ones that may be of a loss
        self._time = np.nan  # of the first cell, seconds
        self._dropped = 0  # cells before those kept
        self.known = -np.inf  # seconds; losses that end before have been given

    def add(self, samples: Float32, time: float) -> list[Loss]:
        """Those that are known after samples [C, N], of which the first is at a time."""
        if np.isnan(self._time):
            self._time = time
        self._figures = np.concatenate([self._figures, self._meter.measure(samples)])
        until = len(self._figures) - REACH
        return self._judge(until) if until - self._ahead >= AT_LEAST else []

    def finish(self) -> list[Loss]:
        """The rest of them."""
        if np.isnan(self._time):
            return []
        rest = self._meter.measure(np.zeros((1, 0), np.float32), last=True)
        self._figures = np.concatenate([self._figures, rest])
        found = self._judge(len(self._figures), last=True)
        self.known = np.inf
        return found

    def _judge(self, until: int, *, last: bool = False) -> list[Loss]:
        """Judge the cells before an index."""
        if until <= self._ahead:
            return []
        taken = inputs(self._figures)
        said = shared().ask(taken) if self._net is None else self._net.of(taken)
        now = slice(self._ahead, until)
        self._odds = np.concatenate([self._odds, sounding(said[:, 0], self._figures)[now]])
        old = max(until - REACH, 0)
        self._figures = self._figures[old:]
        self._dropped, self._ahead = self._dropped + old, until - old
        over = kept = count = len(self._odds)
        place = self._dropped + self._ahead - count  # of the first of these cells
        runs = _runs(self._odds)
        if runs and not last and count - runs[-1][1] <= GAP:  # it may go on
            over, kept = runs[-1][0], max(runs[-1][0], count - LONGEST - 1)
        begin = self._time + place * self._cell
        found = losses(self._odds[:over], self._cell, begin, first=place == 0, last=last)
        self._odds = self._odds[kept:]
        self.known = begin + over * self._cell
        return found
