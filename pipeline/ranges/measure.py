"""One range of an asset: found by its key frames, decoded, measured and written as a piece.

A range begins at the first key frame, in the order of decoding, of its first minute, and ends where
the next one begins. Each range finds both by itself: no index is needed, and none is trusted.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any

import av
import av.container
import numpy as np
from threadpoolctl import threadpool_limits

from pipeline import segment
from pipeline.clock import Clock
from pipeline.decode import Decoded, DecodedFrame, Decoder, PictureStream
from pipeline.errors import SeamError
from pipeline.ffmpeg_log import ErrorCount
from pipeline.measure.frame import MOTION, ORDER
from pipeline.measure.measured import FrameShape, MeasuredFrame
from pipeline.measurements import Note
from pipeline.panel import judges_coarseness, judges_steps, lips
from pipeline.ranges.piece import Complaint, Mark, PieceWriter, Seam, Step, Tail, mark_of
from pipeline.segment import PictureLine
from pipeline.settings import Settings
from pipeline.source import open_source
from pipeline.types import Asset, VideoTrack

# Containers in which one can go to a moment. AVI has no presentation times; playlists go to a
# segment, and their clock depends on where it was first opened.
FORMATS = frozenset({"mov", "matroska", "mpegts", "mxf"})
_MOST = 2000  # ranges; of an asset that declares to be longer, the length is damaged
_OVERLAP = 32  # packets of the next range that are decoded as well; H.264 keeps 16 references
_BEFORE = (2.0, 15.0, 120.0)  # seconds ahead of a range from which its key frame is looked for


@dataclass(frozen=True)
class Range:
    """A range of an asset.

    Attributes:
        first: minute (of RENEWED_EVERY seconds) in whose first key frame it begins; 0: the
            beginning of the asset.
        stop: likewise, where the next one begins; None: it goes on to the end.
    """

    first: int
    stop: int | None


def is_long(length: float | None, seconds: float) -> bool:
    """Whether an asset has at least two ranges.

    Args:
        length: seconds of presentation, as declared; None: unknown.
        seconds: of a range, rounded to whole minutes of at least one; 0: there are none.
    """
    return length is not None and seconds > 0 and _count(length, seconds) > 1


def _count(length: float, seconds: float) -> int:
    return int(
        length / segment.RENEWED_EVERY / _minutes(seconds)
    )  # what is left goes with the last one


def _minutes(seconds: float) -> int:
    return max(1, round(seconds / segment.RENEWED_EVERY))


def ranges(asset: Asset, seconds: float) -> list[Range]:
    """The ranges into which a long asset is cut.

    Args:
        asset: as it was opened.
        seconds: of a range, see `is_long`.

    Raises:
        SeamError: it cannot be cut.
    """
    formats = (asset.container or "").split(",")
    if not any(name in FORMATS for name in formats):
        raise SeamError(f"{formats[0]} is not entered in the middle")
    if not any(video.examined for video in asset.video):
        raise SeamError("it has no pictures")
    minutes, count = _minutes(seconds), _count(asset.declared_duration or 0.0, seconds)
    if count > _MOST:
        raise SeamError(f"it declares to last {asset.declared_duration:.3g} s")
    firsts = [n * minutes for n in range(count)]
    stops = [*firsts[1:], None]
    return [Range(*pair) for pair in zip(firsts, stops, strict=True)]


def measure_range(
    uri: str,
    settings: Settings,
    which: Range,
    file: IO[bytes],
    progress: Callable[[float], None],
) -> None:
    """Decode and measure the pictures of a range, and write what was measured.

    Args:
        uri: of the asset.
        settings: of the inspection.
        which: of its ranges.
        file: takes the piece.
        progress: is told now and then how far it is, in seconds of presentation; what it raises
            ends the work.

    Raises:
        SourceError: the asset cannot be opened.
        SeamError: the range cannot be joined to its neighbours; the asset needs one piece.
    """
    cpu = time.process_time()
    with threadpool_limits(1, "blas"), open_source(uri, settings.limits) as container:
        decoder = _RangeDecoder(container, settings.threads, which)
        share = lips(settings, decoder.asset())
        line = PictureLine(share, judges_coarseness(settings), judges_steps(settings))
        writer = PieceWriter(file)
        newest: MeasuredFrame | None = None
        told = -np.inf
        checked = 2 * _OVERLAP if which.first else 0  # those of the overlap, and those shown before
        for made in decoder.run():
            measured: list[MeasuredFrame] = []
            for seen in made.frames:
                newest = _measured(line, seen.item, seen.shape)
                if checked > 0:
                    checked -= 1
                    newest.check = _check(seen.frame)
                measured.append(newest)
            if made.mark is not None:
                writer.add(Step(made.mark, made.complaints, measured))
                if newest is not None and newest.time - told >= 1.0:
                    told = newest.time
                    progress(told)
                continue
            seam = None if made.beyond is None else _seam(line, made.beyond)
            line.finish()
            if newest is not None:
                newest.after = line.mouths()
            writer.finish(Tail(measured, made.complaints, seam, time.process_time() - cpu))


@dataclass
class _Seen:
    """A frame as it came, and what the decoder says besides."""

    item: DecodedFrame
    shape: FrameShape

    @property
    def frame(self) -> av.VideoFrame:
        """The picture."""
        return self.item.frame

    @property
    def pts(self) -> int:
        """Of the frame, in ticks."""
        return self.item.frame.pts or 0


@dataclass
class _Beyond:
    """The beginning of the next range: its first frame, and what Seam says."""

    first: _Seen
    checks: dict[int, int]
    said: list[tuple[Mark, list[Complaint]]]


@dataclass
class _Made:
    """What a packet made; without a mark: what the decoder still held at the end of the range."""

    mark: Mark | None
    complaints: list[Complaint]
    frames: list[_Seen]
    beyond: _Beyond | None = None


def _measured(line: PictureLine, item: DecodedFrame, shape: FrameShape) -> MeasuredFrame:
    anew = line.add(item)
    meter, frame = line.meter, item.frame
    if meter is None:
        raise SeamError("a range has no picture")
    maps, profile, look = meter.last()
    made = MeasuredFrame(
        shape=shape,
        pts=frame.pts,
        dts=frame.dts,
        duration=int(frame.duration or 0),
        key_frame=bool(frame.key_frame),
        interlaced_frame=bool(frame.interlaced_frame),
        is_corrupt=bool(frame.is_corrupt),
        time=item.time,
        anew=anew,
        maps=maps.copy(),
        profile=profile.copy(),
        look=look,
        mouths=line.mouths(),
    )
    meter.forget()
    return made


def _seam(line: PictureLine, beyond: _Beyond) -> Seam:
    """The beginning of the next range, after the last frame of this one."""
    item = beyond.first.item
    if line.changes(item):
        raise SeamError("the format of the picture changes where a range begins")
    meter = line.meter
    if meter is None:
        raise SeamError("a range has no picture")
    meter.add(item.frame, item.time, item.duration, item.flags)
    compared = meter.last()[0][[MOTION, ORDER]]
    meter.forget()
    return Seam(beyond.first.pts, compared, beyond.checks, beyond.said)


def _check(frame: av.VideoFrame) -> int:
    """CRC-32 of the samples of a frame, and of what the decoder says of it."""
    check = zlib.crc32(bytes((frame.key_frame, frame.interlaced_frame, frame.is_corrupt)))
    for plane in frame.planes:
        # what lies between the end of a row and the next one is not the picture's
        used = plane.width * (-(-frame.format.components[0].bits // 8))
        packed = not frame.format.is_planar
        line = plane.line_size
        rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * line]
        if not packed and line > 0:
            rows = rows.reshape(plane.height, line)[:, :used]
        check = zlib.crc32(np.ascontiguousarray(rows).data, check)
    return check


# -------------------------------------------------------------------------------------- decoding


class _RangePicture(PictureStream):
    """Gives the frames from a PTS on, and gathers what the decoder complains of."""

    def __init__(self, stream: av.VideoStream, clock: Clock, track: VideoTrack) -> None:
        super().__init__(stream, clock, track)
        self.first: int | None = None
        self.complaints: list[Complaint] = []
        self.seen: list[_Seen] = []

    def feed(self, packet: av.Packet[Any] | None, log: ErrorCount) -> None:
        """Decode a packet, or what is left where there is none."""
        log.take()  # the demuxer's
        for item in self._decode(packet, None, log):
            if isinstance(item, DecodedFrame):
                self.seen.append(_Seen(item, _shape_of(self, item.frame)))
            elif isinstance(item, Note) and item.what == "decode_error":
                self.complaints.append(Complaint(item.detail, item.reason, int(item.value)))

    def taken(self) -> tuple[list[Complaint], list[_Seen]]:
        """What has gathered since the last call."""
        taken = self.complaints, self.seen
        self.complaints, self.seen = [], []
        return taken

    def _frame(self, frame: av.VideoFrame) -> Iterator[Decoded]:  # type: ignore[override]
        if frame.pts is None:
            raise SeamError("it has pictures without a time of presentation")
        if self.first is None or frame.pts >= self.first:
            yield from super()._frame(frame)


def _shape_of(stream: _RangePicture, frame: av.VideoFrame) -> FrameShape:
    return FrameShape(
        width=frame.width,
        height=frame.height,
        format_name=frame.format.name,
        color_range=int(frame.color_range),
        color_trc=int(frame.color_trc),
        color_primaries=int(frame.color_primaries),
        rotation=frame.rotation,
        aspect=stream.aspect(frame),
    )


class _RangeDecoder(Decoder):
    """Decodes the pictures of one range."""

    def __init__(self, container: av.container.InputContainer, threads: int, which: Range) -> None:
        super().__init__(container, threads)
        self._range = which
        if not self._video:
            raise SeamError("it has no pictures")
        self._picture_stream: _RangePicture = self._video[0]  # type: ignore[assignment]
        for stream in container.streams:
            if stream.index != self._picture_stream.index:
                stream.discard = av.stream.Discard.all

    def _picture(self, stream: av.VideoStream, clock: Clock, track: VideoTrack) -> _RangePicture:
        return _RangePicture(stream, clock, track)

    def run(self) -> Iterator[_Made]:
        """What each packet of the range makes, and at last what the decoder still held.

        Raises:
            SeamError: the range cannot be found, or does not fit to its neighbours.
        """
        with self.errors() as log:
            try:
                yield from self._range_of(log)
            except (av.error.FFmpegError, OSError) as error:
                raise SeamError(f"it cannot be read from the middle: {error}") from error
            finally:
                self._picture_stream.stream.codec_context.flush_buffers()  # see Decoder

    def _range_of(self, log: ErrorCount) -> Iterator[_Made]:
        which, picture = self._range, self._picture_stream
        packets = self._from_start()
        packet = next(packets, None)
        if which.first and packet is not None and packet.pts is not None:
            picture.first = packet.pts
            self._clock.reach = self._time(packet.pts)
        begun = which.first == 0
        while packet is not None and packet.size and not self._begins(packet, which.stop):
            if packet.pts is None:
                raise SeamError("it has packets without a time of presentation")
            picture.feed(packet, log)
            complaints, seen = picture.taken()
            if seen and not begun:
                begun = True
                if seen[0].pts != picture.first or not seen[0].frame.key_frame:
                    raise SeamError("a range does not begin with its key frame")
            yield _Made(mark_of(packet), complaints, seen)
            packet = next(packets, None)
        if packet is None or not packet.size:
            picture.feed(packet, log)
            yield _Made(None, *picture.taken())
            return
        yield self._held(packet, packets, log)

    def _held(
        self, packet: av.Packet[Any], packets: Iterator[av.Packet[Any]], log: ErrorCount
    ) -> _Made:
        """What the decoder still holds when the next range begins with a packet.

        It goes on into that range for a while: pictures before the key frame may come after it,
        and what it makes of the others shows whether a decoder that begins there does the same.
        """
        picture, following = self._picture_stream, packet.pts or 0
        said: list[tuple[Mark, list[Complaint]]] = []
        own: list[_Seen] = []
        first: _Seen | None = None
        checks: dict[int, int] = {}
        for one in chain([packet], islice(packets, _OVERLAP - 1), [None]):
            at_end = one is None or not one.size
            picture.feed(one, log)
            complaints, frames = picture.taken()
            if at_end and complaints:
                raise SeamError("it is damaged just after a range began")
            if one is not None and one.size:
                said.append((mark_of(one), complaints))
            for seen in frames:
                if seen.pts < following:
                    own.append(seen)
                else:  # a frame is large: what is kept is one, and a number of each
                    first = first or seen
                    checks[seen.pts] = _check(seen.frame)
            if at_end:
                break
        if first is None or first.pts != following:
            raise SeamError("a range does not end before a key frame")
        return _Made(None, [], own, _Beyond(first, checks, said))

    def _from_start(self) -> Iterator[av.Packet[Any]]:
        """Packets from the first one of the range on."""
        stream, first = self._picture_stream.stream, self._range.first
        packets = self.container.demux(stream) if not first else self._from_before(first)
        for packet in packets:
            if not packet.size or not first or self._begins(packet, first):
                yield packet
                break
        yield from packets

    def _from_before(self, first: int) -> Iterator[av.Packet[Any]]:
        """Packets from some moment before a minute on, near it where that can be had."""
        stream = self._picture_stream.stream
        for before in _BEFORE:
            moment = first * segment.RENEWED_EVERY - before + self._asset.start_time
            self.container.seek(int(moment / self._picture_stream.tick), stream=stream)
            packets = self.container.demux(stream)
            for packet in packets:
                if packet.pts is not None:
                    if self._minute(packet.pts) < first:
                        return packets
                    break
        raise SeamError("a moment in it cannot be found again")

    def _begins(self, packet: av.Packet[Any], minute: int | None) -> bool:
        """Whether a packet is the first of a range, where no packet before it was."""
        return (
            minute is not None
            and packet.is_keyframe
            and packet.pts is not None
            and self._minute(packet.pts) >= minute
        )

    def _minute(self, pts: int) -> int:
        return int(self._time(pts) // segment.RENEWED_EVERY)

    def _time(self, pts: int) -> float:
        """Seconds of presentation, as the clock has them where nothing jumps."""
        return pts * self._picture_stream.tick - self._asset.start_time
