"""What the figures of a table were measured on."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil


def cpu_name() -> str:
    """The processor's model name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def cores() -> str:
    """How many cores of which processor."""
    return f"{psutil.cpu_count()} cores ({cpu_name()})"
