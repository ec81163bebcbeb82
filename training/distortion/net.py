"""The net as it is fitted; models/distortion.py is what it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from models.distortion import CHANNELS, DILATIONS, FAULTS, INPUTS, WEIGHTS


class _Block(nn.Module):
    """A dilated convolution over time that adds to what comes in."""

    def __init__(self, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=dilation, dilation=dilation)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.dropout(functional.relu(self.norm(self.conv(x))))
        return x + added


class DistortionNet(nn.Module):
    """Windows to what is wrong with each."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(INPUTS)
        self.first = nn.Conv1d(INPUTS, CHANNELS, 1)
        self.blocks = nn.Sequential(*(_Block(dilation, dropout) for dilation in DILATIONS))
        self.head = nn.Conv1d(CHANNELS, len(FAULTS), 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Judge windows that follow each other.

        Args:
            windows: [N, INPUTS, F].

        Returns:
            [N, 3, F]: log odds of each of FAULTS.
        """
        made: Tensor = self.head(self.blocks(functional.relu(self.first(self.norm(windows)))))
        return made


def save(net: DistortionNet, weights: Path = WEIGHTS) -> None:
    """Write a net for models.distortion: normalisation folded in, a row for each input."""
    with torch.no_grad():
        scale, shift = _affine(net.norm)
        first = net.first.weight[:, :, 0]
        held = {
            "first.weight": (first * scale).T,
            "first.bias": cast(Tensor, net.first.bias) + first @ shift,
            "head.weight": net.head.weight[:, :, 0].T,
            "head.bias": cast(Tensor, net.head.bias),
        }
        for n, one in enumerate(net.blocks):
            block = cast(_Block, one)
            scale, shift = _affine(block.norm)
            taps = block.conv.weight.permute(2, 1, 0)  # tap, input, output
            held[f"block{n}.weight"] = (taps * scale).flatten(0, 1)
            held[f"block{n}.bias"] = cast(Tensor, block.conv.bias) * scale + shift
    weights.parent.mkdir(exist_ok=True)
    save_file({name: one.contiguous().cpu() for name, one in held.items()}, weights)


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """What a normalisation multiplies with and adds, once it is fitted."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale
