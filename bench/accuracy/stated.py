"""The rate of false alarms that is stated for each look-alike: more than that is a regression.

Stated from files of the development split and compared with those of the split that is judged. What
is not here is stated to give none. Measured by

    python -m bench.accuracy MEDIA... --what lookalike --per-lookalike 12
"""

from __future__ import annotations

from scipy.stats import poisson

from pipeline.types import Kind

_CHANCE = 0.05  # that a rate which is no higher than stated is named

# Alarms per file, of kinds that the look-alike resembles.
STATED: dict[str, dict[Kind, float]] = {
    "applause": {Kind.LEVEL_JUMP: 0.5},
    "confetti": {Kind.BLOCKINESS: 0.5},
    "shallow_focus": {Kind.BLUR: 0.5},
}


def stated(lookalike: str) -> dict[str, float]:
    """Alarms per file by kind; kinds that are not in it are stated to be reported in none."""
    return {str(kind): rate for kind, rate in STATED.get(lookalike, {}).items()}


def above(lookalike: str, alarms: dict[str, int], files: int) -> list[str]:
    """Kinds that were reported more often than stated, by more than chance explains.

    Where none is stated one is too many; else alarms are taken to be Poisson's, and as many as were
    found must have had a chance of 5 % at least.

    Args:
        lookalike: its name.
        alarms: in its files, by kind.
        files: that were judged.
    """
    rates = stated(lookalike)
    return [
        kind
        for kind, count in alarms.items()
        if count and poisson.sf(count - 1, rates.get(kind, 0.0) * files) < _CHANCE
    ]
