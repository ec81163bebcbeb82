"""Figures of nets on sources that they were not fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.dropped.dataset import CLEAN, Examples
from training.dropped.train import DroppedNets, Recipe, fit, save

LIMITS = (2.0, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5)  # log odds
FOLDS = 6
NUMBERS = ((2, 3), (4, 6), (8, 10), (12, 16))  # frames that are missing, from and to
_APART = 0.3  # seconds within which what is wrongly reported is one report


def said_by(nets: DroppedNets, figure: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log odds [N] of candidates [N, FIGURES]."""
    device = nets.centre.device
    with torch.inference_mode():
        said: npt.NDArray[np.float32] = (
            nets(torch.from_numpy(figure).to(device)).mean(dim=0).cpu().numpy()
        )
    return said


def fold_of(source: str, sources: list[str]) -> int:
    """The fold in which a source is held out."""
    return sources.index(source) % FOLDS


def cross_fitted(
    examples: Examples, recipe: Recipe, work: Path, device: torch.device
) -> npt.NDArray[np.float32]:
    """Log odds [N] by nets that were not fitted on the source; kept as `fold-N` in `work`."""
    sources = sorted(set(examples.source.tolist()))
    fold = np.array([fold_of(source, sources) for source in examples.source.tolist()])
    said = np.zeros(len(fold), np.float32)
    for n in range(min(FOLDS, len(sources))):
        place = work / f"fold-{n}"
        nets = fit(
            examples.of(fold != n), recipe, place.with_suffix(".pt"), device, lambda *_: None
        )
        save(nets, place.with_suffix(".safetensors"))
        said[fold == n] = said_by(nets, examples.figure[fold == n])
    return said


def figures(examples: Examples, said: npt.NDArray[np.float32]) -> dict[str, Any]:
    """What is found, and what is wrongly reported, by limit.

    Returns:
        `seconds` of clean clips, of look-alikes and other damage; `rows`, for each limit: `limit`,
        `clean` and `others` (wrong reports in these), and the share `found` of each of NUMBERS.
    """
    clean = examples.name == CLEAN
    seconds = {"clean": 0.0, "others": 0.0}
    for name, length in examples.seconds.items():
        seconds["clean" if name == CLEAN else "others"] += length
    rows = []
    for limit in LIMITS:
        told = said >= limit
        wrong = {
            name: _reports(examples.of(told & (examples.missing == 0) & where))
            for name, where in (("clean", clean), ("others", ~clean))
        }
        found = [
            float(told[(examples.missing >= first) & (examples.missing <= last)].mean())
            for first, last in NUMBERS
        ]
        rows.append({"limit": limit, **wrong, "found": found})
    return {"seconds": seconds, "rows": rows}


def _reports(examples: Examples) -> int:
    """How many reports candidates come to: those next to each other in a file are one."""
    order = np.lexsort((examples.time, examples.file))
    file, time = examples.file[order], examples.time[order]
    if not len(file):
        return 0
    return 1 + int(((np.diff(file) != 0) | (np.diff(time) > _APART)).sum())
