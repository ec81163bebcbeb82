"""From per-row decisions to intervals, and from detectors' observations to defects."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.measurements import Observation
from pipeline.types import Defect


@dataclass
class Run:
    """An interval in which a condition held. Values are those given with the rows that held."""

    start: float
    end: float
    rows: int
    peak: float  # time of the largest value
    peak_value: float
    mean_value: float


class Runs:
    """Turns a stream of booleans into intervals: bridges short gaps, drops short runs.

    Rows may come in any portions; a run goes on across them. A row covers [time, time + duration).
    """

    def __init__(self, min_duration: float = 0.0, max_gap: float = 0.0) -> None:
        self.min_duration = min_duration
        self.max_gap = max_gap
        self._open: Run | None = None

    def feed(
        self,
        times: npt.ArrayLike,
        durations: npt.ArrayLike,
        holds: npt.ArrayLike,
        values: npt.ArrayLike | None = None,
    ) -> list[Run]:
        """Take rows in time order; returns the runs that ended.

        Args:
            times: [T] seconds, increasing.
            durations: [T] or scalar, seconds.
            holds: [T] booleans.
            values: [T] strength of each row; 1 where not given.
        """
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        n = len(times)
        durations = np.broadcast_to(np.asarray(durations, dtype=np.float64), n)
        holds = np.atleast_1d(np.asarray(holds, dtype=bool))
        strength = np.ones(n) if values is None else np.asarray(values, dtype=np.float64)
        ended: list[Run] = []
        for first, stop in in_a_row(holds):
            start, end = float(times[first]), float(times[stop - 1] + durations[stop - 1])
            part = strength[first:stop]
            top = int(np.argmax(part))
            run = Run(
                start=start,
                end=end,
                rows=stop - first,
                peak=float(times[first + top]),
                peak_value=float(part[top]),
                mean_value=float(part.mean()),
            )
            if self._open is not None and start - self._open.end <= self.max_gap + 1e-6:
                self._open = _join(self._open, run)
            else:
                ended += self._close()
                self._open = run
        if self._open is not None and n:
            now = float(times[-1] + durations[-1])
            if not holds[-1] and now - self._open.end > self.max_gap + 1e-6:
                ended += self._close()
        return ended

    def finish(self) -> list[Run]:
        """End of stream: the open run, if it is long enough."""
        return self._close()

    def _close(self) -> list[Run]:
        run, self._open = self._open, None
        if run is None or run.end - run.start < self.min_duration - 1e-6:
            return []
        return [run]


def _join(a: Run, b: Run) -> Run:
    rows = a.rows + b.rows
    worst = a if a.peak_value >= b.peak_value else b
    return Run(
        start=a.start,
        end=b.end,
        rows=rows,
        peak=worst.peak,
        peak_value=worst.peak_value,
        mean_value=(a.mean_value * a.rows + b.mean_value * b.rows) / rows,
    )


@dataclass
class Spell:
    """A run of rows judged yes. `total` [K] sums the values of its yes rows."""

    start: float
    end: float
    rows: int
    total: npt.NDArray[np.float64]
    peak: float  # time of the largest first value
    peak_value: float
    others: int = 0  # rows between its first and its last that were judged no or nearly

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean values of the yes rows, [K]."""
        return self.total / self.rows


NEARLY = 0.15  # of a row that says no


class Verdicts:
    """Turns rows judged yes, no or unknown into intervals.

    Unlike in `Runs`, a row of which nothing can be said (a pause, a masked tone) neither ends a
    spell nor counts towards it: a spell goes on until a row says no. It begins and ends with a yes.
    """

    def __init__(self, min_duration: float = 0.0, max_gap: float = 0.0) -> None:
        self.min_duration = min_duration  # seconds of yes rows
        self.max_gap = max_gap  # seconds of no rows, one after the other, that are bridged
        self._open: Spell | None = None
        self._duration = 0.0
        self._against = 0.0
        self._others = 0  # since the last yes

    def feed(
        self,
        times: npt.NDArray[np.float64],
        duration: float,
        yes: npt.NDArray[np.bool_],
        no: npt.NDArray[np.bool_],
        values: npt.NDArray[np.float64],
        nearly: npt.NDArray[np.bool_] | None = None,
    ) -> list[Spell]:
        """Take rows in time order; returns the spells that ended.

        Args:
            times: [T] seconds, increasing.
            duration: seconds, of every row.
            yes: [T] the condition holds.
            no: [T] it does not hold; where neither is set, nothing is known.
            values: [T, K] what was measured.
            nearly: [T] it holds in part: such a row is as little against it as `NEARLY` says.
        """
        ended: list[Spell] = []
        self._duration = duration
        judged = yes | no if nearly is None else yes | no | nearly
        for index in np.flatnonzero(judged):
            time = float(times[index])
            if yes[index]:
                self._extend(time, values[index])
            elif self._open is not None:
                self._others += 1
                self._against += duration if no[index] else duration * NEARLY
                if self._against > self.max_gap + 1e-6:
                    ended += self.finish()
        return ended

    def finish(self) -> list[Spell]:
        """End of stream: the open spell, if it is long enough."""
        spell, self._open, self._against, self._others = self._open, None, 0.0, 0
        if spell is None or spell.rows * self._duration < self.min_duration - 1e-6:
            return []
        return [spell]

    def _extend(self, time: float, values: npt.NDArray[np.float64]) -> None:
        others, self._against, self._others = self._others, 0.0, 0
        spell, value = self._open, float(values[0])
        if spell is None:
            end = time + self._duration
            self._open = Spell(time, end, 1, values.astype(np.float64), time, value)
            return
        spell.end = time + self._duration
        spell.rows += 1
        spell.others += others
        spell.total = spell.total + values
        if value > spell.peak_value:
            spell.peak, spell.peak_value = time, value


class Recurring:
    """Tells what keeps coming, and so is of the programme, from what happens now and then.

    Args:
        often: so many within `memory` seconds before, and the next one is of the programme too.
        memory: seconds.
    """

    def __init__(self, often: int, memory: float) -> None:
        self._memory = memory
        self._times: deque[float] = deque(maxlen=often)

    def again(self, time: float) -> bool:
        """Note one more, and say whether it is of the programme; the first ones are not."""
        times = self._times
        known = len(times) == times.maxlen and time - times[0] < self._memory
        times.append(time)
        return known


def in_a_row(holds: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index of each run in which something holds, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], holds, [False])).astype(np.int8)))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]


def ladder(
    value: float, very_subtle: float, subtle: float, noticeable: float, very: float
) -> float:
    """Severity on the four-step ladder, linear between its steps.

    The four figures are the values at severity 0.25, 0.5, 0.75 and 1; they rise or fall
    monotonically. Below the first step severity falls towards 0.05.
    """
    steps = np.array([very_subtle, subtle, noticeable, very], dtype=np.float64)
    if steps[-1] < steps[0]:
        steps, value = -steps, -value
    first = steps[0] - max(steps[1] - steps[0], 1e-9)
    return float(np.interp(value, [first, *steps], [0.05, 0.25, 0.5, 0.75, 1.0]))


def defects(
    found: Iterable[tuple[str, int | None, Observation]], merge_gap: float = 0.0
) -> list[Defect]:
    """Make defects of observations: (detector name/version, stream, observation).

    Observations of one kind, detector and stream that overlap, touch or lie within `merge_gap`
    seconds become one defect, with the evidence of the most severe.
    """
    groups: dict[tuple[str, int | None, str], list[Observation]] = {}
    for detector, stream, seen in found:
        groups.setdefault((seen.kind, stream, detector), []).append(seen)
    made = []
    for (_, stream, detector), group in groups.items():
        group.sort(key=lambda o: (o.start, o.end))
        cluster: list[Observation] = []
        until = -np.inf
        for seen in group:
            if cluster and seen.start > until + merge_gap + 1e-6:
                made.append(_defect(cluster, detector, stream))
                cluster = []
                until = -np.inf
            cluster.append(seen)
            until = max(until, seen.end)
        made.append(_defect(cluster, detector, stream))
    return sorted(made, key=lambda d: (d.start, d.end, d.kind, d.id))


def _defect(cluster: Sequence[Observation], detector: str, stream: int | None) -> Defect:
    worst = max(cluster, key=lambda o: (o.severity, o.confidence))
    start, end = cluster[0].start, max(o.end for o in cluster)
    peak = worst.peak if worst.peak is not None else (worst.start + worst.end) / 2
    key = f"{worst.kind}|{stream}|{start:.3f}|{detector}"
    return Defect(
        id=hashlib.sha256(key.encode()).hexdigest()[:12],
        kind=worst.kind,
        start=round(start, 6),
        end=round(end, 6),
        peak=round(min(max(peak, start), end), 6),
        severity=round(min(max(worst.severity, 0.0), 1.0), 4),
        confidence=round(min(max(0.0, *(o.confidence for o in cluster)), 1.0), 4),
        stream=stream,
        region=worst.region,
        evidence={name: round(float(number), 6) for name, number in worst.evidence.items()},
        summary=worst.summary,
        detector=detector,
    )
