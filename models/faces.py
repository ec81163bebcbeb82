"""Finding faces in frames: where they are and where their mouths are.

The net is CenterFace (Y. Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as
Point", 2019, arXiv:1911.03599), a MobileNetV2 with a pyramid of features and one score per 4x4
samples, converted from the published ONNX file; see `weights/faces.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = Path(__file__).parent / "weights/faces.safetensors"
MULTIPLE = 32  # the net's coarsest grid
SCORE = 0.5  # CenterFace's own threshold
_OVERLAP = 0.3  # intersection over union of two boxes that are one face, as CenterFace has it
_STRIDE = 4
_PYRAMID = 24  # channels
# expansion, channels, blocks, stride of the first (M. Sandler et al., MobileNetV2, 2018, table 2)
_BLOCKS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
_TAPS = (1, 2, 4, 6)  # groups whose output the pyramid reads


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


class _Block(nn.Module):
    def __init__(self, inside: int, expansion: int, outside: int, stride: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = nn.Conv2d(inside, wide, 1) if expansion > 1 else None
        self.depth = nn.Conv2d(wide, wide, 3, stride=stride, padding=1, groups=wide)
        self.project = nn.Conv2d(wide, outside, 1)
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else functional.relu(self.expand(x))
        y = self.project(functional.relu(self.depth(y)))
        made: Tensor = x + y if self.residual else y
        return made


class FaceNet(nn.Module):
    """CenterFace with its normalisation folded in."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        groups, channels = [], 32
        for expansion, outside, count, stride in _BLOCKS:
            blocks = [
                _Block(channels if n == 0 else outside, expansion, outside, stride if n == 0 else 1)
                for n in range(count)
            ]
            groups.append(nn.Sequential(*blocks))
            channels = outside
        self.groups = nn.ModuleList(groups)
        self.deepest = nn.Conv2d(320, _PYRAMID, 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(_PYRAMID, _PYRAMID, 2, stride=2) for _ in range(3)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(c, _PYRAMID, 1) for c in (96, 32, 24))
        self.smooth = nn.Conv2d(_PYRAMID, _PYRAMID, 3, padding=1)
        self.score = nn.Conv2d(_PYRAMID, 1, 1)
        self.scale = nn.Conv2d(_PYRAMID, 2, 1)
        self.offset = nn.Conv2d(_PYRAMID, 2, 1)
        self.landmarks = nn.Conv2d(_PYRAMID, 10, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score pictures.

        Args:
            rgb: [N, 3, H, W], 0 to 255; H and W are multiples of 32.

        Returns:
            Of each 4x4 samples: score [N, 1, H/4, W/4] from 0 to 1; logarithms of height and width
            in strides [N, 2, ...]; offset of the centre, y and x [N, 2, ...]; y and x of five
            landmarks in boxes [N, 10, ...], the corners of the mouth last.
        """
        x = functional.relu(self.stem(rgb))
        taps = []
        for n, group in enumerate(self.groups):
            x = group(x)
            if n in _TAPS:
                taps.append(x)
        x = functional.relu(self.deepest(taps.pop()))
        for up, lateral in zip(self.ups, self.laterals, strict=True):
            x = functional.relu(up(x)) + functional.relu(lateral(taps.pop()))
        x = functional.relu(self.smooth(x))
        return self.score(x).sigmoid(), self.scale(x), self.offset(x), self.landmarks(x)


def load(weights: Path = WEIGHTS) -> FaceNet:
    """The net, for inference, in float32."""
    net = FaceNet()
    net.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    return net.eval()


class FaceFinder:
    """Finds the faces of frames, in batches.

    Args:
        device: "auto" takes a GPU where there is one.
        long_side: samples of the longer side of what the net sees; frames are reduced to it, never
            enlarged. A face should be about 24 samples wide then.
    """

    def __init__(
        self, device: str = "auto", *, long_side: int = 416, weights: Path = WEIGHTS
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.long_side = long_side
        self._net = load(weights).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        with torch.inference_mode():
            seen = [self._seen(frame) for frame in frames]
            buckets: dict[torch.Size, list[int]] = {}
            for n, (rgb, _) in enumerate(seen):
                buckets.setdefault(rgb.shape, []).append(n)
            for numbers in buckets.values():
                batch = torch.cat([seen[n][0] for n in numbers])
                outputs = self._net(batch.contiguous(memory_format=torch.channels_last))
                for place, n in enumerate(numbers):
                    own = [one[place].float() for one in outputs]
                    found[n] = _decoded(own, seen[n][1], score)
        return [found[n] for n in range(len(frames))]

    def _seen(self, frame: tuple[npt.NDArray[np.uint8], ...]) -> tuple[Tensor, float]:
        """RGB [1, 3, h, w] at the size that the net sees, and how much smaller that is."""
        planes = [
            torch.from_numpy(np.ascontiguousarray(plane)).to(self.device)[None, None].float()
            for plane in frame
        ]
        height, width = planes[0].shape[2:]
        ratio = min(1.0, self.long_side / max(height, width))
        size = [max(1, round(height * ratio)), max(1, round(width * ratio))]
        luma, cb, cr = (
            functional.interpolate(p, size, mode="area" if ratio < 1 else "nearest") for p in planes
        )
        luma = (luma - 16) * (255 / 219)
        cb, cr = (cb - 128) * (255 / 224), (cr - 128) * (255 / 224)
        # BT.601: the net does not mind which matrix a frame was made with
        rgb = [luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb]
        whole = torch.cat(rgb, dim=1).clamp(0, 255)
        padding = (0, -whole.shape[3] % MULTIPLE, 0, -whole.shape[2] % MULTIPLE)
        return functional.pad(whole, padding), ratio


def _apart(boxes: Tensor, score: Tensor) -> Tensor:
    """Indices of boxes that are faces of their own, the surest first."""
    if len(score) == 1:
        return torch.zeros(1, dtype=torch.long, device=score.device)
    from torchvision.ops import nms  # noqa: PLC0415 - takes as long as torch itself

    kept: Tensor = nms(boxes, score, _OVERLAP)
    return kept


def _decoded(outputs: Sequence[Tensor], ratio: float, least: float) -> list[Face]:
    heat, scale, offset, landmarks = outputs
    # a face is the highest of the scores around it; nearly always that leaves one box of each
    highest = functional.max_pool2d(heat, 3, stride=1, padding=1)
    rows, columns = torch.nonzero((heat[0] > least) & (heat[0] == highest[0]), as_tuple=True)
    if not len(rows):
        return []
    score = heat[0, rows, columns]
    height, width = scale[:, rows, columns].exp() * _STRIDE
    top = (rows + offset[0, rows, columns] + 0.5) * _STRIDE - height / 2
    left = (columns + offset[1, rows, columns] + 0.5) * _STRIDE - width / 2
    boxes = torch.stack([left, top, left + width, top + height], dim=1)
    kept = _apart(boxes, score)
    points = landmarks[:, rows[kept], columns[kept]].T.reshape(-1, 5, 2)
    corners = points[:, 3:].mean(dim=1)  # y, x in boxes
    table = torch.stack(
        [
            left[kept],
            top[kept],
            width[kept],
            height[kept],
            score[kept] * ratio,
            corners[:, 1] * width[kept] + left[kept],
            corners[:, 0] * height[kept] + top[kept],
        ],
        dim=1,
    )
    return [
        Face(x, y, w, h, sure, (mouth_x, mouth_y))
        for x, y, w, h, sure, mouth_x, mouth_y in (table / ratio).tolist()
    ]
