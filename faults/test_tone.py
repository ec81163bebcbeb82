"""Test tone: line-up tone in place of the programme."""

from __future__ import annotations

import numpy as np

from faults.sound import PartFault, amplitude
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

INTERRUPTED = 0.25, 3.0  # seconds: how long and how often (EBU Tech 3304)


class TestToneFault(PartFault):
    """Line-up tone that was left in, or sent in place of a missing programme.

    A sine at the line-up level of EBU R 68 (-18 dBFS) or SMPTE RP 155 (-20 dBFS, a full-scale sine
    being 0 dBFS), mostly of 1 kHz; on stereo it is interrupted on the left by the identification of
    EBU Tech 3304 some of the time. Severity is its length: quality.md A18 has one second as the
    threshold, the rest is proposed.
    """

    __test__ = False  # not a test case, whatever its name

    name = "test_tone"
    kind = Kind.TEST_TONE
    summary = "A steady sine of 1 kHz at line-up level in place of the programme"
    edge = 0.001
    trims = False
    lengths = (0.0, 0.0)
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 1.3},
        Severity.SUBTLE: {"seconds": 2.2},
        Severity.NOTICEABLE: {"seconds": 3.6},
        Severity.VERY_NOTICEABLE: {"seconds": 5.5},
    }

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        peak = float(self.rng.choice([-18.0, -20.0]))
        frequency = float(self.rng.choice([1000.0, 1000.0, 1000.0, 997.0, 440.0, 400.0]))
        identified = part.shape[0] == 2 and bool(self.rng.random() < 0.3)
        self.parameters |= {
            "level_dbfs": peak,
            "frequency_hz": frequency,
            "interrupted": identified,
        }
        time = np.arange(part.shape[1]) / rate
        part[:] = amplitude(peak) * np.sin(2 * np.pi * frequency * time)
        if identified:
            for start in np.arange(1.0, part.shape[1] / rate - 0.5, INTERRUPTED[1]):
                part[0, round(start * rate) : round((start + INTERRUPTED[0]) * rate)] = 0
        return part
