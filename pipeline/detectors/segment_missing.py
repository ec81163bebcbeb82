"""Segments of a playlist that are not there, twice there, or out of their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.detectors.base import DetectorSettings, StreamDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Note, Observation, Segment
from pipeline.types import Asset, Kind

SEGMENTED = ("hls", "dash")  # FFmpeg's names of the containers that are delivered in segments
BESIDE = 1.0  # seconds between notes of one moment: streams end apart, demuxers read ahead
SETTLED = 0.25  # seconds to which clocks agree again: segments are cut at frames of each stream
LONGEST = 120.0  # seconds of presentation in which an order must have been found again
INSTANT = 0.04  # seconds; shown for a segment that left no gap, as long as one frame at 25 Hz


class SegmentMissingSettings(DetectorSettings):
    """What counts as a missing segment."""

    min_seconds: float = setting(
        0.3,
        "s",
        "least time that is missing, or that the clock goes back",
        "parts of low-latency HLS (RFC 8216bis) are 0.33 s; players bridge less",
        ge=0,
    )


@dataclass
class _Disorder:
    """The clock has left the order of the presentation: by how much, and since when."""

    start: float
    end: float
    offset: float  # seconds by which the media runs ahead (over 0) or lags behind
    skipped: float  # seconds of the gap that it began with, if it did
    back: int = 0  # jumps back
    lost: float = 0.0  # seconds of the gaps


class SegmentMissingDetector(StreamDetector):
    """Reads the notes of assets in segments.

    A file that could not be had, and a gap where it would have been, is a missing segment. A clock
    that goes back and later makes up for it exactly shows segments twice or out of order: the
    defect reaches to where the order is found again, with the time that is then left out.
    """

    name = "segment_missing"
    kinds = (Kind.SEGMENT_MISSING,)
    summary = "Segments of a playlist (HLS, DASH) that are missing, repeated or out of order"
    Settings = SegmentMissingSettings

    settings: SegmentMissingSettings

    def __init__(self, settings: SegmentMissingSettings, asset: Asset) -> None:
        super().__init__(settings, asset)
        formats = (asset.container or "").split(",")
        self._applies = any(name in SEGMENTED for name in formats)
        self._unread: list[Note] = []  # files of one moment that could not be had
        self._gap: tuple[float, float] | None = None  # the last one, all streams taken together
        self._disorder: _Disorder | None = None
        self._reach = 0.0

    def update(self, segment: Segment) -> Iterator[Observation]:
        """Take the next segment; a gap is judged once no stream can add to it."""
        if not self._applies:
            return
        for note in segment.notes:
            if note.what == "read_error" and note.reason not in ("encrypted", "refused_reference"):
                if self._unread and note.time > self._unread[-1].time + BESIDE:
                    yield from self._settle()
                self._unread = [*self._unread[:19], note]
            elif note.what == "gap" and note.value >= self.settings.min_seconds:
                yield from self._open(note.time, note.time + note.value)
            elif note.what == "jump" and note.value <= -self.settings.min_seconds:
                yield from self._settle()
                self._back(note)
        self._reach = max(self._reach, segment.end)
        if self._gap is not None and segment.start > self._gap[1] + BESIDE:
            yield from self._settle()
        if self._unread and segment.start > self._unread[-1].time + 2 * BESIDE:
            yield from self._settle()

    def finish(self) -> Iterator[Observation]:
        """What waited; a segment that came late at the very end has nothing after it."""
        yield from self._settle()
        last, self._disorder = self._disorder, None
        if last is not None and last.back and last.skipped:
            last.end = max(last.end, self._reach)
            yield self._disordered(last)

    def _open(self, start: float, end: float) -> Iterator[Observation]:
        if self._gap is not None and abs(start - self._gap[0]) > BESIDE:
            yield from self._settle()
        first, last = self._gap or (start, end)
        self._gap = min(first, start), max(last, end)

    def _settle(self) -> Iterator[Observation]:
        """Judge the last gap, and what could not be read near it."""
        gap, self._gap = self._gap, None
        unread, self._unread = self._unread, []
        if gap is None:
            if unread and self._reach > unread[-1].time + BESIDE:
                yield self._missing(unread, unread[0].time, unread[0].time + INSTANT)
            return
        start, end = gap
        if unread and abs(unread[0].time - start) <= 2 * BESIDE:
            yield self._missing(unread, start, end)
            return
        held, length = self._disorder, end - start
        if held is None or start > held.start + LONGEST:
            self._disorder = _Disorder(start, end, length, length, lost=length)
            return
        held.offset, held.end, held.lost = held.offset + length, end, held.lost + length
        if held.back and abs(held.offset) <= SETTLED:
            yield self._disordered(held)
            self._disorder = None
        elif not held.back:  # two gaps: what the first left out will not come any more
            self._disorder = _Disorder(start, end, length, length, lost=length)

    def _back(self, note: Note) -> None:
        held = self._disorder
        # back by less than the gap left out is not to before it: unrelated
        if (
            held is None
            or note.time > held.start + LONGEST
            or (not held.back and -note.value < held.skipped)
        ):
            held = self._disorder = _Disorder(note.time, note.time, 0.0, 0.0)
        held.offset += note.value
        held.back += 1
        held.end = max(held.end, note.time + INSTANT)

    def _missing(self, unread: list[Note], start: float, end: float) -> Observation:
        seconds, count = end - start, len(unread)
        what = "segment is" if count == 1 else "segments are"
        said = f"{count} {what} not there ({unread[0].reason.replace('_', ' ')})"
        return Observation(
            kind=Kind.SEGMENT_MISSING,
            start=start,
            end=end,
            # a second is bridged by a player's buffer, more is not
            severity=ladder(seconds, 1.0, 2.0, 3.0, 5.0),
            confidence=0.95 if seconds > INSTANT else 0.7,
            summary=f"{said}: {seconds:.2f} s are missing",
            evidence={"segments": float(count), "missing_s": seconds},
            peak=start,
        )

    def _disordered(self, held: _Disorder) -> Observation:
        times = "once" if held.back == 1 else f"{held.back} times"
        return Observation(
            kind=Kind.SEGMENT_MISSING,
            start=held.start,
            end=held.end,
            severity=ladder(held.end - held.start, 2.0, 4.0, 6.0, 10.0),
            confidence=0.85,
            summary=(
                f"segments repeated or out of order: the clock goes back {times}, then "
                f"{held.lost:.2f} s are left out"
            ),
            evidence={
                "jumps_back": float(held.back),
                "left_out_s": held.lost,
                "duration_s": held.end - held.start,
            },
            peak=held.start,
        )
