"""Scoring intervals against the truth: pure functions, no files.

Matching follows the event-based figures of sound event detection (A. Mesaros, T. Heittola and
T. Virtanen, "Metrics for Polyphonic Sound Event Detection", Applied Sciences 6(6), 2016, as in
sed_eval): a prediction matches a truth of its kind when it begins within a collar of it and ends
within a collar or a share of the truth's length. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import stats

COLLAR = 0.5  # seconds; between sed_eval's 0.25 and what a viewer of a report needs
END_SHARE = 0.2  # of the truth's length (sed_eval's default is 0.5)
NEAR = 0.5  # seconds around a truth in which another kind's prediction may be due to it
RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A prediction."""

    start: float
    end: float
    confidence: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """A truth. `whole`: of the asset, found by any prediction of its kind."""

    start: float
    end: float
    severity: str = ""
    whole: bool = False


@dataclass
class Matching:
    """Which prediction is which truth: pairs of indices, and what is left of both."""

    pairs: list[tuple[int, int]] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)


@dataclass
class Outcome:
    """One file, one kind: what was hit, missed and found beside.

    Attributes:
        source: whose clip the file was made of, for the bootstrap.
        truths, found: of that kind.
    """

    source: str
    truths: list[Wanted] = field(default_factory=list)
    found: list[Interval] = field(default_factory=list)

    def above(self, confidence: float) -> Matching:
        """The matching of what is at least so confident."""
        kept = [one for one in self.found if one.confidence >= confidence]
        return match(self.truths, kept)


@dataclass(frozen=True)
class Counts:
    """True positives, false positives, false negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float | None:
        """Share of the predictions that are right; None without predictions."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        """Share of the truths that were found; None without truths."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without truths and predictions."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else None


@dataclass(frozen=True)
class Rate:
    """Events per hour, with an exact 95 % Poisson interval."""

    events: int
    hours: float
    low: float
    high: float

    @property
    def per_hour(self) -> float:
        """The rate; NaN where there was no media."""
        return self.events / self.hours if self.hours > 0 else float("nan")


def overlap(one: Interval | Wanted, other: Interval | Wanted, tolerance: float = 0.0) -> bool:
    """Whether two intervals have a moment in common, or lie within `tolerance` of each other."""
    return one.start <= other.end + tolerance and other.start <= one.end + tolerance


def fits(truth: Wanted, found: Interval) -> bool:
    """Whether a prediction of the same kind is that truth."""
    if truth.whole:
        return True
    slack = max(COLLAR, END_SHARE * (truth.end - truth.start)) + 1e-6
    return abs(found.start - truth.start) <= COLLAR + 1e-6 and abs(found.end - truth.end) <= slack


def match(truths: Sequence[Wanted], found: Sequence[Interval]) -> Matching:
    """Truths and predictions of one kind in one file, one to one, the best fitting first.

    Best is what shares most of its union with the truth, then what is more confident. Where there
    is a truth of the whole asset, further predictions are parts of it and not wrong.
    """
    possible = [
        (-_shared(truth, one), -one.confidence, t, f)
        for t, truth in enumerate(truths)
        for f, one in enumerate(found)
        if fits(truth, one)
    ]
    result = Matching()
    taken_truths: set[int] = set()
    taken_found: set[int] = set()
    for _, _, t, f in sorted(possible):
        if t not in taken_truths and f not in taken_found:
            result.pairs.append((t, f))
            taken_truths.add(t)
            taken_found.add(f)
    result.pairs.sort()
    result.missed = [t for t in range(len(truths)) if t not in taken_truths]
    if not any(truth.whole for truth in truths):
        result.extra = [f for f in range(len(found)) if f not in taken_found]
    return result


def _shared(truth: Wanted, found: Interval) -> float:
    both = min(truth.end, found.end) - max(truth.start, found.start)
    union = max(truth.end, found.end) - min(truth.start, found.start)
    return both / union if union > 0 else float(both == union)


def counts(outcomes: Iterable[Outcome], confidence: float = 0.0) -> Counts:
    """Sums over files, of predictions that are at least so confident."""
    total = Counts()
    for outcome in outcomes:
        found = outcome.above(confidence)
        total += Counts(len(found.pairs), len(found.extra), len(found.missed))
    return total


def recall_by_severity(
    outcomes: Iterable[Outcome], confidence: float = 0.0
) -> dict[str, tuple[int, int]]:
    """Per severity: how many truths were found, of how many."""
    totals: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        hit = {t for t, _ in outcome.above(confidence).pairs}
        for t, truth in enumerate(outcome.truths):
            found, of = totals.get(truth.severity, (0, 0))
            totals[truth.severity] = (found + (t in hit), of + 1)
    return totals


def onset_errors(outcomes: Iterable[Outcome]) -> npt.NDArray[np.float64]:
    """Absolute errors of the starts of what was found, seconds; whole assets left out."""
    errors = []
    for outcome in outcomes:
        found = outcome.found
        for t, f in outcome.above(0.0).pairs:
            if not outcome.truths[t].whole:
                errors.append(abs(found[f].start - outcome.truths[t].start))
    return np.asarray(errors, np.float64)


def curve(outcomes: Sequence[Outcome], points: int = 40) -> list[tuple[float, Counts]]:
    """Counts over the threshold on the confidence, from the lowest to the highest found."""
    levels = np.unique([one.confidence for outcome in outcomes for one in outcome.found])
    if len(levels) > points:
        levels = np.unique(np.quantile(levels, np.linspace(0, 1, points)))
    return [(float(level), counts(outcomes, float(level))) for level in levels]


def bootstrap(
    outcomes: Iterable[Outcome], seed: int, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of precision, recall and F1, by resampling whole sources.

    Files of one source are alike, so a source is drawn with all of its files or not at all. None
    where there are fewer than two sources, which say nothing of a third.
    """
    by_source: dict[str, Counts] = {}
    for outcome in outcomes:
        found = outcome.above(0.0)
        one = Counts(len(found.pairs), len(found.extra), len(found.missed))
        by_source[outcome.source] = by_source.get(outcome.source, Counts()) + one
    nothing: dict[str, tuple[float, float] | None] = dict.fromkeys(("precision", "recall", "f1"))
    if len(by_source) < 2:
        return nothing
    table = np.array([(c.tp, c.fp, c.fn) for _, c in sorted(by_source.items())], np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(table), size=(resamples, len(table)))
    tp, fp, fn = table[drawn].sum(axis=1).T
    result = nothing
    for name, above, below in (
        ("precision", tp, tp + fp),
        ("recall", tp, tp + fn),
        ("f1", 2 * tp, 2 * tp + fp + fn),
    ):
        shares = above[below > 0] / below[below > 0]
        if shares.size:
            low, high = np.quantile(shares, [0.025, 0.975])
            result[name] = (float(low), float(high))
    return result


def rate(events: int, hours: float) -> Rate:
    """Events per hour with an exact 95 % interval (Garwood 1936); no events have low 0."""
    if hours <= 0:
        return Rate(events, 0.0, float("nan"), float("nan"))
    low = float(stats.chi2.ppf(0.025, 2 * events)) / 2 if events else 0.0
    high = float(stats.chi2.ppf(0.975, 2 * events + 2)) / 2
    return Rate(events, hours, low / hours, high / hours)


def auc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float | None:
    """Area under the ROC curve: how often a positive scores above a negative; ties count half.

    None where there are not both.
    """
    values = np.asarray(scores, np.float64)
    is_positive = np.asarray(positive, bool)
    count, others = int(is_positive.sum()), int((~is_positive).sum())
    if not count or not others:
        return None
    ranks = stats.rankdata(values)
    return float((ranks[is_positive].sum() - count * (count + 1) / 2) / (count * others))


def over_frames(
    times: npt.NDArray[np.float64], found: Iterable[Interval]
) -> npt.NDArray[np.float64]:
    """Per frame the largest confidence of what lies over it, 0 where nothing does."""
    scores = np.zeros(len(times))
    for one in found:
        inside = (times >= one.start - 1e-6) & (times < one.end - 1e-6)
        scores[inside] = np.maximum(scores[inside], one.confidence)
    return scores


def stray(
    found: Sequence[Interval], truths: Iterable[Wanted], tolerance: float = NEAR
) -> list[Interval]:
    """Predictions that overlap no truth of any kind in the file: nothing was done to cause them."""
    wanted = list(truths)
    return [one for one in found if not any(overlap(one, truth, tolerance) for truth in wanted)]


def confidence_for(confidences: Sequence[float], hours: float, wanted: float) -> float | None:
    """The least confidence above which false alarms are as rare as wanted.

    Args:
        confidences: of all false alarms of a kind on clean media.
        hours: of that media.
        wanted: false alarms per hour.

    Returns:
        0 where nothing has to change; None where even the most confident are too many, so that
        no threshold below 1 helps.
    """
    allowed = int(np.floor(wanted * hours + 1e-9))
    order = sorted(confidences, reverse=True)
    if len(order) <= allowed:
        return 0.0
    level = (np.floor(order[allowed] * 1000 + 1e-6) + 1) / 1000  # just above the first too many
    return float(level) if level <= 1.0 else None
