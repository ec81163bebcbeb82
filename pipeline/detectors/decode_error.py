"""Decode errors: what transport, demuxer and decoders flagged, pooled into intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.detectors.base import DetectorSettings, StreamDetector, setting
from pipeline.events import ladder
from pipeline.measurements import FrameFlag, Observation, Segment
from pipeline.types import Kind

_KEYS = {"packet": "corrupt_packets", "flag": "corrupt_frames", "exception": "undecodable_packets"}
_LOG_KEY = "log_errors"


class DecodeErrorSettings(DetectorSettings):
    """Which errors belong together, and when log lines alone are a defect."""

    merge_gap: float = setting(
        1.0, "s", "errors closer than this are one defect", "a GOP is half a second to two", ge=0
    )
    min_log_errors: int = setting(
        2,
        "",
        "error lines that FFmpeg must log where nothing else shows damage",
        "112 real clips log none; a single line is weak evidence all the same",
        ge=1,
    )


@dataclass
class _Span:
    start: float
    end: float
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, start: float, end: float, key: str, count: float) -> None:
        self.start, self.end = min(self.start, start), max(self.end, end)
        self.counts[key] = self.counts.get(key, 0) + count


class DecodeErrorDetector(StreamDetector):
    """Pools errors; one defect for each stretch of them."""

    name = "decode_error"
    kinds = (Kind.DECODE_ERROR,)
    summary = (
        "Damage that the transport, demuxer or decoder noticed: corrupt packets and frames, "
        "packets that could not be decoded. Damage from before a re-encoding is not among it."
    )
    Settings = DecodeErrorSettings

    _span: _Span | None = None
    _frame = 0.04  # seconds, of the picture last seen

    def update(self, segment: Segment) -> Iterator[Observation]:
        """Take the next segment; a stretch ends when `merge_gap` has passed without errors."""
        errors: list[tuple[float, float, str, float]] = []
        picture = segment.picture
        if picture is not None:
            frames = picture.frames
            self._frame = float(frames["duration"][-1])
            for row in frames[(frames["flags"] & FrameFlag.CORRUPT) > 0]:
                end = float(row["time"] + row["duration"])
                errors.append((float(row["time"]), end, _KEYS["flag"], 1.0))
        for note in segment.notes:
            if note.what in ("decode_error", "corrupt_packet"):
                key = _KEYS.get(note.reason, _LOG_KEY)
                errors.append((note.time, note.time + self._frame, key, max(note.value, 1.0)))
        for start, end, key, count in sorted(errors):
            if self._span is not None and start > self._span.end + self.settings.merge_gap:
                yield from self._close()
            if self._span is None:
                self._span = _Span(start, end)
            self._span.add(start, end, key, count)
        if self._span is not None and segment.start > self._span.end + self.settings.merge_gap:
            yield from self._close()

    def finish(self) -> Iterable[Observation]:
        """The stretch that is still open."""
        return list(self._close())

    def _close(self) -> Iterator[Observation]:
        span, self._span = self._span, None
        if span is None:
            return
        counts = span.counts
        lines = counts.get(_LOG_KEY, 0.0)
        hard = sum(counts.values()) - lines
        if not hard and lines < self.settings.min_log_errors:
            return
        said = ", ".join(f"{int(n)} {key.replace('_', ' ')}" for key, n in sorted(counts.items()))
        yield Observation(
            kind=Kind.DECODE_ERROR,
            start=span.start,
            end=span.end,
            severity=ladder(hard + lines / 3, 1, 4, 12, 40),
            confidence=0.95 if hard else min(0.9, 0.4 + 0.1 * lines),
            summary=f"{said} within {span.end - span.start:.2f} s",
            evidence=dict(counts),
            peak=span.start,
        )
