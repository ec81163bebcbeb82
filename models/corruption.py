"""The net that sees corrupted blocks and coarse quantisation, per tile of 16x16 luma samples.

Fully convolutional, on native resolution: rescaling would hide the structure of blocks. It sees a
frame, the one before it (damage appears between two frames, and its trails follow motion) and the
colour differences. Small enough for a CPU: 0.27 M parameters, 2.9 GMAC for 1920x1080.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

HEADS = ("corruption", "blockiness")
WEIGHTS = Path(__file__).parent / "weights/corruption.safetensors"
_FINE, _COARSE = 32, 64  # channels at 1/8 and at 1/16 of the resolution
_DILATIONS = (1, 2, 4)
_GREY, _CONTRAST, _CHANGE, _COLOR = 128.0, 64.0, 32.0, 32.0  # code values, to numbers around one


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(y)))


class CorruptionNet(nn.Module):
    """Logits per tile.

    Args:
        temporal: it sees the frame before; else that is ignored.
    """

    def __init__(self, temporal: bool = True) -> None:
        super().__init__()
        self.temporal = temporal
        channels = 16 + 16 + 8
        self.stem = nn.Conv2d(channels, _FINE, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(_FINE)
        self.fine = _Residual(_FINE)
        self.down = nn.Conv2d(_FINE, _COARSE, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(_COARSE)
        self.coarse = nn.Sequential(*(_Residual(_COARSE, dilation) for dilation in _DILATIONS))
        self.head = nn.Conv2d(_COARSE, len(HEADS), 1)

    def forward(self, luma: Tensor, before: Tensor, chroma: Tensor) -> Tensor:
        """Score frames.

        Args:
            luma: [N, 1, H, W], 8-bit limited-range code values of any dtype; H and W are multiples
                of 16 (see `padded`).
            before: as luma: the frame before, the same where there is none.
            chroma: [N, 2, H/2, W/2], Cb and Cr.

        Returns:
            [N, 2, H/16, W/16], a logit for each of HEADS.
        """
        dtype = self.stem.weight.dtype
        now = luma.to(dtype)
        change = (now - before.to(dtype)) / _CHANGE
        if not self.temporal:
            change = torch.zeros_like(change)
        x = torch.cat(
            [
                functional.pixel_unshuffle((now - _GREY) / _CONTRAST, 4),
                functional.pixel_unshuffle(change, 4),
                functional.pixel_unshuffle((chroma.to(dtype) - _GREY) / _COLOR, 2),
            ],
            dim=1,
        )
        x = functional.relu(self.stem_norm(self.stem(x)))
        x = self.fine(x)
        x = functional.relu(self.down_norm(self.down(x)))
        logits: Tensor = self.head(self.coarse(x))
        return logits


def padded(planes: Tensor, multiple: int) -> Tensor:
    """Planes [N, C, H, W] extended by their last row and column to multiples of a size."""
    down, right = -planes.shape[2] % multiple, -planes.shape[3] % multiple
    if not down and not right:
        return planes
    # replication is not implemented for integers
    rows = planes[:, :, -1:].expand(-1, -1, down, -1)
    tall = torch.cat([planes, rows], dim=2)
    return torch.cat([tall, tall[:, :, :, -1:].expand(-1, -1, -1, right)], dim=3)


def save(net: CorruptionNet, weights: Path = WEIGHTS) -> None:
    """Write a net so that `load` can read it."""
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    state["temporal"] = torch.tensor(net.temporal)
    weights.parent.mkdir(exist_ok=True)
    save_file(state, weights)


def load(weights: Path = WEIGHTS) -> CorruptionNet:
    """The trained net, for inference.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    state = load_file(weights)
    net = CorruptionNet(bool(state.pop("temporal").item()))
    net.load_state_dict(state)
    return net.eval()
