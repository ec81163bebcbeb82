"""What every training command shows and notes of its run."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress() -> Progress:
    """A bar with counts and the time that is left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


def told_by(bar: Progress, name: str) -> Callable[[int, int], None]:
    """A callback of (done, of) that moves a new line of a bar."""
    task = bar.add_task(name, total=None)
    return lambda done, of: bar.update(task, completed=done, total=of)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's with its threads: what a figure was measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"
