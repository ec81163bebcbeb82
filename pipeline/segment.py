"""Segments: what the decoder gives, measured at once and handed on about a second at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from av.video.reformatter import ColorRange

from pipeline.decode import Decoded, DecodedFrame, DecodedSound
from pipeline.measure.frame import PictureMeter
from pipeline.measure.sound import SoundMeter
from pipeline.types import (
    FrameFlag,
    Mouth,
    Note,
    PictureFormat,
    Segment,
    SoundFormat,
    SoundStatistics,
)

if TYPE_CHECKING:
    from pipeline.measure.mouths import MouthMeter

LENGTH = 1.0  # seconds of presentation in a segment
MAX_FRAMES = 120  # bounds memory where timestamps stand still
MAX_NOTES = 1000  # likewise in a stream that is nothing but errors
POOL = 0.1  # seconds in which like errors become one note, with their number
SOUND_GAP = 0.02  # seconds between stretches of sound that still count as contiguous


def _format_of(decoded: DecodedFrame, interlaced: bool) -> PictureFormat:
    frame = decoded.frame
    return PictureFormat(
        stream=decoded.stream,
        width=frame.width,
        height=frame.height,
        frame_rate=decoded.rate,
        full_range=not frame.format.is_rgb  # swscale makes limited range of RGB
        and (frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG),
        bit_depth=frame.format.components[0].bits,
        interlaced=interlaced,
        chroma=not frame.format.name.startswith("gray"),
    )


class Segmenter:
    """Measures decoded items as they come and cuts the flow into segments.

    A segment ends after about a second, and where a format changes or sound has a gap, so that all
    picture in it has one format and each stretch of sound is contiguous.

    Args:
        lips: share of the time in which mouths are followed, see MouthMeter; None: never.
    """

    def __init__(self, lips: float | None = None) -> None:
        self._lips = lips
        self._mouths: MouthMeter | None = None
        self._ended_mouths: list[Mouth] = []
        self._picture: PictureMeter | None = None
        self._shape: tuple[object, ...] | None = None  # of the last frame
        self._interlaced = False
        self._sound: dict[int, SoundMeter] = {}
        self._stretches: list[SoundStatistics] = []
        self._notes: list[Note] = []
        self._start: float | None = None
        self._end = 0.0

    def run(self, items: Iterable[Decoded]) -> Iterator[Segment]:
        """Yield the segments of everything that `items` yields."""
        for item in items:
            if isinstance(item, Note):
                self._add_note(item)
            elif isinstance(item, DecodedFrame):
                yield from self._add_frame(item)
            else:
                self._add_sound(item)
            if self._start is not None and self._end - self._start >= LENGTH:
                yield self._cut()
        for meter in self._sound.values():
            self._collect(meter, everything=True)
        self._end_mouths()
        if self._start is not None or self._notes or self._ended_mouths:
            yield self._cut()

    def _add_frame(self, item: DecodedFrame) -> Iterator[Segment]:
        meter = self._picture
        frame = item.frame
        shape = (frame.width, frame.height, frame.format.name, frame.color_range, item.rate)
        interlaced = bool(item.flags & FrameFlag.INTERLACED)
        # a stream that mixes both is interlaced from its first such frame on
        if meter is None or shape != self._shape or interlaced > self._interlaced:
            if meter is not None and len(meter):
                yield self._cut()
            self._interlaced = interlaced or (shape == self._shape and self._interlaced)
            self._shape = shape
            meter = self._picture = PictureMeter(_format_of(item, self._interlaced))
            self._watch_lips(meter.format)
        self._reach(item.time, item.time + item.duration)
        meter.add(item.frame, item.time, item.duration, item.flags)
        if self._mouths is not None:
            self._mouths.add(item.time, meter.planes)
        if len(meter) >= MAX_FRAMES:
            yield self._cut()

    def _watch_lips(self, picture_format: PictureFormat) -> None:
        """Follow mouths in pictures of a new format."""
        if self._lips is None:
            return
        from pipeline.measure.mouths import MouthMeter  # noqa: PLC0415 - imports torch

        self._end_mouths()
        self._mouths = MouthMeter(picture_format, self._lips)

    def _end_mouths(self) -> None:
        if self._mouths is not None:
            self._mouths.finish()
            self._ended_mouths += self._mouths.take()

    def _add_sound(self, item: DecodedSound) -> None:
        sound_format = SoundFormat(item.stream, item.rate, item.samples.shape[0], item.layout)
        meter = self._sound.get(item.stream)
        if meter is None or meter.format != sound_format or abs(item.time - meter.end) > SOUND_GAP:
            if meter is not None:
                self._collect(meter, everything=True)
            meter = self._sound[item.stream] = SoundMeter(sound_format)
        self._reach(item.time, item.time + item.samples.shape[1] / item.rate)
        meter.add(item.samples, item.time)

    def _add_note(self, note: Note) -> None:
        for n in range(len(self._notes) - 1, max(len(self._notes) - 5, -1), -1):
            last = self._notes[n]
            like = (last.what, last.stream, last.reason) == (note.what, note.stream, note.reason)
            if like and note.what in ("decode_error", "corrupt_packet"):
                if abs(note.time - last.time) <= POOL:
                    self._notes[n] = replace(last, value=last.value + note.value)
                    return
                break
        if len(self._notes) < MAX_NOTES or note.what in ("end", "read_error"):
            self._notes.append(note)

    def _reach(self, start: float, end: float) -> None:
        self._start = start if self._start is None else min(self._start, start)
        self._end = max(self._end, end)

    def _collect(self, meter: SoundMeter, everything: bool = False) -> None:
        taken = meter.take(everything)
        if taken is not None:
            self._stretches.append(taken)

    def _cut(self) -> Segment:
        for meter in self._sound.values():
            self._collect(meter)
        if self._mouths is not None:
            self._ended_mouths += self._mouths.take()
        start = self._end if self._start is None else self._start
        segment = Segment(
            start=start,
            end=max(self._end, start),
            picture=self._picture.take() if self._picture is not None else None,
            sound=self._stretches,
            notes=self._notes,
            mouths=self._ended_mouths,
        )
        self._stretches, self._notes, self._start = [], [], None
        self._ended_mouths = []
        return segment
