"""Evidence for each defect: pictures and sound of its worst moment, taken from the asset itself.

The asset is opened again and sought; only what is shown is decoded. Time and number are bounded,
the most severe defects come first, and a defect without evidence says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import av.container
from pydantic import BaseModel, ConfigDict, Field

from pipeline import words
from pipeline.errors import SourceError
from pipeline.report import pictures, sounds
from pipeline.report.pictures import Deadline, EvidenceError
from pipeline.source import Limits, open_source
from pipeline.types import AvSyncMoment, Defect, Inspection, Kind, Region

# The picture just before and just after tells more than the worst moment alone.
_WITH_NEIGHBOURS = frozenset(
    {
        Kind.BLACK,
        Kind.FREEZE,
        Kind.PARTIAL_FREEZE,
        Kind.SOLID_COLOR,
        Kind.COLOR_BARS,
        Kind.SLATE,
        Kind.REPEATED_FRAMES,
        Kind.DROPPED_FRAMES,
        Kind.GLITCH,
        Kind.BLOCK_CORRUPTION,
        Kind.DECODER_SMEAR,
        Kind.TEARING,
        Kind.BRIGHTNESS_PUMPING,
        Kind.FLASHING,
        Kind.LETTERBOX_CHANGE,
        Kind.TIMESTAMP_GAP,
        Kind.TIMESTAMP_JUMP,
        Kind.DECODE_ERROR,
        Kind.FORMAT_CHANGE,
        Kind.OUTAGE,
        Kind.SEGMENT_MISSING,
    }
)
# Kinds whose spectrum shows what the waveform does not, and up to which frequency; 0: all there is.
_SPECTRAL_HZ = {
    Kind.HUM: 500.0,
    Kind.TEST_TONE: 4000.0,
    Kind.HISS: 0.0,
    Kind.BANDWIDTH_LOSS: 0.0,
    Kind.CLICK: 0.0,
    Kind.DISTORTION: 0.0,
}
# Kinds whose shape is a matter of milliseconds: seconds shown on either side of the worst moment.
_CLOSE_UP_S = {
    Kind.CLIPPING: 0.01,
    Kind.TRUE_PEAK: 0.01,
    Kind.DISTORTION: 0.01,
    Kind.CLICK: 0.01,
    Kind.DROPOUT: 0.05,
    Kind.HUM: 0.05,
    Kind.TEST_TONE: 0.005,
    Kind.DC_OFFSET: 0.02,
    Kind.PHASE_INVERSION: 0.01,
    Kind.FALSE_STEREO: 0.01,
}
_LONGEST_S = 6.0  # seconds of sound in one waveform
_SMALL = (208, 156)  # box of the pictures before and after
_CHANNELS = 8  # waveforms in one figure
LIPS = "av_sync"  # the evidence of sound and lips, beside that of defects
_MOUTHS, _MOUTH = 12, (112, 112)  # most pictures of mouths; box of one
_WHOLE = (4096, 4096)  # box of the pictures that they are cut out of
_AROUND_MOUTH = 1.5  # times the mouth's square, so that one sees whose it is


class EvidenceOptions(BaseModel):
    """How much evidence a report takes from the asset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pictures: int = Field(default=60, ge=0, description="most pictures of a worst moment")
    sounds: int = Field(default=60, ge=0, description="most waveforms of a worst moment")
    seconds: float = Field(default=60.0, gt=0, description="seconds of work on all of them")
    seconds_each: float = Field(default=10.0, gt=0, description="seconds of work on one of them")
    width: int = Field(default=640, ge=16, le=4096, description="widest picture, in pixels")
    height: int = Field(default=480, ge=16, le=4096, description="highest picture, in pixels")


@dataclass(frozen=True)
class Shot:
    """A picture as the report shows it."""

    role: str
    uri: str
    time: float
    width: int
    height: int
    region: Region | None = None


@dataclass(frozen=True)
class Wave:
    """A figure of waveforms over one stretch of time, one path for each channel."""

    title: str
    start: float
    end: float
    channels: list[tuple[str, str]]  # name, `d` of the SVG path
    full: float  # magnitude that fills the height, 1 full scale
    lines: bool  # drawn as a line through the samples, not as a filled envelope
    left_out: int = 0  # channels not drawn


@dataclass(frozen=True)
class Spectrum:
    """A spectrogram, and what its axes mean."""

    uri: str
    start: float
    end: float
    top_hz: float


@dataclass
class Evidence:
    """What the card of one defect shows, and what it could not show."""

    shots: list[Shot] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    spectrum: Spectrum | None = None
    notes: list[str] = field(default_factory=list)


WAVE_WIDTH, WAVE_HEIGHT = 640, 64  # units of an SVG path


def gather(
    inspection: Inspection, place: str, limits: Limits, options: EvidenceOptions
) -> dict[str, Evidence]:
    """Evidence for the defects of an inspection, by the id of the defect. Never raises.

    That of `av_sync`, pictures of mouths, is there as `LIPS` where lips were watched.

    Args:
        inspection: what was found.
        place: URI of the asset to open again.
        limits: as for the inspection.
        options: how much of it, and how long it may take.
    """
    ranked = sorted(inspection.defects, key=lambda d: (-d.severity, -d.confidence, d.start, d.id))
    taken = {defect.id: Evidence() for defect in ranked}
    wanted = [defect for defect in ranked if words.term(defect.kind).senses]
    lips = inspection.av_sync.track if inspection.av_sync is not None else []
    if lips:
        taken[LIPS] = Evidence()
    if not (wanted or lips) or inspection.coverage.state == "none":
        return taken
    try:
        with open_source(place, limits) as container:
            taker = _Taker(container, inspection, options)
            try:
                taker.take(wanted, taken)
                if lips:
                    taker.take_mouths(lips, taken[LIPS])
            finally:
                taker.rest()
    except SourceError as error:
        for defect in wanted:
            if taken[defect.id] == Evidence():
                taken[defect.id].notes.append(
                    f"No picture or sound: the asset could not be opened again ({error.detail})."
                )
    return taken


class _Taker:
    """Takes evidence from one open asset."""

    def __init__(
        self,
        container: av.container.InputContainer,
        inspection: Inspection,
        options: EvidenceOptions,
    ) -> None:
        self._container = container
        self._asset = inspection.asset
        # from here on the container clock no longer tells the time of presentation
        self._until = min(
            (d.start for d in inspection.defects if d.kind == Kind.TIMESTAMP_JUMP),
            default=math.inf,
        )
        self._options = options
        self._deadline = Deadline.after(options.seconds)

    def take(self, ranked: list[Defect], taken: dict[str, Evidence]) -> None:
        """Fill in the evidence of the defects, the first of them first."""
        options = self._options
        shown = heard = 0
        for defect in ranked:
            evidence = taken[defect.id]
            video, audio = self._streams(defect)
            if video is not None:
                if shown < options.pictures:
                    shown += self._try("picture", self._look, defect, video, evidence)
                else:
                    evidence.notes.append(
                        f"No picture: only the {options.pictures} most severe defects have one."
                    )
            if audio is not None:
                if heard < options.sounds:
                    heard += self._try("waveform", self._listen, defect, audio, evidence)
                else:
                    evidence.notes.append(
                        f"No waveform: only the {options.sounds} most severe defects have one."
                    )

    def take_mouths(self, track: list[AvSyncMoment], evidence: Evidence) -> None:
        """Pictures of mouths, spread over the time that was watched."""
        count = min(len(track), _MOUTHS)
        moments = [track[n * len(track) // count] for n in range(count)]
        times = [(moment.start + moment.end) / 2 for moment in moments]
        video = next((v.stream for v in self._asset.video if v.examined and v.frames), None)
        try:
            self._deadline.check()
            if video is None or times[-1] > self._until:
                return
            found = pictures.frames_at(
                self._container, video, times, self._asset.start_time, _WHOLE, self._deadline
            )
        except EvidenceError as error:
            evidence.notes.append(f"No pictures of mouths: {error}.")
            return
        for moment, picture in zip(moments, found, strict=True):
            if picture is not None:
                rgb = pictures.fit(_around(picture.rgb, picture.region(moment.mouth)), _MOUTH)
                height, width = rgb.shape[:2]
                evidence.shots.append(
                    Shot("Mouth", pictures.jpeg(rgb), picture.time, width, height)
                )

    def rest(self) -> None:
        """Stop the decoders' threads: freeing a codec whose threads still log may deadlock."""
        for stream in (*self._container.streams.video, *self._container.streams.audio):
            if stream.codec_context is not None and stream.codec_context.is_open:
                stream.codec_context.flush_buffers()

    def _streams(self, defect: Defect) -> tuple[int | None, int | None]:
        """The video and the audio stream to show for a defect."""
        senses = words.term(defect.kind).senses
        videos = [track.stream for track in self._asset.video if track.frames]
        audios = [track.stream for track in self._asset.audio if track.samples]
        if defect.stream in videos:
            return defect.stream, None
        if defect.stream in audios:
            return None, defect.stream
        video = videos[0] if "v" in senses and videos else None
        audio = audios[0] if "a" in senses and audios else None
        return video, audio

    def _try(
        self,
        what: str,
        take: Callable[[Defect, int, Evidence, Deadline], None],
        defect: Defect,
        stream: int,
        evidence: Evidence,
    ) -> bool:
        """Take one piece of evidence; tells whether there is one. A failure becomes a note."""
        try:
            self._deadline.check()
            if defect.peak > self._until:
                raise EvidenceError("the time stamps jump before it, so it cannot be sought")
            take(defect, stream, evidence, self._deadline.within(self._options.seconds_each))
        except EvidenceError as error:
            evidence.notes.append(f"No {what}: {error}.")
        except Exception as error:  # whatever is wrong with an asset, its report must be written
            evidence.notes.append(f"No {what}: {type(error).__name__}: {error}")
        else:
            return True
        return False

    def _look(self, defect: Defect, stream: int, evidence: Evidence, deadline: Deadline) -> None:
        track = next(t for t in self._asset.video if t.stream == stream)
        frame = 1 / track.frame_rate if track.frame_rate else 0.04
        worst = min(max(defect.peak, defect.start), max(defect.end - frame / 2, defect.start))
        times = {"Worst moment": worst}
        if defect.kind in _WITH_NEIGHBOURS:
            if defect.start > frame / 2:
                times["Just before"] = defect.start - frame / 2
            if defect.end + frame / 2 < self._asset.duration:
                times["Just after"] = defect.end + frame / 4
        roles = sorted(times, key=lambda role: times[role])
        options = self._options
        found = pictures.frames_at(
            self._container,
            stream,
            [times[role] for role in roles],
            self._asset.start_time,
            (options.width, options.height),
            deadline,
        )
        for role, picture in zip(roles, found, strict=True):
            if picture is None:
                continue
            region = defect.region and picture.region(defect.region)
            rgb = picture.rgb
            if role != "Worst moment":
                rgb, region = pictures.fit(rgb, _SMALL), None
            height, width = rgb.shape[:2]
            uri = pictures.jpeg(rgb)
            evidence.shots.append(Shot(role, uri, picture.time, width, height, region))
        if not any(shot.role == "Worst moment" for shot in evidence.shots):
            raise EvidenceError("no frame could be decoded at the worst moment")

    def _listen(self, defect: Defect, stream: int, evidence: Evidence, deadline: Deadline) -> None:
        length = defect.end - defect.start
        context = max(0.15, length / 2)
        start, end = defect.start - context, defect.end + context
        if end - start > _LONGEST_S:
            start = min(max(defect.peak - _LONGEST_S / 2, start), end - _LONGEST_S)
            end = start + _LONGEST_S
        start = max(start, 0.0)
        sound = sounds.sound_at(
            self._container, stream, start, end, self._asset.start_time, deadline
        )
        evidence.waves.append(_wave("Around the worst moment", sound))
        reach = _CLOSE_UP_S.get(defect.kind)
        if reach is not None:
            close = sound.part(defect.peak - reach, defect.peak + reach)
            if close.samples.shape[1] > 1:
                evidence.waves.append(_wave("Close up", close))
        top = _SPECTRAL_HZ.get(defect.kind)
        if top is not None:
            top = min(top or sound.rate / 2, sound.rate / 2)
            uri = pictures.png(sounds.spectrogram(sound, top, (480, 160)))
            evidence.spectrum = Spectrum(uri, sound.time, sound.end, top)


def _around(rgb: pictures.RGB, mouth: Region) -> pictures.RGB:
    """The part of a picture around a mouth."""
    height, width = rgb.shape[:2]
    x, y = (mouth.left + mouth.right) / 2 * width, (mouth.top + mouth.bottom) / 2 * height
    side = _AROUND_MOUTH * max((mouth.right - mouth.left) * width, 2.0) / 2
    top, left = max(0, round(y - side)), max(0, round(x - side))
    return rgb[top : max(round(y + side), top + 2), left : max(round(x + side), left + 2)]


def _wave(title: str, sound: sounds.Sound) -> Wave:
    shown = list(zip(sound.names, sound.samples, strict=True))[:_CHANNELS]
    full = sounds.vertical_range(sound.samples)
    return Wave(
        title,
        sound.time,
        sound.end,
        [
            (name, sounds.svg_path(samples, WAVE_WIDTH, WAVE_WIDTH, WAVE_HEIGHT, full))
            for name, samples in shown
        ],
        full=full,
        lines=sound.samples.shape[1] <= 2 * WAVE_WIDTH,
        left_out=len(sound.names) - len(shown),
    )
