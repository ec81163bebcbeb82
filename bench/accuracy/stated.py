"""The rate of false alarms that is stated for each look-alike: more than that is a regression.

Stated from files of the development split (two of each look-alike) and compared with those of the
split that is judged. What is not here is stated to give none.
"""

from __future__ import annotations

from pipeline.types import Kind

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
    """Kinds that were reported more often than stated.

    Args:
        lookalike: its name.
        alarms: in its files, by kind.
        files: that were judged.
    """
    rates = stated(lookalike)
    return [kind for kind, count in alarms.items() if count > rates.get(kind, 0.0) * files]
