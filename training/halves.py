"""Nets that either half of the sources judges for the other: no source hears a net of its own."""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from training import run
from training.sounds import Made

NetT = TypeVar("NetT", bound=nn.Module)
ScenesT = TypeVar("ScenesT")
# Scenes, how, where the checkpoint is, the device, and what is told of the steps done and the loss
Fit = Callable[[ScenesT, run.Recipe, Path, torch.device, Callable[[int, float], None]], NetT]


def half_of(source: str) -> int:
    """0 or 1: the half of the sources that one belongs to."""
    return zlib.crc32(source.encode()) % 2


def fitted(
    chosen: argparse.Namespace,
    made: Made,
    gather: Callable[[Made], ScenesT],
    fit: Fit[ScenesT, NetT],
    save: Callable[[NetT, Path], None],
    figures: Callable[[Sequence[tuple[NetT, ScenesT]]], dict[str, Any]],
) -> tuple[NetT, dict[str, Any]]:
    """Fit a net to all sources, and one to either half, which the other half evaluates.

    Args:
        chosen: what was asked of `run.parser`, and `per_source`.
        made: files of examples with the names of their sources.
        gather: makes scenes of such files.
        fit: fits a net to scenes.
        save: writes one; those of the halves stay in the work folder as `half-0` and `half-1`,
            each not having heard the half of its number.
        figures: of nets, each with the scenes that it has not heard.

    Returns:
        The net of all, and what its model card says.
    """
    work, device = chosen.work, torch.device(chosen.device)
    recipe = run.Recipe(chosen.steps, chosen.batch)

    def fitting(scenes: ScenesT, name: str) -> tuple[NetT, dict[str, Any]]:
        checkpoint = work / f"{name}.pt"
        return run.fitted(chosen, lambda told: fit(scenes, recipe, checkpoint, device, told))

    halves = [[one for one in made if half_of(one[0]) == half] for half in (0, 1)]
    judges = []
    for half in (0, 1):
        net, _ = fitting(gather(halves[1 - half]), f"half-{half}")
        save(net, work / f"half-{half}.safetensors")
        judges.append((net, gather(halves[half])))
    net, of_run = fitting(gather(made), "all")
    note: dict[str, Any] = of_run | {
        "fitted": sorted({source for source, _ in made}),
        "figures": figures(judges),
    }
    (work / "note.json").write_text(json.dumps(note, indent=1) + "\n")
    return net, note
