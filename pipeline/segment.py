"""Segments: what the decoder gives, measured at once and handed on about a second at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


from pipeline.decode import Decoded, DecodedFrame, DecodedSound
from pipeline.measure.frame import PictureMeter
from pipeline.measure.sound import SoundMeter
from pipeline.types import FrameFlag, Note, PictureFormat, Segment, SoundFormat, SoundStatistics

LENGTH = 1.0  # seconds of presentation in a segment
MAX_FRAMES = 120  # bounds memory where timestamps stand still
MAX_NOTES = 1000  # likewise in a stream that is nothing but errors
SOUND_GAP = 0.02  # seconds between stretches of sound that still count as contiguous


def _format_of(decoded: DecodedFrame, frame_rate: float) -> PictureFormat:
    frame = decoded.frame
    return PictureFormat(
        stream=decoded.stream,
        width=frame.width,
        height=frame.height,
        frame_rate=frame_rate,
        full_range=frame.format.name.startswith("yuvj") or frame.color_range == 2,
        bit_depth=frame.format.components[0].bits,
        interlaced=bool(decoded.flags & FrameFlag.INTERLACED),
        chroma=not frame.format.name.startswith("gray"),
    )


class Segmenter:
    """Measures decoded items as they come and cuts the flow into segments.

    A segment ends after about a second, and where a format changes or sound has a gap, so that all
    picture in it has one format and each stretch of sound is contiguous.
    """

    def __init__(self) -> None:
        self._picture: PictureMeter | None = None
        self._sound: dict[int, SoundMeter] = {}
        self._stretches: list[SoundStatistics] = []
        self._notes: list[Note] = []
        self._start: float | None = None
        self._end = 0.0

    def run(self, items: Iterable[Decoded]) -> Iterator[Segment]:
        """Yield the segments of everything that `items` yields."""
        for item in items:
            if isinstance(item, Note):
                if len(self._notes) < MAX_NOTES or item.what in ("end", "read_error"):
                    self._notes.append(item)
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
        picture_format = _format_of(item, frame_rate=1 / item.duration)
        meter = self._picture
        if meter is None or meter.format != picture_format:
            if meter is not None and len(meter):
                yield self._cut()
            meter = self._picture = PictureMeter(picture_format)
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
