"""Brightness pumping: the level of the whole picture rises and falls periodically."""

from __future__ import annotations

import numpy as np

from faults.base import FrameFault
from faults.drawing import dimmed
from faults.media import Picture
from faults.truth import Severity
from pipeline.types import Kind


class PumpingFault(FrameFault):
    """Lets the gain, about black, follow a sine or a sawtooth.

    An iris that hunts (0.5 to 2 Hz), lamps that beat with the shutter, a group of pictures whose
    level drifts until the next key frame (the sawtooth).
    """

    name = "brightness_pumping"
    kind = Kind.BRIGHTNESS_PUMPING
    summary = "Brightness that rises and falls one to eight times a second"
    also = (Kind.FLASHING,)
    lengths = (3.0, 5.5)
    # Proposed: depth from peak to peak. The field report proposes to report more than 2 %.
    ladder = {
        Severity.VERY_SUBTLE: {"depth": 0.03},
        Severity.SUBTLE: {"depth": 0.06},
        Severity.NOTICEABLE: {"depth": 0.12},
        Severity.VERY_NOTICEABLE: {"depth": 0.25},
    }

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        highest = min(8.0, float(self.clean.rate) / 3)
        self._frequency = float(np.exp(self.rng.uniform(0, np.log(max(highest, 1.0)))))
        self._wave = str(self.rng.choice(["sine", "sawtooth"]))
        self._start = picture.time
        self.parameters |= {"frequency": self._frequency, "wave": self._wave}

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        phase = self._frequency * (picture.time - self._start)
        wave = np.sin(2 * np.pi * phase) if self._wave == "sine" else 1 - 2 * (phase % 1)
        return dimmed(picture, 1 + float(self.parameters["depth"]) / 2 * float(wave))
