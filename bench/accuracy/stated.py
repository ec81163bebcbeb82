"""The rate of false alarms that is stated for each look-alike: more than that is a regression.

Stated from files of the development split and compared with those of the split that is judged. What
is not here is stated to give none. Measured by

    python -m bench.accuracy MEDIA... --what lookalike --per-lookalike 12

and, where alarms are rarer than that can show, on as many as are said.
"""

from __future__ import annotations

from scipy.stats import poisson

from pipeline.types import Kind

_CHANCE = 0.05  # that a rate which is no higher than stated is named

# Alarms per file, of kinds that the look-alike resembles.
STATED: dict[str, dict[Kind, float]] = {
    "applause": {Kind.LEVEL_JUMP: 0.025},  # 40 files
    "camera_flashes": {Kind.BRIGHTNESS_PUMPING: 0.2},
    "cartoon_on_threes": {Kind.REPEATED_FRAMES: 0.1},
    "cartoon_on_twos": {Kind.REPEATED_FRAMES: 0.2},
    "confetti": {Kind.BLOCKINESS: 0.5},
    "fade": {Kind.LEVEL_JUMP: 0.02},  # 60 files
    "loud_music": {Kind.CLIPPING: 0.015},  # 318 files
    "moving_pattern": {Kind.BLOCKINESS: 0.1},
    "night_scene": {Kind.FREEZE: 0.1},
    "pause": {Kind.SILENCE: 0.1},
    "rain": {Kind.HISS: 0.2},
    "shallow_focus": {Kind.BLUR: 0.06, Kind.BLOCKINESS: 0.01},  # 129 and 126 files
    "slide_with_speaker": {Kind.SLATE: 0.1},
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
