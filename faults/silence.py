"""Silence: the programme sound is muted."""

from __future__ import annotations

import numpy as np

from faults.base import FaultError, SoundFault
from faults.sound import AUDIBLE, amplitude, cells, place_amid_sound, seam
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind


class SilenceFault(SoundFault):
    """A mute: a closed fader, a lost audio embedder, a switch to an input without sound.

    What is left is digital zero where the mute is digital, and the noise of an open line (-90 to
    -55 dBFS) where it is analogue. It sets in hard or within 5 ms, amid sound where there is some
    within 0.45 s of the ordered start. Its severity is its length: AWS MediaLive takes one second
    for a loss of input, FFmpeg's silencedetect two; the longer two steps are proposed, to fit clips
    of 8 s.
    """

    name = "silence"
    kind = Kind.SILENCE
    summary = "The sound is muted, to digital zero or to the noise of a line"
    lengths = (0.0, 0.0)
    also = (Kind.DROPOUT,)
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 1.2},
        Severity.SUBTLE: {"seconds": 2.5},
        Severity.NOTICEABLE: {"seconds": 4.0},
        Severity.VERY_NOTICEABLE: {"seconds": 5.5},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        span = self.span(sound, rate)
        length = span.stop - span.start
        try:
            first = place_amid_sound(sound, rate, span, length, self.rng)
        except FaultError:  # no place with sound at both ends; some inside is enough
            heard = cells(sound[:, span], rate) > 10 ** (AUDIBLE / 10)
            if not len(heard) or heard.mean() < 0.5:
                raise
            first = span.start
        part = sound[:, first : first + length]
        rest = np.zeros_like(part)
        if self.rng.random() < 0.5:
            floor = float(self.rng.uniform(-90, -55))
            rest += self.rng.normal(0, amplitude(floor), part.shape).astype(np.float32)
            self.parameters["floor_dbfs"] = floor
        edge = float(self.rng.choice([0.0, 0.005]))
        self.parameters["edge_ms"] = 1e3 * edge
        weight = seam(length, round(edge * rate))
        sound[:, first : first + length] = rest * weight + part * (1 - weight)
        self.did(first / rate, (first + length) / rate)
        return sound
