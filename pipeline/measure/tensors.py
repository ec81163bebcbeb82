"""The two passes over frames as tensor operations: what a GPU runs, many frames at a time.

The same definitions as in pipeline/measure/frame.py and pipeline/measure/look.py, whose compiled
passes the CPU runs and which a test holds these to. Sums are of integers and therefore the same;
only the last division may round otherwise. Nothing here waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from models.nets.coarseness import DeviceCoarseness
from pipeline.measure.frame import ORDER
from pipeline.measurements import PictureFormat

TILE = PictureFormat.TILE
_NOISE = 0.2088857  # Immerkaer 1996: sqrt(pi/2) / 6


@dataclass(frozen=True)
class Looks:
    """A closer look at K frames: the attributes of `Look`, each [K, ...]."""

    histogram: Tensor
    row_mean: Tensor
    row_spread: Tensor
    column_mean: Tensor
    column_spread: Tensor
    column_steps: Tensor
    row_steps: Tensor
    noise: Tensor
    fine: Tensor
    curve: Tensor
    contour: Tensor
    quantisers: Tensor


def luma_pass(planes: Tensor, maps: Tensor, profiles: Tensor) -> None:
    """Measure frames against their predecessors, see PictureStatistics for the definitions.

    Args:
        planes: uint8 [T + 1, H, W]; the first is the frame before, which is not measured.
        maps: float32 [T, 7, tile rows, tile columns] receives luma, motion, detail, comb and order
            in their places; chroma is left as it is.
        profiles: float32 [T, H] receives the mean |Y[y]-Y[y-1]| of each row.
    """
    height, width = planes.shape[1:]
    grid = _grid(height, width, planes.device)
    now = planes[1:].to(torch.int16)
    step = _down(now).abs_()
    profiles[:] = step.sum(2, dtype=torch.int32) / width
    maps[:, 0] = _tile_sums(now) / grid.samples
    rows = grid.compared
    part, step = now[:, rows], step[:, rows]
    change = (part - planes[:-1][:, rows]).abs_()
    maps[:, 1] = _tile_sums(change, 2) / grid.compared_samples
    gradient = step + _across(part).abs_()
    maps[:, 2] = _tile_sums(gradient, 2) / grid.compared_samples
    part, step = now[:, grid.woven], step[:, ::2]
    field = (part - now[:, grid.field]).abs_().clamp_(max=251)
    maps[:, 3] = _tile_sums((step - field - 4).clamp_(min=0), 4) / grid.woven_samples
    maps[:, ORDER] = _order(now, planes[:-1].to(torch.int16), grid)


def _order(now: Tensor, before: Tensor, grid: _Grid) -> Tensor:
    """See PictureStatistics; of pairs of rows, the upper of which is even."""
    even, odd = grid.pairs, grid.pairs + 1

    def between(planes: Tensor, above: Tensor, below: Tensor) -> Tensor:
        return (planes[:, above] + planes[:, below] + 1) >> 1

    fields = (now[:, even] - between(before, grid.upper, odd)).abs_()
    fields += (before[:, odd] - between(now, even, grid.lower)).abs_()
    fields -= (before[:, even] - between(now, grid.upper, odd)).abs_()
    fields -= (now[:, odd] - between(before, even, grid.lower)).abs_()
    rows = grid.samples.shape[0] * 4
    fields = pad(fields, (0, 0, 0, rows - fields.shape[1]))
    return _tile_sums(fields, 4) / grid.compared_samples


def chroma_pass(planes: Tensor, picture: PictureFormat, maps: Tensor) -> None:
    """Means of the tiles of interleaved chroma at half of the size of luma (NV12).

    Args:
        planes: uint8 [T, rows, columns, 2].
        picture: the format of the frames.
        maps: float32 [T, 2, tile rows, tile columns] receives cb, cr.
    """
    rows, columns = picture.tiles
    half = TILE // 2
    for n in range(2):
        plane = planes[..., n].to(torch.int16)
        sums = _tile_sums(plane, size=half)
        means = sums / _grid(*plane.shape[1:], plane.device, half).samples
        # PyAV rounds the size of chroma down: an odd last row or column of luma has none
        maps[:, n] = _filled(means, rows, columns)


def look_pass(planes: Tensor, coarseness: DeviceCoarseness | None = None) -> Looks:
    """Take a closer look at luma planes, uint8 [K, H, W]; see pipeline/measure/look.py.

    Args:
        planes: of K frames.
        coarseness: the net that judges them as well, on their device.
    """
    frames, height, width = planes.shape
    grid = _grid(height, width, planes.device)
    now = planes.to(torch.int16)
    across, down = _across(now), _down(now).abs_()
    edge = across.abs()
    even_rows = (height + 1) // 2
    tile_rows = grid.samples.shape[0]

    beside = pad(edge[:, ::2], (0, 1))  # 0 beyond both ends
    isolated = 2 * edge[:, ::2] - beside[:, :, 1:]
    isolated[:, :, 1:] -= beside[:, :, :-2]
    isolated[:, :, 0] = 0
    around = pad(down, (0, 0, 1, 1))
    upright = (2 * down - around[:, :-2] - around[:, 2:]).clamp_(0, 64)

    histogram = torch.zeros(frames, 256, dtype=torch.int32, device=planes.device)
    sampled = planes[:, ::5].reshape(frames, -1).to(torch.int64)
    ones = torch.ones((), dtype=torch.int32, device=planes.device).expand_as(sampled)
    histogram.scatter_add_(1, sampled, ones)

    bend = torch.zeros_like(now[:, ::2])
    noise = torch.zeros(frames, tile_rows * 4, width, dtype=torch.int16, device=planes.device)
    if width > 2:
        bend[:, :, 1:-1] = across[:, ::2, 2:] - across[:, ::2, 1:-1]
        row = now[:, grid.noise]
        ends = now[:, grid.noise - 1] + now[:, grid.noise + 1]
        sides = ends[:, :, 1:-1] + row[:, :, :-2] + row[:, :, 2:]
        mask = ends[:, :, :-2] + ends[:, :, 2:] - 2 * sides + 4 * row[:, :, 1:-1]
        noise[:, : len(grid.noise), 1:-1] = mask.abs_()

    net = torch.zeros(2, frames, tile_rows * 4, width, dtype=torch.int8, device=planes.device)
    at = grid.contour // 4  # tiles have four such rows each
    net[0][:, at] = _contours(*(now[:, grid.contour + by] for by in (-6, -2, 2, 6)))
    if width > 12:
        row = now[:, grid.contour]
        net[1][:, at, 6:-6] = _contours(
            row[:, :, :-12], row[:, :, 4:-8], row[:, :, 8:-4], row[:, :, 12:]
        )
    contour = _tile_sums(net.flatten(0, 1), 4).abs_().view(2, frames, tile_rows, -1).amax(0)
    none = now.new_empty((frames, 0, 2), dtype=torch.float32)
    return Looks(
        histogram=histogram,
        row_mean=now.sum(2, dtype=torch.int32) / width,
        row_spread=edge.sum(2, dtype=torch.int32) / max(width - 1, 1),
        column_mean=now[:, ::2].sum(1, dtype=torch.int32) / even_rows,
        column_spread=down[:, 1::2].sum(1, dtype=torch.int32) / max(height // 2, 1),
        column_steps=isolated.clamp_(0, 64).sum(1, dtype=torch.int32) / (2 * even_rows),
        row_steps=upright.sum(2, dtype=torch.int32) / (2 * width),
        noise=_NOISE * _tile_sums(noise, 4) / grid.noise_samples,
        fine=_tile_sums(edge[:, ::2], 2) / grid.even_samples,
        curve=_tile_sums(bend.abs_(), 2) / grid.even_samples,
        contour=contour / TILE,
        quantisers=none if coarseness is None else coarseness.of(planes),
    )


@dataclass(frozen=True)
class _Grid:
    """What follows from the size of a plane alone: rows int64 [n], samples of tiles int32.

    Attributes:
        samples: [tile rows, tile columns] of each tile.
        compared: rows of which differences are taken: 0, 1, 4, 5, 8, 9... of both fields.
        compared_samples: of each tile in them.
        woven: rows in which combs are looked for: 0, 4, 8...
        woven_samples: of each tile in them.
        field: the row above each of these in its field, or itself.
        pairs: those of them that have a row below.
        upper, lower: the row above each of these, and the one below the row below it, or else the
            one of the other parity beside it.
        even_samples: in even rows.
        noise: rows on which the mask for noise is centred.
        noise_samples: of each tile in them, of a tile without any: in one.
        contour: rows in which contours are looked for.
    """

    samples: Tensor
    compared: Tensor
    compared_samples: Tensor
    woven: Tensor
    woven_samples: Tensor
    field: Tensor
    pairs: Tensor
    upper: Tensor
    lower: Tensor
    even_samples: Tensor
    noise: Tensor
    noise_samples: Tensor
    contour: Tensor


@lru_cache(maxsize=64)
def _grid(height: int, width: int, device: torch.device, size: int = TILE) -> _Grid:
    rows = np.arange(height)
    starts = np.arange(0, height, size)
    wide = np.minimum(size, width - np.arange(0, width, size))

    def samples(chosen: np.ndarray) -> Tensor:
        high = np.add.reduceat(chosen.astype(np.int32), starts)
        return torch.from_numpy(np.outer(high, wide).astype(np.int32)).to(device)

    def numbers(chosen: np.ndarray) -> Tensor:
        return torch.from_numpy(chosen.astype(np.int64)).to(device)

    woven = rows[rows % 4 == 0]
    pairs = woven[woven + 1 < height]
    noise = (rows % 4 == 1) & (rows + 1 < height)
    contour = (rows % 4 == 2) & (rows >= 6) & (rows < height - 6)
    return _Grid(
        samples=samples(rows >= 0),
        compared=numbers(rows[rows % 4 < 2]),
        compared_samples=samples(rows % 4 < 2),
        woven=numbers(woven),
        woven_samples=samples(rows % 4 == 0),
        field=numbers(np.where(woven > 1, woven - 2, woven)),
        pairs=numbers(pairs),
        upper=numbers(np.where(pairs > 0, pairs - 1, 1)),
        lower=numbers(np.where(pairs + 2 < height, pairs + 2, pairs)),
        even_samples=samples(rows % 2 == 0),
        noise=numbers(rows[noise]),
        noise_samples=samples(noise).clamp_(min=torch.from_numpy(wide.astype(np.int32)).to(device)),
        contour=numbers(rows[contour]),
    )


def _down(values: Tensor) -> Tensor:
    """Differences to the row above, 0 in the first."""
    made = torch.zeros_like(values)
    torch.sub(values[:, 1:], values[:, :-1], out=made[:, 1:])
    return made


def _across(values: Tensor) -> Tensor:
    """Differences to the column before, 0 in the first."""
    made = torch.zeros_like(values)
    torch.sub(values[:, :, 1:], values[:, :, :-1], out=made[:, :, 1:])
    return made


def _contours(first: Tensor, second: Tensor, third: Tensor, fourth: Tensor) -> Tensor:
    """1 and -1 where a step up and down of 2 to 9 lies between two flat runs, int8."""
    uneven = (first - second).abs_().clamp_(max=3) + (third - fourth).abs_().clamp_(max=3)
    rise = third - second
    size = rise.abs()
    found = (size >= uneven + 2) & (size <= 9) & (uneven <= 2)
    return (rise.sign_() * found).to(torch.int8)


def _tile_sums(values: Tensor, fewer: int = 1, size: int = TILE) -> Tensor:
    """Sums over tiles of values [T, rows, columns], float32 [T, tile rows, tile columns].

    Args:
        values: integers; of them every tile has `size` columns and `size` / `fewer` rows.
        fewer: the share of the rows of a tile that is there is 1 / `fewer`.
        size: samples a side.
    """
    frames, rows, columns = values.shape
    high = size // fewer
    down, across = -(-rows // high), -(-columns // size)
    if (rows, columns) != (down * high, across * size):
        values = pad(values, (0, across * size - columns, 0, down * high - rows))
    tiles = values.reshape(frames, down, high, across, size)
    return tiles.sum((2, 4), dtype=torch.int32).to(torch.float32)


def _filled(values: Tensor, rows: int, columns: int) -> Tensor:
    """Tiles [T, r, c], the last ones repeated to [T, rows, columns]."""
    more = (0, max(0, columns - values.shape[2]), 0, max(0, rows - values.shape[1]))
    if any(more):
        values = pad(values[None], more, mode="replicate")[0]
    return values[:, :rows, :columns]
