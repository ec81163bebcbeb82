"""Fitting the net, with checkpoints, and calibrating it on sources that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.corruption import HEADS, CorruptionNet
from training import run
from training.corruption.blocks import draw_blocks
from training.corruption.dataset import Examples
from training.corruption.synthesis import CLEAN, HIT, IGNORED

_SHARES = (0.4, 0.45, 0.15)  # of a batch: with corrupt tiles, without, with coarse tiles
_WEIGHTS = (1.0, 0.5)  # of the heads in the loss
_WARM = 0.05  # share of the steps in which the rate rises
_DRAWN = 0.5  # share of the intact crops that damage is drawn onto
_STILL = 0.1  # share of the examples whose frame before is the frame itself, as after a seek
_NOISE = 3.0  # code values of the noise that is added at most
_SAVED_EVERY = 200  # steps
_OF_FRAME, _WORST = 0.3, 4  # weight of the loss of a crop as a whole; tiles that decide on it


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, and whether it sees the frame before."""

    temporal: bool = True


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of both heads over the tiles that have a label, and of whole crops."""
    total = logits.new_zeros(())
    for head, weight in enumerate(_WEIGHTS):
        known = (labels[:, head] != IGNORED).to(logits.dtype)
        wanted = (labels[:, head] == HIT).to(logits.dtype)
        each = functional.binary_cross_entropy_with_logits(
            logits[:, head], wanted, reduction="none"
        )
        total = total + weight * (each * known).sum() / known.sum().clamp(min=1)
    return total + _OF_FRAME * _loss_of_crops(logits[:, 0], labels[:, 0])


def _loss_of_crops(logits: Tensor, labels: Tensor) -> Tensor:
    """Likewise of the most corrupt tiles of each crop that has corrupt tiles, or only intact ones.

    A frame is judged by them, so that one tile of false alarm is worse than many that are unsure.
    """
    hit = (labels == HIT).flatten(1).any(dim=1)
    known = hit | (labels == CLEAN).flatten(1).all(dim=1)
    if not known.any():
        return logits.new_zeros(())
    worst = logits.flatten(1).topk(_WORST, dim=1).values.mean(dim=1)
    return functional.binary_cross_entropy_with_logits(worst[known], hit[known].to(logits.dtype))


class _Drawing:
    """Batches of fixed shares; the draw of a step does not depend on the steps before."""

    def __init__(self, examples: Examples, recipe: Recipe) -> None:
        self._examples, self._recipe = examples, recipe
        hit, coarse = examples.hit, examples.coarse
        self._pools = [np.flatnonzero(p) for p in (hit, ~hit & ~coarse, coarse & ~hit)]

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([self._recipe.seed, step])
        counts = rng.multinomial(self._recipe.batch, _SHARES)
        chosen: list[int] = []
        for pool, count in zip(self._pools, counts, strict=True):
            if len(pool):
                chosen += list(rng.choice(pool, count))
        luma, before, chroma, labels = self._examples.batch(chosen)
        # turned as well, since the net must know grids, not what is up
        parts = [luma, before, chroma, labels]
        for axis in (2, 3):
            if rng.random() < 0.5:
                parts = [one.flip(axis) for one in parts]
        if rng.random() < 0.5:
            parts = [one.transpose(2, 3) for one in parts]
        luma, before, chroma, labels = parts
        shape = (len(chosen), 1, 1, 1)

        def each(low: float, high: float) -> Tensor:
            return torch.from_numpy(rng.uniform(low, high, shape)).float().to(luma.device)

        before = torch.where(each(0, 1) < _STILL, luma, before)
        # gain and offset, the same for both frames, and saturation
        gain, offset = each(0.7, 1.2), each(-16, 16)
        luma, before = ((x.float() * gain + offset).clamp(0, 255) for x in (luma, before))
        chroma = 128 + (chroma.float() - 128) * each(0.3, 1.4)
        drawn = self._examples.intact[chosen] & (rng.random(len(chosen)) < _DRAWN)
        luma, before, chroma, labels = draw_blocks(luma, before, chroma, labels, drawn, rng)
        noise = torch.Generator(luma.device).manual_seed(int(rng.integers(2**31)))
        level = each(0, _NOISE) * (each(0, 1) < 0.5)
        luma, before = (
            (x + level * torch.randn(x.shape, generator=noise, device=x.device)).clamp(0, 255)
            for x in (luma, before)
        )
        return luma, before, chroma, labels


def fit(
    examples: Examples,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> CorruptionNet:
    """Fit the net; goes on from the checkpoint where there is one of this recipe.

    Args:
        examples: to fit on.
        recipe: how.
        checkpoint: file that is written every few hundred steps.
        device: where.
        told: is called with the step and the mean loss since it was called last.
    """
    torch.manual_seed(recipe.seed)
    net = CorruptionNet(recipe.temporal)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe.steps))
    kept = run.Checkpoint(checkpoint, recipe, net=net, optimiser=optimiser, schedule=schedule)
    step = kept.load(device)
    if device.type == "cuda":
        examples.hold(device)
    draw = _Drawing(examples, recipe)
    net.train()
    losses: list[Tensor] = []
    while step < recipe.steps:
        luma, before, chroma, labels = (x.to(device, non_blocking=True) for x in draw(step))
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # for what is dropped, as in a whole run
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = net(luma, before, chroma)
        loss = loss_of(logits.float(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
        step += 1
        if step % _SAVED_EVERY == 0 or step == recipe.steps:
            told(step, float(torch.stack(losses).mean()))
            losses = []
            kept.save(step)
    return net.eval()


def _rate(step: int, steps: int) -> float:
    """Rises, then falls as a cosine."""
    warm = max(1, round(_WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) + 1e-3


# --------------------------------------------------------------------------------- calibration


@dataclass(frozen=True)
class Calibration:
    """What calibrating did, for one head.

    Attributes:
        temperature, bias: logits are divided by the one after the other is added.
        before, after: expected calibration error, 0 to 1.
        reliability: (mean probability, share that is corrupt, tiles) per tenth.
    """

    temperature: float
    bias: float
    before: float
    after: float
    reliability: tuple[tuple[float, float, int], ...]


@torch.inference_mode()
def tile_logits(net: CorruptionNet, examples: Examples, size: int = 64) -> tuple[Tensor, Tensor]:
    """Logits and labels [N, 2, tiles, tiles] of all examples."""
    device = next(net.parameters()).device
    logits, labels = [], []
    for luma, before, chroma, label in examples.batches(size):
        logits.append(net(luma.to(device), before.to(device), chroma.to(device)).float().cpu())
        labels.append(label)
    return torch.cat(logits), torch.cat(labels)


def calibrate(net: CorruptionNet, examples: Examples) -> dict[str, Calibration]:
    """Fit a temperature and a bias per head and fold them into the net's last layer.

    C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    logits, labels = tile_logits(net, examples)
    made = {}
    for head, name in enumerate(HEADS):
        known = labels[:, head] != IGNORED
        values, wanted = logits[:, head][known], (labels[:, head][known] == HIT).float()
        scale, bias = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))
        optimiser = torch.optim.LBFGS([scale, bias], max_iter=50)

        def closure(
            values: Tensor = values,
            wanted: Tensor = wanted,
            scale: Tensor = scale,
            bias: Tensor = bias,
            optimiser: torch.optim.Optimizer = optimiser,
        ) -> Tensor:
            optimiser.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(values * scale + bias, wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        factor, offset = float(scale.detach()), float(bias.detach())
        before, _ = reliability(values.sigmoid().numpy(), wanted.numpy())
        after, curve = reliability((values * factor + offset).sigmoid().numpy(), wanted.numpy())
        with torch.no_grad():
            net.head.weight[head] *= factor
            assert net.head.bias is not None
            net.head.bias[head] = net.head.bias[head] * factor + offset
        made[name] = Calibration(1 / factor, offset / factor, before, after, curve)
    return made


def reliability(
    probabilities: np.ndarray, wanted: np.ndarray
) -> tuple[float, tuple[tuple[float, float, int], ...]]:
    """Expected calibration error in ten bins, and the curve."""
    bins = np.minimum((probabilities * 10).astype(int), 9)
    curve, error = [], 0.0
    for n in range(10):
        inside = bins == n
        if inside.any():
            mean, share = float(probabilities[inside].mean()), float(wanted[inside].mean())
            curve.append((round(mean, 4), round(share, 4), int(inside.sum())))
            error += abs(mean - share) * float(inside.mean())
    return error, tuple(curve)
