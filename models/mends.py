"""What one of two frames in a row has corrupt and the other has not, told by a net.

Damage that was encoded again leaves a flawless stream: only the picture tells. It comes and goes
from one frame to the next, while what moves, and what is laid over a picture, looks after it as it
did before. So a frame is not judged by itself (some content looks corrupt) but against the one
beside it. The net (`models/nets/mends.py`) is asked in both directions: what the later frame has
corrupt and the earlier one has not has begun, the other way round it was mended.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.batcher import made_once
from models.graph import SUFFIX, Graph

WEIGHTS = Path(__file__).parent / "weights/mends.safetensors"
TILE = 16  # luma samples
_LEAST = 2  # tiles a side of what the net sees

Plane = npt.NDArray[np.uint8]
Planes = tuple[Plane, Plane, Plane]
Float32 = npt.NDArray[np.float32]


class Mends:
    """The trained net, for many threads; a window of 320x320 takes 17 ms of an AMD EPYC.

    Raises:
        FileNotFoundError: there is no graph of it.
    """

    def __init__(self) -> None:
        self._net = Graph(WEIGHTS.with_suffix(SUFFIX))

    def of(self, before: Planes, after: Planes) -> Float32:
        """Judge two frames in a row, or the same window of both.

        Args:
            before: luma [H, W] in limited range, Cb and Cr [H/2, W/2], rounded up.
            after: likewise.

        Returns:
            [2, tile rows, tile columns]: log odds that damage begins there, and that it is mended.
        """
        rows, columns = (-(-side // TILE) for side in before[0].shape)
        size = max(rows, _LEAST) * TILE, max(columns, _LEAST) * TILE
        half = size[0] // 2, size[1] // 2
        luma, other = (_fitted(planes[:1], size) for planes in (after, before))
        color, other_color = (_fitted(planes[1:], half) for planes in (after, before))
        (made,) = self._net(luma, other, color, other_color)
        return made[:, :rows, :columns]


def _fitted(planes: tuple[Plane, ...], size: tuple[int, int]) -> Plane:
    """Planes extended by their last row and column, or cut, to a size: [1, planes, *size]."""
    made = np.stack([plane[: size[0], : size[1]] for plane in planes])
    room = [(0, 0), *((0, most - side) for most, side in zip(size, made.shape[1:], strict=True))]
    return np.pad(made, room, "edge")[None]


@made_once
def shared() -> Mends:
    """The one of this process."""
    return Mends()
