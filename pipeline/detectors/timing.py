"""Timestamps: media that is missing (gaps), and clocks that start anew (jumps)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.detectors.base import DetectorSettings, StreamDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Note, Observation, Segment
from pipeline.types import Asset, Kind

JUMP_SHOWN = 0.04  # seconds; a jump is an instant, shown as long as one frame at 25 Hz


class TimingSettings(DetectorSettings):
    """When timestamps are a defect."""

    min_gap: float = setting(
        0.02,
        "s",
        "shortest gap in picture or sound that is reported",
        "one missing frame shows (quality.md V7); 20 ms is the jitter of container timestamps",
        ge=0,
    )


class TimingDetector(StreamDetector):
    """Reports what the presentation clock (pipeline/clock.py) noted."""

    name = "timestamp_gap"
    kinds = (Kind.TIMESTAMP_GAP, Kind.TIMESTAMP_JUMP)
    summary = (
        "Timestamps that leave out time in a steady stream, or jump to another clock: "
        "frames lost before encoding, joins of recordings, broken muxers."
    )
    Settings = TimingSettings

    def update(self, segment: Segment) -> Iterator[Observation]:
        """Take the next segment; gaps and jumps are reported at once."""
        for note in segment.notes:
            if note.what == "gap" and note.value >= self.settings.min_gap:
                yield self._gap(note)
            elif note.what == "jump":
                yield self._jump(note)

    def finish(self) -> Iterable[Observation]:
        """Nothing stays open."""
        return ()

    def _gap(self, note: Note) -> Observation:
        sound = _is_sound(self.asset, note.stream)
        # a missing frame is hard to see, 20 ms of missing sound is a click, a second is a stop
        steps = (0.01, 0.04, 0.2, 1.0) if sound else (0.04, 0.2, 0.6, 2.0)
        return Observation(
            kind=Kind.TIMESTAMP_GAP,
            start=note.time,
            end=note.time + note.value,
            severity=ladder(note.value, *steps),
            confidence=0.95 if note.value > 0.1 else 0.85,
            summary=f"{note.detail} (stream {note.stream})",
            evidence=_evidence(note) | {"gap_s": note.value},
        )

    def _jump(self, note: Note) -> Observation:
        return Observation(
            kind=Kind.TIMESTAMP_JUMP,
            start=note.time,
            end=note.time + JUMP_SHOWN,
            severity=ladder(abs(note.value), 0.05, 0.5, 5.0, 60.0),
            confidence=0.95,
            summary=f"{note.detail} (stream {note.stream}); all streams go on from there together",
            evidence=_evidence(note) | {"jump_s": note.value},
        )


def _evidence(note: Note) -> dict[str, float]:
    return {} if note.stream is None else {"stream": float(note.stream)}


def _is_sound(asset: Asset, stream: int | None) -> bool:
    return any(track.stream == stream for track in asset.audio)
