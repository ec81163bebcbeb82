"""The net that tells by how much sound and lips are apart (see `models/sync.py`).

Two streams (after J. S. Chung and A. Zisserman, "Out of time: automated lip sync in the wild",
2016): pictures of a mouth, and the log-mel spectrum of the sound; each gives a vector per 40 ms,
and vectors of what belongs together are close. A gate lets silence and closed mouths count less.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.transforms import MelSpectrogram

from models.mouths import SIDE
from models.sync import (
    FLOOR,
    HEARD,
    HOP,
    LEAD,
    MEAN,
    MELS,
    SAMPLE_RATE,
    SPREAD,
    STACK,
    VECTOR,
    WEIGHTS,
    WINDOW,
    Calibration,
)

SEEN = 48  # samples a side that the net sees
ZOOM = 0.8  # share of the cut-out square, in its middle, that it sees


def _conv(inside: int, outside: int, size: int | tuple[int, int], stride: int | tuple[int, int],
          padding: int = 0) -> nn.Sequential:  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class SyncNet(nn.Module):
    """Vectors of mouths and of sound."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Sequential(
            _conv(STACK, 16, 5, 2, 2),
            _conv(16, 32, 3, 2, 1),
            _conv(32, 64, 3, 2, 1),
            _conv(64, 96, 3, 2, 1),
            nn.Flatten(),
        )
        self.picture_head = nn.Linear(96 * (SEEN // 16) ** 2, VECTOR + 1)
        self.sound = nn.Sequential(
            _conv(1, 24, (5, 5), (2, 2)),
            _conv(24, 48, (5, 3), (2, 2)),
            _conv(48, 80, (3, 3), (1, 2)),
            _conv(80, 112, (2, 3), (1, 2)),
        )
        self.sound_head = nn.Linear(112, VECTOR + 1)
        self.sharpness = nn.Parameter(torch.tensor(2.0))  # logarithm of the scale of scores
        self.mel = MelSpectrogram(
            SAMPLE_RATE,
            n_fft=WINDOW,
            win_length=HEARD,
            hop_length=HOP,
            n_mels=MELS,
            f_min=60.0,
            center=False,  # padding would tell where a recording ends
        )

    def see(self, mouths: Tensor) -> Tensor:
        """Vectors of pictures.

        Args:
            mouths: [N, T, 48, 48] code values, 25 a second.

        Returns:
            [N, T - 8, 160]; the first belongs to picture 4.
        """
        count = mouths.shape[1] - STACK + 1
        stacks = mouths.unfold(1, STACK, 1).permute(0, 1, 4, 2, 3)
        flat = stacks.reshape(-1, STACK, SEEN, SEEN)
        # light and contrast of a stack are not what lips do
        mean = flat.mean(dim=(1, 2, 3), keepdim=True)
        spread = flat.std(dim=(1, 2, 3), keepdim=True)
        flat = (flat - mean) / (spread + 4.0)
        return _gated(self.picture_head(self.pictures(flat))).reshape(len(mouths), count, VECTOR)

    def spectrum(self, sound: Tensor) -> Tensor:
        """Log-mel spectra [N, (samples - 512) / 160 + 1, 40] of sound [N, samples] from -1 to 1.

        The first belongs to sample 256.
        """
        power: Tensor = self.mel(sound)
        return ((power + FLOOR).log() - MEAN).transpose(1, 2) / SPREAD

    def hear(self, spectra: Tensor) -> Tensor:
        """Vectors of sound.

        Args:
            spectra: [N, M, 40], 100 a second.

        Returns:
            [N, (M - 25) / 4 + 1, 160], one per 40 ms; the first belongs to spectrum 12.
        """
        features = self.sound(spectra[:, None])[:, :, :, 0].transpose(1, 2)
        return _gated(self.sound_head(features))

    def scores(self, seen: Tensor, heard: Tensor) -> Tensor:
        """[N, P, Q]: how well each picture goes with each sound."""
        return self.sharpness.exp() * seen @ heard.transpose(1, 2)


def _gated(x: Tensor) -> Tensor:
    """Unit vectors times a gate from 0 to 2."""
    return functional.normalize(x[..., :-1], dim=-1) * 2 * x[..., -1:].sigmoid()


def centred(scores: Tensor) -> Tensor:
    """Without the mean of each row and column: a position that likes everything says nothing."""
    return (
        scores
        - scores.mean(dim=-1, keepdim=True)
        - scores.mean(dim=-2, keepdim=True)
        + scores.mean(dim=(-2, -1), keepdim=True)
    )


def over_lags(scores: Tensor, most: int) -> Tensor:
    """Sums along the diagonals of scores [N, P, Q].

    Returns:
        [N, 2 * most + 1]: for lags of -most to most positions by which sound comes later. A lag
        that fewer pairs have counts as if the missing ones were average.
    """
    lags = range(-most, most + 1)
    return torch.stack([scores.diagonal(lag + LEAD, 1, 2).sum(dim=1) for lag in lags], dim=1)


def seen_part(mouths: Tensor) -> Tensor:
    """The middle of mouths [N, T, SIDE, SIDE], as the net sees it: [N, T, SEEN, SEEN]."""
    edge = round(SIDE * (1 - ZOOM) / 2)
    inside = mouths[:, :, edge : SIDE - edge, edge : SIDE - edge].float()
    return functional.interpolate(inside, (SEEN, SEEN), mode="bilinear", antialias=True)


def save(net: SyncNet, calibration: Calibration, weights: Path = WEIGHTS) -> None:
    """Write a net and what its scores mean so that `load` can read it."""
    weights.parent.mkdir(exist_ok=True)
    tensors = {k: v.contiguous().cpu() for k, v in net.state_dict().items()}
    save_file(tensors, weights, {"calibration": json.dumps(asdict(calibration))})


def load(weights: Path = WEIGHTS) -> SyncNet:
    """The trained net, for inference.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    net = SyncNet()
    net.load_state_dict(load_file(weights))
    return net.eval()
