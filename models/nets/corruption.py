"""The net that sees corrupted blocks and coarse quantisation, per tile of 16x16 luma samples.

Fully convolutional, on native resolution: rescaling would hide the structure of blocks. It sees a
frame, the one before it (damage appears between two frames, and its trails follow motion) and the
colour differences, in two ways: as statistics of each tile that are known to tell blocks from
content, and as samples: either alone told less on sources held out. 0.17 M parameters. 1920x1080
takes 0.22 s on one thread of an AMD EPYC, 640x384 30 ms.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

HEADS = ("corruption", "blockiness")
WEIGHTS = Path(__file__).parent.parent / "weights/corruption.safetensors"
_TILE = 16  # luma samples
STATISTICS = 166
_NEAR = 3  # boxes of 4 samples, within which content is looked for in the frame before
_SURROUNDINGS = 64  # luma samples whose mean is taken off the samples
CONTRAST = 32.0  # code values, to numbers around one
FAR = 6.0  # standard deviations beyond which a statistic says no more
DROPPED = 0.1  # share of the channels, while it is fitted


class Convolution(nn.Module):
    """With normalisation and rectification."""

    def __init__(self, taken: int, given: int, size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.mix = nn.Conv2d(taken, given, size, stride, size // 2, bias=False)
        self.mix_norm = nn.BatchNorm2d(given)

    def forward(self, x: Tensor) -> Tensor:
        """As in nn.Module."""
        return functional.relu(self.mix_norm(self.mix(x)))


class Residual(nn.Module):
    """Two convolutions whose result is added."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """As in nn.Module."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(y)))


class CorruptionNet(nn.Module):
    """Logits per tile.

    Args:
        temporal: it sees the frame before; else that is ignored.
    """

    def __init__(self, temporal: bool = True) -> None:
        super().__init__()
        self.temporal = temporal
        self.scale = nn.BatchNorm2d(STATISTICS, affine=False)
        self.tile = nn.Sequential(Convolution(STATISTICS, 64), Convolution(64, 40))
        self.stem = nn.Sequential(
            Convolution(16 + 16 + 8, 24, 3, 2), Residual(24), Convolution(24, 32, 3, 2)
        )
        self.both = Convolution(40 + 32, 48)
        self.dropout = nn.Dropout2d(DROPPED)
        self.around = nn.Sequential(*(Residual(48, dilation) for dilation in (1, 2, 4)))
        self.head = nn.Conv2d(48, len(HEADS), 1)

    def forward(self, luma: Tensor, before: Tensor, chroma: Tensor) -> Tensor:
        """Score frames.

        Args:
            luma: [N, 1, H, W], 8-bit limited-range code values of any dtype; H and W are multiples
                of 16 (see `padded`).
            before: as luma: the frame before, the same where there is none.
            chroma: [N, 2, H/2, W/2], Cb and Cr.

        Returns:
            [N, 2, H/16, W/16], a logit for each of HEADS.
        """
        dtype = self.head.weight.dtype
        now, color = luma.float(), chroma.float() - 128
        last = before.float() if self.temporal else now
        with torch.no_grad():
            known = statistics(now, last, color)
            samples = torch.cat(
                [
                    functional.pixel_unshuffle((now - surroundings(now)) / CONTRAST, 4),
                    functional.pixel_unshuffle((now - last) / CONTRAST, 4),
                    functional.pixel_unshuffle(color / CONTRAST, 2),
                ],
                dim=1,
            )
        scaled = self.scale(known.to(dtype)).clamp(-FAR, FAR)
        x = torch.cat([self.tile(scaled), self.stem(samples.to(dtype))], dim=1)
        logits: Tensor = self.head(self.around(self.dropout(self.both(x))))
        return logits


def statistics(now: Tensor, last: Tensor, color: Tensor) -> Tensor:
    """What is known to tell blocks from content, of each tile; most are logarithms of 1 + x.

    How far samples step on each of its lines, alone and all in one direction, relative to the mean
    of its lines, in the picture and in its change; contrast, before and now; how much has changed,
    and how much of that is found near by in the frame before; colour, and where there is none.

    Args:
        now: luma [N, 1, H, W], float32 code values.
        last: likewise, of the frame before.
        color: [N, 2, H/2, W/2], code values from -128.

    Returns:
        [N, 166, H/16, W/16] float32.
    """
    change = now - last
    mean, mean_last = _tile(now), _tile(last)
    variance = (_tile(now * now) - mean * mean).clamp(min=0)
    variance_last = (_tile(last * last) - mean_last * mean_last).clamp(min=0)
    step = mean - mean_last
    variance_change = (_tile(change * change) - step * step).clamp(min=0)
    covariance = (variance + variance_last - variance_change) / 2
    correlation = covariance / (torch.sqrt(variance * variance_last) + 4)
    size = change.abs()
    hue = _mean(color, 8, 8)
    colorful = (_mean(color * color, 8, 8) - hue * hue).clamp(min=0).sqrt()
    across, down = _color_steps(color)
    nearest, there = _search(now, last)

    def log(x: Tensor) -> Tensor:
        return torch.log1p(x)

    lines = torch.cat([log(_line_steps(now)), log(_line_steps(change))], dim=1)
    count, _, height, width = lines.shape
    lines = lines.view(count, 8, _TILE, height, width)
    usual = lines[:, [0, 0, 2, 2, 4, 4, 6, 6]].mean(dim=2, keepdim=True)
    detail = lines[:, [0, 2, 4, 6]].mean(dim=2)
    columns, rows, columns_change, rows_change = (detail[:, n : n + 1] for n in range(4))
    contrast, contrast_last = log(variance.sqrt()), log(variance_last.sqrt())
    across, down = log(across), log(down)
    across_usual, down_usual = (x.mean(dim=1, keepdim=True) for x in (across, down))
    best, zero = log(nearest), log(there)
    return torch.cat(
        [
            (lines - usual).view(count, -1, height, width),
            columns,
            columns - rows,
            columns_change - columns,
            rows_change - rows,
            contrast - contrast_last,
            log(variance_change.sqrt()) - contrast,
            log(_tile(size)) - log(variance_change.sqrt()),
            best - contrast,
            zero - best,
            best,
            contrast,
            log(_tile(size)),
            log(colorful),
            across - across_usual,
            down - down_usual,
            across_usual - down_usual,
            _tile((size < 0.5).float()),
            correlation,
            log(step.abs()),
            hue.abs() / 32,
            _mean((color.abs() < 1.5).float(), 8, 8),
        ],
        dim=1,
    )


def _tile(x: Tensor) -> Tensor:
    return _mean(x, _TILE, _TILE)


def _line_steps(x: Tensor) -> Tensor:
    """Steps onto each column and row of each tile, their mean size and the size of their mean.

    [N, 1, H, W] to [N, 64, H/16, W/16]: columns, columns all in one direction, rows, likewise.
    """
    across = functional.pad((x[..., 1:] - x[..., :-1]).abs(), (1, 0))
    down = functional.pad((x[..., 1:, :] - x[..., :-1, :]).abs(), (0, 0, 1, 0))
    columns = _mean(x, _TILE, 1)
    rows = _mean(x, 1, _TILE)
    together_across = functional.pad((columns[..., 1:] - columns[..., :-1]).abs(), (1, 0))
    together_down = functional.pad((rows[..., 1:, :] - rows[..., :-1, :]).abs(), (0, 0, 1, 0))
    return torch.cat(
        [
            _columns(_mean(across, _TILE, 1), _TILE),
            _columns(together_across, _TILE),
            _rows(_mean(down, 1, _TILE), _TILE),
            _rows(together_down, _TILE),
        ],
        dim=1,
    )


def _columns(x: Tensor, size: int) -> Tensor:
    """[N, 1, H/size, W] to [N, size, H/size, W/size]."""
    count, _, height, width = x.shape
    return x.view(count, height, width // size, size).permute(0, 3, 1, 2)


def _rows(x: Tensor, size: int) -> Tensor:
    """[N, 1, H, W/size] to [N, size, H/size, W/size]."""
    count, _, height, width = x.shape
    return x.view(count, height // size, size, width).permute(0, 2, 1, 3)


def _color_steps(color: Tensor) -> tuple[Tensor, Tensor]:
    """Steps of both colours onto each column and row of each tile, all in one direction."""
    columns = _mean(color, 8, 1)
    rows = _mean(color, 1, 8)
    across = functional.pad((columns[..., 1:] - columns[..., :-1]).abs(), (1, 0))
    down = functional.pad((rows[..., 1:, :] - rows[..., :-1, :]).abs(), (0, 0, 1, 0))
    return _columns(across.sum(1, keepdim=True), 8), _rows(down.sum(1, keepdim=True), 8)


def _search(now: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Mean difference of boxes of 4x4, at the best place near by in the frame before and there."""
    boxes = _mean(now, 4, 4)
    height, width = boxes.shape[2:]
    before = functional.pad(_mean(last, 4, 4), (_NEAR,) * 4, mode="replicate")
    places = range(2 * _NEAR + 1)
    moved = torch.cat(
        [before[:, :, y : y + height, x : x + width] for y in places for x in places], dim=1
    )
    away = _mean((boxes - moved).abs(), 4, 4)
    middle = _NEAR * len(places) + _NEAR
    return away.amin(dim=1, keepdim=True), away[:, middle : middle + 1]


def surroundings(now: Tensor) -> Tensor:
    """The mean around each tile, at every sample of it."""
    margin, half = (_SURROUNDINGS - _TILE) // 2, _TILE // 2
    wide = functional.pad(now, (margin,) * 4, mode="replicate")
    # in two steps: windows overlap, and begin at every second of such boxes
    mean = functional.avg_pool2d(_mean(wide, half, half), _SURROUNDINGS // half, 2)
    return functional.interpolate(mean, scale_factor=_TILE, mode="nearest")


def _mean(x: Tensor, down: int, across: int) -> Tensor:
    """Means of boxes, of which whole numbers fit: [N, C, H, W] to [N, C, H/down, W/across].

    As `avg_pool2d`, which is slow for few channels.
    """
    count, channels, height, width = x.shape
    if across > 1:
        width //= across
        x = x.reshape(count, channels, height, width, across).mean(4)
    if down > 1:
        x = x.reshape(count, channels, height // down, down, width).mean(3)
    return x


def padded(planes: Tensor, multiple: int) -> Tensor:
    """Planes [N, C, H, W] extended by their last row and column to multiples of a size."""
    down, right = -planes.shape[2] % multiple, -planes.shape[3] % multiple
    if not down and not right:
        return planes
    # replication is not implemented for integers
    rows = planes[:, :, -1:].expand(-1, -1, down, -1)
    tall = torch.cat([planes, rows], dim=2)
    return torch.cat([tall, tall[:, :, :, -1:].expand(-1, -1, -1, right)], dim=3)


def save(net: CorruptionNet, weights: Path = WEIGHTS) -> None:
    """Write a net so that `load` can read it."""
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    state["temporal"] = torch.tensor(net.temporal)
    weights.parent.mkdir(exist_ok=True)
    save_file(state, weights)


def load(weights: Path = WEIGHTS) -> CorruptionNet:
    """The trained net, for inference.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    state = load_file(weights)
    net = CorruptionNet(bool(state.pop("temporal").item()))
    net.load_state_dict(state)
    return net.eval()
