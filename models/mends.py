"""The net that tells what one of two frames in a row has corrupt and the other has not.

Damage that was encoded again leaves a flawless stream: only the picture tells. It comes and goes
from one frame to the next, while what moves, and what is laid over a picture, looks after it as it
did before. So a frame is not judged by itself (some content looks corrupt) but against the one
beside it. The net is asked in both directions: what the later frame has corrupt and the earlier one
has not has begun, the other way round it was mended. It sees both as samples and as the statistics
of `models/corruption.py`, whose weights it began with. 0.18 M parameters; a window of 320x320 takes
30 to 50 ms on one thread of a CPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from models import corruption
from models.batcher import made_once
from models.corruption import Convolution, Residual, padded, statistics, surroundings
from models.threads import single_threaded

WEIGHTS = Path(__file__).parent / "weights/mends.safetensors"
TILE = 16  # luma samples
_RARE = -3.0  # log odds of a tile before anything is known

Planes = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
Float32 = npt.NDArray[np.float32]


class MendsNet(nn.Module):
    """Log odds per tile of 16x16 luma samples."""

    def __init__(self) -> None:
        super().__init__()
        known = 2 * corruption.STATISTICS
        self.scale = nn.BatchNorm2d(known, affine=False)
        self.tile = nn.Sequential(Convolution(known, 64), Convolution(64, 40))
        self.stem = nn.Sequential(
            Convolution(3 * 16 + 2 * 8, 24, 3, 2), Residual(24), Convolution(24, 32, 3, 2)
        )
        self.both = Convolution(40 + 32, 48)
        self.dropout = nn.Dropout2d(corruption.DROPPED)
        self.around = nn.Sequential(*(Residual(48, dilation) for dilation in (1, 2, 4)))
        self.head = nn.Conv2d(48, 1, 1)
        nn.init.constant_(self.head.bias, _RARE)  # type: ignore[arg-type]

    def forward(
        self,
        one: Tensor,
        other: Tensor,
        color: Tensor,
        other_color: Tensor,
        *,
        turned: bool = False,
    ) -> Tensor:
        """Judge pairs of frames.

        Args:
            one: [N, 1, H, W], 8-bit limited-range code values of any dtype; H and W are multiples
                of 16.
            other: likewise, the frame before or after it.
            color: [N, 2, H/2, W/2], Cb and Cr of the one.
            other_color: likewise, of the other.
            turned: say as well what the other has corrupt and the one has not.

        Returns:
            [N, 1 or 2, H/16, W/16], log odds.
        """
        with torch.no_grad():
            one, other = one.float(), other.float()
            color, other_color = color.float() - 128, other_color.float() - 128
            of_one = statistics(one, other, color)
            of_other = statistics(other, one, other_color)
            level, other_level = (_samples(x - surroundings(x), 4) for x in (one, other))
            change = _samples(one - other, 4)
            hue, other_hue = _samples(color, 2), _samples(other_color, 2)
            known = torch.cat([of_one, of_other], 1)
            seen = torch.cat([level, other_level, change, hue, hue - other_hue], 1)
            if turned:
                back = [other_level, level, -change, other_hue, other_hue - hue]
                known = torch.cat([known, torch.cat([of_other, of_one], 1)])
                seen = torch.cat([seen, torch.cat(back, 1)])
        scaled = self.scale(known).clamp(-corruption.FAR, corruption.FAR)
        x = torch.cat([self.tile(scaled), self.stem(seen)], 1)
        made: Tensor = self.head(self.around(self.dropout(self.both(x))))
        return torch.cat(made.chunk(2), 1) if turned else made


def _samples(x: Tensor, size: int) -> Tensor:
    return functional.pixel_unshuffle(x / corruption.CONTRAST, size)


class Mends:
    """The trained net, for many threads.

    Raises:
        FileNotFoundError: there are no weights.
    """

    def __init__(self) -> None:
        self._net = load()

    def of(self, before: Planes, after: Planes) -> Float32:
        """Judge two frames in a row, or the same window of both.

        Args:
            before: luma [H, W] in limited range, Cb and Cr [H/2, W/2], rounded up.
            after: likewise.

        Returns:
            [2, tile rows, tile columns]: log odds that damage begins there, and that it is mended.
        """
        rows, columns = (-(-side // TILE) for side in before[0].shape)
        with single_threaded(), torch.inference_mode():
            luma, other = (padded(_tensor(planes[0]), TILE) for planes in (after, before))
            color, other_color = (
                _fitted(torch.cat([_tensor(plane) for plane in planes[1:]], 1), luma)
                for planes in (after, before)
            )
            made = self._net(luma, other, color, other_color, turned=True)
        found: Float32 = made[0, :, :rows, :columns].numpy()
        return found


def _tensor(plane: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(plane))[None, None]


def _fitted(color: Tensor, luma: Tensor) -> Tensor:
    """Colour planes as large as half of the luma."""
    return padded(color, TILE // 2)[:, :, : luma.shape[2] // 2, : luma.shape[3] // 2]


@made_once
def shared() -> Mends:
    """The one net of this process."""
    return Mends()


def save(net: MendsNet, weights: Path = WEIGHTS) -> None:
    """Write a net so that `load` can read it."""
    weights.parent.mkdir(exist_ok=True)
    save_file({k: v.contiguous().cpu() for k, v in net.state_dict().items()}, weights)


def load(weights: Path = WEIGHTS) -> MendsNet:
    """The trained net, for inference.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    net = MendsNet()
    net.load_state_dict(load_file(weights))
    return net.eval()
