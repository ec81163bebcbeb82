"""Decoding: packets to frames and samples on the presentation clock, with what went wrong.

One `Decoder` reads one open container from beginning to end, in one thread (the codecs use more).
The first video stream and every audio stream are decoded. A damaged packet costs that packet: the
error becomes a Note and decoding goes on.

Damage shows in four ways, and no codec shows all of them: the demuxer flags a packet, the decoder
flags a frame, decoding raises, or FFmpeg logs an error (HEVC does nothing else). Log lines are
counted, not read, and only while one asset is decoded in the process.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import av.container
import av.error

from pipeline import facts
from pipeline.clock import Cadence, Clock
from pipeline.errors import SourceError
from pipeline.ffmpeg_log import ErrorCount
from pipeline.measurements import Float32, FrameFlag, Note
from pipeline.programme import ProgramTime
from pipeline.samples import Samples
from pipeline.types import Asset, Problem, VideoTrack

MAX_READ_FAILURES = 3  # in a row, before the rest is given up
_THREADS = 4  # more decode little faster and keep more frames in memory
_WRAPPING = ("mpegts", "mpeg", "hls")
_HIGHEST_RATE = 768_000  # samples a second that any sound has; what is measured grows with it
_MPEG_TICK = 1 / 90_000
_LONGEST_FRAME = 10.0  # seconds
_ENCRYPTED = "the stream is encrypted"


@dataclass(frozen=True)
class DecodedFrame:
    """One picture, still in the decoder's memory (or measured elsewhere, see MeasuredFrame)."""

    stream: int
    time: float
    duration: float
    rate: float  # nominal, frames per second
    flags: FrameFlag
    frame: av.VideoFrame


@dataclass(frozen=True)
class DecodedSound:
    """A run of samples, float32 [C, N], full scale 1.0."""

    stream: int
    time: float
    rate: int
    layout: str
    samples: Float32


Decoded = DecodedFrame | DecodedSound | Note


class Decoder:
    """Iterate to get everything that an asset holds, in the order of its packets.

    `problems` says beforehand which streams will not be decoded, and why. `reads` names the types
    of streams that are wanted at all.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        threads: int = 0,
        reads: Collection[str] = ("video", "audio"),
    ) -> None:
        self.container = container
        self.problems: list[Problem] = []
        self._asset = _asset(container)
        self._video: list[PictureStream] = []
        self._sound: list[_Sound] = []
        programme: ProgramTime | None = getattr(container.io_open, "programme", None)
        self._clock = Clock(
            self._asset.start_time,
            frozenset(s.index for s in container.streams if _wraps(container, s)),
            None if programme is None else programme.announces,
        )
        self._alone = threads == 1
        self._choose(threads, reads)

    def asset(self) -> Asset:
        """Facts from the container's headers; the video track gains some with its first frame."""
        return self._asset

    def presentation(self, raw: float) -> float:
        """The presentation time of a timestamp in seconds, by the clock as it is now."""
        return self._clock.presentation(raw)

    def pts(self, time: float) -> float:
        """The timestamp, in seconds, of a presentation time, by the clock as it is now."""
        return self._clock.raw(time)

    def __iter__(self) -> Iterator[Decoded]:
        """Decode to the end. The last item is a Note `end`; a read error comes just before it."""
        with self.errors() as log:
            try:
                yield from self._run(log)
            finally:
                # Freeing a codec whose threads still work deadlocks if one of them logs: the log
                # needs the GIL, which freeing holds. Flushing waits for them without it.
                for state in (*self._video, *self._sound):
                    state.stream.codec_context.flush_buffers()

    def errors(self) -> ErrorCount:
        """The log of FFmpeg, for what this decodes."""
        contexts = [picture.stream.codec_context for picture in self._video]
        threaded = [one.codec.name for one in contexts if one.thread_count != 1]
        return ErrorCount(own_thread=self._alone, threaded=next(iter(threaded), ""))

    def _run(self, log: ErrorCount) -> Iterator[Decoded]:
        states: dict[int, _Stream] = {s.index: s for s in (*self._video, *self._sound)}
        streams = [s.stream for s in states.values()]
        reach_problems: list[tuple[str, str]] = getattr(self.container.io_open, "problems", [])
        packets = self.container.demux(streams) if streams else iter(())
        failures = said = 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except IndexError:  # PyAV has no place for them; the known ones were read to their end
                said_late = "streams that began later were not examined"
                yield self._note("read_error", None, said_late, reason="late_streams")
                break
            except (av.error.FFmpegError, OSError, SourceError) as error:
                reason, detail = _read_error(error)
                yield self._note("read_error", None, detail, reason=reason)
                failures += 1
                if reason == "read_timeout" or failures > MAX_READ_FAILURES:
                    break
                packets = self.container.demux(streams)
                continue
            state = states[packet.stream.index]  # that of flush packets is not set
            if said < len(reach_problems):
                for reason, detail in reach_problems[said:]:
                    yield self._note("read_error", None, detail, reason=reason)
                said = len(reach_problems)
            if packet.size:
                failures = 0
            yield from state.packet(packet, log)
        for reason, detail in reach_problems[said:]:
            yield self._note("read_error", None, detail, reason=reason)
        for state in states.values():
            yield from state.finish(log)
        yield self._note("end", None, "end of the asset")

    def _note(self, what: str, stream: int | None, detail: str, reason: str = "") -> Note:
        return Note(what, self._clock.reach, stream, detail, reason=reason)  # type: ignore[arg-type]

    def _choose(self, threads: int, reads: Collection[str]) -> None:
        """Decide which streams are decoded; the others are not even read."""
        container, asset = self.container, self._asset
        limit = int(container.options.get("max_pixels", 0))
        variant = None
        for track in asset.video if "video" in reads else ():
            stream = cast(av.VideoStream, container.streams[track.stream])
            problem = self._obstacle(stream)
            if problem is None and limit and track.width * track.height > limit:
                size = f"{track.width}x{track.height}"
                problem = ("frame_too_large", f"{size} is more than limits.max_pixels ({limit})")
            if problem is None and self._video:
                problem = ("not_examined", "only the first video stream is examined")
            track.examined = problem is None
            if problem is not None:
                self._refuse(track.stream, *problem)
                continue
            # AUTO, not PyAV's SLICE: slice threading hides damage in H.264
            stream.thread_type = "AUTO"
            # a GPU decodes by itself; more threads would only hold more of its frames
            wanted = 1 if stream.codec_context.is_hwaccel else threads or min(_THREADS, _cores())
            stream.codec_context.thread_count = wanted
            if limit:
                stream.codec_context.options = {"max_pixels": str(limit)}
            variant = stream.metadata.get("variant_bitrate")
            self._video.append(self._picture(stream, self._clock, track))
        for sound in asset.audio if "audio" in reads else ():
            audio = cast(av.AudioStream, container.streams[sound.stream])
            problem = self._obstacle(audio)
            other = audio.metadata.get("variant_bitrate")
            if problem is None and not 0 <= audio.sample_rate <= _HIGHEST_RATE:
                said = f"a sample rate of {audio.sample_rate} Hz"
                problem = ("unusual_rate", f"{said} is more than {_HIGHEST_RATE} Hz")
            if problem is None and variant and other and other != variant:
                problem = ("not_examined", "only the first variant of the playlist is examined")
            sound.examined = problem is None
            if problem is not None:
                self._refuse(sound.stream, *problem)
                continue
            if self._alone:
                audio.codec_context.thread_count = 1
            self._sound.append(_Sound(audio, self._clock))
        chosen = {state.stream.index for state in (*self._video, *self._sound)}
        for unread in container.streams:
            if unread.index not in chosen:
                unread.discard = av.stream.Discard.all

    def _picture(self, stream: av.VideoStream, clock: Clock, track: VideoTrack) -> PictureStream:
        return PictureStream(stream, clock, track)

    def _obstacle(self, stream: av.stream.Stream) -> tuple[str, str] | None:
        if stream.codec_context is None:
            return "no_decoder", f"there is no decoder for the codec of this {stream.type} stream"
        if "enc_key_id" in stream.metadata:  # Matroska and WebM
            return "encrypted", _ENCRYPTED
        return None

    def _refuse(self, stream: int, reason: str, detail: str) -> None:
        self.problems.append(Problem(reason=reason, detail=detail, stream=stream))


class _Stream(ABC):
    """What picture and sound have in common: packets, and the errors in them."""

    def __init__(self, stream: av.VideoStream | av.AudioStream, clock: Clock) -> None:
        self.stream = stream
        self.clock = clock
        self.index = stream.index
        self.tick = float(stream.time_base) if stream.time_base else _MPEG_TICK
        self._begun = self._flushed = self._encrypted = False

    def packet(self, packet: av.Packet[Any], log: ErrorCount) -> Iterator[Decoded]:
        if packet.size == 0:
            if packet.pts is not None or packet.dts is not None:  # an empty sample: nothing new
                return
            self._flushed = True
        elif not self._begun:
            self._begun = True
            if packet.has_sidedata("encryption_info"):  # MP4
                self._encrypted = True
                yield self._error("read_error", None, _ENCRYPTED, "encrypted")
        if self._encrypted:
            return
        stamp = packet.pts if packet.pts is not None else packet.dts
        raw = None if stamp is None else stamp * self.tick
        if packet.is_corrupt:
            yield self._error("corrupt_packet", raw, "the transport lost or damaged data", "packet")
        if (lines := log.take()) > 0:
            yield self._error("decode_error", raw, "FFmpeg logged demuxer errors", "log", lines)
        yield from self._decode(packet, raw, log)

    def finish(self, log: ErrorCount) -> Iterator[Decoded]:
        """Get what the decoder still holds after reading has failed."""
        if not self._flushed:
            self._flushed = True
            yield from self._decode(None, None, log)

    def _decode(
        self, packet: av.Packet[Any] | None, raw: float | None, log: ErrorCount
    ) -> Iterator[Decoded]:
        try:
            frames = self.stream.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            log.take()
            said = getattr(error, "strerror", None) or str(error)
            yield self._error("decode_error", raw, said, "exception")
            return
        if (lines := self._heard(log)) > 0:
            yield self._error("decode_error", raw, "FFmpeg logged decoder errors", "log", lines)
        for frame in frames:
            yield from self._frame(frame)

    def _heard(self, log: ErrorCount) -> int:
        """How many errors the decoder has logged."""
        return log.take()

    @abstractmethod
    def _frame(self, frame: av.VideoFrame | av.AudioFrame) -> Iterator[Decoded]:
        """What a decoded frame becomes."""

    def _error(
        self, what: str, raw: float | None, detail: str, reason: str, count: int = 1
    ) -> Note:
        time = self.clock.guess(self.index, raw)
        return Note(what, time, self.index, detail, count, reason)  # type: ignore[arg-type]


class PictureStream(_Stream):
    """The video stream that is examined."""

    def __init__(self, stream: av.VideoStream, clock: Clock, track: VideoTrack) -> None:
        super().__init__(stream, clock)
        self._track = track
        self._cadence = Cadence(self.index, self.tick)
        self._rate = facts.nominal_rate(stream) or facts.NOMINAL_RATE
        self._size: tuple[int, int] | None = None
        self._context = stream.codec_context
        self._aspect = stream.sample_aspect_ratio
        self._bottom_first = track.field_order == "bottom_field_first"
        # AVI has no presentation times, and what FFmpeg makes up for them is wrong with B-frames
        self._pts_faults = 1 if stream.container.format.name == "avi" else 0
        self._dts_faults = 0
        self._last_pts = self._last_dts = -(2**63)

    def finish(self, log: ErrorCount) -> Iterator[Decoded]:
        """As in _Stream, and what the cadence was not sure of."""
        yield from super().finish(log)
        yield from self._cadence.finish()

    def _heard(self, log: ErrorCount) -> int:
        return log.take() + log.take_late()

    def _frame(self, frame: av.VideoFrame) -> Iterator[Decoded]:  # type: ignore[override]
        stamp = self._stamp(frame)
        raw = None if stamp is None else stamp * self.tick
        duration = self._duration(frame)
        placed = self.clock.picture(self.index, raw, duration)
        if placed.late > 0:
            return
        if placed.notes:
            yield from placed.notes
            self._cadence.restart(placed.time)
        for note in self._cadence.add(placed.time):
            if note.what == "format_change":
                self._rate = note.value
            yield note
        flags = FrameFlag(0)
        if frame.is_corrupt:
            flags |= FrameFlag.CORRUPT
        if frame.key_frame:
            flags |= FrameFlag.KEY
        if frame.interlaced_frame:
            flags |= FrameFlag.INTERLACED
            if not self._bottom_first:
                flags |= FrameFlag.TOP_FIELD_FIRST
        size = (frame.width, frame.height)
        if size != self._size or flags & FrameFlag.KEY:
            yield from self._changes(frame, size, placed.time)
        yield DecodedFrame(self.index, placed.time, duration, self._rate, flags, frame)

    def _stamp(self, frame: av.VideoFrame) -> int | None:
        """PTS, or DTS where that is in order more often (FFmpeg's best effort timestamp)."""
        pts, dts = frame.pts, frame.dts
        repeated = dts is not None and dts <= self._last_dts
        if dts is not None:
            self._dts_faults += repeated
            self._last_dts = dts
        if pts is not None:
            self._pts_faults += pts <= self._last_pts
            self._last_pts = pts
        if pts is None or self._pts_faults > self._dts_faults:
            return None if repeated else dts
        return pts

    def _duration(self, frame: av.VideoFrame) -> float:
        """The steady interval if there is one, else what the frame says, else the nominal one."""
        if self._cadence.interval is not None:
            return self._cadence.interval
        said = frame.duration * self.tick if frame.duration else 0.0
        return said if 0 < said <= _LONGEST_FRAME else 1 / self._rate

    def aspect(self, frame: av.VideoFrame) -> Fraction | None:  # noqa: ARG002
        """The shape of a pixel, as the decoder has it while it gives a frame."""
        return self._context.sample_aspect_ratio

    def _changes(self, frame: av.VideoFrame, size: tuple[int, int], time: float) -> Iterator[Note]:
        aspect = self.aspect(frame)
        if self._size is None:
            facts.complete(self._track, frame)
        elif size != self._size:
            (w, h), (was_w, was_h) = size, self._size
            said = f"picture changes from {was_w}x{was_h} to {w}x{h}"
            yield Note("format_change", time, self.index, said, w * h, "resolution")
        elif aspect and self._aspect and aspect != self._aspect:
            said = f"pixel aspect changes from {self._aspect} to {aspect}"
            yield Note("format_change", time, self.index, said, float(aspect), "pixel_aspect")
        self._size = size
        self._aspect = aspect or self._aspect


class _Sound(_Stream):
    """An audio stream."""

    SETTLE = 3  # frames: HE-AAC may find its real sample rate only after the first

    def __init__(self, stream: av.AudioStream, clock: Clock) -> None:
        super().__init__(stream, clock)
        self._samples = Samples()
        self._format: tuple[int, str, int] | None = None
        self._frames = 0

    def _frame(self, frame: av.AudioFrame) -> Iterator[Decoded]:  # type: ignore[override]
        rate, layout = frame.sample_rate, frame.layout
        if frame.samples <= 0 or not 0 < rate <= _HIGHEST_RATE:
            return
        try:
            samples = self._samples.of(frame)
        except (av.error.FFmpegError, ValueError, KeyError) as error:
            yield self._error("decode_error", None, f"samples not understood: {error}", "exception")
            return
        raw = None if frame.pts is None else frame.pts * self.tick
        placed = self.clock.sound(self.index, raw, samples.shape[1] / rate)
        yield from placed.notes
        if frame.is_corrupt:
            yield Note("decode_error", placed.time, self.index, "damaged sound", 1, "flag")
        found = (rate, layout.name, samples.shape[0])
        if found != self._format:
            if self._format is not None and self._frames >= self.SETTLE:
                was = self._format
                said = f"sound changes from {was[0]} Hz {was[1]} to {rate} Hz {layout.name}"
                reason = "sample_rate" if was[0] != rate else "channel_layout"
                yield Note("format_change", placed.time, self.index, said, rate, reason)
            self._format = found
        self._frames += 1
        if placed.late > 0:
            samples = samples[:, round(placed.late * rate) :]
        if samples.shape[1]:
            yield DecodedSound(self.index, placed.time, rate, layout.name, samples)


def _asset(container: av.container.InputContainer) -> Asset:
    streams = container.streams
    covers = [s for s in streams.video if facts.is_cover(s)]
    others = [str(s.type) for s in streams if s.type not in ("video", "audio")]
    return Asset(
        container=container.format.name,
        size_bytes=container.size if container.size > 0 else None,
        bit_rate=container.bit_rate or None,
        declared_duration=(
            container.duration / av.time_base
            if container.duration and container.duration > 0
            else None
        ),
        start_time=_origin(container),
        video=[facts.video_track(s) for s in streams.video if s not in covers],
        audio=[facts.audio_track(s) for s in streams.audio],
        other_streams=["cover"] * len(covers) + others,
    )


def _origin(container: av.container.InputContainer) -> float:
    """The container clock at presentation zero: its start, or that of its earliest stream."""
    if container.start_time is not None:
        return container.start_time / av.time_base
    starts = [
        float(s.start_time * s.time_base)
        for s in (*container.streams.video, *container.streams.audio)
        if s.start_time is not None and s.time_base
    ]
    return min(starts, default=0.0)


def _wraps(container: av.container.InputContainer, stream: av.stream.Stream) -> bool:
    tick = float(stream.time_base) if stream.time_base else 0.0
    return container.format.name in _WRAPPING and abs(tick - _MPEG_TICK) < 1e-9


def _read_error(error: Exception) -> tuple[str, str]:
    if isinstance(error, SourceError):
        return error.reason, error.detail
    if isinstance(error, av.error.ExitError | TimeoutError | av.error.TimeoutError):
        return "read_timeout", "nothing could be read within limits.read_timeout"
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "read_error", str(said)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
