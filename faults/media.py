"""Clean media in, damaged media out: decoding to plain arrays and encoding them again.

Faults work on 8-bit limited-range YUV 4:2:0 and on float32 samples. Other formats are converted on
the way in (swscale), odd sizes lose their last row or column. Only the first video and the first
audio stream are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import cast

import av
import av.container
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, VideoReformatter

from pipeline.clock import SOUND_GAP
from pipeline.decode import DecodedFrame, DecodedSound, Decoder
from pipeline.errors import SourceError
from pipeline.measurements import Float32
from pipeline.source import Limits, open_source

Plane = npt.NDArray[np.uint8]
BLACK, WHITE, GREY = 16, 235, 128  # 8-bit limited-range code values
_CLOCK = Fraction(1, 90_000)
_SOUND_FRAME = 1024  # samples handed to an encoder at a time


@dataclass(frozen=True)
class Picture:
    """One frame. Do not change its planes in place: take a copy."""

    time: float  # seconds from the start of the presentation
    duration: float
    luma: Plane  # [H, W]
    cb: Plane  # [H/2, W/2]
    cr: Plane  # [H/2, W/2]

    def copy(self) -> Picture:
        """The same frame with planes of its own."""
        return replace(self, luma=self.luma.copy(), cb=self.cb.copy(), cr=self.cr.copy())

    def showing(self, other: Picture) -> Picture:
        """The content of another frame at the time of this one."""
        return replace(self, luma=other.luma, cb=other.cb, cr=other.cr)

    def frame(self) -> av.VideoFrame:
        """The frame for an encoder, without a time."""
        stacked = np.concatenate([self.luma.ravel(), self.cb.ravel(), self.cr.ravel()])
        height, width = self.luma.shape
        made = av.VideoFrame.from_ndarray(stacked.reshape(height * 3 // 2, width), format="yuv420p")
        made.color_range = ColorRange.MPEG
        return made


def picture_of(frame: av.VideoFrame, time: float, duration: float) -> Picture:
    """Planes of a decoded frame; the even part of odd sizes."""
    width, height = frame.width // 2 * 2, frame.height // 2 * 2
    if frame.format.name != "yuv420p" or frame.color_range == ColorRange.JPEG:
        frame = VideoReformatter().reformat(
            frame, format="yuv420p", dst_color_range=ColorRange.MPEG
        )
    planes = []
    for plane, (rows, columns) in zip(
        frame.planes,
        ((height, width), (height // 2, width // 2), (height // 2, width // 2)),
        strict=True,
    ):
        flat = np.frombuffer(memoryview(plane), np.uint8)
        lines = flat[: flat.size // plane.line_size * plane.line_size].reshape(-1, plane.line_size)
        planes.append(np.ascontiguousarray(lines[:rows, :columns]))
    return Picture(time, duration, *planes)


def plain(
    time: float, duration: float, size: tuple[int, int], luma: int, cb: int = GREY, cr: int = GREY
) -> Picture:
    """A picture of one colour; `size` is (height, width)."""
    height, width = size
    return Picture(
        time,
        duration,
        np.full((height, width), luma, np.uint8),
        np.full((height // 2, width // 2), cb, np.uint8),
        np.full((height // 2, width // 2), cr, np.uint8),
    )


class Clean:
    """A clean asset that can be read as often as needed.

    Attributes:
        times: [T] PTS of the frames in seconds from the start of the presentation; empty: no video.
        rate: nominal frames per second.
        sample_rate, layout: of the sound; 0 and "" without.
        duration: seconds of presentation.

    Raises:
        SourceError: it cannot be opened, or holds neither picture nor sound.
    """

    def __init__(self, path: str | Path, limits: Limits | None = None) -> None:
        self.path = str(path)
        self._limits = limits or Limits()
        self.times: npt.NDArray[np.float64] = np.zeros(0)
        self.rate = Fraction(25)
        self.size = (0, 0)  # height, width; both even
        self.sample_rate, self.layout = 0, ""
        with open_source(self.path, self._limits) as container:
            asset = Decoder(container).asset()
            for video in asset.video[:1]:
                self.size = (video.height // 2 * 2, video.width // 2 * 2)
                self.rate = Fraction(video.frame_rate or 25).limit_denominator(1001)
            for audio in asset.audio[:1]:
                self.sample_rate, self.layout = audio.sample_rate, audio.layout or "mono"
        if not self.size[0] and not self.sample_rate:
            raise SourceError("no_media", f"{self.path} holds neither picture nor sound")
        if self.size[0]:
            self.times = self._frame_times()

    @property
    def has_picture(self) -> bool:
        """Whether there is a video stream with frames."""
        return len(self.times) > 0

    @property
    def has_sound(self) -> bool:
        """Whether there is an audio stream."""
        return self.sample_rate > 0

    @cached_property
    def duration(self) -> float:
        """Seconds to the end of the picture, or of the sound where there is no picture."""
        if self.has_picture:
            return float(self.times[-1]) + float(1 / self.rate)
        return float(self.sound.shape[1] / self.sample_rate)

    def pictures(self) -> Iterator[Picture]:
        """Decode the frames, in order."""
        with open_source(self.path, self._limits) as container:
            for item in Decoder(container, reads=("video",)):
                if isinstance(item, DecodedFrame):
                    yield picture_of(item.frame, item.time, item.duration)

    @cached_property
    def sound(self) -> Float32:
        """All samples [C, N] from the start of the presentation; gaps are silence."""
        parts: list[tuple[float, Float32]] = []
        with open_source(self.path, self._limits) as container:
            for item in Decoder(container, reads=("audio",)):
                if isinstance(item, DecodedSound) and (
                    not parts or item.samples.shape[0] == parts[0][1].shape[0]
                ):
                    parts.append((item.time, item.samples))
        if not parts:
            return np.zeros((1, 0), np.float32)
        starts: list[int] = []
        end = 0
        for time, samples in parts:
            at = max(round(time * self.sample_rate), 0)
            if starts and abs(at - end) <= SOUND_GAP * self.sample_rate:
                at = end  # Matroska rounds times to milliseconds: no seam there
            starts.append(at)
            end = at + samples.shape[1]
        length = max(at + samples.shape[1] for at, (_, samples) in zip(starts, parts, strict=True))
        out = np.zeros((parts[0][1].shape[0], length), np.float32)
        for at, (_, samples) in zip(starts, parts, strict=True):
            out[:, at : at + samples.shape[1]] = samples
        return out

    def _frame_times(self) -> npt.NDArray[np.float64]:
        with open_source(self.path, self._limits) as container:
            return np.array(
                [
                    d.time
                    for d in Decoder(container, reads=("video",))
                    if isinstance(d, DecodedFrame)
                ]
            )


@dataclass(frozen=True)
class Encoding:
    """How a file is encoded. Empty codecs are chosen by the suffix of the file."""

    video_codec: str = ""
    video_options: tuple[tuple[str, str], ...] = ()
    audio_codec: str = ""
    audio_bit_rate: int = 192_000  # bits per second


# suffix -> video codec, its options, audio codec; near transparent, so that only the fault shows
_VP9 = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}
_QSCALE_3 = {"flags": "+qscale", "global_quality": str(3 * 118)}  # 118: FF_QP2LAMBDA
_CODECS: dict[str, tuple[str, dict[str, str], str]] = {
    ".webm": ("libvpx-vp9", _VP9, "libopus"),
    ".mpg": ("mpeg2video", _QSCALE_3, "ac3"),
    ".avi": ("mpeg4", _QSCALE_3, "ac3"),
    ".wav": ("", {}, "pcm_s16le"),
    ".flac": ("", {}, "flac"),
    ".mp3": ("", {}, "mp3"),
    ".m4a": ("", {}, "aac"),
}
_USUAL = ("libx264", {"crf": "18", "preset": "veryfast"}, "aac")


def repeatable(codec: str, options: Mapping[str, str]) -> dict[str, str]:
    """Options with which an encoder gives the same bytes for the same pictures.

    x264's macroblock tree does not: 2 to 4 of 14 runs in one process gave others, whatever the
    number of threads; without it none did.
    """
    return {**({"mbtree": "0"} if codec == "libx264" else {}), **options}


def encode(
    target: Path,
    pictures: Iterable[Picture] | None,
    sound: Float32 | None,
    *,
    rate: Fraction,
    sample_rate: int = 48_000,
    layout: str = "stereo",
    encoding: Encoding | None = None,
) -> None:
    """Write a file whose container is chosen by the suffix of `target`. Same input, same bytes.

    Args:
        target: the file to write; the suffix .ts, .mkv, .mp4... decides the container.
        pictures: frames in order, of one size; None: no video stream.
        sound: [C, N], full scale 1.0; None: no audio stream.
        rate: nominal frames per second; frames that do not keep to it are written with their own
            times.
        sample_rate: of the sound, Hz.
        layout: of the sound, for instance "stereo" or "5.1".
        encoding: codecs and their options; None: near transparent ones by the suffix.
    """
    chosen = encoding or Encoding()
    video_codec, options, audio_codec = _CODECS.get(target.suffix.lower(), _USUAL)
    if chosen.video_codec:
        video_codec, options = chosen.video_codec, {}
    options = repeatable(video_codec, {**options, **dict(chosen.video_options)})
    with av.open(str(target), "w", options={"fflags": "+bitexact"}) as container:
        video: av.VideoStream | None = None
        audio: av.AudioStream | None = None
        frames = iter(pictures or ())
        first = next(frames, None) if video_codec else None
        if first is not None:
            video = cast(
                av.VideoStream, container.add_stream(video_codec, rate=rate, options=options)
            )
            video.height, video.width = first.luma.shape
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = _CLOCK if _own_times(video_codec) else 1 / rate
            video.codec_context.thread_count = 2
        if sound is not None and sound.shape[1]:
            codec = chosen.audio_codec or audio_codec
            audio = cast(
                av.AudioStream, container.add_stream(codec, rate=sample_rate, layout=layout)
            )
            if codec not in ("flac", "pcm_s16le"):
                audio.bit_rate = chosen.audio_bit_rate
        done = 0
        picture = first
        last = -1
        while picture is not None and video is not None:
            base = video.codec_context.time_base
            frame = picture.frame()
            last = max(round(picture.time / base), last + 1)
            frame.pts, frame.time_base = last, base
            container.mux(video.encode(frame))
            if audio is not None and sound is not None:
                until = min(int((picture.time + picture.duration) * sample_rate), sound.shape[1])
                done = _write_sound(container, audio, sound, done, until, sample_rate)
            picture = next(frames, None)
        if audio is not None and sound is not None:
            _write_sound(container, audio, sound, done, sound.shape[1], sample_rate, last=True)
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))


def _own_times(codec: str) -> bool:
    """Whether an encoder takes frames at any time (MPEG-1, 2 and 4 count in frames)."""
    return codec not in ("mpeg1video", "mpeg2video", "mpeg4")


def _write_sound(
    container: av.container.OutputContainer,
    audio: av.AudioStream,
    sound: Float32,
    done: int,
    until: int,
    sample_rate: int,
    *,
    last: bool = False,
) -> int:
    while done + _SOUND_FRAME <= until or (last and done < until):
        part = np.ascontiguousarray(sound[:, done : min(done + _SOUND_FRAME, until)])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=audio.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, done, Fraction(1, sample_rate)
        container.mux(audio.encode(frame))
        done += part.shape[1]
    return done
