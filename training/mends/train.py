"""Fitting the net on real pairs, and on intact ones onto which damage or overlays are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from faults.truth import TILE
from faults.visibility import ALLOWED, BOX, MOST, SEEN
from models.nets import corruption
from models.nets.mends import MendsNet
from training import run
from training.corruption.blocks import Fields, smooth
from training.corruption.synthesis import CLEAN, HIT, IGNORED
from training.mends.overlays import lay_over

Recipe = run.Recipe
_SHARES = (0.42, 0.24, 0.34)  # of a batch: where damage begins or is mended, steps, others
_DRAWN, _LAID, _LAID_ON_DAMAGE = 0.38, 0.45, 0.1  # of intact pairs, and of those with damage
_AGAINST = 0.15  # share of the pairs that are asked about in the other direction
_BEGUN, _MENDED = 0.72, 0.14  # shares of what is drawn; the rest lasts
_CODED, _SOFTENED, _NOISE = 0.75, 0.5, 3.0
_OF_CROP, _WORST = 0.3, 4  # weight of the loss of a crop as a whole; tiles that decide on it
_NEW = 0.3  # factor of weights that the net it begins with does not have
_UNEVEN = 0.35  # of the quantiser, per frequency

Indices = npt.NDArray[np.integer]


def begun_from_corruption() -> MendsNet:
    """The net as it begins: what one frame tells to that of `models/nets/corruption.py`."""
    net = MendsNet()
    held, state = corruption.load().state_dict(), net.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            if name in ("scale.running_mean", "scale.running_var"):
                value.copy_(torch.cat([held[name], held[name]]))
            elif name == "tile.0.mix.weight":
                value[:, corruption.STATISTICS :] *= _NEW
                value[:, : corruption.STATISTICS] = held[name]
            elif name == "stem.0.mix.weight":  # now, change, colour; there: now, other, change, ...
                value.mul_(_NEW)
                value[:, :16], value[:, 32:48] = held[name][:, :16], held[name][:, 16:32]
                value[:, 48:56] = held[name][:, 32:40]
            elif name.startswith("head."):
                value.copy_(held[name][:1])
            elif name in held and held[name].shape == value.shape:
                value.copy_(held[name])
    net.load_state_dict(state)
    return net


class Pairs:
    """All examples: luma [N, 2, ...], chroma [N, 4, ...] and labels [N, 2, ...] of `Pair`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        files = [np.load(path) for path in paths]
        self.luma, self.chroma, self.labels = (
            np.concatenate([one[name] for one in files]) for name in ("luma", "chroma", "labels")
        )
        what = np.concatenate([one["what"] for one in files])
        self.hit = (self.labels == HIT).any(axis=(1, 2, 3))
        self.intact = (self.labels == CLEAN).all(axis=(1, 2, 3))
        step = what == "step"
        self.pools = [np.flatnonzero(p) for p in (self.hit, ~self.hit & step, ~self.hit & ~step)]


class Drawing:
    """Batches; the draw of a step does not depend on the steps before."""

    def __init__(self, pairs: Pairs, recipe: Recipe) -> None:
        self._pairs, self._recipe = pairs, recipe

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """One and other, their colours, and the labels of what the one alone has corrupt."""
        rng = np.random.default_rng([self._recipe.seed, step])
        pairs = self._pairs
        counts = rng.multinomial(self._recipe.batch, _SHARES)
        chosen = np.concatenate(
            [rng.choice(pool, n) for pool, n in zip(pairs.pools, counts, strict=True) if len(pool)]
        )
        luma, chroma, labels = (x[chosen].copy() for x in (pairs.luma, pairs.chroma, pairs.labels))
        chance, intact = rng.random(len(chosen)), pairs.intact[chosen]
        drawn = intact & (chance < _DRAWN)
        laid = (intact & (chance > 1 - _LAID)) | (
            pairs.hit[chosen] & (chance > 1 - _LAID_ON_DAMAGE)
        )
        for at in np.flatnonzero(laid):
            m = int(rng.integers(len(chosen)))
            source = pairs.luma[chosen[m], 0], pairs.chroma[chosen[m], :2]
            lay_over(luma[at], chroma[at], source, rng)
        for n, label in enumerate(labels):
            begun, mended = (label == HIT).any(axis=(1, 2))
            turned = bool(mended) if begun != mended else rng.random() < 0.5
            if turned != (rng.random() < _AGAINST):
                luma[n], chroma[n] = luma[n, ::-1].copy(), chroma[n, [2, 3, 0, 1]]
                labels[n] = label[::-1].copy()
        parts = [luma, chroma, labels]
        for axis in (2, 3):
            if rng.random() < 0.5:
                parts = [np.flip(one, axis) for one in parts]
        if rng.random() < 0.5:
            parts = [one.swapaxes(2, 3) for one in parts]
        light, color, found = (torch.from_numpy(np.ascontiguousarray(one)) for one in parts)

        def each(low: float, high: float) -> Tensor:
            return torch.from_numpy(rng.uniform(low, high, (len(chosen), 1, 1, 1))).float()

        light = (light.float() * each(0.7, 1.2) + each(-16, 16)).clamp(0, 255)
        color = 128 + (color.float() - 128) * each(0.3, 1.4)
        batch = _Batch(light[:, 1:], light[:, :1], color[:, 2:], color[:, :2], found[:, 0], rng)
        batch.draw(np.flatnonzero(drawn))
        batch.code(np.flatnonzero(drawn | laid))
        level = each(0, _NOISE) * (each(0, 1) < 0.5)
        noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
        one, other = (
            (x + level * torch.randn(x.shape, generator=noise)).clamp(0, 255)
            for x in (batch.one, batch.other)
        )
        return one, other, batch.color.clamp(0, 255), batch.other_color.clamp(0, 255), batch.labels


class _Batch:
    """Pairs that damage is drawn onto."""

    def __init__(
        self,
        one: Tensor,
        other: Tensor,
        color: Tensor,
        other_color: Tensor,
        labels: Tensor,
        rng: np.random.Generator,
    ) -> None:
        self.one, self.other = one.clone(), other.clone()
        self.color, self.other_color = color.clone(), other_color.clone()
        self.labels, self._rng = labels.clone(), rng

    def draw(self, at: Indices) -> None:
        """Draw damage onto some pairs: it begins, is mended, or lasts."""
        if not at.size:
            return
        there = torch.from_numpy(at)
        fields = Fields(len(at), self._rng, self.one.device)
        foreign = torch.from_numpy(self._rng.permutation(len(self.one))[: len(at)])
        intact = self.one[there]
        luma = fields.damaged(intact, self.one[foreign], 1)
        color = fields.damaged(self.color[there], self.color[foreign], 2)
        touched = functional.avg_pool2d((luma - intact).abs(), TILE)[:, 0] > 0
        boxes = functional.avg_pool2d(luma - intact, BOX).abs()
        off = functional.avg_pool2d((boxes - ALLOWED).clamp(0, MOST - ALLOWED), TILE // BOX)[:, 0]
        masks, color_masks = fields.mask(1), fields.mask(2)
        chances = self._rng.random(len(at))
        for n, (place, chance) in enumerate(zip(at.tolist(), chances, strict=True)):
            if chance < _BEGUN:
                self.labels[place][touched[n]] = IGNORED
                self.labels[place][touched[n] & (off[n] >= SEEN)] = HIT
            if chance >= _BEGUN:
                self.other[place] = torch.where(masks[n], luma[n], self.other[place])
                self.other_color[place] = torch.where(
                    color_masks[n], color[n], self.other_color[place]
                )
            if chance < _BEGUN or chance >= _BEGUN + _MENDED:
                self.one[place], self.color[place] = luma[n], color[n]

    def code(self, at: Indices) -> None:
        """As one more encode leaves some pairs."""
        if not at.size:
            return
        there = torch.from_numpy(at)
        count = len(at)
        steps = np.exp(self._rng.uniform(np.log(2), np.log(20), count))
        steps = np.where(self._rng.random(count) < _CODED, steps, 0.5)
        soft = self._rng.uniform(0, 0.7, count) * (self._rng.random(count) < _SOFTENED)
        strength = torch.from_numpy(soft).float().view(-1, 1, 1, 1)
        offset = int(self._rng.choice([0, 0, 2, 4])), int(self._rng.choice([0, 0, 2, 4]))
        for planes in (self.one, self.other):
            step = torch.from_numpy(steps * self._rng.uniform(0.85, 1.2, count)).float()
            made = quantised(planes[there], step, offset)
            planes[there] = (made + strength * (smooth(made) - made)).clamp(0, 255)


def quantised(planes: Tensor, steps: Tensor, offset: tuple[int, int]) -> Tensor:
    """Planes [N, 1, H, W] as a transform of 8x8 with these steps [N] leaves them."""
    waves = torch.tensor(
        [[math.cos(math.pi * (2 * x + 1) * u / 16) / 2 for x in range(8)] for u in range(8)]
    )
    waves[0] /= math.sqrt(2)
    frequency = torch.arange(8)
    step = steps.view(-1, 1, 1, 1, 1, 1) * (
        1 + _UNEVEN * (frequency[:, None] + frequency[None])
    ).view(1, 1, 1, 8, 1, 8)
    rolled = torch.roll(planes, (-offset[0], -offset[1]), (2, 3))
    count, channels, height, width = rolled.shape
    blocks = rolled.view(count, channels, height // 8, 8, width // 8, 8)
    found = torch.einsum("ui,ncyixj,vj->ncyuxv", waves, blocks, waves)
    found = found.sign() * torch.floor(found.abs() / step + 0.4) * step
    back = torch.einsum("ui,ncyuxv,vj->ncyixj", waves, found, waves)
    return torch.roll(back.reshape(planes.shape), offset, (2, 3))


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy over the tiles that have a label, and of whole crops."""
    known, wanted = (labels != IGNORED).float(), (labels == HIT).float()
    each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    loss = (each * known).sum() / known.sum().clamp(min=1)
    hit = (labels == HIT).flatten(1).any(dim=1)
    sure = hit | (labels == CLEAN).flatten(1).all(dim=1)
    if sure.any():
        worst = logits.flatten(1).topk(_WORST, dim=1).values.mean(dim=1)
        of_crops = functional.binary_cross_entropy_with_logits(worst[sure], hit[sure].float())
        loss = loss + _OF_CROP * of_crops
    return loss


def fit(
    pairs: Pairs, recipe: Recipe, checkpoint: Path, told: Callable[[int, float], None]
) -> MendsNet:
    """Fit the net on a CPU; goes on from the checkpoint where there is one of this recipe."""
    torch.manual_seed(recipe.seed)
    net, draw = begun_from_corruption(), Drawing(pairs, recipe)

    def loss(step: int) -> Tensor:
        *planes, labels = draw(step)
        return loss_of(net(*planes)[:, 0], labels)

    return run.descend(
        net, recipe, checkpoint, torch.device("cpu"), loss, told, warm=60, saved_every=100
    )
