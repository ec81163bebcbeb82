"""Phase: a channel of inverted polarity, and stereo that is none."""

from __future__ import annotations

import numpy as np

from faults.base import FaultError, SoundFault
from faults.media import Clean
from faults.sound import PartFault, amplitude, front_pair, level, programme_level
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

MONO = 0.9995  # correlation of identical channels (Essentia FalseStereoDetector)
LOPSIDED = 20.0  # dB between the channels; beyond, inverting one is not heard


class PhaseInversionFault(PartFault):
    """One leg of a stereo line is wired wrong, or one of two microphones is turned round.

    Left or right is inverted. Of sound whose channels have little in common that is inaudible and
    cannot be told from the clean, so the stretch is narrowed to the correlation of the ladder where
    it has less: what is played wrong is then a narrower recording. Severity is that correlation
    (proposed; speech has 1) and the length: FFmpeg's aphasemeter waits for two seconds.
    """

    name = "phase_inversion"
    kind = Kind.PHASE_INVERSION
    summary = "Left or right is inverted"
    edge = 0.001
    lengths = (0.0, 0.0)
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 2.5, "least_correlation": 0.7},
        Severity.SUBTLE: {"seconds": 3.5, "least_correlation": 0.8},
        Severity.NOTICEABLE: {"seconds": 4.5, "least_correlation": 0.9},
        Severity.VERY_NOTICEABLE: {"seconds": 5.5, "least_correlation": 0.98},
    }

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        return super().obstacle(clean) or front_pair(clean)

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        if abs(level(part[:1]) - level(part[1:2])) > LOPSIDED:
            raise FaultError("there is sound in one of left and right alone")
        middle, side = (part[0] + part[1]) / 2, (part[0] - part[1]) / 2
        width = 1.0
        while width > 0.01 and _alike(middle, side, width) < self.parameters["least_correlation"]:
            width -= 0.01
        channel = int(self.rng.integers(2))
        self.parameters |= {
            "channel": channel,
            "width": width,
            "correlation": -_alike(middle, side, width),
        }
        if width < 1:
            part[0], part[1] = middle + width * side, middle - width * side
        part[channel] *= -1
        return part


def _alike(middle: Float32, side: Float32, width: float) -> float:
    """Correlation of left and right with that share of the difference between them."""
    left, right = middle + width * side, middle - width * side
    power = float(np.square(left).mean() * np.square(right).mean())
    return float((left * right).mean() / max(np.sqrt(power), 1e-12))


class FalseStereoFault(SoundFault):
    """Mono delivered as stereo: one channel copied to the other, all through.

    A copy through an analogue chain is not exact; the ladder is the noise that it added to the
    copy, relative to the programme. Channels correlate by more than 0.9995 (Essentia's limit) from
    -30 dB on.
    """

    name = "false_stereo"
    kind = Kind.FALSE_STEREO
    summary = "Both channels carry the same sound, all through"
    whole = True
    mixes = False  # no sample stays as it was
    ladder = {
        Severity.VERY_SUBTLE: {"difference_db": -46.0},
        Severity.SUBTLE: {"difference_db": -56.0},
        Severity.NOTICEABLE: {"difference_db": -70.0},
        Severity.VERY_NOTICEABLE: {"difference_db": -96.0},  # the last bit of 16
    }

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        why = super().obstacle(clean) or front_pair(clean)
        if why is not None:
            return why
        if clean.sound.shape[0] > 2:
            return "it has more than two channels"
        left, right = clean.sound.astype(np.float64)
        power = float(np.square(left).mean() * np.square(right).mean())
        if not power:
            return "a channel of it is silent"
        if float((left * right).mean()) > MONO * power**0.5:
            return "its channels are the same already"
        return None

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        source = int(self.rng.integers(2))
        noise = amplitude(programme_level(sound, rate) + self.parameters["difference_db"])
        copy = sound[source] + self.rng.normal(0, noise, sound.shape[1])
        sound[1 - source] = copy.astype(np.float32)
        self.did(0.0, sound.shape[1] / rate, copied_channel=source)
        return sound
