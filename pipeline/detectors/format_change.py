"""Format changes: another resolution, rate, pixel aspect or channel layout in mid-stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.detectors.base import StreamDetector
from pipeline.measurements import Observation, Segment
from pipeline.types import Kind

SHOWN = 0.04  # seconds; a change is an instant, shown as long as one frame at 25 Hz
_SEVERITY = {"resolution": 0.75, "pixel_aspect": 0.5, "sample_rate": 0.5, "channel_layout": 0.5}
_RATE_SEVERITY = 0.5


class FormatChangeDetector(StreamDetector):
    """Reports the changes that the decoder noted."""

    name = "format_change"
    version = "2"
    kinds = (Kind.FORMAT_CHANGE,)
    summary = (
        "Resolution, frame rate, pixel aspect, sample rate or channel layout that changes while "
        "the stream runs: many players and encoders stumble there."
    )

    def update(self, segment: Segment) -> Iterator[Observation]:
        """Take the next segment; changes are reported at once."""
        for note in segment.notes:
            if note.what == "format_change":
                evidence = {} if note.stream is None else {"stream": float(note.stream)}
                yield Observation(
                    kind=Kind.FORMAT_CHANGE,
                    start=note.time,
                    end=note.time + SHOWN,
                    severity=_SEVERITY.get(note.reason, _RATE_SEVERITY),
                    confidence=0.95 if note.reason in _SEVERITY else 0.8,
                    summary=f"{note.detail} (stream {note.stream})",
                    evidence=evidence | {"new_value": note.value},
                )

    def finish(self) -> Iterable[Observation]:
        """Nothing stays open."""
        return ()
