"""How tests look at what an inspection found."""

from __future__ import annotations

from pathlib import Path

from pipeline.inspect import inspect
from pipeline.settings import load
from pipeline.types import Defect, Inspection, Kind


def examine(path: Path, *only: str, **settings) -> Inspection:
    """Inspect with the named detectors alone (all, where none is named)."""
    return inspect(str(path), load(only=only, detectors=settings))


def of_kind(result: Inspection, kind: Kind | str) -> list[Defect]:
    """The defects of one kind, in order of time."""
    return [defect for defect in result.defects if defect.kind == kind]


def only_one(result: Inspection, kind: Kind | str) -> Defect:
    """The single defect of a kind; fails with the whole list where there is not exactly one."""
    found = of_kind(result, kind)
    assert len(found) == 1, [(d.kind, d.start, d.end, d.summary) for d in result.defects]
    return found[0]


def assert_interval(defect: Defect, start: float, end: float, within: float = 0.1) -> None:
    """Both ends within `within` seconds of the truth."""
    assert abs(defect.start - start) <= within, (defect.start, start, defect.summary)
    assert abs(defect.end - end) <= within, (defect.end, end, defect.summary)
