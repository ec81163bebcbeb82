"""What the tests of the faults of sound share."""

from __future__ import annotations

from faults import FAULTS
from faults.damage import place
from faults.truth import Severity


def damaged(clean, name, severity=Severity.NOTICEABLE, seed=5, **options):
    """The fault that was put in, and the sound with it."""
    order = place(name, severity, clean, seed, **options)
    fault = FAULTS[name](order, clean)
    return fault, fault.sound(clean.sound.copy(), clean.sample_rate)


def seeds(clean, name, wanted, severity=Severity.NOTICEABLE):
    """The first order, by seed, whose truth has all the wanted parameters; as `damaged`."""
    for seed in range(60):
        fault, sound = damaged(clean, name, severity, seed)
        if all(fault.parameters.get(key) == value for key, value in wanted.items()):
            return fault, sound
    raise AssertionError(f"no seed gives {wanted}")
