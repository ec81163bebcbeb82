"""Fitting the net: the quantiser where it is known, an upper limit where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.coarseness import FINEST, OCTAVE
from models.nets.coarseness import CoarsenessNet
from training import run
from training.coarseness.dataset import UNKNOWN, Examples

_LEAST_QP = 22.0  # finer is not told apart
_AS_IT_CAME = 28.0  # QP: what was left as it came is not said to be coarser
_HUBER = 0.3
_LIGHT = (0.7, 1.3)  # contrast, of full-range pictures as well
_WARM, _SAVED_EVERY = 200, 500  # steps


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, with larger batches of its small crops."""

    batch: int = 128
    decay: float = 1e-2


def loss_of(said: Tensor, qp: Tensor) -> Tensor:
    """Huber's, weighted by what the net says that its estimate is worth.

    That has the minimum where the logarithm of the worth is -log(error) - log 2: saying that
    nothing can be told has its price.
    """
    value, worth = said.unbind(1)
    wanted = (qp.clamp(min=_LEAST_QP) - FINEST) / OCTAVE
    off = functional.smooth_l1_loss(value, wanted, reduction="none", beta=_HUBER)
    above = functional.relu(value - (_AS_IT_CAME - FINEST) / OCTAVE)
    over = functional.smooth_l1_loss(above, torch.zeros_like(above), reduction="none", beta=_HUBER)
    known = qp != UNKNOWN
    return (torch.where(known, off, over) * worth.exp() - 0.5 * worth * known).mean()


def fit(
    examples: Examples,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> CoarsenessNet:
    """Fit a net, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    net = CoarsenessNet().to(device)

    def loss(step: int) -> Tensor:
        crops, qp = _batch(examples, recipe, step, device)
        return loss_of(net(crops), qp)

    return run.descend(
        net, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )


def _batch(
    examples: Examples, recipe: Recipe, step: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The draw of a step does not depend on the steps before."""
    rng = np.random.default_rng([recipe.seed, step])
    chosen = np.sort(rng.integers(0, len(examples.qp), recipe.batch))
    crops = torch.from_numpy(examples.crops[chosen]).to(device).float()
    if rng.random() < 0.5:
        crops = crops.flip(2)
    if rng.random() < 0.5:
        crops = crops.flip(1)
    if rng.random() < 0.3:
        crops = crops.transpose(1, 2)
    light = torch.from_numpy(rng.uniform(*_LIGHT, (len(crops), 1, 1)).astype(np.float32))
    return (crops - 128) * light.to(device) + 128, torch.from_numpy(examples.qp[chosen]).to(device)
