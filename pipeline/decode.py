"""Decoding: packets to frames and samples on the presentation clock, with what went wrong.

One `Decoder` reads one open container from beginning to end, in one thread (the codecs use more).
The first video stream and every audio stream are decoded. A damaged packet costs that packet: the
error becomes a Note and decoding goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.container
import av.error
import numpy as np
from av.audio.resampler import AudioResampler

from pipeline.types import Asset, AudioTrack, Float32, FrameFlag, Note, VideoTrack


@dataclass(frozen=True)
class DecodedFrame:
    """One picture, still in the decoder's memory."""

    stream: int
    time: float
    duration: float
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
    """Iterate to get everything that an asset holds, in the order of its packets."""

    def __init__(self, container: av.container.InputContainer, threads: int = 0) -> None:
        self.container = container
        self._video = [s for s in container.streams.video if not _is_cover(s)][:1]
        self._audio = list(container.streams.audio)
        for stream in self._video:
            # AUTO, not PyAV's SLICE: slice threading hides damage in H.264
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads or min(4, _cores())
        self._origin = 0.0 if container.start_time is None else container.start_time / av.time_base
        self._resamplers: dict[tuple[int, str, str, int], AudioResampler] = {}
        self._next: dict[int, float] = {}

    def asset(self) -> Asset:
        """Facts from the container's headers."""
        container = self.container
        return Asset(
            container=container.format.name,
            size_bytes=container.size if container.size > 0 else None,
            bit_rate=container.bit_rate or None,
            declared_duration=(
                None if container.duration is None else container.duration / av.time_base
            ),
            start_time=self._origin,
            video=[_video_track(s, s in self._video) for s in container.streams.video],
            audio=[_audio_track(s) for s in self._audio],
            other_streams=[s.type for s in container.streams if s.type not in ("video", "audio")],
        )

    def __iter__(self) -> Iterator[Decoded]:
        """Decode to the end. The last item is a Note `end`; a read error comes just before it."""
        streams = [*self._video, *self._audio]
        packets = self.container.demux(streams) if streams else iter(())
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.error.FFmpegError, OSError) as error:
                yield Note("read_error", max(self._next.values(), default=0.0), None, str(error))
                break
            stream = packet.stream
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                time = self._next.get(stream.index, 0.0)
                yield Note("decode_error", time, stream.index, str(error), 1)
                continue
            for frame in frames:
                if isinstance(frame, av.VideoFrame):
                    yield self._frame(stream.index, stream, frame)
                elif isinstance(frame, av.AudioFrame):
                    yield from self._sound(stream.index, frame)
        yield Note("end", max(self._next.values(), default=0.0), None, "end of the asset")

    def _time(self, stream: int, frame: av.VideoFrame | av.AudioFrame) -> float:
        if frame.pts is None or frame.time_base is None:
            return self._next.get(stream, 0.0)
        return float(frame.pts * frame.time_base) - self._origin

    def _frame(self, index: int, stream: av.VideoStream, frame: av.VideoFrame) -> DecodedFrame:
        rate = stream.average_rate or stream.guessed_rate
        duration = 1 / float(rate) if rate else 0.04
        time = self._time(index, frame)
        self._next[index] = time + duration
        flags = FrameFlag(0)
        if frame.is_corrupt:
            flags |= FrameFlag.CORRUPT
        if frame.key_frame:
            flags |= FrameFlag.KEY
        if frame.interlaced_frame:
            flags |= FrameFlag.INTERLACED
        return DecodedFrame(index, time, duration, flags, frame)

    def _sound(self, index: int, frame: av.AudioFrame) -> Iterator[DecodedSound]:
        time = self._time(index, frame)
        layout, rate = frame.layout.name, frame.sample_rate
        key = (index, frame.format.name, layout, rate)
        resampler = self._resamplers.get(key)
        if resampler is None:
            resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
            self._resamplers[key] = resampler
        for out in resampler.resample(frame):
            samples = np.asarray(out.to_ndarray(), np.float32)
            yield DecodedSound(index, time, rate, layout, samples)
            time += samples.shape[1] / rate
        self._next[index] = time


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _video_track(stream: av.VideoStream, examined: bool) -> VideoTrack:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    ratio = stream.sample_aspect_ratio
    return VideoTrack(
        stream=stream.index,
        codec=context.name if context else "unknown",
        profile=stream.profile,
        width=stream.width,
        height=stream.height,
        pixel_format=stream.pix_fmt,
        bit_depth=stream.format.components[0].bits if stream.format else 8,
        frame_rate=float(rate) if rate else None,
        sample_aspect_ratio=float(ratio) if ratio else None,
        examined=examined,
    )


def _audio_track(stream: av.AudioStream) -> AudioTrack:
    return AudioTrack(
        stream=stream.index,
        codec=stream.codec_context.name if stream.codec_context else "unknown",
        sample_rate=stream.rate or 0,
        channels=stream.channels,
        layout=stream.layout.name if stream.layout else None,
        language=stream.language,
    )
