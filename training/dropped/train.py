"""Fitting the nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from models.dropped import FIGURES, HIDDEN, SPREAD, WEIGHTS
from training import run
from training.dropped.dataset import Examples

_NETS = 4  # whose mean is taken
_DROPPED_OUT = (0.1, 0.4)  # of the figures, and of what the layers say
_NOISE, _SMOOTHED = 0.08, 0.01  # standard deviations of a figure; how unsure the answers are
_NONE = 0.6  # share of a batch that is no missing frame
_WARM, _SAVED_EVERY = 20, 200  # steps


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, in batches of candidates."""

    batch: int = 512
    rate: float = 4e-3
    decay: float = 0.1


class _One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = (FIGURES, *HIDDEN, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.first, self.then = (nn.Dropout(share) for share in _DROPPED_OUT)

    def forward(self, figure: Tensor) -> Tensor:
        x = self.first(figure)
        for layer in list(self.layers)[:-1]:
            x = self.then(layer(x).relu())
        made: Tensor = self.layers[-1](x)[:, 0]
        return made


class DroppedNets(nn.Module):
    """Figures of candidates [N, FIGURES] to log odds [nets, N] that frames are missing.

    Args:
        figure: [M, FIGURES] of those that it is fitted on, for their scale.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, figure: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(_One() for _ in range(_NETS))
        self.register_buffer("centre", torch.from_numpy(np.median(figure, axis=0)))
        self.register_buffer("scale", torch.from_numpy(1 / (figure.std(axis=0) + 1e-3)))

    def forward(self, figure: Tensor) -> Tensor:
        """Log odds by each net."""
        x = ((figure - self.centre) * self.scale).clip(-SPREAD, SPREAD)
        if self.training:
            x = x + _NOISE * torch.randn_like(x)
        return torch.stack([net(x) for net in self.nets])


def shares(examples: Examples) -> npt.NDArray[np.float64]:
    """Chances [N] of being drawn: no source is most of a batch, nor is one sort of answer."""
    share = np.zeros(len(examples.missing))
    for is_missing, whole in ((True, 1 - _NONE), (False, _NONE)):
        of_kind = (examples.missing > 0) == is_missing
        for source in np.unique(examples.source):
            some = of_kind & (examples.source == source)
            share[some] = max(some.sum(), 1) ** -0.5
        share[of_kind] *= whole / share[of_kind].sum()
    made: npt.NDArray[np.float64] = share / share.sum()
    return made


def fit(
    examples: Examples,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> DroppedNets:
    """Fit the nets, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    nets = DroppedNets(examples.figure).to(device)
    figure = torch.from_numpy(examples.figure)
    right = torch.from_numpy((examples.missing > 0).astype(np.float32))
    share = shares(examples)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, step])
        drawn = torch.from_numpy(rng.choice(len(share), recipe.batch, p=share))
        wanted = right[drawn].clip(_SMOOTHED, 1 - _SMOOTHED).to(device).expand(_NETS, -1)
        # the sum, so that each net learns as it would alone
        return _NETS * functional.binary_cross_entropy_with_logits(
            nets(figure[drawn].to(device)), wanted
        )

    return run.descend(
        nets, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )


def save(nets: DroppedNets, path: Path = WEIGHTS) -> None:
    """Write the nets for models.dropped."""
    held = {"centre": nets.centre, "scale": nets.scale}
    for n in range(len(HIDDEN) + 1):
        layers = [cast(nn.Linear, cast(_One, net).layers[n]) for net in nets.nets]
        held[f"layer{n}.weight"] = torch.stack([layer.weight.T for layer in layers])
        held[f"layer{n}.bias"] = torch.stack([layer.bias for layer in layers])[:, None]
    path.parent.mkdir(exist_ok=True)
    save_file({name: one.detach().contiguous().cpu() for name, one in held.items()}, path)
