"""Joins of the takes that a clean clip is made of: frames are missing there indeed."""

from __future__ import annotations

from collections.abc import Sequence

from faults.truth import Truth
from pipeline.types import Kind

NEAR = 0.1  # seconds from a join within which a jump is that join


def at_join(kind: Kind, start: float, joins: Sequence[float], truths: Sequence[Truth]) -> bool:
    """Whether what is reported are missing frames where two takes are joined.

    Args:
        kind: of the report.
        start: of the report, seconds.
        joins: of the clean clip, seconds.
        truths: of the file. After frames that were taken out on purpose the joins come earlier;
            a report of these is of no join.
    """
    if kind != Kind.DROPPED_FRAMES:
        return False
    taken = [truth for truth in truths if truth.kind == Kind.DROPPED_FRAMES]
    if any(abs(start - truth.start) <= NEAR for truth in taken):
        return False
    return any(
        abs(start - join + sum(_seconds(truth) for truth in taken if truth.start < join)) <= NEAR
        for join in joins
    )


def _seconds(truth: Truth) -> float:
    return float(truth.parameters["seconds"])
