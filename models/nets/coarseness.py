"""The net that tells how coarsely a picture was quantised (see `models/coarseness.py`).

Steps on a grid, ringing, texture that is gone and the patterns of few coefficients all count, so
that deblocked and rescaled pictures are told as well, of which no grid is left. 51 thousand
parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.batcher import made_once
from models.coarseness import CROP, FINEST, OCTAVE, WEIGHTS, places

_SHUFFLED = 4  # samples a side that become channels
_CHANNELS = (24, 40, 48, 48)
_CONTRAST = 4.0  # code values, above which contrast counts by its logarithm
_MOST_WORTH = 6.0  # logarithm


class CoarsenessNet(nn.Module):
    """Crops to estimates."""

    def __init__(self) -> None:
        super().__init__()
        taken = _SHUFFLED**2
        layers: list[nn.Module] = []
        for n, given in enumerate(_CHANNELS):
            stride = 2 if n == 1 else 1
            layers += [
                nn.Conv2d(taken, given, 3, stride, 1, bias=False),
                nn.BatchNorm2d(given),
                nn.ReLU(),
            ]
            taken = given
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(taken, 2, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """Judge crops.

        Args:
            crops: [N, 64, 64], luma code values of any dtype.

        Returns:
            [N, 2]: the quantiser, (QP - 20) / 8, and the logarithm of what that is worth.
        """
        x = crops.float()[:, None]
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x.sign() * torch.log1p(x.abs() / _CONTRAST)
        said = self.head(self.body(functional.pixel_unshuffle(x, _SHUFFLED)))
        value, worth = said.flatten(2).unbind(1)
        worth = worth.clamp(-_MOST_WORTH, _MOST_WORTH)
        mean = (value * worth.softmax(1)).sum(1)
        return torch.stack([mean, torch.logsumexp(worth, 1) - np.log(worth.shape[1])], 1)

    def fused(self) -> CoarsenessNet:
        """For inference: the normalisation folded into the convolutions."""
        layers: list[nn.Module] = []
        for layer in self.body:
            if isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(cast(nn.Conv2d, layers[-1]), layer)
            else:
                layers.append(layer)
        self.body = nn.Sequential(*layers)
        return self


class DeviceCoarseness:
    """The trained net on the device that frames lie on.

    Raises:
        FileNotFoundError: there are no weights.
    """

    def __init__(self, device: str) -> None:
        self._net = load().fused().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def of(self, luma: Tensor) -> Tensor:
        """Judge frames; nothing leaves the device and nobody waits.

        Args:
            luma: uint8 [K, H, W].

        Returns:
            float32 [K, C, 2], of each as `models.coarseness.Coarseness.of_plane`.
        """
        at = places(*luma.shape[1:])
        if not at:
            return luma.new_empty((len(luma), 0, 2), dtype=torch.float32)
        crops = torch.stack([luma[:, y : y + CROP, x : x + CROP] for y, x in at], 1)
        with torch.inference_mode():
            value, worth = self._net(crops.flatten(0, 1)).unbind(1)
        return torch.stack([FINEST + OCTAVE * value, worth], 1).view(len(luma), len(at), 2)


@made_once
def shared(device: str) -> DeviceCoarseness:
    """The one of this process for a device."""
    return DeviceCoarseness(device)


def save(net: CoarsenessNet, weights: Path = WEIGHTS) -> None:
    """Write a net so that `load` can read it."""
    weights.parent.mkdir(exist_ok=True)
    save_file({k: v.contiguous().cpu() for k, v in net.state_dict().items()}, weights)


def load(weights: Path = WEIGHTS) -> CoarsenessNet:
    """The trained net, for inference.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    net = CoarsenessNet()
    net.load_state_dict(load_file(weights))
    return net.eval()
