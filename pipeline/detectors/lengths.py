"""Lengths: streams that start or end apart, that hold nothing, and assets that are cut short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline import facts
from pipeline.detectors.base import DetectorSettings, StreamDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Note, Observation, Segment
from pipeline.types import Asset, AudioTrack, Kind, VideoTrack

WENT_ON = 1.0  # seconds of media after a read error: more than decoders hold back, not its end


class LengthsSettings(DetectorSettings):
    """How far streams may differ."""

    short_frames: float = setting(
        2.0, "frames", "audio may end this much before the picture", "Telestream Vidchecker", ge=0
    )
    short_floor: float = setting(
        0.15,
        "s",
        "and at least this much: encoders cut audio to whole frames",
        "calibrated on 78 real clips with sound: it ends up to 0.122 s before the picture",
        ge=0,
    )
    long_seconds: float = setting(
        2.0, "s", "audio may end this much after the picture", "Telestream Vidchecker", ge=0
    )
    start_seconds: float = setting(
        0.2,
        "s",
        "largest difference of the starts of picture and sound",
        "calibrated on 78 real clips with sound: at most 0.032 s",
        ge=0,
    )
    missing_seconds: float = setting(
        2.0,
        "s",
        "audio that ends earlier than this before the picture is missing there",
        "as long_seconds",
        ge=0,
    )


class LengthsDetector(StreamDetector):
    """Remembers the first and last time of every stream and compares them at the end."""

    name = "av_length_mismatch"
    kinds = (Kind.AV_LENGTH_MISMATCH, Kind.TRUNCATED, Kind.MISSING_STREAM)
    summary = (
        "Sound that starts or ends apart from the picture, declared streams without content, and "
        "files that end before their header says."
    )
    Settings = LengthsSettings

    def __init__(self, settings: LengthsSettings, asset: Asset) -> None:
        super().__init__(settings, asset)
        self._spans: dict[int, tuple[float, float]] = {}
        self._frame = 1 / facts.NOMINAL_RATE
        self._reach = 0.0
        self._read_error: Note | None = None  # the last one
        self._ended = False

    def update(self, segment: Segment) -> Iterable[Observation]:
        """Take the next segment; nothing is known before the end."""
        picture = segment.picture
        if picture is not None:
            last = picture.frames[-1]
            self._frame = 1 / picture.format.frame_rate
            end = float(last["time"] + last["duration"])
            self._extend(picture.format.stream, float(picture.frames["time"][0]), end)
        for sound in segment.sound:
            seconds = sound.samples.shape[1] / sound.format.rate
            self._extend(sound.format.stream, sound.time, sound.time + seconds)
        for note in segment.notes:
            if note.what == "read_error" and note.reason != "encrypted":
                self._read_error = note
            self._ended = self._ended or note.what == "end"
        self._reach = max(self._reach, segment.end)
        return ()

    def standing(self) -> Iterable[Observation]:
        """Nothing: lengths are known at the end."""
        return ()

    def finish(self) -> Iterator[Observation]:
        """Compare the streams with each other and with the header, if the end was reached."""
        if not self._ended:
            return
        cut = list(self._truncated())
        yield from cut
        yield from self._empty()
        video = next(
            (self._spans[v.stream] for v in self.asset.video if v.stream in self._spans), None
        )
        if video is None:
            return
        for track in self.asset.audio:
            if track.stream in self._spans:
                yield from self._compare(track.stream, self._spans[track.stream], video, bool(cut))

    def _extend(self, stream: int, start: float, end: float) -> None:
        first, last = self._spans.get(stream, (start, end))
        self._spans[stream] = (min(first, start), max(last, end))

    def _truncated(self) -> Iterator[Observation]:
        missing = facts.undelivered(self.asset, self._reach)
        error = self._read_error
        if error is not None and self._reach > error.time + WENT_ON:
            error = None  # a segment was missing, and reading went on
        if not self._reach or not (missing or error):
            return
        if missing:
            said = (
                f"the header says {self._reach + missing:.2f} s, only {self._reach:.2f} s are there"
            )
        else:
            said = f"reading broke off at {self._reach:.2f} s"
        if error:
            said += f" ({error.detail})"
        declared = self.asset.declared_duration
        yield Observation(
            kind=Kind.TRUNCATED,
            start=self._reach,
            end=self._reach + missing,
            severity=ladder(missing, 0.1, 0.5, 1.0, 3.0) if missing else 0.75,
            confidence=0.95 if missing and error else 0.85,
            summary=said,
            evidence={"decoded_s": self._reach, "missing_s": missing}
            | ({"declared_s": declared} if declared else {}),
        )

    def _empty(self) -> Iterator[Observation]:
        tracks: list[VideoTrack | AudioTrack] = [*self.asset.video, *self.asset.audio]
        for track in tracks:
            if track.examined and track.stream not in self._spans and self._reach > 0:
                what = "video" if isinstance(track, VideoTrack) else "audio"
                yield Observation(
                    kind=Kind.MISSING_STREAM,
                    start=0.0,
                    end=self._reach,
                    severity=1.0,
                    confidence=0.9,
                    summary=f"{what} stream {track.stream} ({track.codec}) is declared but empty",
                    evidence={"stream": float(track.stream)},
                )

    def _compare(
        self, stream: int, sound: tuple[float, float], picture: tuple[float, float], cut: bool
    ) -> Iterator[Observation]:
        settings = self.settings
        late = sound[0] - picture[0]
        if abs(late) > settings.start_seconds:
            word = "after" if late > 0 else "before"
            said = f"audio stream {stream} starts {abs(late):.2f} s {word} the picture"
            yield self._mismatch(stream, sorted((sound[0], picture[0])), said, {"start_s": late})
        early = picture[1] - sound[1]
        # where the file is cut, the streams end where the interleaving had come to
        limit = 1.0 if cut else max(settings.short_frames * self._frame, settings.short_floor)
        if early > limit or -early > max(settings.long_seconds, limit):
            word = "before" if early > 0 else "after"
            said = f"audio stream {stream} ends {abs(early):.2f} s {word} the picture"
            yield self._mismatch(stream, sorted((sound[1], picture[1])), said, {"end_s": -early})
        if early > max(settings.missing_seconds, limit):
            yield Observation(
                kind=Kind.MISSING_STREAM,
                start=sound[1],
                end=picture[1],
                severity=ladder(early, 0.5, 1.0, 2.0, 5.0),
                confidence=0.9,
                summary=f"audio stream {stream} is over {early:.2f} s before the picture ends",
                evidence={"stream": float(stream), "missing_s": early},
            )

    def _mismatch(
        self, stream: int, span: list[float], said: str, evidence: dict[str, float]
    ) -> Observation:
        length = span[1] - span[0]
        return Observation(
            kind=Kind.AV_LENGTH_MISMATCH,
            start=span[0],
            end=span[1],
            severity=ladder(length, 0.1, 0.5, 1.0, 3.0),
            confidence=min(0.95, 0.6 + length / 2),
            summary=said,
            evidence={"stream": float(stream)} | evidence,
        )
