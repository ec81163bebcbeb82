"""Decode errors: the delivered stream is damaged, picture or sound, and decoders say so."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from faults.base import FaultError, FileFault
from faults.comparison import compared, hits, stretches
from faults.packets import (
    TRANSPORT,
    Track,
    opened,
    pictures_of,
    pids,
    starts_unit,
    tracks,
    transport,
    write,
)
from faults.truth import Severity
from pipeline.decode import DecodedFrame, Decoder
from pipeline.measurements import FrameFlag, Note
from pipeline.types import Kind

_HEADER = 16  # bytes at the start of a packet that are left alone: headers of slices, of frames
_SEEN = (Kind.BLOCK_CORRUPTION, Kind.DECODER_SMEAR, Kind.GLITCH, Kind.TEARING, Kind.FREEZE,
         Kind.PARTIAL_FREEZE, Kind.REPEATED_FRAMES, Kind.DROPPED_FRAMES)  # fmt: skip
_HEARD = (Kind.DROPOUT, Kind.CLICK, Kind.SILENCE, Kind.DISTORTION, Kind.NOISE)
_TRIES = 6


class DecodeErrorFault(FileFault):
    """Changes bytes of packets, or loses packets of the transport."""

    name = "decode_error"
    kind = Kind.DECODE_ERROR
    summary = "A delivered stream whose picture or sound decodes with errors"
    also = (Kind.TIMESTAMP_GAP, *_SEEN, *_HEARD)
    # seconds, and the share of the packets in them that are damaged (proposed)
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.3, "share": 0.1},
        Severity.SUBTLE: {"seconds": 0.6, "share": 0.3},
        Severity.NOTICEABLE: {"seconds": 1.5, "share": 0.6},
        Severity.VERY_NOTICEABLE: {"seconds": 3.0, "share": 1.0},
    }

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault.

        Raises:
            FaultError: whatever was tried, FFmpeg decodes it without a complaint.
        """
        found = tracks(source)
        ways = ["bytes_changed"]
        if target.suffix.lower() in TRANSPORT:
            ways.append("packets_lost")
        way = str(self.rng.choice(ways))
        for at in self.rng.permutation(len(found)):  # Opus decodes anything: then the picture
            track = found[int(at)]
            hit, heard = self._damage(found, track, way, target)
            if heard:
                break
        else:
            raise FaultError(f"{self.name}: decoders of {target.suffix} hide what was done")
        kind = track.kind
        self.parameters |= {"stream": kind, "way": way}
        units = [track.units[n] for n in hit]
        start = min(unit.time for unit in units)
        # errors go on where frames refer to what was lost
        end = max(*(unit.end for unit in units), *heard)
        self.did(start, end, hit_packets=len(hit))
        if kind == "video":
            # what is seen of it lasts until the next key frame
            pairs = compared(pictures_of(source), pictures_of(target), self.clean.rate)
            damaged = [hit for _, hit in hits(pairs) if hit is not None]
            for first, last, masked in stretches(damaged):
                self.did(
                    first,
                    last,
                    kind=Kind.BLOCK_CORRUPTION,
                    masked=masked,
                    also=(Kind.DECODE_ERROR, Kind.TIMESTAMP_GAP, *_SEEN),
                )

    def _damage(
        self, found: list[Track], track: Track, way: str, target: Path
    ) -> tuple[list[int], list[float]]:
        """Damage a stream until a decoder complains: packets, and the times of the complaints."""
        for attempt in range(_TRIES):
            hit = self._drawn(track)
            if way == "packets_lost":
                _lose(found, track, hit, target, self.rng)
            else:
                self._change(found, track, hit, target, 0.01 * 2**attempt)
            heard = complaints(target)
            if heard:
                return hit, heard
        return [], []

    def _drawn(self, track: Track) -> list[int]:
        inside = [n for n, unit in enumerate(track.units) if n and self.inside(unit.time)]
        if not inside:
            raise FaultError(f"{self.name}: nothing begins at {self.order.start:.2f} s")
        chosen = self.rng.random(len(inside)) < float(self.parameters["share"])
        return [n for n, is_hit in zip(inside, chosen, strict=True) if is_hit] or [
            int(self.rng.choice(inside))
        ]

    def _change(
        self, found: list[Track], track: Track, hit: list[int], target: Path, share: float
    ) -> None:
        units = list(track.units)
        for n in hit:
            data = np.frombuffer(units[n].data, np.uint8).copy()
            first = min(_HEADER, data.size // 2)
            count = max(1, round(share * (data.size - first)))
            places = self.rng.integers(first, data.size, count)
            data[places] ^= self.rng.integers(1, 256, count, dtype=np.uint8)
            units[n] = replace(units[n], data=data.tobytes())
        write(target, [one if one is not track else track.having(units) for one in found])


def _lose(
    found: list[Track], track: Track, hit: list[int], target: Path, rng: np.random.Generator
) -> None:
    """Lose one transport packet of each unit."""
    out = io.BytesIO()
    write(out, found, form="mpegts")
    packets = transport(out.getvalue())
    mine = pids(packets) == 0x100 + found.index(track)  # as FFmpeg's muxer numbers streams
    owner = np.where(mine, np.cumsum(mine & starts_unit(packets)) - 1, -1)
    # several frames of sound share a PES packet
    spread = (owner.max() + 1) / len(track.units)
    keep = np.ones(len(packets), bool)
    for n in hit:
        keep[int(rng.choice(np.flatnonzero(owner == int(n * spread))))] = False
    target.write_bytes(packets[keep].tobytes())


def complaints(path: Path) -> list[float]:
    """Seconds at which demuxer or decoder told of damage; log lines count from two on."""
    found: list[float] = []
    lines: list[float] = []
    with opened(path) as container:
        for item in Decoder(container, threads=1):
            if isinstance(item, Note):
                if item.what in ("decode_error", "corrupt_packet"):
                    (lines if item.reason == "log" else found).append(item.time)
                    lines += [item.time] if item.reason == "log" and item.value >= 2 else []
            elif isinstance(item, DecodedFrame) and item.flags & FrameFlag.CORRUPT:
                found.append(item.time + item.duration)
    return found + (lines if len(lines) > 1 else [])
