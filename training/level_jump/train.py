"""Fitting both nets: steps in scenes, and inserts among what the first net thinks are steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

from models.level_jump import (
    CHANNELS,
    DECIBELS,
    DILATIONS,
    DOWN,
    FIGURES,
    INPUTS,
    SIDE,
    SPREAD,
    UP,
    WEIGHTS,
    edge,
    figures,
    inputs,
    starts_of,
    steps,
)
from pipeline.measurements import Float32
from training import run
from training.dilated import DilatedNet, affine, weights
from training.level_jump.dataset import HOP, LONGEST, SHORTEST, Scene, Scenes

_WINDOWS = 160  # that follow each other, of the first net's scenes
_SPARE = 4  # at the ends of a scene, of which nothing is asked
WHOLE = 560  # windows of a scene in which inserts are looked for, 12 s
_HIDDEN = (64, 32)
_EPOCHS, _AT_ONCE = 25, 1024
_WARM, _SAVED_EVERY = 100, 500  # steps
NEAR, _VAGUE = 0.35, 0.8  # seconds: both ends are found; one may be, and nothing is asked
_SHORT, _LONG = SHORTEST - 0.2, LONGEST + 0.5  # seconds of pairs that are looked at
_LOUDER, _SIZE = 10.0, 0.2  # weight of where a step is against how large it is


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, in batches of scenes."""


class StepNet(DilatedNet):
    """Inputs of windows to log odds of a step up, of one down, and its size."""

    def __init__(self) -> None:
        super().__init__(INPUTS, CHANNELS, DILATIONS, 3)


class PairNet(nn.Module):
    """Figures of two steps [N, FIGURES] to log odds [N] that they are an insert's ends."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(FIGURES, affine=False)
        sizes = (FIGURES, *_HIDDEN, 1)
        self.layers = nn.ModuleList(nn.Linear(into, out) for into, out in pairwise(sizes))
        self.dropout = nn.Dropout(0.1)

    def forward(self, figure: Tensor) -> Tensor:
        """Log odds of rows."""
        x = self.norm(figure).clip(-SPREAD, SPREAD)
        for layer in list(self.layers)[:-1]:
            x = self.dropout(functional.relu(layer(x)))
        said: Tensor = self.layers[-1](x)[:, 0]
        return said


def asked(scene: Scene) -> tuple[Float32, Float32, Float32]:
    """Inputs [INPUTS, F] of a scene, what is right [3, F], and what that weighs [2, F]."""
    count = len(scene.level)
    right = np.zeros((3, count), np.float32)
    weight = np.ones((2, count), np.float32)
    for at, gain in scene.steps:
        kind, there = (UP if gain > 0 else DOWN), slice(at - 1, at + 2)
        right[kind, there] = 1
        right[DECIBELS, there] = gain / 10
        weight[kind, [at - 3, at - 2, at + 2, at + 3]] = 0
        if abs(gain) < 5:
            weight[kind, there] = 0.3
    inner = slice(_SPARE, count - _SPARE)
    return inputs(scene.level)[inner].T, right[:, inner], weight[:, inner]


def fit_steps(
    scenes: Scenes,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> StepNet:
    """Fit the first net, or go on where a checkpoint of the same recipe ended."""
    torch.manual_seed(recipe.seed)
    net = StepNet().to(device)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, step])
        drawn: list[tuple[Float32, Float32, Float32]] = []
        while len(drawn) < recipe.batch:
            scene = scenes.draw(rng, _WINDOWS + 2 * _SPARE)
            if len(scene.level) == _WINDOWS + 2 * _SPARE:
                drawn.append(asked(scene))
        windows, right, weight = (
            torch.from_numpy(np.stack(one)).to(device) for one in zip(*drawn, strict=True)
        )
        said = net(windows)
        each = functional.binary_cross_entropy_with_logits(
            said[:, :2], right[:, :2], reduction="none"
        )
        there = right[:, :2].sum(dim=1)
        size = functional.smooth_l1_loss(said[:, DECIBELS], right[:, DECIBELS], reduction="none")
        far_off = (size * there).sum() / (there.sum() + 1)
        return _LOUDER * (each * weight).sum() / weight.sum() + _SIZE * far_off

    return run.descend(
        net, recipe, checkpoint, device, loss, told, warm=_WARM, saved_every=_SAVED_EVERY
    )


@dataclass(frozen=True)
class Pairs:
    """What the second net is fitted on.

    Attributes:
        figure: [N, FIGURES].
        right: [N] whether it is an insert.
    """

    figure: Float32
    right: npt.NDArray[np.bool_]


def pairs_of(scene: Scene, net: StepNet) -> tuple[Float32, list[tuple[int, int]]]:
    """Figures [N, FIGURES] of what may be inserts in a scene, with the windows of both ends."""
    level = scene.level
    with torch.inference_mode():
        windows = torch.from_numpy(inputs(level).T.copy())[None].to(next(net.parameters()).device)
        said = net(windows)[0].cpu().numpy().T
    found = [
        edge(level, at, at, up, odds, step)
        for at, up, odds, step in steps(said, SIDE // 3, len(level) - SIDE // 3)
    ]
    rows: list[Float32] = []
    ends: list[tuple[int, int]] = []
    for n, end in enumerate(found):
        starts = starts_of(end, found[:n], _SHORT / HOP, _LONG / HOP)
        if starts:
            figure, enough = figures(starts, end)
            rows.append(figure[enough])
            ends += [
                (start.place, end.place) for start, ok in zip(starts, enough, strict=True) if ok
            ]
    return np.concatenate(rows) if rows else np.zeros((0, FIGURES), np.float32), ends


def gathered(
    scenes: Scenes, net: StepNet, count: int, seed: int, told: Callable[[int, int], None]
) -> Pairs:
    """Pairs of steps of so many scenes of sources that the first net has not heard."""
    rows: list[Float32] = []
    right: list[bool] = []
    for n in range(count):
        scene = scenes.draw(np.random.default_rng([seed, 7, n]), WHOLE)
        figure, ends = pairs_of(scene, net)
        off = [
            min((max(abs(i - a), abs(j - b)) * HOP for a, b, _ in scene.inserts), default=np.inf)
            for i, j in ends
        ]
        clear = [not NEAR < far <= _VAGUE for far in off]
        rows.append(figure[clear])
        right += [far <= NEAR for far, ok in zip(off, clear, strict=True) if ok]
        told(n + 1, count)
    return Pairs(np.concatenate(rows), np.array(right, bool))


def fit_pairs(all_pairs: Sequence[Pairs], recipe: Recipe) -> PairNet:
    """Fit the second net."""
    torch.manual_seed(recipe.seed)
    net = PairNet()
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.02)
    figure = torch.from_numpy(np.concatenate([one.figure for one in all_pairs]))
    right = torch.from_numpy(np.concatenate([one.right for one in all_pairs]).astype(np.float32))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, _EPOCHS * (len(figure) // _AT_ONCE)
    )
    for _ in range(_EPOCHS):
        order = torch.randperm(len(figure))
        for n in range(len(figure) // _AT_ONCE):
            some = order[n * _AT_ONCE : (n + 1) * _AT_ONCE]
            loss = functional.binary_cross_entropy_with_logits(net(figure[some]), right[some])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return net.eval()


def save(net: StepNet, pairs: PairNet, path: Path = WEIGHTS) -> None:
    """Write both nets for models.level_jump."""
    scale, shift = affine(pairs.norm)
    held = {
        **weights(net),
        "pair.centre": -shift / scale,
        "pair.scale": scale,
        **{f"pair{n}.weight": cast(Tensor, one.weight).T for n, one in enumerate(pairs.layers)},
        **{f"pair{n}.bias": cast(Tensor, one.bias) for n, one in enumerate(pairs.layers)},
    }
    path.parent.mkdir(exist_ok=True)
    save_file({name: one.detach().contiguous() for name, one in held.items()}, path)
