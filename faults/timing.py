"""Clocks: media that is missing while the clock goes on, and clocks that start anew."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faults.base import FaultError, FileFault
from faults.media import Picture
from faults.packets import (
    TRANSPORT,
    Track,
    Unit,
    join_transport,
    joints,
    pictures_of,
    remux,
    tracks,
    with_pictures,
    write,
)
from faults.truth import Severity
from pipeline.types import Kind

INSTANT = 0.04  # seconds; what is an instant is written as long as one frame at 25 Hz
_COPY = {"mpegts_copyts": "1"}


def cut(parts: list[Track], start: float) -> tuple[float, list[Track], list[Track]]:
    """Cut all streams near `start`, where no packet refers to a later one.

    Returns:
        the instant in seconds, what is shown before it and what after it.

    Raises:
        FaultError: there is no such place, or nothing after it.
    """
    leading = parts[0]
    places = [n for n in joints(leading.units) if leading.units[n].time >= start - 1e-6]
    if not places:
        raise FaultError(f"the stream cannot be cut after {start:.2f} s")
    at = min(unit.time for unit in leading.units[places[0] :])
    before, after = [], []
    for track in parts:
        split = places[0] if track is leading else _first_from(track.units, at)
        before.append(track.having(track.units[:split]))
        after.append(track.having(track.units[split:]))
    return at, before, after


def _first_from(units: tuple[Unit, ...], time: float) -> int:
    return next((n for n, unit in enumerate(units) if unit.time >= time - 1e-6), len(units))


class TimestampGapFault(FileFault):
    """Leaves out frames or sound while the clock goes on, or moves the clock on."""

    name = "timestamp_gap"
    kind = Kind.TIMESTAMP_GAP
    summary = "Frames or sound left out while timestamps go on, or timestamps that leave out time"
    lengths = (0.0, 0.0)
    also = (
        *(Kind.DROPPED_FRAMES, Kind.FREEZE, Kind.REPEATED_FRAMES),
        *(Kind.DROPOUT, Kind.SILENCE, Kind.CLICK, Kind.AV_STEP, Kind.OUTAGE),
    )
    # A missing frame or two; what is seen at once (AVEQ: freezes from 80 to 200 ms are detected,
    # 360 ms are accepted); an interruption
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.08},
        Severity.SUBTLE: {"seconds": 0.3},
        Severity.NOTICEABLE: {"seconds": 0.8},
        Severity.VERY_NOTICEABLE: {"seconds": 2.0},
    }

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault."""
        ways = ["clock_moved"]
        ways += ["frames_lost"] if self.clean.has_picture else []
        ways += ["sound_lost"] if self.clean.has_sound else []
        way = str(self.rng.choice(ways))
        self.parameters["way"] = way
        getattr(self, f"_{way}")(source, target)

    def _frames_lost(self, source: Path, target: Path) -> None:
        """Encoded anew without them: dropped packets would take others with them."""
        if target.suffix.lower() == ".avi":
            raise FaultError("AVI keeps no times; choose another format")
        lost: list[Picture] = []

        def kept() -> Iterator[Picture]:
            for picture in pictures_of(source):
                if self.inside(picture.time):
                    lost.append(picture.showing(picture))
                else:
                    yield picture

        with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
            with_pictures(source, target, kept(), self.clean.rate, Path(folder))
        if lost:
            end = lost[-1].time + lost[-1].duration
            self.did(lost[0].time, end, lost_frames=len(lost))

    def _sound_lost(self, source: Path, target: Path) -> None:
        lost: list[Unit] = []

        def change(track: Track) -> Iterator[Unit]:
            for unit in track.units:
                if track.kind == "audio" and self.inside(unit.time):
                    lost.append(unit)
                else:
                    yield unit

        remux(source, target, lambda track: list(change(track)))
        if lost:
            self.did(lost[0].time, lost[-1].end, lost_packets=len(lost))

    def _clock_moved(self, source: Path, target: Path) -> None:
        gap = float(self.parameters["seconds"])
        at, before, after = cut(tracks(source), self.order.start)
        moved = [
            first.having((*first.units, *(unit.moved(gap) for unit in second.units)))
            for first, second in zip(before, after, strict=True)
        ]
        if target.suffix.lower() == ".avi":
            raise FaultError("AVI keeps no times; choose another format")
        write(target, moved)
        self.did(at, at + gap)


class TimestampJumpFault(FileFault):
    """Lets the clock of a transport stream go on from another time."""

    name = "timestamp_jump"
    kind = Kind.TIMESTAMP_JUMP
    summary = "All timestamps jump to another clock, forward or back (MPEG-TS alone)"
    lengths = (0.0, 0.0)
    also = (Kind.TIMESTAMP_GAP, Kind.DECODE_ERROR)
    # A step back, up to the restart of an encoder's clock after hours (proposed). Forward, less
    # than 10 s is missing media and no jump (FFmpeg's dts_delta_threshold).
    ladder = {
        Severity.VERY_SUBTLE: {"from_s": 0.3, "to_s": 1.0},
        Severity.SUBTLE: {"from_s": 2.0, "to_s": 8.0},
        Severity.NOTICEABLE: {"from_s": 12.0, "to_s": 50.0},
        Severity.VERY_NOTICEABLE: {"from_s": 100.0, "to_s": 36_000.0},
    }
    _FORWARD = 10.0

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault.

        Raises:
            FaultError: the container allows no jumps.
        """
        if target.suffix.lower() not in TRANSPORT:
            raise FaultError(f"{target.suffix} allows no jumps of its clock, .ts does")
        low, high = (float(self.parameters.pop(name)) for name in ("from_s", "to_s"))
        jump = low * (high / low) ** float(self.rng.random())
        if jump <= self._FORWARD or self.rng.random() < 0.5:
            jump = -jump
        at, before, after = cut(tracks(source), self.order.start)
        # a clock that goes back starts late enough not to pass zero
        begin = 2.0 + max(0.0, -jump)
        parts = []
        for pieces, moved in ((before, begin), (after, begin + jump)):
            out = io.BytesIO()
            write(out, pieces, form="mpegts", options=_COPY, after=moved)
            parts.append(out.getvalue())
        target.write_bytes(join_transport(parts))
        self.did(at, at + INSTANT, jump_s=jump)
