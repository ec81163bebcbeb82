"""The net that hears whether sound was bent, cut off or coded with far too few bits.

It takes what is measured of each window of about 43 ms anyway: how level and flatness go over the
bands of the ear, and how the samples of the wave are spread. It knows nothing of what the sound was
like before; compare with a moment earlier and later.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.bands import BANDS, edges, summed
from models.batcher import Batcher, made_once
from models.dilated import Dilated

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/distortion.safetensors"
FAULTS = ("overdriven", "starved", "clipped")  # what the outputs of the net stand for
FIGURES, BINS = 4, 16  # of the wave: see pipeline/measure/wave.py
INPUTS = 2 * BANDS + FIGURES - 1 + BINS
REACH = 15  # sum of DILATIONS: windows before and after, on which an output depends
_LEAST = 1e-11  # power
CHANNELS, DILATIONS = 64, (1, 2, 4, 8)
AT_ONCE = 8  # stretches of sound in a batch


def rows(power: Float32, highest: float, wave: Float32) -> Float32:
    """What the net takes of windows.

    Args:
        power: [F, B] as in Spectra.
        highest: frequency of the last bin, Hz.
        wave: [F, 4 + BINS] as in Spectra.

    Returns:
        [F, INPUTS].
    """
    width = np.diff(edges(highest, power.shape[1]), axis=1)[:, 0].astype(np.float32)
    there = edges(highest, power.shape[1])[:, 0] < power.shape[1]
    floored = power + np.float32(_LEAST)
    level = np.log10(np.maximum(summed(floored, highest) / width, _LEAST))
    flatness = summed(np.log10(floored), highest) / width - level
    level = np.where(there, (level - 2 * wave[:, :1]) / 2, -4.0)
    flatness = np.where(there, flatness, 0.0)
    made: Float32 = np.concatenate(
        [
            level.clip(-4, 2),
            flatness.clip(-3, 0.1),
            (wave[:, 1:FIGURES] * (2.0, 1.0, 0.3)).clip(-8, 8),
            np.sqrt(wave[:, FIGURES:]),
        ],
        axis=1,
    ).astype(np.float32)
    return made


class Distortion(Dilated):
    """The trained net, of windows as `rows` gives them: log odds, a column for each of FAULTS.

    Args:
        weights: as `training.distortion` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        super().__init__(load_file(weights), DILATIONS)


@made_once
def shared() -> Batcher[Float32, Float32]:
    """The one net of this process, asked of windows [F, INPUTS].

    What streams ask while it is busy is its next batch.
    """
    return Batcher(Distortion().together, AT_ONCE, 0.0)
