"""Damage to files as transports and joins make it: packets lost, moved, flipped."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def remux(
    source: Path,
    target: Path,
    change: Callable[[av.Packet, float], float | None],
    options: dict[str, str] | None = None,
) -> Path:
    """Copy packets. `change(packet, time)` gives the seconds to add to its times, None drops it."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options or {}) as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.dts is None:
                continue
            time = float((packet.pts or 0) * packet.time_base)
            shift = change(packet, time)
            if shift is None:
                continue
            ticks = round(Fraction(shift) / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return target


def join(parts: list[Path], target: Path) -> Path:
    """Put MPEG-TS files one after another, each with its own clock."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def flip(path: Path, first: float, last: float, share: float, seed: int = 1) -> Path:
    """Change bytes in a part of a file (shares of its length), but not in transport headers."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(seed)
    where = np.arange(data.size)
    hit = (where >= first * data.size) & (where < last * data.size)
    hit &= (where % 188 > 20) & (rng.random(data.size) < share)
    data[hit] ^= rng.integers(1, 256, hit.sum(), dtype=np.uint8)
    path.write_bytes(data.tobytes())
    return path


def lose(path: Path, first: float, last: float, share: float, seed: int = 1) -> Path:
    """Lose transport packets in a part of an MPEG-TS file."""
    data = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 188)
    rng = np.random.default_rng(seed)
    where = np.arange(len(data)) / len(data)
    lost = (where >= first) & (where < last) & (rng.random(len(data)) < share)
    path.write_bytes(data[~lost].tobytes())
    return path
