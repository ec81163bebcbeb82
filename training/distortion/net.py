"""The net as it is fitted; models/distortion.py is what it comes to."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from models.distortion import CHANNELS, DILATIONS, FAULTS, INPUTS, WEIGHTS
from training.dilated import DilatedNet, weights


class DistortionNet(DilatedNet):
    """Windows to log odds of each of FAULTS."""

    def __init__(self) -> None:
        super().__init__(INPUTS, CHANNELS, DILATIONS, len(FAULTS))


def save(net: DistortionNet, path: Path = WEIGHTS) -> None:
    """Write a net for models.distortion."""
    path.parent.mkdir(exist_ok=True)
    save_file(weights(net), path)
