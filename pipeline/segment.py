"""Segments: what the decoder gives, measured at once and handed on about a second at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from av.video.reformatter import ColorRange

from pipeline.decode import Decoded, DecodedFrame, DecodedSound
from pipeline.measure.frame import PictureMeter
from pipeline.measure.sound import SoundMeter
from pipeline.types import FrameFlag, Note, PictureFormat, Segment, SoundFormat, SoundStatistics

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
    """

    def __init__(self) -> None:
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
        if self._start is not None or self._notes:
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
        self._reach(item.time, item.time + item.duration)
        meter.add(item.frame, item.time, item.duration, item.flags)
        if len(meter) >= MAX_FRAMES:
            yield self._cut()

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
        start = self._end if self._start is None else self._start
        segment = Segment(
            start=start,
            end=max(self._end, start),
            picture=self._picture.take() if self._picture is not None else None,
            sound=self._stretches,
            notes=self._notes,
        )
        self._stretches, self._notes, self._start = [], [], None
        return segment
