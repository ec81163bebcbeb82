"""DC offset: the wave does not swing about zero."""

from __future__ import annotations

from faults.sound import PartFault
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind


class DcOffsetFault(PartFault):
    """A converter that is out of adjustment, or a leaky coupling capacitor.

    Of either sign, in one channel or in all; with a hard edge, as a switch makes it, which may be
    heard as a click. The ladder is in shares of full scale; quality.md A16 proposes 1 % as the
    threshold. Codecs that pass no DC (Opus) remove it again when the file is written.
    """

    name = "dc_offset"
    kind = Kind.DC_OFFSET
    summary = "The wave is off zero by 1 to 10 % of full scale"
    edge = 0.0
    trims = False
    lengths = (2.0, 5.0)
    also = (Kind.CLICK,)
    ladder = {
        Severity.VERY_SUBTLE: {"offset": 0.013},
        Severity.SUBTLE: {"offset": 0.025},
        Severity.NOTICEABLE: {"offset": 0.05},
        Severity.VERY_NOTICEABLE: {"offset": 0.1},
    }

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        channels = list(range(part.shape[0]))
        if len(channels) > 1 and self.rng.random() < 0.5:
            channels = [int(self.rng.integers(2))]  # left or right
        sign = int(self.rng.choice([-1, 1]))
        self.parameters |= {"sign": sign, "channels": tuple(channels)}
        part[channels] += sign * self.parameters["offset"]
        return part
