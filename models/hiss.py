"""The net that hears hiss: a steady floor of noise under a programme that it is no part of.

It looks at the levels of bands in cells of a tenth of a second, some seconds before and after, and
says of each cell whether noise lies under it, and how much. Where a hiss sets in or ends, all that
is quiet rises or falls at once; between, nothing falls below it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.ndimage import minimum_filter1d

from models.bands import BANDS, summed
from models.batcher import Batcher, made_once
from models.dilated import Dilated

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/hiss.safetensors"
CELL = 0.1  # seconds, nearly
COARSE = 32  # bands that the net looks at, three of the ear's in each
INPUTS = 3 * COARSE
CHANNELS, DILATIONS = 64, (1, 2, 4, 8, 16, 32)
THERE, LEVEL = 0, 1  # outputs: log odds of hiss; its level from 1 to 16 kHz, in tens of dB
BESIDE = 10  # cells before and after, whose floors are compared
REACH = sum(DILATIONS) + BESIDE  # cells before and after, on which an output depends
GAP = 3  # cells for which a hiss that goes on may be doubted
AT_ONCE = 8  # stretches of sound in a batch

SILENT = -120.0  # dB, of a band without sound
LEAST = -100.0  # dB; what is below tells nothing
MEAN = -5.0  # tens of dB, added to the level that the net says


def levels(power: Float32, highest: float) -> Float32:
    """Levels of the bands.

    Args:
        power: [F, B] as in Spectra.
        highest: frequency of the last bin, Hz.

    Returns:
        [F, COARSE] dBFS; SILENT where there is no sound or the spectrum does not reach.
    """
    each = summed(power, highest).reshape(len(power), COARSE, BANDS // COARSE).sum(axis=2)
    made: Float32 = 10 * np.log10(np.maximum(each, np.float32(10 ** (SILENT / 10))))
    return made


def windows_of_a_cell(hop: float) -> int:
    """How many spectra make a cell; seconds between two."""
    return max(1, round(CELL / hop))


def cells(level: Float32, size: int) -> Float32:
    """[N, 2, COARSE] least and mean (of power) of levels [F, COARSE], dB; the rest is left out."""
    parts = level[: len(level) // size * size].reshape(-1, size, COARSE)
    mean = 10 * np.log10((10 ** (parts.astype(np.float64) / 10)).mean(axis=1))
    made: Float32 = np.stack([parts.min(axis=1), mean], 1).astype(np.float32)
    return made


def inputs(cell: Float32) -> Float32:
    """What the net takes of cells [N, 2, COARSE] that follow each other: [N, INPUTS].

    The least level, the mean over it, and by how much the floor after is over that before.
    """
    held = np.maximum(cell, LEAST)
    least, mean = held[:, 0], held[:, 1]
    floor = minimum_filter1d(least, BESIDE, axis=0, mode="nearest")  # from -BESIDE // 2 on
    far = np.pad(floor, ((BESIDE // 2, BESIDE // 2), (0, 0)), mode="edge")
    rise = far[BESIDE:] - far[:-BESIDE]
    made: Float32 = np.concatenate(
        [least / 20, (mean - least) / 5, (rise / 10).clip(-3, 3)], 1
    ).astype(np.float32)
    return made


class Hiss(Dilated):
    """The net.

    Args:
        weights: as `training.hiss` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        super().__init__(load_file(weights), DILATIONS)


@made_once
def shared() -> Batcher[Float32, Float32]:
    """The one net of this process, asked of inputs [N, INPUTS].

    What streams ask while it is busy is its next batch.
    """
    return Batcher(Hiss().together, AT_ONCE, 0.0)
