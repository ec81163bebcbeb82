"""Encoded picture that is damaged as transports damage it, and decoded as players decode it.

A `Bitstream` is one encode. `faults/mechanisms.py` draws damage to it, `damaged` gives its bytes
with the damage, `decoded` what a decoder with concealment makes of them. FFmpeg decodes with one
thread here: with more, H.264 reads rows of damaged references before they are concealed or after,
as it happens.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import cast

import av
import av.container
import numpy as np
import numpy.typing as npt

from faults.media import Picture, picture_of, repeatable
from faults.packets import (
    Track,
    Unit,
    opened,
    pids,
    starts_unit,
    tracks,
    transport,
    write,
)
from pipeline.decode import DecodedFrame, Decoder

START = 2.0  # seconds on the clock of the container at presentation zero: DTS stay positive
_VIDEO_PID = 0x100  # what FFmpeg's muxer gives to the first stream
_COPY = {"mpegts_copyts": "1"}


class Codec(StrEnum):
    """Codecs whose decoders show damage. dav1d refuses damaged AV1 frames, so it only freezes."""

    H264 = "h264"
    HEVC = "hevc"
    MPEG2 = "mpeg2"
    VP9 = "vp9"


@dataclass(frozen=True)
class Coding:
    """How the picture is encoded.

    Attributes:
        quality: CRF of x264, x265 and VP9, the quantiser scale (1 to 31) of MPEG-2.
        gop: frames between key frames, at most.
        slices: of a frame. MPEG-2 has one for each row of macroblocks, VP9 has none.
        b_frames: between two others, at most. VP9 has none.
    """

    codec: Codec = Codec.H264
    quality: int = 23
    gop: int = 50
    slices: int = 1
    b_frames: int = 2


def _encoder(coding: Coding, height: int) -> tuple[str, dict[str, str]]:
    gop, b_frames = str(coding.gop), str(coding.b_frames)
    if coding.codec is Codec.H264:
        params = f"keyint={gop}:bframes={b_frames}:slices={coding.slices}:open-gop=0"
        crf = str(coding.quality)
        return "libx264", {"preset": "veryfast", "crf": crf, "x264-params": params}
    if coding.codec is Codec.HEVC:
        # a slice of x265 has two rows of coding tree units at least
        slices = max(1, min(coding.slices, height // 32 // 2))
        params = (
            f"log-level=none:keyint={gop}:bframes={b_frames}:slices={slices}:open-gop=0:ctu=32:"
            "pools=2:frame-threads=1"
        )
        crf = str(coding.quality)
        return "libx265", {"preset": "ultrafast", "crf": crf, "x265-params": params}
    if coding.codec is Codec.MPEG2:
        return "mpeg2video", {
            "flags": "+qscale+cgop",
            "global_quality": str(coding.quality * 118),  # FF_QP2LAMBDA
            "g": gop,
            "bf": b_frames,
            "sc_threshold": "1000000000",  # closed GOPs allow no other key frames
        }
    return "libvpx-vp9", {
        "crf": str(coding.quality),
        "b": "0",
        "deadline": "realtime",
        "cpu-used": "7",
        "g": gop,
    }


@dataclass(frozen=True)
class Damage:
    """What was drawn: packets of the stream that are changed or lost, or packets of its transport.

    Attributes:
        changed: index of a unit to its damaged data; None: lost.
        lost: indices of transport packets.
        join: a decoder that ends before the first unit, another that begins with the second.
        parameters: of the mechanism.
    """

    changed: dict[int, bytes | None] = field(default_factory=dict)
    lost: frozenset[int] = frozenset()
    join: tuple[int, int] | None = None
    hit: tuple[int, int] = (0, 0)  # first and last unit that is hit
    parameters: dict[str, float | int] = field(default_factory=dict)


class Bitstream:
    """One encode of a picture, in MPEG-TS (VP9: Matroska), with sound where that is given.

    Args:
        pictures: frames in order, of one size.
        rate: nominal frames per second.
        coding: codec and its settings.
        sound: a track to be muxed beside it.

    Attributes:
        units: coded frames, in order of decoding.
        shown_from: of each unit, s: the earliest that is shown of it or of what comes later.
        anchors: units that others refer to.
    """

    def __init__(
        self,
        pictures: Iterable[Picture],
        rate: Fraction,
        coding: Coding,
        sound: Track | None = None,
    ) -> None:
        self.coding, self.rate = coding, rate
        self._sound = sound
        encoded = self._encode(pictures)
        (self._video,) = tracks(encoded, origin=START)
        if self._shift:
            self._video = self._video.having(u.moved(self._shift) for u in self._video.units)
        self.units = self._video.units
        self.data = encoded if sound is None and not self._shift else self._mux(self.units)
        stamps = np.array([unit.time for unit in self.units])
        # a frame that is decoded later may be shown earlier, and shows the damage too
        self.shown_from = np.minimum.accumulate(stamps[::-1])[::-1]
        running = np.maximum.accumulate(stamps)
        self.anchors = {int(n) for n in np.flatnonzero(stamps >= running)}
        self._keys = [n for n, unit in enumerate(self.units) if unit.key]

    @property
    def in_transport(self) -> bool:
        """Whether it is carried by MPEG-TS."""
        return self.coding.codec is not Codec.VP9

    def clean(self) -> Iterator[Picture]:
        """The undamaged decode."""
        return decoded([self.data])

    # ------------------------------------------------------------------------------------ damage

    def damaged(self, damage: Damage) -> list[bytes]:
        """The stream with the damage; in several parts where a decoder begins anew."""
        return self._with(damage, 0, len(self.units))

    def around(self, damage: Damage) -> tuple[list[bytes], list[bytes]]:
        """The groups of pictures that are hit alone: as they were, and with the damage."""
        first = max(n for n in self._keys if n <= damage.hit[0])
        later = [n for n in self._keys if n > damage.hit[1]]
        stop = min(later[0] + 1, len(self.units)) if later else len(self.units)
        return self._with(Damage(), first, stop), self._with(damage, first, stop)

    def _with(self, damage: Damage, first: int, stop: int) -> list[bytes]:
        if damage.join is not None:
            end, begin = damage.join
            before = self._with(Damage(), first, end) if end > first else []
            return [*before, self._fresh(self.units[begin:stop])]
        if damage.changed or not self.in_transport:
            kept = []
            for n in range(first, stop):
                data = damage.changed.get(n, self.units[n].data)
                if data:
                    kept.append(replace(self.units[n], data=data))
            return [self._mux(kept)]
        packets = transport(self.data)
        keep = np.ones(len(packets), bool)
        keep[list(damage.lost)] = False
        if first > 0 or stop < len(self.units):
            inside = (self.owner >= first) & (self.owner < stop)
            keep &= inside | (np.arange(len(packets)) < _TABLES)
        return [packets[keep].tobytes()]

    def packets_of(self, where: list[int]) -> npt.NDArray[np.int64]:
        """Transport packets that carry those units."""
        wanted = np.zeros(len(self.units) + 1, bool)
        wanted[where] = True
        return np.flatnonzero(wanted[self.owner])

    @cached_property
    def owner(self) -> npt.NDArray[np.int64]:
        """Unit that each transport packet carries; -1 for other packets."""
        packets = transport(self.data)
        mine = pids(packets) == _VIDEO_PID
        return np.where(mine, np.cumsum(mine & starts_unit(packets)) - 1, -1)

    def slices_of(self, n: int) -> list[tuple[int, int]]:
        """Where the coded content of the slices of a unit lies, without their headers."""
        return slices(self.units[n].data, self.coding.codec)

    # ------------------------------------------------------------------------------------ muxing

    def _encode(self, pictures: Iterable[Picture]) -> bytes:
        out = io.BytesIO()
        coding = self.coding
        frames = iter(pictures)
        first = next(frames)
        name, options = _encoder(coding, first.luma.shape[0])
        mpeg2 = coding.codec is Codec.MPEG2
        base = 1 / self.rate if mpeg2 else Fraction(1, 90_000)
        with self._container(out) as container:
            video = cast(
                av.VideoStream,
                container.add_stream(name, rate=self.rate, options=repeatable(name, options)),
            )
            video.height, video.width = first.luma.shape
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = base
            video.codec_context.thread_count = 2
            # MPEG-2 counts in frames; its first frame keeps its time all the same
            grid = round((first.time + START) / float(base)) * base
            self._shift = first.time + START - float(grid) if mpeg2 else 0.0
            last = -(2**40)
            picture: Picture | None = first
            while picture is not None:
                frame = picture.frame()
                last = max(round((picture.time + START - self._shift) / float(base)), last + 1)
                frame.pts, frame.time_base = last, base
                container.mux(video.encode(frame))
                picture = next(frames, None)
            container.mux(video.encode(None))
        return out.getvalue()

    def _container(self, out: io.BytesIO) -> av.container.OutputContainer:
        form = "mpegts" if self.in_transport else "matroska"
        options = {"fflags": "+bitexact", **(_COPY if self.in_transport else {})}
        return av.open(out, "w", format=form, options=options)

    def _mux(self, units: Sequence[Unit]) -> bytes:
        out = io.BytesIO()
        parts = [self._video.having(units)]
        if self._sound is not None:
            parts.append(self._sound)
        form = "mpegts" if self.in_transport else "matroska"
        write(out, parts, form=form, options=_COPY if self.in_transport else {}, after=START)
        return out.getvalue()

    def _fresh(self, units: Sequence[Unit]) -> bytes:
        """For a decoder that begins here: Matroska has the parameter sets in its header."""
        out = io.BytesIO()
        write(out, [self._video.having(units)], form="matroska", after=START)
        return out.getvalue()


_TABLES = 3  # packets at the start of a stream: service description, PAT, PMT
# Bytes after the start code that are left alone, so that slices are damaged and not lost:
# longer than most slice headers.
_HEADERS = {Codec.H264: 8, Codec.HEVC: 10, Codec.MPEG2: 3, Codec.VP9: 24}
_START_CODE = re.compile(rb"\x00\x00\x01")


def slices(data: bytes, codec: Codec) -> list[tuple[int, int]]:
    """First byte and end of the content of each slice in a packet; the whole if there is none."""
    header = _HEADERS[codec]
    if codec is Codec.VP9:
        return [(min(header, len(data) - 1), len(data))]
    codes = [match.end() for match in _START_CODE.finditer(data)]
    ends = [code - 3 for code in codes[1:]] + [len(data)]
    found = []
    for at, end in zip(codes, ends, strict=True):
        if at < len(data) and _is_slice(data[at], codec) and end - at > header + 2:
            found.append((at + header, end))
    return found or [(len(data) // 2, len(data))]


def _is_slice(byte: int, codec: Codec) -> bool:
    """By the byte after the start code: H.264 7.4.1, HEVC 7.4.2.2, MPEG-2 6.2.1."""
    if codec is Codec.H264:
        return byte & 0x1F in (1, 5)
    if codec is Codec.HEVC:
        return (byte >> 1) & 0x3F < 32
    return 1 <= byte <= 0xAF


def decoded(parts: Sequence[bytes | Path], *, after: float = START) -> Iterator[Picture]:
    """Decode with concealment, damaged frames too; a new decoder for each part.

    Args:
        parts: streams, one after another in time.
        after: container time of presentation zero.
    """
    for number, part in enumerate(parts):
        with opened(part) as container:
            if not container.streams.video:
                continue
            if number:  # as players that show what they have before the first key frame
                shown = {"flags": "+output_corrupt", "flags2": "+showall"}
                container.streams.video[0].codec_context.options = shown
            decoder = Decoder(container, threads=1, reads=("video",))
            offset = decoder.asset().start_time - after
            for item in decoder:
                if isinstance(item, DecodedFrame):
                    yield picture_of(item.frame, item.time + offset, item.duration)
