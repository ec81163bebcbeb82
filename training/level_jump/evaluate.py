"""Figures of both nets on scenes of sources that they were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from training.level_jump.dataset import HOP, Scenes
from training.level_jump.train import NEAR, WHOLE, PairNet, StepNet, pairs_of

STEPS = ((4, 7), (7, 9.5), (9.5, 13), (13, 18))  # dB
HOURLY = 3.0  # pairs an hour that are wrongly said to be inserts, scenes with look-alikes
_SEED = 90_001


def figures(net: StepNet, both: PairNet, scenes: Scenes, count: int = 1500) -> dict[str, Any]:
    """How many inserts are found where so many pairs an hour are wrongly said to be one.

    Returns:
        `hours` of scenes; `limit`, the log odds at which HOURLY are false; `steps`: for each of
        STEPS, `from`, `to`, `inserts` and the share `found` with both ends within 0.35 s.
    """
    wrong: list[float] = []
    best: list[tuple[float, float]] = []  # dB of an insert, log odds of what fits it
    seconds = 0.0
    for n in range(count):
        scene = scenes.draw(np.random.default_rng([_SEED, n]), WHOLE)
        seconds += len(scene.level) * HOP
        figure, ends = pairs_of(scene, net)
        with torch.inference_mode():
            odds = both(torch.from_numpy(figure)).numpy() if len(figure) else np.zeros(0)
        free = np.ones(len(odds), bool)
        for start, end, gain in scene.inserts:
            off = np.array([max(abs(i - start), abs(j - end)) * HOP for i, j in ends])
            fits = off <= NEAR if len(off) else free
            best.append((abs(gain), float(odds[fits].max()) if fits.any() else -np.inf))
            free &= np.array([j < start or i > end for i, j in ends], bool)
        if free.any():  # one an asset at most: those that overlap are one report
            wrong.append(float(odds[free].max()))
    allowed = int(HOURLY * seconds / 3600)
    limit = sorted(wrong, reverse=True)[allowed] if len(wrong) > allowed else -np.inf
    rows = []
    for low, high in STEPS:
        some = [odds for gain, odds in best if low <= gain < high]
        found = float(np.mean([odds > limit for odds in some])) if some else 0.0
        rows.append({"from": low, "to": high, "inserts": len(some), "found": found})
    return {"hours": seconds / 3600, "limit": limit, "steps": rows}
