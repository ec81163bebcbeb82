"""Level jump: the loudness steps and stays."""

from __future__ import annotations

import numpy as np

from faults.base import FaultError
from faults.sound import PartFault, amplitude, level
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

HEADROOM = 0.98  # of full scale; a louder insert is not clipped
QUIETEST = -48.0  # dBFS; a quieter insert can still be followed


class LevelJumpFault(PartFault):
    """An insert at another level: an advert against the programme, a source that was not aligned.

    The level steps up or down within 5 ms at the start and back at the end; where the order reaches
    to the end of the asset there is one step alone. Up where there is headroom, else down. The
    ladder begins at the threshold that quality.md A13 proposes (4 to 6 LU within a second); the
    rest is proposed.
    """

    name = "level_jump"
    kind = Kind.LEVEL_JUMP
    summary = "The loudness steps by 6 to 15 dB and stays for a while"
    lengths = (4.0, 5.0)
    ladder = {
        Severity.VERY_SUBTLE: {"step_db": 6.0},
        Severity.SUBTLE: {"step_db": 8.0},
        Severity.NOTICEABLE: {"step_db": 11.0},
        Severity.VERY_NOTICEABLE: {"step_db": 15.0},
    }

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        step = float(self.parameters["step_db"])
        up = float(np.abs(part).max()) * amplitude(step) <= HEADROOM
        down = level(part) - step >= QUIETEST
        if not up and not down:
            raise FaultError(f"there is room neither above nor below for {step:g} dB")
        sign = int(self.rng.choice([1, -1])) if up and down else 1 if up else -1
        self.parameters["sign"] = sign
        return part * np.float32(amplitude(sign * step))
