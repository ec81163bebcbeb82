"""The net that tells how coarsely a picture was quantised, whatever codec did it, from its samples.

It sees crops of native resolution (rescaling would hide what it looks for) and gives for each an
estimate on the scale of H.264's quantiser (QP) and how much that is worth: a flat crop tells
nothing. Steps on a grid, ringing, texture that is gone and the patterns of few coefficients all
count, so that deblocked and rescaled pictures are told as well, of which no grid is left. What a
picture was like before is not known to it: compare crops with the same places a moment earlier.

51 thousand parameters; 16 crops, as many as one look at a frame has, take a core 1.3 to 2.2 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.batcher import Batcher, made_once
from models.threads import single_threaded

WEIGHTS = Path(__file__).parent / "weights/coarseness.safetensors"
CROP = 64  # luma samples a side
ACROSS, DOWN = 4, 4  # crops of a look
# Looks of a batch. Threads that ask at the same time take 2.0 ms of CPU for each in place of 3.5
# (16 threads on 2 cores), more at once gain nothing.
_AT_ONCE = 4
FINEST, OCTAVE = 20.0, 8.0  # QP that counts as 0, and QP to numbers around one
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


@cache
def places(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Top and left of the crops of a look, the same in every frame; none where it is too small."""
    if height < CROP or width < CROP:
        return ()
    rows = ((np.arange(DOWN) + 0.5) / DOWN * (height - CROP)).astype(int)
    columns = ((np.arange(ACROSS) + 0.5) / ACROSS * (width - CROP)).astype(int)
    return tuple((int(y), int(x)) for y in rows for x in columns)


class Coarseness:
    """The trained net on one device, for many threads.

    Raises:
        FileNotFoundError: there are no weights.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._net = load().fused().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # nobody waits for others: what is asked while the net is busy is its next batch
        self._looks: Batcher[npt.NDArray[np.uint8], npt.NDArray[np.float32]] = Batcher(
            self._together, _AT_ONCE, 0.0
        )

    def of(self, luma: Tensor) -> Tensor:
        """Judge frames that lie on the device of the net; nothing leaves it and nobody waits.

        Args:
            luma: uint8 [K, H, W].

        Returns:
            float32 [K, C, 2] for each of `places`: QP, and the logarithm of what that is worth.
        """
        at = places(*luma.shape[1:])
        if not at:
            return luma.new_empty((len(luma), 0, 2), dtype=torch.float32)
        crops = torch.stack([luma[:, y : y + CROP, x : x + CROP] for y, x in at], 1)
        with torch.inference_mode():
            made: Tensor = self._net(crops.flatten(0, 1))
        return _on_scale(made).view(len(luma), len(at), 2)

    def of_plane(self, luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Judge a frame [H, W] on the CPU, with those of other threads: float32 [C, 2], as `of`."""
        at = places(*luma.shape)
        if not at:
            return np.empty((0, 2), np.float32)
        return self._looks.ask(np.stack([luma[y : y + CROP, x : x + CROP] for y, x in at]))

    def _together(
        self, looks: Sequence[npt.NDArray[np.uint8]]
    ) -> Sequence[npt.NDArray[np.float32]]:
        """Judge crops [C, 64, 64] of each look; the batch changes no bit of the answers."""
        with single_threaded(), torch.inference_mode():
            made = _on_scale(self._net(torch.from_numpy(np.concatenate(looks)))).numpy()
        return np.split(made, len(looks))


def _on_scale(said: Tensor) -> Tensor:
    """With the quantiser as QP."""
    return torch.stack([FINEST + OCTAVE * said[:, 0], said[:, 1]], 1)


@made_once
def shared(device: str) -> Coarseness:
    """The one net of this process for a device."""
    return Coarseness(device)


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
