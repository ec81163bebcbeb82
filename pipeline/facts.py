"""Facts about the streams of an open container, from its headers and from its first frame."""

from __future__ import annotations

from typing import Any

import av
import av.container
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorTrc

from pipeline.hardware import stored_format
from pipeline.types import Asset, AudioTrack, VideoTrack

_FIELD_ORDERS = {
    1: "progressive",
    2: "top_field_first",
    3: "bottom_field_first",
    4: "top_field_first",
    5: "bottom_field_first",
}
_RANGES = {1: "limited", 2: "full"}
_UNSPECIFIED = 2  # of ColorTrc and ColorPrimaries
NOMINAL_RATE = 25.0  # frames per second where a stream does not say
# Containers whose header states the length; the others are estimated from bit rate or file size.
_STATES_LENGTH = (
    *("mov", "matroska", "avi", "flv", "mxf", "hls"),
    *("flac", "aiff", "caf"),  # of WAV and MP3 FFmpeg estimates it from what is there
)
# Less may be missing of a good file: declared lengths count priming, edits and rounding.
SPARE_SECONDS, SPARE_SHARE = 0.5, 0.01


def is_cover(stream: av.VideoStream) -> bool:
    """Whether a video stream is a still that belongs to the file, for instance album art."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def nominal_rate(stream: av.VideoStream) -> float | None:
    """Frames per second as declared or guessed, None where that is not credible."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0.05 <= rate <= 1000:
            return float(rate)
    return None


def video_track(stream: av.VideoStream) -> VideoTrack:
    """What the header says of a video stream; zero sizes where no decoder could tell."""
    context = stream.codec_context
    if context is None:
        return VideoTrack(stream=stream.index, codec="unknown", width=0, height=0, examined=False)
    ratio = stream.sample_aspect_ratio
    pixel = context.format
    return VideoTrack(
        stream=stream.index,
        codec=context.name,
        profile=stream.profile,
        width=context.width,
        height=context.height,
        pixel_format=context.pix_fmt,
        bit_depth=pixel.components[0].bits if pixel and pixel.components else 8,
        frame_rate=nominal_rate(stream),
        sample_aspect_ratio=float(ratio) if ratio else None,
        color_range=_RANGES.get(context.color_range),
        color_transfer=_color(ColorTrc, context.color_trc),
        color_primaries=_color(ColorPrimaries, context.color_primaries),
        field_order=_FIELD_ORDERS.get(context.field_order),
        declared_duration=_duration(stream),
        declared_frames=stream.frames or None,
    )


def complete(track: VideoTrack, frame: av.VideoFrame) -> None:
    """Add to a track what only a decoded frame says."""
    rotation = float(frame.rotation)
    track.rotation = rotation if abs(rotation) <= 360.0 else 0.0  # of a matrix that is none
    track.width, track.height = frame.width, frame.height
    stored = stored_format(frame)
    track.decoder = "software" if frame.sw_format is None else "nvdec"
    track.pixel_format = stored.name
    track.bit_depth = stored.components[0].bits
    if frame.format.name.startswith("yuvj"):
        track.color_range = "full"
    track.color_range = track.color_range or _RANGES.get(frame.color_range)
    track.color_transfer = track.color_transfer or _color(ColorTrc, frame.color_trc)
    track.color_primaries = track.color_primaries or _color(ColorPrimaries, frame.color_primaries)
    if track.field_order is None and frame.interlaced_frame:
        track.field_order = "top_field_first"


def audio_track(stream: av.AudioStream) -> AudioTrack:
    """What the header says of an audio stream; zeros where no decoder could tell."""
    context = stream.codec_context
    return AudioTrack(
        stream=stream.index,
        codec=context.name if context else "unknown",
        sample_rate=(context.sample_rate or 0) if context else 0,
        channels=context.channels if context else 0,
        layout=context.layout.name if context and context.layout else None,
        language=stream.language,
        declared_duration=_duration(stream),
        examined=context is not None,
    )


def undelivered(asset: Asset, decoded: float) -> float:
    """Seconds that the header promises beyond the `decoded` ones; 0 where it does not or agrees."""
    formats = (asset.container or "").split(",")
    declared = asset.declared_duration
    if "avi" in formats:  # its length is what the file has room for, its frame count is not
        counts = [
            track.declared_frames / track.frame_rate
            for track in asset.video
            if track.declared_frames and track.frame_rate
        ]
        declared = max(counts, default=declared)
    if declared is None or not any(name in _STATES_LENGTH for name in formats):
        return 0.0
    missing = declared - decoded
    return missing if missing > max(SPARE_SECONDS, SPARE_SHARE * declared) else 0.0


def _duration(stream: av.stream.Stream) -> float | None:
    if stream.duration is None or not stream.time_base:
        return None
    seconds = float(stream.duration * stream.time_base)
    return seconds if seconds > 0 else None


def _color(names: Any, value: int | None) -> str | None:
    if not value or value == _UNSPECIFIED:
        return None
    try:
        return str(names(value).name).lower()
    except ValueError:
        return None
