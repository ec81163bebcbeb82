"""The net that hears where packets of sound were lost and a decoder made something up for them.

It looks at cells of 5 ms: levels of bands and how they change, steps of the wave, and how much the
sound repeats what was a frame or a period before (pipeline/measure/concealment.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.batcher import Batcher, made_once
from models.dilated import Dilated

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/packet_loss.safetensors"
CELL = 0.005  # seconds, nearly
COARSE = 16  # bands, six of the ear's in each
REGIONS = 0.0, 1000.0, 3000.0, 7000.0, 16_000.0  # Hz, between which changes are averaged
CHANGES = len(REGIONS) - 1
# Of a cell: correlation of slopes with those a period before, and that period; with what was 1024
# and 1152 samples and 20 ms before; the largest and the mean second difference, dB
REPEATS = 7
# Levels of bands, dBFS; dB by which bins change within two cells, by region; and REPEATS
FIGURES = COARSE + CHANGES + REPEATS
CHANNELS, DILATIONS = 32, (1, 2, 4, 8, 16, 32)
REACH = sum(DILATIONS)  # cells before and after, on which an output depends
AT_ONCE = 8  # stretches of sound in a batch
SILENT = -110.0  # dB, of a band without sound
LEAST = -90.0  # dB; what is below tells nothing
LEVELS = (*range(COARSE), FIGURES - 2, FIGURES - 1)  # figures that a gain adds to
_CHANGES = slice(COARSE, COARSE + CHANGES)
_ALIKE = [FIGURES - n for n in (7, 5, 4, 3)]  # the correlations
_SURE = 0.999


def inputs(figures: Float32) -> Float32:
    """What the net takes of the figures [F, FIGURES] of cells that follow each other: as many."""
    taken = figures.astype(np.float32)
    levels = list(LEVELS)
    taken[:, levels] = np.maximum(taken[:, levels], LEAST) / 20
    taken[:, _CHANGES] /= 5
    # of a correlation it matters how close to 1 it is
    taken[:, _ALIKE] = np.arctanh(taken[:, _ALIKE].clip(-_SURE, _SURE)) / 2
    return taken


class PacketLoss(Dilated):
    """The net.

    Args:
        weights: as `training.packet_loss` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        super().__init__(load_file(weights), DILATIONS)


@made_once
def shared() -> Batcher[Float32, Float32]:
    """The one net of this process, asked of inputs [F, FIGURES]; it gives log odds [F, 1].

    What streams ask while it is busy is its next batch.
    """
    return Batcher(PacketLoss().together, AT_ONCE, 0.0)
