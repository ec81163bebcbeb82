"""Delivery in segments: a playlist that names what is not there, or not what it should."""

from __future__ import annotations

import io
import math
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from faults.base import FaultError, FileFault
from faults.media import Encoding
from faults.packets import Unit, join_transport, tracks, write
from faults.truth import Severity
from pipeline.types import Kind

PLAYLIST = ".m3u8"
SEGMENT = 1.0  # seconds between key frames, and of a segment: as low-latency HLS has them
_COPY = {"mpegts_copyts": "1"}
_START = 2.0  # seconds on the clock of the segments at presentation zero


class SegmentMissingFault(FileFault):
    """A playlist with a segment that is not there, twice there, or out of its order."""

    name = "segment_missing"
    kind = Kind.SEGMENT_MISSING
    summary = "An HLS playlist whose segments are missing, repeated or out of order (.m3u8 alone)"
    also = (
        *(Kind.TIMESTAMP_GAP, Kind.TIMESTAMP_JUMP, Kind.OUTAGE, Kind.TRUNCATED),
        *(Kind.FREEZE, Kind.DROPPED_FRAMES, Kind.SILENCE, Kind.DECODE_ERROR),
    )
    lengths = (0.0, 0.0)
    # segments in a row; players bridge one second out of their buffer (proposed)
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 1.0},
        Severity.SUBTLE: {"seconds": 2.0},
        Severity.NOTICEABLE: {"seconds": 3.0},
        Severity.VERY_NOTICEABLE: {"seconds": 5.0},
    }

    def file(self, source: Path, target: Path) -> None:
        """Write a playlist and its segments from `source`, a transport stream.

        Raises:
            FaultError: the target is no playlist, or the asset has too few segments.
        """
        if target.suffix.lower() != PLAYLIST:
            raise FaultError(f"{self.name} needs a playlist (.m3u8), not {target.suffix}")
        times = segment(source, target)
        count = round(float(self.parameters["seconds"]) / SEGMENT)
        # the first and the last segment stay
        places = range(1, len(times) - 1 - count)
        first = min(places, key=lambda n: abs(times[n] - self.order.start), default=0)
        if not first:
            raise FaultError(f"{self.name}: the asset has too few segments")
        way = str(self.rng.choice(("missing", "repeated", "swapped")))
        self.parameters["way"] = way
        lines = target.read_text().splitlines()
        named = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
        hit = list(range(first, first + count))
        if way == "missing":
            for n in hit:
                target.with_name(lines[named[n]]).unlink()
        elif way == "repeated":
            for n in hit:
                lines[named[n]] = lines[named[first - 1]]
        else:  # the first of them comes one later than the next
            hit = [*hit, first + count]
            names = [lines[named[n]] for n in hit]
            for n, name in zip(hit, [*names[1:], names[0]], strict=True):
                lines[named[n]] = name
        target.write_text("\n".join(lines) + "\n")
        # a clock that went back jumps forward again, and that is time without media
        again = SEGMENT * (len(hit) if hit[-1] + 2 < len(times) else 1) * (way != "missing")
        self.did(times[hit[0]], times[hit[-1] + 1] + again, segments=len(hit))


def segment(source: Path, target: Path) -> list[float]:
    """Cut a file into segments at its key frames and write the playlist `target` beside them.

    Returns:
        the instants in seconds at which segments begin, and the end of the last one.
    """
    found = tracks(source)
    leading = found[0].units
    starts: list[int] = []
    for n, unit in enumerate(leading):
        if n == 0 or (unit.key and unit.time >= leading[starts[-1]].time + SEGMENT - 0.01):
            starts.append(n)
    begins = [leading[n].time for n in starts]
    ends = [*begins[1:], found[0].end]
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-PLAYLIST-TYPE:VOD"]
    made: list[tuple[str, bytes]] = []
    longest = max(e - b for b, e in zip(begins, ends, strict=True))
    lines += [f"#EXT-X-TARGETDURATION:{math.ceil(longest - 0.001)}", "#EXT-X-MEDIA-SEQUENCE:0"]
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        name = f"{target.stem}-{number:03d}.ts"
        last = number == len(begins) - 1

        def here(unit: Unit, begin: float = begin, end: float = end, last: bool = last) -> bool:
            return (unit.time >= begin - 1e-6 or begin == begins[0]) and (
                unit.time < end - 1e-6 or last
            )

        parts = [
            track.having(
                track.units[starts[number] : None if last else starts[number + 1]]
                if track is found[0]
                else filter(here, track.units)
            )
            for track in found
        ]
        out = io.BytesIO()
        write(out, parts, form="mpegts", options=_COPY, after=_START)
        made.append((name, out.getvalue()))
        lines += [f"#EXTINF:{end - begin:.6f},", name]
    whole, at = join_transport([data for _, data in made]), 0
    for name, data in made:
        target.with_name(name).write_bytes(whole[at : at + len(data)])
        at += len(data)
    target.write_text("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n")
    return [*begins, ends[-1]]


def in_segments(encoding: Encoding | None, rate: Fraction) -> Encoding:
    """The same encoding with the key frames that segments need."""
    encoding = encoding or Encoding()
    gop = (("g", str(max(1, round(rate * Fraction(SEGMENT))))), ("sc_threshold", "0"))
    return replace(encoding, video_options=(*encoding.video_options, *gop))


def deliver(made: Path, target: Path) -> None:
    """Copy a file to where it is wanted; for a playlist, with the segments that are there."""
    if target.suffix.lower() != PLAYLIST:
        shutil.copyfile(made, target)
    elif made.suffix.lower() != PLAYLIST:
        segment(made, target)
    else:
        lines = []
        for line in made.read_text().splitlines():
            if not line or line.startswith("#"):
                lines.append(line)
                continue
            name = target.stem + line.removeprefix(made.stem)
            if made.with_name(line).exists():
                shutil.copyfile(made.with_name(line), target.with_name(name))
            lines.append(name)
        target.write_text("\n".join(lines) + "\n")
