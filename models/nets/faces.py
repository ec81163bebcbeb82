"""The net that finds faces (see `models/faces.py`).

It is CenterFace (Y. Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as
Point", 2019, arXiv:1911.03599), a MobileNetV2 with a pyramid of features and one score per 4x4
samples, converted from the published ONNX file; see `weights/faces.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.faces import WEIGHTS

_PYRAMID = 24  # channels
# expansion, channels, blocks, stride of the first (M. Sandler et al., MobileNetV2, 2018, table 2)
_BLOCKS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
_TAPS = (1, 2, 4, 6)  # groups whose output the pyramid reads


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


class DeviceFaces:
    """The net on one device."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._net = load().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, rgb: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """As `FaceNet.forward`, of pictures on the host."""
        there = torch.from_numpy(rgb).to(self._device)
        with torch.inference_mode():
            made = self._net(there.contiguous(memory_format=torch.channels_last))
        return [one.cpu().numpy() for one in made]
