"""Figures of a net on sources that it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.clicks.dataset import NONE, SEVERITIES, Examples
from training.clicks.net import ClickNet

LIMITS = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # log odds
FOLDS = 5


def said_by(net: ClickNet, examples: Examples) -> npt.NDArray[np.float32]:
    """Log odds of impulses."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        said: npt.NDArray[np.float32] = (
            net(torch.from_numpy(examples.impulses).to(device)).cpu().numpy()
        )
    return said


def cross_fitted(
    examples: Examples, fit: Callable[[int, Examples], ClickNet]
) -> npt.NDArray[np.float32]:
    """Log odds of impulses by nets that were not fitted on their sources.

    Args:
        examples: of several sources.
        fit: fits a net, given the number of the fold and the examples of all other sources.
    """
    sources = sorted(examples.hours)
    said = np.zeros(len(examples.severity), np.float32)
    for fold in range(min(FOLDS, len(sources))):
        held_out = set(sources[fold::FOLDS])
        net = fit(fold, examples.of(set(sources) - held_out))
        said[np.isin(examples.source, sorted(held_out))] = said_by(net, examples.of(held_out))
    return said


def figures(examples: Examples, said: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    """Of what the detector asks the net about, by limit; the first row is without the net.

    Returns:
        For each limit: `limit` (None: no net), `alarms` (half seconds of clean sound with an
        impulse, an hour), `found` (share of the clicks that stand out), and `found_by` severity.
    """
    hours = sum(examples.hours.values())
    rows: list[dict[str, Any]] = []
    for limit in (None, *LIMITS):
        told = examples.clear & (said >= (-np.inf if limit is None else limit))
        clicks = examples.severity != NONE
        rows.append(
            {
                "limit": limit,
                "alarms": len(np.unique(examples.moment[told & ~clicks])) / hours,
                "found": float(told[clicks].mean()),
                "found_by": {
                    one.value: float(told[examples.severity == n].mean())
                    for n, one in enumerate(SEVERITIES)
                    if (examples.severity == n).any()
                },
            }
        )
    return rows
