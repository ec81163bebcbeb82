"""Hum: the mains in the sound."""

from __future__ import annotations

import numpy as np

from faults.sound import PartFault, amplitude
from faults.truth import Severity
from pipeline.measurements import Float32, Float64
from pipeline.types import Kind

WANDER = 0.1  # Hz; grids keep within 0.2 Hz of the nominal frequency (ENTSO-E standard range: 0.05)
BUZZ_TOP = 4000.0  # Hz, up to where a buzz has lines


class HumFault(PartFault):
    """A ground loop, an unbalanced line beside a transformer, a dimmer.

    "hum" is the fundamental of 50 or 60 Hz and up to five multiples that become weaker; "buzz" has
    lines up to 4 kHz, of the odd multiples alone or of all, as rectifiers and dimmers make them.
    It is in one channel or in all. The ladder is the level of all lines together (RMS); quality.md
    A5 proposes -50 dBFS as the threshold and -60 to -20 dBFS as the range.
    """

    name = "hum"
    kind = Kind.HUM
    summary = "Mains hum or buzz at 50 or 60 Hz and multiples"
    edge = 0.01
    trims = False
    lengths = (2.0, 5.0)
    ladder = {
        Severity.VERY_SUBTLE: {"level_dbfs": -52.0},
        Severity.SUBTLE: {"level_dbfs": -44.0},
        Severity.NOTICEABLE: {"level_dbfs": -36.0},
        Severity.VERY_NOTICEABLE: {"level_dbfs": -26.0},
    }

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        mains = float(self.rng.choice([50.0, 60.0])) + float(self.rng.uniform(-WANDER, WANDER))
        form = "buzz" if self.rng.random() < 0.4 else "hum"
        self.parameters |= {"mains_hz": mains, "form": form}
        multiples, weights = self._lines(mains, form, 0.45 * rate)
        time = np.arange(part.shape[1]) / rate
        added = np.zeros(part.shape[1])
        for multiple, weight in zip(multiples, weights, strict=True):
            phase = float(self.rng.uniform(0, 2 * np.pi))
            added += weight * np.sin(2 * np.pi * mains * multiple * time + phase)
        # the level by the powers of the lines: that of a stretch depends on where it is cut
        added *= amplitude(self.parameters["level_dbfs"]) / np.sqrt((weights**2).sum() / 2)
        channels = list(range(part.shape[0]))
        if len(channels) > 1 and self.rng.random() < 0.3:
            channels = [int(self.rng.integers(2))]  # left or right
        self.parameters |= {"lines": len(multiples), "channels": tuple(channels)}
        part[channels] += added.astype(np.float32)
        return part

    def _lines(self, mains: float, form: str, top: float) -> tuple[Float64, Float64]:
        """Multiples of the mains frequency and their amplitudes."""
        if form == "hum":
            multiples = np.arange(1.0, 2 + self.rng.integers(6))
            slope = self.rng.uniform(0.4, 0.8)
            weights = slope ** (multiples - 1) * self.rng.uniform(0.6, 1.0, len(multiples))
            if len(multiples) > 1 and self.rng.random() < 0.4:  # full-wave: the double is strongest
                weights[0] *= 0.3
        else:
            step = float(self.rng.choice([1.0, 2.0]))
            multiples = np.arange(1.0, BUZZ_TOP / mains, step)
            weights = multiples ** -self.rng.uniform(0.5, 1.0)
        low = multiples * mains < top
        return multiples[low], weights[low]
