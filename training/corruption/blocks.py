"""Damage drawn onto intact crops as they are fitted on: as much of it as there are steps.

Real damage is dear to make, so there is less of it than a net can learn by heart. What decoders do
with lost or false data is imitated here on a whole batch at once, wherever it lies: macroblocks
with false motion vectors or of another picture, flat ones, streaks of intra prediction from
nothing, residuals that belong elsewhere; in runs as slices are lost, in rectangles as coding tree
units are, or single. The evaluation knows none of it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from faults.truth import TILE
from faults.visibility import ALLOWED, BOX, MOST, SEEN
from training.corruption.synthesis import CROP, HIT, IGNORED

_CELL = 8  # luma samples a side: what masks and fields are drawn in
_CELLS = CROP // _CELL + 2  # the grid begins anywhere
_MOST = 96  # cells of a run
_LASTING = 0.6  # share of the damage that the frame before has as well
_SOFTENED = 0.5  # share of the crops that are softened afterwards, as one more encode does
_FOREIGN, _FLAT, _STREAK, _RESIDUAL = 0.15, 0.2, 0.2, 0.35  # chances of each

_Floats = npt.NDArray[np.float32]


def draw_blocks(
    luma: Tensor,
    before: Tensor,
    chroma: Tensor,
    labels: Tensor,
    which: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Damage some crops of a batch; returns all of them.

    Args:
        luma: [N, 1, CROP, CROP], code values, float32.
        before: likewise, the frame before.
        chroma: [N, 2, CROP / 2, CROP / 2], float32.
        labels: [N, heads, tiles, tiles].
        which: [N] crops to damage, which are intact; others are returned as they are.
        rng: draws the damage.
    """
    at = np.flatnonzero(which)
    if not at.size:
        return luma, before, chroma, labels
    device = luma.device
    there = torch.from_numpy(at).to(device)
    fields = Fields(len(at), rng, device)
    other = torch.from_numpy(rng.permutation(len(luma))[: len(at)]).to(device)
    now = fields.damaged(luma[there], luma[other], 1)
    color = fields.damaged(chroma[there], chroma[other], 2)
    mask = fields.mask(1)
    lasting = torch.from_numpy(rng.random((len(at), 1, 1, 1)) < _LASTING).to(device)
    last = torch.where(lasting & mask, now, before[there])
    away = functional.avg_pool2d((now - luma[there]).abs(), TILE)
    boxes = (functional.avg_pool2d(now - luma[there], BOX).abs() - ALLOWED).clamp(0, MOST - ALLOWED)
    off = functional.avg_pool2d(boxes, TILE // BOX)
    found = labels[there].clone()
    touched = away[:, 0] > 0
    found[:, 0][touched] = IGNORED
    found[:, 0][touched & (off[:, 0] >= SEEN)] = HIT
    found[:, 1:][touched[:, None].expand_as(found[:, 1:])] = IGNORED
    strength = rng.uniform(0, 0.7, len(at)) * (rng.random(len(at)) < _SOFTENED)
    soft = torch.from_numpy(strength.astype(np.float32)).to(device).view(-1, 1, 1, 1)
    now, last = (x + soft * (smooth(x) - x) for x in (now, last))
    return (
        luma.index_copy(0, there, now),
        before.index_copy(0, there, last),
        chroma.index_copy(0, there, color),
        labels.index_copy(0, there, found),
    )


def smooth(planes: Tensor) -> Tensor:
    """The mean of 3x3, binomial."""
    kernel = torch.tensor([1.0, 2.0, 1.0], device=planes.device)
    kernel = (kernel[:, None] * kernel[None] / 16)[None, None]
    return functional.conv2d(functional.pad(planes, (1, 1, 1, 1), "replicate"), kernel)


class Fields:
    """What happens in each cell of each crop."""

    def __init__(self, count: int, rng: np.random.Generator, device: torch.device) -> None:
        self._device = device
        shape = (count, _CELLS, _CELLS)
        self._offset = rng.integers(0, TILE, (2, count))  # of the grid, luma samples
        self._mask = np.stack([_area(rng) for _ in range(count)])
        # one vector for all, or one for each 16x16
        reach = np.exp(rng.uniform(np.log(8), np.log(96), (count, 1, 1)))
        angle = np.where(
            rng.random((count, 1, 1)) < 0.5,
            rng.uniform(0, 2 * np.pi, (count, 1, 1)),
            _by_tile(rng.uniform(0, 2 * np.pi, shape)),
        )
        self._down = np.rint(np.broadcast_to(reach * np.sin(angle), shape) / 2) * 2
        self._across = np.rint(np.broadcast_to(reach * np.cos(angle), shape) / 2) * 2
        self._foreign = rng.random(count) < _FOREIGN
        self._flat = rng.random(count) < _FLAT
        self._values = np.where(
            rng.random((count, 1, 1, 1)) < 0.5,
            np.array([128.0, 128.0, 128.0]).reshape(1, 3, 1, 1),
            np.stack([_by_tile(rng.uniform(low, high, shape))
                      for low, high in ((16, 235), (90, 166), (90, 166))], axis=1),
        )  # fmt: skip
        streak = rng.random(count) < _STREAK
        self._streak = np.where(streak, rng.integers(1, 4, count), 0)  # 1 down, 2 across, 3 both
        amplitude = np.exp(rng.uniform(np.log(10), np.log(90), (count, 1, 1)))
        wanted = (rng.random((count, 1, 1)) < _RESIDUAL) & (rng.random(shape) < 0.6)
        self._amplitude = np.where(wanted, amplitude * rng.choice([-1.0, 1.0], shape), 0.0)
        self._waves = np.minimum(rng.geometric(0.45, (2, *shape)) - 1, 7)

    def mask(self, divide: int) -> Tensor:
        """Samples that are damaged, [N, 1, size, size] of planes at 1/divide of the resolution."""
        return self._spread(self._mask, divide)[:, None]

    def damaged(self, planes: Tensor, other: Tensor, divide: int) -> Tensor:
        """Planes [N, C, size, size] with the damage; `other`: those of other pictures."""
        count, channels, size, _ = planes.shape
        mask = self.mask(divide)
        rows = torch.arange(size, device=self._device).view(1, -1, 1).expand(count, -1, size)
        columns = rows.transpose(1, 2)
        down = self._spread(self._down / divide, divide).long()
        across = self._spread(self._across / divide, divide).long()
        # prediction from nothing: the line before the damage is continued
        inside = mask[:, 0]
        top = torch.where(inside, rows, size).flatten(1).amin(dim=1).view(-1, 1, 1)
        left = torch.where(inside, columns, size).flatten(1).amin(dim=1).view(-1, 1, 1)
        streak = self._each(self._streak).view(-1, 1, 1)
        from_rows = torch.where(
            (streak & 1) > 0, torch.minimum(rows, top - 1), rows + torch.where(streak > 0, 0, down)
        )
        from_columns = torch.where(
            (streak & 2) > 0,
            torch.minimum(columns, left - 1),
            columns + torch.where(streak > 0, 0, across),
        )
        from_rows = _reflected(from_rows, size)
        from_columns = _reflected(from_columns, size)
        places = (from_rows * size + from_columns).view(count, 1, -1).expand(-1, channels, -1)
        foreign = self._each(self._foreign).view(-1, 1, 1, 1)
        content = torch.where(foreign, other, planes).flatten(2).gather(2, places)
        content = content.view_as(planes)
        chosen = self._values[:, :1] if channels == 1 else self._values[:, 1:]
        flat = torch.stack(
            [self._spread(chosen[:, n], divide).float() for n in range(channels)], dim=1
        )
        content = torch.where(self._each(self._flat).view(-1, 1, 1, 1), flat, content)
        content = content + self._residual(divide)[:, None] / divide
        return torch.where(mask, content.clamp(0, 255), planes)

    def _residual(self, divide: int) -> Tensor:
        """One wave of the discrete cosine transform in each cell."""
        made = self._spread(self._amplitude, divide).float()
        for axis, offset in enumerate(self._offset):
            wave = self._spread(self._waves[axis], divide).float()
            within = self._each(offset).view(-1, 1) + divide * torch.arange(
                CROP // divide, device=self._device
            ).view(1, -1)
            phase = (2 * (within % _CELL) + 1) * math.pi / (2 * _CELL)
            phase = phase[:, :, None] if axis == 0 else phase[:, None, :]
            made = made * torch.cos(phase * wave)
        return made

    def _spread(self, field: npt.NDArray[np.generic], divide: int) -> Tensor:
        """A field [N, cells, cells] for each sample, [N, size, size]."""
        count = len(field)
        samples = np.arange(CROP // divide) * divide
        down, across = ((samples + offset[:, None]) // _CELL for offset in self._offset)
        n = np.arange(count)[:, None, None]
        index = (n * _CELLS + down[:, :, None]) * _CELLS + across[:, None, :]
        return self._each(field.reshape(-1))[torch.from_numpy(index).to(self._device)]

    def _each(self, values: npt.NDArray[np.generic]) -> Tensor:
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places inside 0 to size - 1: those beyond an edge are mirrored at it."""
    places = places.abs()
    return torch.where(places >= size, 2 * (size - 1) - places, places).clamp(0, size - 1)


def _by_tile(field: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """A field that is the same in the four cells of a macroblock."""
    made = field[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    return made[:, : field.shape[1], : field.shape[2]]


def _area(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The damaged cells of one crop."""
    mask = np.zeros((_CELLS, _CELLS), np.bool_)
    tiles = _CELLS // 2
    kind = rng.random()
    if kind < 0.4:  # a run of macroblocks, on through the following rows
        length = int(np.exp(rng.uniform(0, np.log(_MOST))))
        flat = np.zeros(tiles * tiles, np.bool_)
        start = int(rng.integers(1, tiles * tiles - 1))
        flat[start : start + length] = True
        mask[: 2 * tiles, : 2 * tiles] = _doubled(flat.reshape(tiles, tiles))
    elif kind < 0.75:  # a rectangle
        high, wide = (int(np.exp(rng.uniform(np.log(1), np.log(9)))) for _ in range(2))
        unit = int(rng.choice([1, 2, 2, 4]))
        top, left = (int(rng.integers(0, _CELLS)) // unit * unit for _ in range(2))
        mask[top : top + high * unit, left : left + wide * unit] = True
    else:  # single ones
        unit = int(rng.choice([1, 2, 2, 2]))
        for _ in range(int(rng.integers(1, 9))):
            top, left = (int(rng.integers(0, _CELLS)) // unit * unit for _ in range(2))
            mask[top : top + unit, left : left + unit] = True
    return mask


def _doubled(tiles: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return tiles.repeat(2, axis=0).repeat(2, axis=1)
