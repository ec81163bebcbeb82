"""The net as it is fitted; models/clicks.py is what it comes to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.clicks import HIDDEN, INPUTS, WEIGHTS


class ClickNet(nn.Module):
    """Impulses to the log odds of being clicks."""

    def __init__(self, dropout: tuple[float, float] = (0.3, 0.2)) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(INPUTS)
        sizes = (INPUTS, *HIDDEN, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropouts = nn.ModuleList(nn.Dropout(share) for share in dropout)

    def forward(self, impulses: Tensor) -> Tensor:
        """Judge impulses [N, INPUTS]: [N]."""
        x: Tensor = self.norm(impulses)
        for layer, dropout in zip(self.layers, self.dropouts, strict=False):
            x = dropout(layer(x).relu())
        made: Tensor = self.layers[-1](x)[:, 0]
        return made


def save(net: ClickNet, weights: Path = WEIGHTS) -> None:
    """Write a net for models.clicks: normalisation folded in, a row for each input."""
    norm = net.norm
    with torch.no_grad():
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        shift = norm.bias - mean * scale
        held: dict[str, Tensor] = {}
        for n, one in enumerate(net.layers):
            layer = cast(nn.Linear, one)
            held[f"layer{n}.weight"], held[f"layer{n}.bias"] = layer.weight.T, layer.bias
        first = held["layer0.weight"]
        held["layer0.bias"] = held["layer0.bias"] + shift @ first
        held["layer0.weight"] = scale[:, None] * first
    weights.parent.mkdir(exist_ok=True)
    save_file({name: one.contiguous().cpu() for name, one in held.items()}, weights)
