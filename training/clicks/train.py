"""Fitting the net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training import run
from training.clicks.dataset import NONE, Examples
from training.clicks.net import ClickNet

_GRAIN = 0.02  # noise on what the net takes
_WARM, _SAVED_EVERY = 50, 250  # steps


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, in batches of impulses."""

    batch: int = 256
    rate: float = 1e-3
    decay: float = 1e-2


def fit(
    examples: Examples,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> ClickNet:
    """Fit a net, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    net = ClickNet().to(device)
    impulses = torch.from_numpy(examples.impulses)
    right = torch.from_numpy((examples.severity != NONE).astype(np.float32))

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, step])
        drawn = torch.from_numpy(rng.integers(len(right), size=recipe.batch))
        grain = rng.normal(0, _GRAIN, (recipe.batch, impulses.shape[1])).astype(np.float32)
        seen = (impulses[drawn] + torch.from_numpy(grain)).to(device)
        return functional.binary_cross_entropy_with_logits(net(seen), right[drawn].to(device))

    return run.descend(
        net, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )
