"""How coarsely a picture was quantised, whatever codec did it, told from its samples by a net.

It sees crops of native resolution (rescaling would hide what it looks for) and gives for each an
estimate on the scale of H.264's quantiser (QP) and how much that is worth: a flat crop tells
nothing. What a picture was like before is not known to it: compare crops with the same places a
moment earlier. The net itself is in `models/nets/coarseness.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.batcher import Batcher, made_once
from models.graph import SUFFIX, Graph

WEIGHTS = Path(__file__).parent / "weights/coarseness.safetensors"
CROP = 64  # luma samples a side
ACROSS, DOWN = 4, 4  # crops of a look
FINEST, OCTAVE = 20.0, 8.0  # QP that counts as 0, and QP to numbers around one
_AT_ONCE = 4  # looks of a batch


@cache
def places(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Top and left of the crops of a look, the same in every frame; none where it is too small."""
    if height < CROP or width < CROP:
        return ()
    rows = ((np.arange(DOWN) + 0.5) / DOWN * (height - CROP)).astype(int)
    columns = ((np.arange(ACROSS) + 0.5) / ACROSS * (width - CROP)).astype(int)
    return tuple((int(y), int(x)) for y in rows for x in columns)


class Coarseness:
    """The trained net on the CPU, for many threads.

    Raises:
        FileNotFoundError: there is no graph of it.
    """

    def __init__(self) -> None:
        self._net = Graph(WEIGHTS.with_suffix(SUFFIX))
        # nobody waits for others: what is asked while the net is busy is its next batch
        self._looks: Batcher[npt.NDArray[np.uint8], npt.NDArray[np.float32]] = Batcher(
            self.together, _AT_ONCE, 0.0
        )

    def of_plane(self, luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Judge a frame, with those of other threads.

        Args:
            luma: [H, W].

        Returns:
            [C, 2] for each of `places`: QP, and the logarithm of what that is worth.
        """
        at = places(*luma.shape)
        if not at:
            return np.empty((0, 2), np.float32)
        return self._looks.ask(np.stack([luma[y : y + CROP, x : x + CROP] for y, x in at]))

    def together(self, looks: Sequence[npt.NDArray[np.uint8]]) -> Sequence[npt.NDArray[np.float32]]:
        """Judge crops [C, 64, 64] of each look; the batch changes no bit of the answers."""
        (made,) = self._net(np.concatenate(looks))
        return np.split(on_scale(made), len(looks))


def on_scale(said: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the net says of crops, [N, 2], with the quantiser as QP."""
    scale, base = np.array([[OCTAVE, 1], [FINEST, 0]], np.float32)
    made: npt.NDArray[np.float32] = said * scale + base
    return made


@made_once
def shared() -> Coarseness:
    """The one of this process."""
    return Coarseness()
