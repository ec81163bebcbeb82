"""Small nets over windows of sound that follow each other: dilated convolutions, in numpy.

They are too small to load torch for. `training/dilated.py` is what they are fitted as.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

BUCKET = 8  # windows, of which a stretch has a multiple: half a second at 48 kHz and 30 are 56


class Dilated:
    """A layer of each window, dilated convolutions that add to it, and a layer of what came of it.

    Args:
        held: weights, by name, as `training.dilated.weights` gives them.
        dilations: of the convolutions, three taps each.
    """

    def __init__(self, held: Mapping[str, Float32], dilations: Sequence[int]) -> None:
        self._first = held["first.weight"], held["first.bias"]
        self._blocks = [
            (held[f"block{n}.weight"], held[f"block{n}.bias"], dilation)
            for n, dilation in enumerate(dilations)
        ]
        self._head = held["head.weight"], held["head.bias"]

    def of(self, windows: Float32, there: Float32 | None = None) -> Float32:
        """Judge windows [..., F, inputs], of which F follow each other: [..., F, outputs].

        An output depends on as many windows before and after as the dilations sum up to; beyond the
        ends there is nothing.

        Args:
            windows: what the net takes.
            there: [..., F, 1], 0 for those that are beyond the end; None: all are there.
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
        """As `of` for each of any number of windows [F, inputs].

        They are filled up to a multiple of BUCKET windows, and those of one length share the work.
        What they share changes no bit of the answers.
        """
        alike: dict[int, list[int]] = {}
        for n, windows in enumerate(asked):
            alike.setdefault(-(-len(windows) // BUCKET) * BUCKET, []).append(n)
        said: dict[int, Float32] = {}
        for length, numbers in alike.items():
            filled = np.zeros((len(numbers), length, asked[numbers[0]].shape[1]), np.float32)
            there = np.zeros((len(numbers), length, 1), np.float32)
            for place, n in enumerate(numbers):
                filled[place, : len(asked[n])], there[place, : len(asked[n])] = asked[n], 1
            for n, odds in zip(numbers, self.of(filled, there), strict=True):
                said[n] = odds[: len(asked[n])]
        return [said[n] for n in range(len(asked))]
