"""Fitting the net that hears lost packets, to scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.packet_loss import CHANNELS, DILATIONS, FIGURES, WEIGHTS, inputs
from training import run
from training.dilated import DilatedNet, weights
from training.packet_loss.dataset import Scenes

CELLS = 400  # of a scene, 2 s
_WARM, _SAVED_EVERY = 100, 500  # steps


class PacketLossNet(DilatedNet):
    """Inputs of cells to log odds that a decoder made them up."""

    def __init__(self) -> None:
        super().__init__(FIGURES, CHANNELS, DILATIONS, 1)


def fit(
    scenes: Scenes,
    recipe: run.Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> PacketLossNet:
    """Fit a net, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    net = PacketLossNet().to(device)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, step])
        drawn = [scenes.draw(rng, CELLS) for _ in range(recipe.batch)]
        cells = torch.from_numpy(np.stack([inputs(one.figures).T for one in drawn])).to(device)
        truth = torch.from_numpy(np.stack([one.truth for one in drawn])).to(device)
        asked = (truth >= 0).float()
        each = functional.binary_cross_entropy_with_logits(
            net(cells)[:, 0], (truth == 1).float(), reduction="none"
        )
        return (each * asked).sum() / asked.sum()

    return run.descend(
        net, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )


def save(net: PacketLossNet, path: Path = WEIGHTS) -> None:
    """Write a net for models.packet_loss."""
    path.parent.mkdir(exist_ok=True)
    save_file(weights(net), path)
