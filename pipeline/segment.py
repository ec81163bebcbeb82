"""Segments: what the decoder gives, measured at once and handed on about a second at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import av
from av.video.reformatter import ColorRange

from pipeline.decode import Decoded, DecodedFrame, DecodedSound
from pipeline.errors import SeamError
from pipeline.hardware import LEFT_THERE, stored_format
from pipeline.measure.frame import PictureMeter
from pipeline.measure.measured import MeasuredFrame
from pipeline.measure.sound import SoundMeter
from pipeline.measurements import (
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
RENEWED_EVERY = 60.0  # seconds in which measuring begins anew once, at a key frame
SOUND_GAP = 0.02  # seconds between stretches of sound that still count as contiguous


def _format_of(decoded: DecodedFrame, interlaced: bool) -> PictureFormat:
    frame = decoded.frame
    stored = stored_format(frame)
    return PictureFormat(
        stream=decoded.stream,
        width=frame.width,
        height=frame.height,
        frame_rate=decoded.rate,
        full_range=not stored.is_rgb  # swscale makes limited range of RGB
        and (stored.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG),
        bit_depth=stored.components[0].bits,
        interlaced=interlaced,
        chroma=not stored.name.startswith("gray"),
    )


def _meter_for(
    frame: av.VideoFrame, picture_format: PictureFormat, coarseness: bool, steps: bool
) -> PictureMeter:
    """A meter that works where the frames of a format lie."""
    if frame.sw_format is None or frame.sw_format.name not in LEFT_THERE:
        # which brings other formats of a GPU to the CPU
        return PictureMeter(picture_format, coarseness, steps)
    from pipeline.measure.device import DeviceMeter  # noqa: PLC0415 - imports torch

    return DeviceMeter(picture_format, coarseness=coarseness)


class PictureLine:
    """Measures the frames of a video stream: a meter for each format, and the mouths in them.

    Measuring begins anew at the first frame, where the format changes, and at the first key frame
    of each minute: a closer look is taken, and following mouths starts again. So what is measured
    after such a key frame does not depend on what came before it (but for the difference of the
    first two frames), and a range of a long asset can begin there, see pipeline/ranges/.

    Args:
        lips: share of the time in which mouths are followed, see MouthMeter; None: never.
        coarseness: whether a net judges how coarsely the picture was quantised, see PictureMeter.
        steps: whether another one judges what changes at once; not on a GPU yet.

    Attributes:
        meter: of the format of the last frame; None before the first.
    """

    def __init__(self, lips: float | None, coarseness: bool, steps: bool = False) -> None:
        self.meter: PictureMeter | None = None
        self._lips, self._coarseness, self._steps = lips, coarseness, steps
        self._mouths: MouthMeter | None = None
        self._ended: list[Mouth] = []
        self._after: list[Mouth] = []  # that were followed elsewhere and end with the frames
        self._shape: tuple[object, ...] | None = None  # of the last frame
        self._interlaced = False
        self._minute = -1

    def changes(self, item: DecodedFrame) -> bool:
        """Whether a frame needs another meter than the last one."""
        interlaced = bool(item.flags & FrameFlag.INTERLACED)
        # a stream that mixes both is interlaced from its first such frame on
        return self.meter is None or _shape(item) != self._shape or interlaced > self._interlaced

    def add(self, item: DecodedFrame) -> bool:
        """Measure a frame; returns whether measuring began anew with it.

        Raises:
            SeamError: it was measured elsewhere, and measuring went another way there.
        """
        minute = int(item.time // RENEWED_EVERY)
        anew = self.changes(item)
        if anew:
            shape, interlaced = _shape(item), bool(item.flags & FrameFlag.INTERLACED)
            self._interlaced = interlaced or (shape == self._shape and self._interlaced)
            self._shape = shape
            self.meter = _meter_for(
                item.frame, _format_of(item, self._interlaced), self._coarseness, self._steps
            )
        elif item.flags & FrameFlag.KEY and minute > self._minute:
            anew = True
        meter = cast(PictureMeter, self.meter)
        if anew:
            self._minute = minute
            meter.look_anew()
            self._end_mouths()
            self._watch_lips(meter)
        frame: object = item.frame
        if isinstance(frame, MeasuredFrame):
            if frame.anew != anew or frame.time != item.time:
                raise SeamError(f"its clock or its format changes at {item.time:.3f} s")
            self._ended += frame.mouths
            self._after = frame.after
            meter.add_measured(frame, item.time, item.duration, item.flags)
            return anew
        meter.add(item.frame, item.time, item.duration, item.flags)
        if self._mouths is not None:
            self._mouths.add(item.time, meter.planes)
        return anew

    def mouths(self) -> list[Mouth]:
        """The mouths that ended since the last call."""
        if self._mouths is not None:
            self._ended += self._mouths.take()
        ended, self._ended = self._ended, []
        return ended

    def finish(self) -> None:
        """End of the stream: the mouths that are followed end."""
        self._end_mouths()

    def _watch_lips(self, meter: PictureMeter) -> None:
        if self._lips is None:
            return
        from pipeline.measure.mouths import MouthMeter  # noqa: PLC0415 - loads a runtime for nets

        self._mouths = MouthMeter(meter.format, self._lips, meter.device)

    def _end_mouths(self) -> None:
        self._ended += self._after
        self._after = []
        if self._mouths is not None:
            self._mouths.finish()
            self._ended += self._mouths.take()


def _shape(item: DecodedFrame) -> tuple[object, ...]:
    frame = item.frame
    return (frame.width, frame.height, frame.format.name, frame.color_range, item.rate)


class Segmenter:
    """Measures decoded items as they come and cuts the flow into segments.

    A segment ends after `length`, and where a format changes or sound has a gap, so that all
    picture in it has one format and each stretch of sound is contiguous.

    Args:
        lips: share of the time in which mouths are followed, see MouthMeter; None: never.
        coarseness: whether a net judges how coarsely the picture was quantised, see PictureMeter.
        steps: whether another one judges what changes at once; not on a GPU yet.
        length: seconds of presentation in a segment.
    """

    def __init__(
        self,
        lips: float | None = None,
        coarseness: bool = False,
        length: float = LENGTH,
        *,
        steps: bool = False,
    ) -> None:
        self._picture = PictureLine(lips, coarseness, steps)
        self._length = length
        self._sound: dict[int, SoundMeter] = {}
        self._stretches: list[SoundStatistics] = []
        self._notes: list[Note] = []
        self._mouths: list[Mouth] = []
        self._start: float | None = None
        self._end = 0.0
        # what each stream has given: one may lead the others by more than a segment
        self._spans: dict[int, tuple[float, float]] = {}

    def run(self, items: Iterable[Decoded]) -> Iterator[Segment]:
        """Yield the segments of everything that `items` yields."""
        for item in items:
            if isinstance(item, Note):
                self._add_note(item)
            elif isinstance(item, DecodedFrame):
                yield from self._add_frame(item)
            else:
                self._add_sound(item)
            if any(end - start >= self._length for start, end in self._spans.values()):
                yield self._cut()
        for meter in self._sound.values():
            self._collect(meter, everything=True)
        self._picture.finish()
        self._mouths += self._picture.mouths()
        if self._start is not None or self._notes or self._mouths:
            yield self._cut()

    def _add_frame(self, item: DecodedFrame) -> Iterator[Segment]:
        line = self._picture
        if line.meter is not None and len(line.meter) and line.changes(item):
            yield self._cut()
        self._reach(item.stream, item.time, item.time + item.duration)
        line.add(item)
        if line.meter is not None and len(line.meter) >= MAX_FRAMES:
            yield self._cut()

    def _add_sound(self, item: DecodedSound) -> None:
        sound_format = SoundFormat(item.stream, item.rate, item.samples.shape[0], item.layout)
        meter = self._sound.get(item.stream)
        if meter is None or meter.format != sound_format or abs(item.time - meter.end) > SOUND_GAP:
            if meter is not None:
                self._collect(meter, everything=True)
            meter = self._sound[item.stream] = SoundMeter(sound_format)
        self._reach(item.stream, item.time, item.time + item.samples.shape[1] / item.rate)
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

    def _reach(self, stream: int, start: float, end: float) -> None:
        self._start = start if self._start is None else min(self._start, start)
        self._end = max(self._end, end)
        first, last = self._spans.get(stream, (start, end))
        self._spans[stream] = min(first, start), max(last, end)

    def _collect(self, meter: SoundMeter, everything: bool = False) -> None:
        taken = meter.take(everything)
        if taken is not None:
            self._stretches.append(taken)

    def _cut(self) -> Segment:
        for meter in self._sound.values():
            self._collect(meter)
        pictures = self._picture.meter
        self._mouths += self._picture.mouths()
        start = self._end if self._start is None else self._start
        segment = Segment(
            start=start,
            end=max(self._end, start),
            picture=pictures.take() if pictures is not None else None,
            sound=self._stretches,
            notes=self._notes,
            mouths=self._mouths,
        )
        self._stretches, self._notes, self._mouths = [], [], []
        self._start = None
        self._spans.clear()
        return segment
