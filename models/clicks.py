"""The net that tells a click from what lips, strings, drums and synthesisers do by themselves.

It is asked of impulses that stand out of the prediction error already (pipeline/detectors/click.py)
and takes what was measured of one, the error and the wave around it, and the spectrum there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.batcher import Batcher, made_once

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/clicks.safetensors"
# Of an impulse: its height in the prediction error, dBFS; by how much it exceeds the error beside
# it on average, and the largest error within 25 ms, dB; the level of the error before and after,
# dBFS; whether it is in one channel alone; by how much the sound is louder after it, dB
FIGURES = 7
REACH = 512  # samples of the error before and after its peak
WAVE = 256  # likewise of the wave
_CLOSE, _POOL = 64, 16  # samples before and after that are taken one by one; others in such groups
_BANDS = 32  # of the spectrum of the wave
_QUIETEST = -60.0  # dB under the peak
INPUTS = FIGURES + 2 * _CLOSE + 2 * (2 * REACH // _POOL) + 2 * _CLOSE + _BANDS + 1
HIDDEN = (96, 32)
_USUAL = 48_000  # Hz
AT_ONCE = 8  # impulses in a batch


def inputs(figures: Float32, error: npt.NDArray[np.floating], wave: Float32, rate: int) -> Float32:
    """What the net takes of an impulse.

    Args:
        figures: [FIGURES], see there.
        error: [2 REACH] prediction error around its peak; 0 where there is none.
        wave: [2 WAVE] samples around it.
        rate: of the sound, Hz.

    Returns:
        [INPUTS].
    """
    height = float(figures[0])
    level = (20 * np.log10(np.maximum(np.abs(error), 1e-9)) - height).clip(_QUIETEST, 6)
    groups = level.reshape(-1, _POOL)
    shape = wave / 10 ** (height / 20)
    spectrum = np.abs(np.fft.rfft(shape * np.hanning(2 * WAVE)))[:WAVE]
    bands = 20 * np.log10(spectrum + 1e-3).reshape(_BANDS, -1).mean(axis=1)
    made: Float32 = np.concatenate(
        [
            figures / 20,
            level[REACH - _CLOSE : REACH + _CLOSE] / 20,
            groups.max(axis=1) / 20,
            groups.mean(axis=1) / 20,
            shape[WAVE - _CLOSE : WAVE + _CLOSE].clip(-3, 3),
            bands / 20,
            [np.log2(rate / _USUAL)],
        ]
    ).astype(np.float32)
    return made


class Clicks:
    """The trained net, in numpy: it is asked a few times a minute.

    Args:
        weights: as `training.clicks` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        held = load_file(weights)
        self._layers = [
            (held[f"layer{n}.weight"], held[f"layer{n}.bias"]) for n in range(len(HIDDEN) + 1)
        ]

    def of(self, impulses: Float32) -> Float32:
        """Judge impulses [..., INPUTS]: log odds of being clicks, float32 [...]."""
        x = impulses
        for weight, bias in self._layers[:-1]:
            x = np.maximum(x @ weight + bias, 0)
        weight, bias = self._layers[-1]
        said: Float32 = (x @ weight + bias)[..., 0]
        return said

    def together(self, impulses: Sequence[Float32]) -> list[np.float32]:
        """As `of` for each of any number of impulses [INPUTS].

        That others are judged with it changes no bit of an answer.
        """
        # one row each: a product of several rows would round otherwise than those of one
        return list(self.of(np.stack(impulses)[:, None])[:, 0])


@made_once
def shared() -> Batcher[Float32, np.float32]:
    """The one net of this process, asked of impulses [INPUTS].

    What streams ask while it is busy is its next batch.
    """
    return Batcher(Clicks().together, AT_ONCE, 0.0)
