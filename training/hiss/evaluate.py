"""Figures of a net on scenes of sources that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.hiss import CELL, GAP, THERE, inputs
from pipeline.events import in_a_row
from pipeline.measurements import Float32
from training.hiss.dataset import Scenes
from training.hiss.train import CELLS, HissNet

SNRS = ((6, 14), (14, 22), (22, 28), (28, 34))  # dB
HOURLY = 3.0  # stretches an hour that are wrongly said to be hiss, scenes with what resembles it
NEAR = 0.5  # seconds
_SHORTEST = 2.0  # seconds
_SEED = 90_001


def figures(judges: Sequence[tuple[HissNet, Scenes]], count: int = 1500) -> dict[str, Any]:
    """How many hisses are found where so many stretches an hour are wrongly said to be one.

    Args:
        judges: nets, each with scenes of sources that it has not heard.
        count: scenes of each.

    Returns:
        `hours` of scenes; `limit`, the mean log odds at which HOURLY are false; `snrs`: for each of
        SNRS, `from`, `to`, `hisses` and the share `found` with both ends within NEAR.
    """
    wrong: list[float] = []
    best: list[tuple[float, float]] = []  # dB of a hiss, log odds of what fits it
    for net, scenes in judges:
        for n in range(count):
            scene = scenes.draw(np.random.default_rng([_SEED, n]), CELLS)
            taken = torch.from_numpy(inputs(scene.cell).T.copy())[None]
            with torch.inference_mode():
                odds = net(taken.to(next(net.parameters()).device))[0, THERE].cpu().numpy()
            found = stretches(odds)
            for first, last in in_a_row(scene.there == 1):
                off = [max(abs(a - first), abs(b - last)) * CELL for a, b, _ in found]
                if (last - first) * CELL >= _SHORTEST:
                    fits = [mean for (*_, mean), far in zip(found, off, strict=True) if far <= NEAR]
                    best.append((scene.snr, max(fits, default=-np.inf)))
            wrong += [mean for a, b, mean in found if not scene.there[a:b].any()]
    hours = len(judges) * count * CELLS * CELL / 3600
    allowed = int(HOURLY * hours)
    limit = sorted(wrong, reverse=True)[allowed] if len(wrong) > allowed else 0.0
    rows = []
    for low, high in SNRS:
        some = [odds for snr, odds in best if low <= snr < high]
        share = float(np.mean([odds > limit for odds in some])) if some else 0.0
        rows.append({"from": low, "to": high, "hisses": len(some), "found": share})
    return {"hours": hours, "limit": float(limit), "snrs": rows}


def stretches(odds: Float32 | npt.NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """Cells in a row that are likely of a hiss: first, the one after the last, mean log odds."""
    runs: list[tuple[int, int]] = []
    for first, last in in_a_row(odds >= 0):
        if runs and first - runs[-1][1] <= GAP:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return [
        (first, last, float(odds[first:last].mean()))
        for first, last in runs
        if (last - first) * CELL >= _SHORTEST - 1e-6
    ]
