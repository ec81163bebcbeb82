"""Fitting the net that hears hiss, to scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.hiss import CHANNELS, DILATIONS, INPUTS, LEVEL, MEAN, THERE, WEIGHTS, inputs
from training import run
from training.dilated import DilatedNet, weights
from training.hiss.dataset import Scenes

CELLS = 120  # of a scene, 12 s
_WARM, _SAVED_EVERY = 100, 500  # steps
_SIZE = 1.0  # weight of the level against where the hiss is


class HissNet(DilatedNet):
    """Inputs of cells to log odds of hiss, and its level."""

    def __init__(self) -> None:
        super().__init__(INPUTS, CHANNELS, DILATIONS, 2)


def fit(
    scenes: Scenes,
    recipe: run.Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> HissNet:
    """Fit a net, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    net = HissNet().to(device)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, step])
        drawn = [scenes.draw(rng, CELLS) for _ in range(recipe.batch)]
        windows = torch.from_numpy(np.stack([inputs(one.cell).T for one in drawn])).to(device)
        there = torch.from_numpy(np.stack([one.there for one in drawn])).to(device)
        level = torch.tensor([one.level / 10 - MEAN for one in drawn], device=device)
        said = net(windows)
        right, asked = (there == 1).float(), (there >= 0).float()
        each = functional.binary_cross_entropy_with_logits(said[:, THERE], right, reduction="none")
        far = functional.smooth_l1_loss(
            said[:, LEVEL], level[:, None].expand_as(right).float(), reduction="none"
        )
        far_off = (far * right).sum() / (right.sum() + 1)
        return (each * asked).sum() / asked.sum() + _SIZE * far_off

    return run.descend(
        net, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )


def save(net: HissNet, path: Path = WEIGHTS) -> None:
    """Write a net for models.hiss."""
    path.parent.mkdir(exist_ok=True)
    save_file(weights(net), path)
