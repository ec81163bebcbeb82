"""Packets of encoded media: reading them, changing them, writing them again without encoding.

Times count from the start of the presentation, so that what is put together from several files
keeps picture and sound where they were.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import av.container
import av.stream
import numpy as np
import numpy.typing as npt

from faults.base import FaultError
from faults.media import Clean, Picture, encode, picture_of
from pipeline.decode import DecodedFrame, Decoder

Place = Path | bytes  # a file, or its content
TRANSPORT = (".ts", ".m2ts", ".mts")
PACKET = 188  # bytes of an MPEG-TS packet (ISO/IEC 13818-1)


@dataclass(frozen=True)
class Unit:
    """One packet: a frame of a picture, or one or more of sound."""

    pts: int  # ticks from the start of the presentation
    dts: int
    duration: int  # ticks, 0: not known
    tick: Fraction  # seconds
    key: bool
    data: bytes

    @property
    def time(self) -> float:
        """PTS in seconds."""
        return float(self.pts * self.tick)

    @property
    def order(self) -> float:
        """DTS in seconds."""
        return float(self.dts * self.tick)

    @property
    def end(self) -> float:
        """End of presentation in seconds."""
        return float((self.pts + self.duration) * self.tick)

    def moved(self, seconds: float) -> Unit:
        """The same packet later."""
        ticks = round(Fraction(seconds) / self.tick)
        return replace(self, pts=self.pts + ticks, dts=self.dts + ticks)


@dataclass(frozen=True)
class Track:
    """A stream: its packets in the order of decoding."""

    place: Place
    stream: int
    kind: Literal["video", "audio"]
    units: tuple[Unit, ...]

    def having(self, units: Iterable[Unit]) -> Track:
        """The same stream with other packets."""
        return replace(self, units=tuple(units))

    @property
    def end(self) -> float:
        """Seconds to the end of its last packet."""
        return max((unit.end for unit in self.units), default=0.0)


def opened(place: Place) -> av.container.InputContainer:
    """Open a file or its content."""
    return av.open(io.BytesIO(place) if isinstance(place, bytes) else str(place), "r")


def tracks(place: Place, *, origin: float | None = None) -> list[Track]:
    """The first video and the first audio stream, the only ones that faults keep.

    Args:
        place: the media.
        origin: container time in seconds that becomes zero; None: the start of the presentation.
    """
    with opened(place) as container:
        if origin is None:
            origin = Decoder(container).asset().start_time
        chosen: list[av.stream.Stream] = [
            *container.streams.video[:1],
            *container.streams.audio[:1],
        ]
        units: dict[int, list[Unit]] = {stream.index: [] for stream in chosen}
        for packet in container.demux(chosen) if chosen else ():
            # one without PTS has lost its header in the transport, no container can hold it
            if not packet.size or packet.pts is None:
                continue
            tick = packet.time_base
            start = round(Fraction(origin) / tick)
            pts = packet.pts - start
            dts = pts if packet.dts is None else packet.dts - start
            found = units[packet.stream.index]
            length = packet.duration or 0
            found.append(Unit(pts, dts, length, tick, bool(packet.is_keyframe), bytes(packet)))
        return [
            Track(
                place, s.index, "video" if s.type == "video" else "audio", _ordered(units[s.index])
            )
            for s in chosen
        ]


def _ordered(units: list[Unit]) -> tuple[Unit, ...]:
    """With durations, and decoding times that increase: Matroska stores none, FFmpeg's repeat."""
    steps = np.diff(np.unique([unit.pts for unit in units]))
    usual = int(np.median(steps)) if len(steps) else 0
    units = [unit if unit.duration else replace(unit, duration=usual) for unit in units]
    if all(a.dts < b.dts for a, b in itertools.pairwise(units)):
        return tuple(units)
    shown = sorted(unit.pts for unit in units)
    delay = max(due - unit.pts for due, unit in zip(shown, units, strict=True))
    return tuple(replace(unit, dts=due - delay) for due, unit in zip(shown, units, strict=True))


def write(
    target: Path | io.BytesIO,
    parts: Sequence[Track],
    *,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
    after: float = 0.0,
) -> None:
    """Mux packets as they are, `after` seconds later. Packets out of order are left out."""
    with ExitStack() as stack:
        place: Any = target if isinstance(target, io.BytesIO) else str(target)
        out = stack.enter_context(
            av.open(place, "w", format=form, options={"fflags": "+bitexact", **(options or {})})
        )
        made: list[av.stream.Stream] = []
        for track in parts:
            source = stack.enter_context(opened(track.place))
            made.append(out.add_stream_from_template(source.streams[track.stream]))
        last = [-float("inf")] * len(parts)
        ordered = sorted(
            ((unit.order, n, at) for n, track in enumerate(parts)
             for at, unit in enumerate(track.units)),
        )  # fmt: skip
        for _, n, at in ordered:
            unit = parts[n].units[at]
            if unit.order <= last[n]:
                continue
            last[n] = unit.order
            out.mux(_packet(unit.moved(after), made[n]))


def _packet(unit: Unit, stream: av.stream.Stream) -> av.Packet[Any]:
    packet: av.Packet[Any] = av.Packet(unit.data)
    packet.time_base = unit.tick
    packet.pts, packet.dts = max(unit.pts, unit.dts), unit.dts
    if unit.duration:
        packet.duration = unit.duration
    packet.is_keyframe = unit.key
    packet.stream = stream
    return packet


def remux(
    source: Path,
    target: Path,
    change: Callable[[Track], Iterable[Unit]],
    options: Mapping[str, str] | None = None,
) -> list[Track]:
    """Copy a file with the packets of each stream changed; returns what was written.

    Raises:
        FaultError: the container keeps no times.
    """
    if source.suffix.lower() == ".avi":
        raise FaultError("AVI keeps no times of packets; choose another format")
    changed = [track.having(change(track)) for track in tracks(source)]
    write(target, changed, options=options)
    return changed


def with_pictures(
    source: Path, target: Path, pictures: Iterable[Picture], rate: Fraction, folder: Path
) -> None:
    """Encode other pictures, near transparent, beside the sound of `source` as it is."""
    if target.suffix.lower() == ".avi":  # its sound cannot be copied, see remux
        clean = Clean(source)
        encode(
            target,
            pictures,
            clean.sound if clean.has_sound else None,
            rate=rate,
            sample_rate=clean.sample_rate,
            layout=clean.layout,
        )
        return
    alone = folder / f"picture{target.suffix}"
    first: list[float] = []

    def noted() -> Iterator[Picture]:
        for picture in pictures:
            if not first:
                first.append(picture.time)
            yield picture

    encode(alone, noted(), None, rate=rate)
    found = [track for track in tracks(alone, origin=0.0) if track.kind == "video"]
    start = min(unit.time for unit in found[0].units)
    video = found[0].having(unit.moved(first[0] - start) for unit in found[0].units)
    write(target, [video, *(track for track in tracks(source) if track.kind == "audio")])


def pictures_of(place: Place) -> Iterator[Picture]:
    """Decode, times from the start of the presentation. One thread: same bytes, same picture."""
    with opened(place) as container:
        for item in Decoder(container, threads=1, reads=("video",)):
            if isinstance(item, DecodedFrame):
                yield picture_of(item.frame, item.time, item.duration)


def joints(units: Sequence[Unit]) -> list[int]:
    """Indices at which a stream may be cut: what is decoded later is also shown later."""
    stamps = np.array([unit.pts for unit in units])
    if not len(stamps):
        return []
    latest = np.maximum.accumulate(stamps)[:-1]
    earliest = np.minimum.accumulate(stamps[::-1])[::-1][1:]
    return [int(n) + 1 for n in np.flatnonzero(earliest > latest)]


# ------------------------------------------------------------------------------------- transport


def transport(data: bytes) -> npt.NDArray[np.uint8]:
    """MPEG-TS as an array [packets, 188]."""
    whole = np.frombuffer(data, np.uint8)
    return whole[: whole.size // PACKET * PACKET].reshape(-1, PACKET)


def pids(packets: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Packet identifier of each packet of `transport`."""
    return ((packets[:, 1] & 0x1F).astype(np.int64) << 8) | packets[:, 2]


def starts_unit(packets: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether a packet of `transport` begins a PES packet (payload_unit_start_indicator)."""
    return (packets[:, 1] & 0x40) > 0


def join_transport(parts: Sequence[bytes]) -> bytes:
    """Put transport streams one after another, their packets counted through as by one muxer."""
    packets = np.concatenate([transport(part) for part in parts]).copy()
    carries = (packets[:, 3] & 0x10) > 0  # the counter counts packets with payload alone
    for pid in np.unique(pids(packets)):
        mine = pids(packets) == pid
        count = np.cumsum(carries[mine]) - 1
        packets[mine, 3] = (packets[mine, 3] & 0xF0) | (count % 16).astype(np.uint8)
    return packets.tobytes()
