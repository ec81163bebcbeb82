"""Operating points of FFmpeg's filters: a threshold with a least duration, and how it is tuned.

A filter's own decision at its defaults is in `peers.py`; this is the best that a filter can do:
tuned for the best F1 on the development split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from bench.accuracy.peers import Measured, Peer, runs
from bench.accuracy.score import Interval, Outcome, counts


class Tuned(BaseModel):
    """An operating point: intervals where the value is beyond the threshold."""

    threshold: float
    min_duration: float  # seconds
    max_gap: float  # seconds that are bridged
    dev_f1: float


def decide(peer: Peer, measured: Measured, tuned: Tuned) -> list[Interval]:
    """What a peer finds at an operating point."""
    if peer.name not in measured.series:
        return []
    times, values = _arrays(peer, measured)
    if not len(times):
        return []
    holds = values > tuned.threshold if peer.above else values < tuned.threshold
    end = float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
    found = runs(times, holds, end, tuned.min_duration, tuned.max_gap)
    return [Interval(start, stop) for start, stop in found]


def _arrays(
    peer: Peer, measured: Measured
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    times, raw = measured.series[peer.name]
    values = np.array(raw, np.float64)
    if peer.derive is not None and len(values):
        values = peer.derive(values)
    return np.array(times, np.float64), values


def tune(peer: Peer, files: Sequence[tuple[Measured, Outcome]], levels: int = 24) -> Tuned | None:
    """The operating point with the best F1 on some files, by a grid.

    Args:
        peer: whose.
        files: what it measured, and the truths of the file (what was found is not looked at).
        levels: thresholds to try, quantiles of all values and of those within the truths.
    """
    everywhere: list[npt.NDArray[np.float64]] = []
    inside: list[npt.NDArray[np.float64]] = []
    for measured, outcome in files:
        if peer.name not in measured.series:
            continue
        times, values = _arrays(peer, measured)
        everywhere.append(values)
        inside += [values[(times >= t.start) & (times < t.end)] for t in outcome.truths]
    if not everywhere or not any(part.size for part in inside):
        return None
    share = np.linspace(0, 1, levels)
    thresholds = np.unique(
        np.concatenate(
            [np.quantile(np.concatenate(parts), share) for parts in (everywhere, inside)]
        )
    )
    between = (thresholds[1:] + thresholds[:-1]) / 2
    thresholds = np.unique([float(f"{t:.5g}") for t in np.concatenate([thresholds, between])])
    reached: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for min_duration in (0.0, 0.1, 0.3, 1.0, 2.0):
        for max_gap in (0.0, 0.5):
            reached[min_duration, max_gap] = [
                (_f1(peer, files, float(threshold), min_duration, max_gap), float(threshold))
                for threshold in thresholds
            ]
    best = max(f1 for row in reached.values() for f1, _ in row)
    # of equals the least demanding durations, and of thresholds the middle one
    (min_duration, max_gap), row = next(
        (key, row) for key, row in reached.items() if any(f1 == best for f1, _ in row)
    )
    equal = [threshold for f1, threshold in row if f1 == best]
    return Tuned(
        threshold=equal[len(equal) // 2],
        min_duration=min_duration,
        max_gap=max_gap,
        dev_f1=round(best, 4),
    )


def _f1(
    peer: Peer,
    files: Sequence[tuple[Measured, Outcome]],
    threshold: float,
    min_duration: float,
    max_gap: float,
) -> float:
    point = Tuned(threshold=threshold, min_duration=min_duration, max_gap=max_gap, dev_f1=0.0)
    total = counts(
        Outcome(outcome.source, outcome.truths, decide(peer, measured, point))
        for measured, outcome in files
    )
    return total.f1 or 0.0
