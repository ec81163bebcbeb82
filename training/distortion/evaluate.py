"""Figures of a net on sources that it was not fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from models.distortion import FAULTS
from training.distortion.dataset import CLIPPED, FINE, OVERDRIVEN, STARVED, Examples
from training.distortion.net import DistortionNet

BINS = {
    OVERDRIVEN: ((-2, 3), (3, 8), (8, 16), (16, 24)),  # dB
    STARVED: ((20, 24), (16, 16), (12, 12), (8, 10)),  # kb/s a channel
    CLIPPED: ((2, 5), (5, 8), (8, 12), (12, 16)),  # dB
}
FALSE = 0.01  # share of what is fine that is said to have a fault
_FEWEST = 20  # windows of a part
_EDGE = 3  # windows at its ends that are left out


def figures(net: DistortionNet, examples: Examples) -> list[dict[str, float | str]]:
    """By fault and strength, of parts of 1.2 to 3.2 s by their mean log odds.

    Returns:
        For each of BINS: `fault`, `from`, `to`, `parts`, `fine` (parts without a fault); `auc` of
        telling the one from the other; `found`, the share above what FALSE of the fine ones reach.
    """
    said: dict[int, list[tuple[float, npt.NDArray[np.float32]]]] = {}
    device = next(net.parameters()).device
    with torch.inference_mode():
        for windows, faults, strength, treatment in zip(
            examples.stretches, examples.faults, examples.strengths, examples.treatments,
            strict=True,
        ):  # fmt: skip
            fault = int(faults.max())
            if fault == FINE and treatment == "nothing":
                at = np.arange(_EDGE, len(windows) - _EDGE)
            elif fault == FINE:  # somewhere in the middle
                at = np.arange(len(windows) // 3, 2 * len(windows) // 3)
            else:
                at = np.flatnonzero(faults)[_EDGE:-_EDGE]
            if len(at) < _FEWEST:
                continue
            made = net(torch.from_numpy(windows.T.copy())[None].to(device))[0].cpu().numpy()
            said.setdefault(fault, []).append((strength, made[:, at].mean(axis=1)))
    fine = np.array([values for _, values in said[FINE]])
    found: list[dict[str, float | str]] = []
    for fault, bins in BINS.items():
        output = fault - 1
        none = np.sort(fine[:, output])
        limit = np.quantile(none, 1 - FALSE)
        for low, high in bins:
            some = np.array(
                [v[output] for strength, v in said.get(fault, []) if low <= strength <= high]
            )
            row: dict[str, float | str] = {
                "fault": FAULTS[output], "from": low, "to": high, "parts": len(some),
                "fine": len(none),
            }  # fmt: skip
            if len(some):
                below = np.searchsorted(none, some, "left") + np.searchsorted(none, some, "right")
                row["auc"] = float(below.mean() / 2 / len(none))
                row["found"] = float((some > limit).mean())
            found.append(row)
    return found
