"""The net that tells what one of two frames in a row has corrupt (see `models/mends.py`).

It sees both as samples and as the statistics of `models/nets/corruption.py`, whose weights it began
with. 0.18 M parameters.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from models.mends import WEIGHTS
from models.nets import corruption
from models.nets.corruption import Convolution, Residual, statistics, surroundings

_RARE = -3.0  # log odds of a tile before anything is known


class MendsNet(nn.Module):
    """Log odds per tile of 16x16 luma samples."""

    def __init__(self) -> None:
        super().__init__()
        known = 2 * corruption.STATISTICS
        self.scale = nn.BatchNorm2d(known, affine=False)
        self.tile = nn.Sequential(Convolution(known, 64), Convolution(64, 40))
        self.stem = nn.Sequential(
            Convolution(3 * 16 + 2 * 8, 24, 3, 2), Residual(24), Convolution(24, 32, 3, 2)
        )
        self.both = Convolution(40 + 32, 48)
        self.dropout = nn.Dropout2d(corruption.DROPPED)
        self.around = nn.Sequential(*(Residual(48, dilation) for dilation in (1, 2, 4)))
        self.head = nn.Conv2d(48, 1, 1)
        nn.init.constant_(self.head.bias, _RARE)  # type: ignore[arg-type]

    def forward(
        self,
        one: Tensor,
        other: Tensor,
        color: Tensor,
        other_color: Tensor,
        *,
        turned: bool = False,
    ) -> Tensor:
        """Judge pairs of frames.

        Args:
            one: [N, 1, H, W], 8-bit limited-range code values of any dtype; H and W are multiples
                of 16.
            other: likewise, the frame before or after it.
            color: [N, 2, H/2, W/2], Cb and Cr of the one.
            other_color: likewise, of the other.
            turned: say as well what the other has corrupt and the one has not.

        Returns:
            [N, 1 or 2, H/16, W/16], log odds.
        """
        with torch.no_grad():
            one, other = one.float(), other.float()
            color, other_color = color.float() - 128, other_color.float() - 128
            of_one = statistics(one, other, color)
            of_other = statistics(other, one, other_color)
            level, other_level = (_samples(x - surroundings(x), 4) for x in (one, other))
            change = _samples(one - other, 4)
            hue, other_hue = _samples(color, 2), _samples(other_color, 2)
            known = torch.cat([of_one, of_other], 1)
            seen = torch.cat([level, other_level, change, hue, hue - other_hue], 1)
            if turned:
                back = [other_level, level, -change, other_hue, other_hue - hue]
                known = torch.cat([known, torch.cat([of_other, of_one], 1)])
                seen = torch.cat([seen, torch.cat(back, 1)])
        scaled = self.scale(known).clamp(-corruption.FAR, corruption.FAR)
        x = torch.cat([self.tile(scaled), self.stem(seen)], 1)
        made: Tensor = self.head(self.around(self.dropout(self.both(x))))
        return torch.cat(made.chunk(2), 1) if turned else made


def _samples(x: Tensor, size: int) -> Tensor:
    return functional.pixel_unshuffle(x / corruption.CONTRAST, size)


def save(net: MendsNet, weights: Path = WEIGHTS) -> None:
    """Write a net so that `load` can read it."""
    weights.parent.mkdir(exist_ok=True)
    save_file({k: v.contiguous().cpu() for k, v in net.state_dict().items()}, weights)


def load(weights: Path = WEIGHTS) -> MendsNet:
    """The trained net, for inference.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    net = MendsNet()
    net.load_state_dict(load_file(weights))
    return net.eval()
