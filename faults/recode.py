"""Pictures through a real encoder and decoder in memory, also with the first picture lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, cast

import av
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from faults.media import Picture, picture_of, repeatable

_TICK = Fraction(1, 25)  # coded frames are counted; their own times come back with them


def recode(
    pictures: Iterable[Picture],
    codec: str,
    options: Mapping[str, str],
    *,
    scale: tuple[int, int] | None = None,
    first: Picture | None = None,
) -> Iterator[Picture]:
    """Pictures encoded and decoded, in order and at their own times.

    Args:
        pictures: of one size.
        codec: an encoder of FFmpeg.
        options: for the encoder.
        scale: even (height, width) in which they are coded; they come back in their own size.
        first: decoded in place of the first of the pictures, as if that had been lost: what is
            coded after it is drawn onto this one. Not for options with B-frames.
    """
    coder: _Coder | None = None
    for picture in pictures:
        if coder is None:
            coder = _Coder(codec, options, scale or picture.luma.shape)
            if first is not None:
                coder.stand_in = _Coder(codec, options, coder.size).packets(first)[0]
        yield from coder.feed(picture)
    if coder is not None:
        yield from coder.finish()


class _Coder:
    """An encoder and the decoder of what it writes."""

    def __init__(self, codec: str, options: Mapping[str, str], size: tuple[int, ...]) -> None:
        self.size = (size[0], size[1])
        self.stand_in: bytes | None = None
        self._full_range = codec == "mjpeg"  # its encoder takes nothing else
        self._encoder = cast(av.VideoCodecContext, av.CodecContext.create(codec, "w"))
        self._encoder.height, self._encoder.width = self.size
        self._encoder.pix_fmt = "yuvj420p" if self._full_range else "yuv420p"
        self._encoder.time_base, self._encoder.framerate = _TICK, 1 / _TICK
        self._encoder.options = repeatable(codec, options)
        self._encoder.thread_count = 1  # the same bytes on every machine
        name = self._encoder.codec.canonical_name
        self._decoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
        self._decoder.thread_count = 1
        self._waiting: deque[Picture] = deque()
        self._count = 0

    def packets(self, picture: Picture) -> list[bytes]:
        """One picture, encoded by itself."""
        encoded = [*self._encode(picture), *self._encoder.encode(None)]
        return [bytes(packet) for packet in encoded]

    def feed(self, picture: Picture) -> Iterator[Picture]:
        self._waiting.append(picture)
        yield from self._decode(self._encode(picture))

    def finish(self) -> Iterator[Picture]:
        yield from self._decode(self._encoder.encode(None))
        for frame in self._decoder.decode(None):
            yield self._back(frame)

    def _encode(self, picture: Picture) -> list[Any]:
        frame = picture.frame()
        height, width = self.size
        if self._full_range or picture.luma.shape != self.size:
            frame = VideoReformatter().reformat(
                frame,
                width=width,
                height=height,
                format=self._encoder.pix_fmt,
                dst_color_range=ColorRange.JPEG if self._full_range else ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC,
            )
        frame.pts, frame.time_base = self._count, _TICK
        self._count += 1
        return list(self._encoder.encode(frame))

    def _decode(self, packets: Iterable[Any]) -> Iterator[Picture]:
        for packet in packets:
            sent = packet
            if self.stand_in is not None:
                sent, self.stand_in = av.Packet(self.stand_in), None
            for frame in self._decoder.decode(sent):
                yield self._back(frame)

    def _back(self, frame: av.VideoFrame) -> Picture:
        source = self._waiting.popleft()
        height, width = source.luma.shape
        if (frame.height, frame.width) != (height, width):
            # bilinear, as in set-top boxes and players
            frame = VideoReformatter().reformat(
                frame, width=width, height=height, interpolation=Interpolation.BILINEAR
            )
        return picture_of(frame, source.time, source.duration)
