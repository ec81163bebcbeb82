"""Fitting the net: which fault each window has, of stretches drawn evenly over sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from models.bands import BANDS
from models.distortion import FAULTS, INPUTS
from training import run
from training.distortion.dataset import CLIPPED, OVERDRIVEN, STARVED, Examples
from training.distortion.net import DistortionNet

LEAST = {OVERDRIVEN: 2.0, CLIPPED: 4.0}  # dB; what is weaker is neither asked for nor a mistake
_WINDOWS = 96  # that follow each other
_COLOUR, _GRAIN = 0.35, 0.03  # of levels: a smooth change over the bands, and noise
_MASKED = 0.3  # chance that some neighbouring bands are not seen
_EDGE = 2  # windows at the ends of a part that have some of both
_WARM, _SAVED_EVERY = 100, 250  # steps


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, in batches of stretches."""

    batch: int = 64


class _Draw:
    """Stretches, drawn so that no source is most of them."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._of: dict[str, list[int]] = {}
        for n, source in enumerate(examples.source):
            self._of.setdefault(source, []).append(n)
        self._sources = sorted(self._of)
        share = np.sqrt([len(self._of[source]) for source in self._sources])
        self._share = share / share.sum()

    def batch(self, recipe: Recipe, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Windows [N, INPUTS, F], what is right [N, 3, F] and what that weighs."""
        rng = np.random.default_rng([recipe.seed, step])
        windows = np.zeros((recipe.batch, INPUTS, _WINDOWS), np.float32)
        right = np.zeros((recipe.batch, len(FAULTS), _WINDOWS), np.float32)
        weight = np.zeros_like(right)
        for n in range(recipe.batch):
            source = self._sources[int(rng.choice(len(self._sources), p=self._share))]
            one = self._of[source][int(rng.integers(len(self._of[source])))]
            whole = self._examples.stretches[one]
            start = int(rng.integers(0, max(len(whole) - _WINDOWS, 0) + 1))
            at = slice(start, start + _WINDOWS)
            part = whole[at]
            windows[n, :, : len(part)] = _seen(part, rng).T
            right[n, :, : len(part)], weight[n, :, : len(part)] = wanted(
                self._examples.faults[one], self._examples.strengths[one], at
            )
        return torch.from_numpy(windows), torch.from_numpy(right), torch.from_numpy(weight)


def wanted(
    faults: npt.NDArray[np.int8], strength: float, at: slice
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What is right of windows, and what that weighs: [3, F] each."""
    right = np.stack([faults == fault for fault in (OVERDRIVEN, STARVED, CLIPPED)])
    weight = np.ones(right.shape, np.float32)
    edges = np.flatnonzero(np.diff(faults)) + 1
    for edge in edges:
        weight[:, max(edge - _EDGE, 0) : edge + _EDGE] = 0
    for n, fault in enumerate((OVERDRIVEN, STARVED, CLIPPED)):
        if strength < LEAST.get(fault, 0.0):
            weight[n, faults == fault] = 0
    # the one is much like the other
    weight[0, faults == CLIPPED] = 0
    weight[2, faults == OVERDRIVEN] = 0
    return right[:, at].astype(np.float32), weight[:, at]


def _seen(part: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """In another colour, a little uncertain, and with bands that are not seen."""
    made = part + rng.normal(0, _GRAIN, part.shape).astype(np.float32)
    knots = np.cumsum(rng.normal(0, _COLOUR, 6)) * (rng.random() < 0.7)
    made[:, :BANDS] += np.interp(np.linspace(0, 5, BANDS), np.arange(6), knots - knots.mean())
    if rng.random() < _MASKED:
        first, count = int(rng.integers(BANDS)), int(rng.integers(4, 24))
        for kind in (0, BANDS):
            masked = slice(kind + first, kind + min(first + count, BANDS))
            made[:, masked] = made[:, masked].mean()
    return made


def fit(
    examples: Examples,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> DistortionNet:
    """Fit a net, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    net = DistortionNet().to(device)
    draw = _Draw(examples)

    def loss(step: int) -> Tensor:
        windows, right, weight = (one.to(device) for one in draw.batch(recipe, step))
        each = functional.binary_cross_entropy_with_logits(net(windows), right, reduction="none")
        return (each * weight).sum() / weight.sum()

    return run.descend(
        net, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )
