"""Pictures for the report: frames of an asset at given times, as the viewer sees them."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
import av.error
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace

from pipeline.types import Region

RGB = npt.NDArray[np.uint8]

# How far before the wanted time to look for a key frame, in seconds; where an index is coarse or a
# seek lands late, the next one is tried, and None reads from the beginning.
_BACK: tuple[float | None, ...] = (0.0, 2.0, 12.0, None)
_SAME_PASS = 3.0  # seconds; times closer than this are decoded on rather than sought again
_HALF_FRAME = 0.002  # seconds of tolerance when a time is compared with a frame's
_HD_LINES = 720  # an untagged picture with as many lines or more is taken as BT.709
_KNOWN_COLOURS = (1, 4, 5, 6, 7, 9, 10)  # AVColorSpace values that swscale converts


class EvidenceError(Exception):
    """There is no picture or sound to show; the message says why, for a person."""


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock by which work has to end."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def check(self) -> None:
        """Raise EvidenceError when time is up."""
        if self.passed:
            raise EvidenceError("the time allowed for pictures and sound ran out")

    @property
    def passed(self) -> bool:
        """Whether time is up."""
        return time.monotonic() > self.at

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and one so many seconds from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))


@dataclass(frozen=True)
class Picture:
    """One frame as it is shown: square pixels, upright, small."""

    time: float  # seconds of presentation
    rgb: RGB  # [H, W, 3]
    turns: int  # quarter turns counter-clockwise that made it upright

    def region(self, region: Region) -> Region:
        """A region of the decoded picture, as it lies in this upright one."""
        left, top, right, bottom = region.left, region.top, region.right, region.bottom
        for _ in range(self.turns % 4):
            left, top, right, bottom = top, 1 - right, bottom, 1 - left
        return Region(left=left, top=top, right=right, bottom=bottom)


def frames_at(
    container: av.container.InputContainer,
    stream: int,
    times: Sequence[float],
    origin: float,
    box: tuple[int, int],
    deadline: Deadline,
) -> list[Picture | None]:
    """The frames that are on screen at some times.

    Seeks to the key frame before, so that only what is needed is decoded.

    Args:
        container: open for demuxing; its position changes.
        stream: index of the video stream.
        times: seconds of presentation, in increasing order.
        origin: the container clock at presentation zero, seconds.
        box: largest width and height of the pictures.
        deadline: when to give up.

    Returns:
        One picture for each time; None where there is no frame near.

    Raises:
        EvidenceError: time is up, or the stream cannot be read at all.
    """
    video = _video(container, stream)
    found: list[Picture | None] = []
    passed = 0
    while passed < len(times):
        until = passed + 1
        while until < len(times) and times[until] - times[until - 1] <= _SAME_PASS:
            until += 1
        found += _one_pass(container, video, times[passed:until], origin, box, deadline)
        passed = until
    return found


def fit(rgb: RGB, box: tuple[int, int]) -> RGB:
    """A picture [H, W, 3], made small enough for a box of width and height."""
    height, width = rgb.shape[:2]
    scale = min(1.0, box[0] / width, box[1] / height)
    small = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        max(1, round(width * scale)), max(1, round(height * scale)), interpolation="AREA"
    )
    return np.asarray(small.to_ndarray(), np.uint8)


def jpeg(rgb: RGB, quality: int = 4) -> str:
    """A JPEG data URI of an RGB picture [H, W, 3]; `quality` is FFmpeg's scale, 2 best to 31."""
    height, width = rgb.shape[:2]
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    encoder.qmin = encoder.qmax = quality
    return _data_uri("image/jpeg", encoder, av.VideoFrame.from_ndarray(rgb, format="rgb24"))


def png(rgb: RGB) -> str:
    """A PNG data URI of an RGB picture [H, W, 3]."""
    height, width = rgb.shape[:2]
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 25)
    return _data_uri("image/png", encoder, av.VideoFrame.from_ndarray(rgb, format="rgb24"))


def _data_uri(mime: str, encoder: av.VideoCodecContext, frame: av.VideoFrame) -> str:
    frame = frame.reformat(format=encoder.pix_fmt)
    frame.pts = 0
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _video(container: av.container.InputContainer, stream: int) -> av.VideoStream:
    for video in container.streams.video:
        if video.index == stream:
            if not video.codec_context.is_open:
                video.thread_type = "AUTO"  # as in the inspection: slice threading hides damage
            return video
    raise EvidenceError(f"there is no video stream {stream}")


def _one_pass(
    container: av.container.InputContainer,
    video: av.VideoStream,
    times: Sequence[float],
    origin: float,
    box: tuple[int, int],
    deadline: Deadline,
) -> list[Picture | None]:
    """Pictures at times that lie close together, from one seek (or a few, until one lands)."""
    best: list[Picture | None] = [None] * len(times)
    for back in _BACK:
        deadline.check()
        try:
            seek(container, None if back is None else times[0] + origin - back)
        except (av.error.FFmpegError, OSError):
            continue
        best, early = _read(container, video, times, origin, box, deadline)
        if early or back is None:
            return best
    return best


def seek(container: av.container.InputContainer, clock: float | None) -> None:
    """Go to the key frame before a time of the container clock; None: to the beginning."""
    if clock is None:
        start = container.start_time or 0
        container.seek(min(start, 0), any_frame=False, backward=True)
    else:
        container.seek(int(clock * av.time_base), any_frame=False, backward=True)


def _read(
    container: av.container.InputContainer,
    video: av.VideoStream,
    times: Sequence[float],
    origin: float,
    box: tuple[int, int],
    deadline: Deadline,
) -> tuple[list[Picture | None], bool]:
    """Decode on from here; also tells whether it began at or before the first of the times."""
    found: list[Picture | None] = [None] * len(times)
    held: av.VideoFrame | None = None
    held_time = 0.0
    early = False
    at = 0
    by_dts = container.format.name == "avi"  # it has no PTS, and FFmpeg's guess is wrong
    for frame in _decode(container, video, deadline):
        stamp = frame.dts if by_dts or frame.pts is None else frame.pts
        if stamp is None or frame.time_base is None:
            continue
        now = float(stamp * frame.time_base) - origin
        if held is None:
            early = now <= times[0] + _HALF_FRAME
            if not early:
                # the seek landed late; where nothing earlier exists, the next frame must do
                found = [_show(frame, video, now, box)] * len(times)
                return found, False
        while at < len(times) and held is not None and now > times[at] + _HALF_FRAME:
            found[at] = _show(held, video, held_time, box)
            at += 1
        if at == len(times):
            return found, early
        held, held_time = frame, now
    if held is not None:
        last = _show(held, video, held_time, box)
        found[at:] = [last] * (len(times) - at)
    return found, early


def _decode(
    container: av.container.InputContainer, video: av.VideoStream, deadline: Deadline
) -> Iterator[av.VideoFrame]:
    """Frames from the current position on; damaged packets are passed over."""
    packets = container.demux([video])
    while True:
        deadline.check()
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError, OSError):
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                yield frame


def _show(frame: av.VideoFrame, video: av.VideoStream, now: float, box: tuple[int, int]) -> Picture:
    """Square pixels, no larger than the box, upright."""
    turns = round(frame.rotation / 90) % 4
    aspect = float(video.sample_aspect_ratio or 1) or 1.0
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    across, down = box if turns % 2 == 0 else box[::-1]
    scale = min(1.0, across / width, down / height)
    colours = frame.colorspace if int(frame.colorspace) in _KNOWN_COLOURS else None
    if colours is None:
        colours = Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601
    rgb = frame.reformat(
        max(1, round(width * scale)),
        max(1, round(height * scale)),
        "rgb24",
        src_colorspace=colours,
        interpolation="AREA",
    ).to_ndarray()
    return Picture(now, np.ascontiguousarray(np.rot90(rgb, turns)), turns)
