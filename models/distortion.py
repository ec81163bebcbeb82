"""The net that hears whether sound was bent, cut off or coded with far too few bits.

It takes what is measured of each window of about 43 ms anyway: how level and flatness go over the
bands of the ear, and how the samples of the wave are spread. It knows nothing of what the sound was
like before; compare with a moment earlier and later.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.batcher import Batcher, made_once

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/distortion.safetensors"
FAULTS = ("overdriven", "starved", "clipped")  # what the outputs of the net stand for
BANDS = 96
FIGURES, BINS = 4, 16  # of the wave: see pipeline/measure/wave.py
INPUTS = 2 * BANDS + FIGURES - 1 + BINS
REACH = 15  # sum of DILATIONS: windows before and after, on which an output depends
_LOWEST, _HIGHEST, _BEND = 40.0, 16_000.0, 3.2  # Hz; how much denser bands lie below
_LEAST = 1e-11  # power
CHANNELS, DILATIONS = 64, (1, 2, 4, 8)
AT_ONCE = 8  # stretches of sound in a batch
BUCKET = 8  # windows, of which a stretch has a multiple: half a second at 48 kHz and REACH is 56


@cache
def _edges(highest: float, count: int) -> npt.NDArray[np.int64]:
    """[BANDS + 1] indices of bins at which bands begin; a band has one bin at least."""
    even = np.linspace(0, 1, BANDS + 1)
    hertz = _LOWEST + (_HIGHEST - _LOWEST) * np.expm1(even * _BEND) / np.expm1(_BEND)
    return np.asarray(np.searchsorted(np.linspace(0, highest, count), hertz), np.int64)


def rows(power: Float32, highest: float, wave: Float32) -> Float32:
    """What the net takes of windows.

    Args:
        power: [F, B] as in Spectra.
        highest: frequency of the last bin, Hz.
        wave: [F, 4 + BINS] as in Spectra.

    Returns:
        [F, INPUTS].
    """
    edges = _edges(highest, power.shape[1])
    first = np.minimum(edges[:-1], power.shape[1] - 1)
    # reduceat sums single bins where a band is empty: so are its edges set
    last = np.minimum(np.maximum(edges[1:], first + 1), power.shape[1])
    width = (last - first).astype(np.float32)
    floored = np.concatenate([power + np.float32(_LEAST), np.zeros((len(power), 1), np.float32)], 1)
    logs = np.log10(np.maximum(floored, _LEAST))
    pairs = np.stack([first, last], 1).ravel()
    level = np.log10(np.add.reduceat(floored, pairs, axis=1)[:, ::2] / width)
    flatness = np.add.reduceat(logs, pairs, axis=1)[:, ::2] / width - level
    there = edges[:-1] < power.shape[1]
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


class Distortion:
    """The trained net, in numpy: it is too small to load torch for.

    Args:
        weights: as `training.distortion` writes them.

    Raises:
        FileNotFoundError: there are no weights there.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        held = load_file(weights)
        self._first = held["first.weight"], held["first.bias"]
        self._blocks = [
            (held[f"block{n}.weight"], held[f"block{n}.bias"], dilation)
            for n, dilation in enumerate(DILATIONS)
        ]
        self._head = held["head.weight"], held["head.bias"]

    def of(self, windows: Float32, there: Float32 | None = None) -> Float32:
        """Judge windows [..., F, INPUTS], of which F follow each other: log odds [..., F, 3].

        An output depends on REACH windows before and after; beyond the ends there is nothing.

        Args:
            windows: see `rows`.
            there: [..., F, 1], 0 for those that are beyond the end; None: all are there.

        Returns:
            float32, a column for each of FAULTS.
        """
        weight, bias = self._first
        x = np.maximum(windows @ weight + bias, 0)
        if there is not None:
            x *= there
        for weight, bias, dilation in self._blocks:
            held = np.pad(x, (*[(0, 0)] * (x.ndim - 2), (dilation, dilation), (0, 0)))
            taps = [held[..., n * dilation : n * dilation + x.shape[-2], :] for n in range(3)]
            x = x + np.maximum(np.concatenate(taps, axis=-1) @ weight + bias, 0)
            if there is not None:
                x *= there
        weight, bias = self._head
        said: Float32 = x @ weight + bias
        return said

    def together(self, asked: Sequence[Float32]) -> list[Float32]:
        """As `of` for each of any number of windows [F, INPUTS].

        They are filled up to a multiple of BUCKET windows, and those of one length share the work.
        What they share changes no bit of the answers.
        """
        alike: dict[int, list[int]] = {}
        for n, windows in enumerate(asked):
            alike.setdefault(-(-len(windows) // BUCKET) * BUCKET, []).append(n)
        said: dict[int, Float32] = {}
        for length, numbers in alike.items():
            filled = np.zeros((len(numbers), length, INPUTS), np.float32)
            there = np.zeros((len(numbers), length, 1), np.float32)
            for place, n in enumerate(numbers):
                filled[place, : len(asked[n])], there[place, : len(asked[n])] = asked[n], 1
            for n, odds in zip(numbers, self.of(filled, there), strict=True):
                said[n] = odds[: len(asked[n])]
        return [said[n] for n in range(len(asked))]


@made_once
def shared() -> Batcher[Float32, Float32]:
    """The one net of this process, asked of windows [F, INPUTS].

    What streams ask while it is busy is its next batch.
    """
    return Batcher(Distortion().together, AT_ONCE, 0.0)
