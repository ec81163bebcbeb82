"""Finding faces in frames: where they are and where their mouths are.

The net, CenterFace, is in `models/nets/faces.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import maximum_filter

from models.graph import SUFFIX, Graph

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/faces.safetensors"
MULTIPLE = 32  # the net's coarsest grid
SCORE = 0.5  # CenterFace's own threshold
_OVERLAP = 0.3  # intersection over union of two boxes that are one face, as CenterFace has it
_STRIDE = 4  # samples to a score


@dataclass(frozen=True)
class Face:
    """A face in samples of the frame that was searched.

    Attributes:
        x, y, width, height: of the box around it.
        score: 0 to 1.
        mouth: x, y of the middle between the corners of the mouth.
    """

    x: float
    y: float
    width: float
    height: float
    score: float
    mouth: tuple[float, float]

    @property
    def size(self) -> float:
        """Side of a square as large as the box."""
        return float(np.sqrt(self.width * self.height))


class FaceFinder:
    """Finds the faces of frames, in batches.

    Args:
        device: "cpu", or one that torch knows.
        long_side: samples of the longer side of what the net sees; frames are reduced to it, never
            enlarged. A face should be about 24 samples wide then.
    """

    def __init__(self, device: str = "cpu", *, long_side: int = 416) -> None:
        self.long_side = long_side
        self._net: Callable[[Float32], list[Float32]]
        if device == "cpu":
            self._net = Graph(WEIGHTS.with_suffix(SUFFIX))
        else:
            from models.nets.faces import DeviceFaces  # noqa: PLC0415 - torch takes two seconds

            self._net = DeviceFaces(device)

    def find(
        self, frames: Sequence[tuple[npt.NDArray[np.uint8], ...]], score: float = SCORE
    ) -> list[list[Face]]:
        """The faces of each frame, the surest first.

        Args:
            frames: luma [H, W], Cb and Cr [H/2, W/2] of each, limited range, of any sizes; those
                that the net sees at the same size, padded, are one batch.
            score: the least.
        """
        found: dict[int, list[Face]] = {}
        seen = [self._seen(frame) for frame in frames]
        buckets: dict[tuple[int, ...], list[int]] = {}
        for n, (rgb, _) in enumerate(seen):
            buckets.setdefault(rgb.shape, []).append(n)
        for numbers in buckets.values():
            outputs = self._net(np.stack([seen[n][0] for n in numbers]))
            for n, *own in zip(numbers, *outputs, strict=True):
                found[n] = _decoded(own, seen[n][1], score)
        return [found[n] for n in range(len(frames))]

    def _seen(self, frame: tuple[npt.NDArray[np.uint8], ...]) -> tuple[Float32, float]:
        """RGB [3, h, w] at the size that the net sees, and how much smaller that is."""
        height, width = frame[0].shape
        ratio = min(1.0, self.long_side / max(height, width))
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        # the mean of what a sample stands for; colour of a frame that is not reduced is repeated
        method = Image.Resampling.BOX if ratio < 1 else Image.Resampling.NEAREST
        luma, cb, cr = (
            np.asarray(Image.fromarray(plane).resize(size, method), np.float32) for plane in frame
        )
        luma = (luma - 16) * (255 / 219)
        cb, cr = (cb - 128) * (255 / 224), (cr - 128) * (255 / 224)
        # BT.601: the net does not mind which matrix a frame was made with
        rgb = luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb
        padding = [(0, 0), *((0, -length % MULTIPLE) for length in luma.shape)]
        return np.pad(np.stack(rgb).clip(0, 255), padding), ratio


def _decoded(outputs: Sequence[Float32], ratio: float, least: float) -> list[Face]:
    """Faces of one picture, as `models.nets.faces.FaceNet` tells of them."""
    (heat,), scale, offset, landmarks = outputs
    # a face is the highest of the scores around it; nearly always that leaves one box of each
    rows, columns = np.nonzero((heat > least) & (heat == maximum_filter(heat, 3)))
    score = heat[rows, columns]
    height, width = np.exp(scale[:, rows, columns]) * _STRIDE
    top = (rows + offset[0, rows, columns] + 0.5) * _STRIDE - height / 2
    left = (columns + offset[1, rows, columns] + 0.5) * _STRIDE - width / 2
    corners = landmarks[6:, rows, columns].reshape(2, 2, -1).mean(axis=0)  # y, x in boxes
    mouth_y, mouth_x = corners * (height, width) + (top, left)
    boxes = np.stack([left, top, width, height, mouth_x, mouth_y], axis=1) / ratio
    return [
        Face(x, y, w, h, float(score[n]), (mouth_x, mouth_y))
        for n in _apart(boxes, score)
        for x, y, w, h, mouth_x, mouth_y in [boxes[n].tolist()]
    ]


def _apart(boxes: npt.NDArray[np.floating], score: Float32) -> list[int]:
    """Numbers of the boxes (x, y, width, height, ...) that are faces of their own, surest first."""
    left, top, width, height = boxes[:, :4].T
    right, bottom, area = left + width, top + height, width * height
    kept: list[int] = []
    for n in np.argsort(-score, kind="stable"):
        across = np.minimum(right[n], right[kept]) - np.maximum(left[n], left[kept])
        down = np.minimum(bottom[n], bottom[kept]) - np.maximum(top[n], top[kept])
        shared = across.clip(0) * down.clip(0)
        if not (shared > _OVERLAP * (area[n] + area[kept] - shared)).any():
            kept.append(int(n))
    return kept
