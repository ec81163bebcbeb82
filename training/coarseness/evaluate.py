"""Figures of a net on sources that it was not fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from models.coarseness import FINEST, OCTAVE
from models.nets.coarseness import CoarsenessNet
from training.coarseness.dataset import WAYS, Examples

BINS = ((24, 30), (30, 34), (34, 38), (38, 42), (42, 46), (46, 50))  # QP
_AT_ONCE = 2048


def figures(net: CoarsenessNet, examples: Examples) -> list[dict[str, float]]:
    """By the quantiser, of windows: the estimate, and by how much it is above the same as it came.

    Returns:
        For each of BINS: `windows`; `said`, the median QP that is estimated; `came`, likewise of
        the same windows as they came; `rise_10`, `rise_50`, percentiles of the difference of both;
        `auc`, of telling a coarse window from all as they came by the estimate alone.
    """
    device = next(net.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(examples.qp), _AT_ONCE):
            part = torch.from_numpy(examples.crops[start : start + _AT_ONCE])
            parts.append(net(part.to(device)).cpu().numpy())
    said = np.concatenate(parts)
    came, coarse, qp = [], [], []
    for window in range(len(examples.source)):
        rows = np.flatnonzero(examples.window == window)
        values = [_mean(said[rows[way::WAYS]]) for way in range(WAYS)]
        for way in range(1, WAYS):
            came.append(values[0])
            coarse.append(values[way])
            qp.append(float(examples.qp[rows[way]]))
    before, after, known = np.array(came), np.array(coarse), np.array(qp)
    made: list[dict[str, float]] = []
    for low, high in BINS:
        at = (known >= low) & (known < high)
        if not at.any():
            made.append({"from": low, "to": high, "windows": 0})
            continue
        rise = np.percentile(after[at] - before[at], [10, 50])
        made.append(
            {
                "from": low,
                "to": high,
                "windows": int(at.sum()),
                "said": float(np.median(after[at])),
                "came": float(np.median(before[at])),
                "rise_10": float(rise[0]),
                "rise_50": float(rise[1]),
                "auc": _auc(before, after[at]),
            }
        )
    return made


def _mean(said: npt.NDArray[np.float32]) -> float:
    """Estimate of a window, as a QP."""
    return FINEST + OCTAVE * float(np.average(said[:, 0], weights=np.exp(said[:, 1])))


def _auc(negative: npt.NDArray[np.float64], positive: npt.NDArray[np.float64]) -> float:
    """Chance that a positive is above a negative."""
    order = np.searchsorted(np.sort(negative), positive, side="left")
    also = np.searchsorted(np.sort(negative), positive, side="right")
    return float((order + also).mean() / 2 / len(negative))
