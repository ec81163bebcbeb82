"""Dead channel: one channel carries nothing."""

from __future__ import annotations

import numpy as np

from faults.base import FaultError
from faults.media import Clean
from faults.sound import AUDIBLE, PartFault, amplitude, front_pair, level
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind


class DeadChannelFault(PartFault):
    """Left or right falls silent: a broken cable, a wrong route, a failed converter.

    What is left is digital zero or the noise of the open line (-95 to -70 dBFS). Severity is the
    length; quality.md A3 has 2 to 5 s as the limits of alarms, the longest step is proposed.
    """

    name = "dead_channel"
    kind = Kind.DEAD_CHANNEL
    summary = "Left or right carries nothing"
    edge = 0.0
    lengths = (0.0, 0.0)
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 2.3},
        Severity.SUBTLE: {"seconds": 3.2},
        Severity.NOTICEABLE: {"seconds": 4.2},
        Severity.VERY_NOTICEABLE: {"seconds": 5.5},
    }

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        return super().obstacle(clean) or front_pair(clean)

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        live = [n for n in (0, 1) if level(part[n]) > AUDIBLE]
        live = [n for n in live if level(np.delete(part, n, axis=0)) > AUDIBLE]
        if not live:
            raise FaultError("no channel could be missed beside another")
        channel = int(self.rng.choice(live))
        self.parameters["channel"] = channel
        part[channel] = 0
        if self.rng.random() < 0.5:
            floor = float(self.rng.uniform(-95, -70))
            self.parameters["floor_dbfs"] = floor
            part[channel] = self.rng.normal(0, amplitude(floor), part.shape[1])
        return part
