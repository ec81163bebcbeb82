"""From decisions at each closer look (five a second) to intervals.

A look says how the picture is at one instant; where two looks differ, the truth changed somewhere
between them, with any frame after the first look up to that of the second. The interval is cut in
the middle, so that both its ends are right within half the distance of two looks: 0.1 s.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field

import numpy as np

from pipeline.measure.frame import LOOK_EVERY
from pipeline.measurements import Float32, PictureStatistics

CUT = 8.0  # code values: mean change of tile means from frame to frame that is a cut
CUT_ABOVE = 3.0  # times the median of the frames before: in fast motion every frame changes
CUT_FRAMES = 8  # before
CUT_NEAR = 0.25  # seconds from a cut within which a change belongs to it
KEPT = 4096  # cuts, and values
BESIDE = 0.9  # seconds beside an end in which values are taken


class Cuts:
    """Where cuts are: the last ones, in order."""

    def __init__(self) -> None:
        self._times = array("d")  # seconds
        self._before: Float32 | None = None
        self._changes = np.zeros(CUT_FRAMES, np.float32)

    def watch(self, picture: PictureStatistics) -> None:
        """Look for cuts in the next frames."""
        luma = picture.luma[:, ::4, ::4]
        first = luma[:1] if self._before is None else self._before
        change = np.abs(np.diff(luma, axis=0, prepend=first)).mean(axis=(1, 2))
        changes = np.concatenate((self._changes, change))
        windows = np.lib.stride_tricks.sliding_window_view(changes[:-1], CUT_FRAMES)
        usual = np.median(windows, axis=1)
        cut = (change > CUT) & (change > CUT_ABOVE * usual)
        for time in picture.frames["time"][cut].tolist():
            insort(self._times, time)
        del self._times[:-KEPT]
        self._before, self._changes = luma[-1:].copy(), changes[-CUT_FRAMES:]

    def within(self, time: float, reach: float) -> bool:
        """Whether there is one so near to a time."""
        at = bisect_left(self._times, time)
        return any(abs(cut - time) <= reach for cut in self._times[max(at - 1, 0) : at + 1])

    def around(self, time: float) -> tuple[float, float]:
        """The last cut before a time and the first after it; infinite where there is none."""
        after = bisect_right(self._times, time)
        return (
            self._times[after - 1] if after else -np.inf,
            self._times[after] if after < len(self._times) else np.inf,
        )


class Beside:
    """What a statistic of the looks is just outside an interval, within the same shot.

    A shot that is soft, or has contours, is made so; what comes or goes within a shot is a defect.

    Args:
        cuts: of the picture, which their owner watches.
    """

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts
        self._times, self._values = array("d"), array("d")

    def add(self, time: float, value: float) -> None:
        """Take the value of the look at `time`."""
        self._times.append(time)
        self._values.append(value)
        del self._times[:-KEPT], self._values[:-KEPT]

    def of(self, run: LookRun) -> list[float]:
        """Medians before and after a run; an end that is a cut, or of the asset, has none."""
        made = []
        for end, first, last in (
            (run.start, run.start - BESIDE, run.start),
            (run.end, run.end, run.end + BESIDE),
        ):
            at = bisect_left(self._times, first), bisect_right(self._times, last)
            values = self._values[slice(*at)]
            if len(values) > 1 and not self._cuts.within(end, CUT_NEAR):
                made.append(float(np.median(values)))
        return made


@dataclass
class LookRun:
    """An interval in which a condition held at the looks."""

    start: float
    end: float
    peak: float  # time of the look with the largest value
    peak_value: float
    looks: int
    total: float  # of the values
    evidence: dict[str, float] = field(default_factory=dict)  # of the look at the peak

    @property
    def mean_value(self) -> float:
        """Mean of the values of the looks that held."""
        return self.total / self.looks


class LookRuns:
    """Bridges short gaps, drops short runs; looks come one by one, in order."""

    def __init__(self, min_duration: float, max_gap: float, frame: float) -> None:
        self.min_duration = min_duration
        self.max_gap = max_gap
        self._frame = frame  # seconds
        self._last: tuple[float, float, bool, float, dict[str, float]] | None = None
        self._open: LookRun | None = None

    @property
    def is_open(self) -> bool:
        """Whether a run may go on."""
        return self._open is not None

    def add(
        self, time: float, holds: bool, value: float, evidence: dict[str, float] | None = None
    ) -> list[LookRun]:
        """Take the look at `time`; returns the runs that ended before it."""
        ended: list[LookRun] = []
        start = time
        if self._last is not None:
            # after a hole in the presentation a look speaks for no more than its own time
            start = max((self._last[1] + time + self._frame) / 2, time - LOOK_EVERY)
            start = min(start, time)
            ended = self._row(self._last, min(start, self._last[1] + LOOK_EVERY))
        self._last = (start, time, holds, value, evidence or {})
        return ended

    def finish(self, end: float) -> list[LookRun]:
        """End of the stream at `end` seconds."""
        ended: list[LookRun] = []
        if self._last is not None:
            ended = self._row(self._last, max(end, self._last[1]))
            self._last = None
        return ended + self._close()

    def _row(
        self, row: tuple[float, float, bool, float, dict[str, float]], end: float
    ) -> list[LookRun]:
        start, time, holds, value, evidence = row
        run = self._open
        if not holds:
            if run is not None and end - run.end > self.max_gap + 1e-6:
                return self._close()
            return []
        ended: list[LookRun] = []
        if run is not None and start - run.end > self.max_gap + 1e-6:
            ended, run = self._close(), None
        if run is None:
            self._open = LookRun(start, end, time, value, 1, value, evidence)
            return ended
        run.end, run.looks, run.total = end, run.looks + 1, run.total + value
        if value > run.peak_value:
            run.peak, run.peak_value, run.evidence = time, value, evidence
        return ended

    def _close(self) -> list[LookRun]:
        run, self._open = self._open, None
        if run is None or run.end - run.start < self.min_duration - 1e-6:
            return []
        return [run]


def end_of(picture: PictureStatistics) -> float:
    """Time at which the last frame of a segment ends."""
    last = picture.frames[-1]
    return float(last["time"] + last["duration"])
