"""Nets over windows of sound as they are fitted; models/dilated.py is what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Block(nn.Module):
    """A dilated convolution over time that adds to what comes in."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm = nn.BatchNorm1d(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.dropout(functional.relu(self.norm(self.conv(x))))
        return x + added


class DilatedNet(nn.Module):
    """Windows to what is said of each.

    Args:
        inputs, channels, outputs: of each window.
        dilations: of the convolutions.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        dilations: Sequence[int],
        outputs: int,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.first = nn.Conv1d(inputs, channels, 1)
        self.blocks = nn.Sequential(*(_Block(channels, one, dropout) for one in dilations))
        self.head = nn.Conv1d(channels, outputs, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Judge windows that follow each other.

        Args:
            windows: [N, inputs, F].

        Returns:
            [N, outputs, F].
        """
        made: Tensor = self.head(self.blocks(functional.relu(self.first(self.norm(windows)))))
        return made


def weights(net: DilatedNet) -> dict[str, Tensor]:
    """What models.dilated takes: normalisation folded in, a row for each input."""
    with torch.no_grad():
        scale, shift = affine(net.norm)
        first = net.first.weight[:, :, 0]
        held = {
            "first.weight": (first * scale).T,
            "first.bias": cast(Tensor, net.first.bias) + first @ shift,
            "head.weight": net.head.weight[:, :, 0].T,
            "head.bias": cast(Tensor, net.head.bias),
        }
        for n, one in enumerate(net.blocks):
            block = cast(_Block, one)
            scale, shift = affine(block.norm)
            taps = block.conv.weight.permute(2, 1, 0)  # tap, input, output
            held[f"block{n}.weight"] = (taps * scale).flatten(0, 1)
            held[f"block{n}.bias"] = cast(Tensor, block.conv.bias) * scale + shift
    return {name: one.contiguous().cpu() for name, one in held.items()}


def affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """What a normalisation multiplies with and adds, once it is fitted."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        return norm.weight * scale, norm.bias - mean * norm.weight * scale
    return scale, -mean * scale
