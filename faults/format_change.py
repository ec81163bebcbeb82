"""Format changes: recordings of different formats joined in one transport stream."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from faults.base import FaultError, FileFault
from faults.media import Clean, Picture, encode, picture_of
from faults.packets import TRANSPORT, Track, join_transport, pictures_of, tracks, write
from faults.sync import resampled
from faults.timing import INSTANT
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

_COPY = {"mpegts_copyts": "1"}
_START = 2.0  # seconds on the clock of the stream at presentation zero


class FormatChangeFault(FileFault):
    """Encodes what follows in another format and joins it; the clock goes on."""

    name = "format_change"
    kind = Kind.FORMAT_CHANGE
    summary = "Resolution, frame rate, sample rate or channels that change (MPEG-TS alone)"
    lengths = (3.0, 3.0)  # so much must follow the change, which is an instant
    also = (Kind.TIMESTAMP_GAP, Kind.BLUR, Kind.CLICK)
    # By what is seen or heard of it in a player that copes (proposed).
    ladder = {
        Severity.VERY_SUBTLE: {"what": "sample_rate"},
        Severity.SUBTLE: {"what": "channel_layout"},
        Severity.NOTICEABLE: {"what": "frame_rate"},
        Severity.VERY_NOTICEABLE: {"what": "resolution"},
    }

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        if not clean.has_picture or not clean.has_sound:
            return "it needs picture and sound"
        return None

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault.

        Raises:
            FaultError: the container cannot change its format.
        """
        if target.suffix.lower() not in TRANSPORT:
            raise FaultError(f"the format of {target.suffix} cannot change, that of .ts can")
        clean = Clean(source)
        times = clean.times[clean.times >= self.order.start - 1e-6]
        if not len(times):
            raise FaultError(f"there is no frame from {self.order.start:.2f} s on")
        at, what = float(times[0]), str(self.parameters["what"])
        rate, sample_rate, layout = clean.rate, clean.sample_rate, clean.layout
        sound = clean.sound[:, round(at * sample_rate) :]
        later: Iterable[Picture] = (
            replace(p, time=p.time - at) for p in pictures_of(source) if p.time >= at - 1e-6
        )
        if what == "resolution":
            share = float(self.rng.choice((0.5, 2 / 3, 0.75)))
            size = tuple(max(16, int(n * share) // 2 * 2) for n in clean.size)
            later, changed = _scaled(later, size[0], size[1]), f"{size[1]}x{size[0]}"
        elif what == "frame_rate":
            later, rate = _every_second(later), rate / 2
            changed = f"{float(rate):g} Hz"
        elif what == "sample_rate":
            to = 44_100 if sample_rate != 44_100 else 48_000
            sound = np.stack([resampled(line, sample_rate, to) for line in sound])
            sample_rate, changed = to, f"{to} Hz"
        else:
            layout = "mono" if clean.layout != "mono" else "stereo"
            mixed = sound.mean(axis=0, keepdims=True, dtype=np.float32)
            sound, changed = np.repeat(mixed, 1 if layout == "mono" else 2, axis=0), layout
        before = (p for p in pictures_of(source) if p.time < at - 1e-6)
        with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
            first, second = Path(folder) / "first.ts", Path(folder) / "second.ts"
            head = clean.sound[:, : round(at * clean.sample_rate)]
            _write(first, before, head, clean.rate, clean.sample_rate, clean.layout)
            _write(second, later, sound, rate, sample_rate, layout)
            parts = [_at(first, _START + float(clean.times[0])), _at(second, _START + at)]
            count = len(_video(tracks(first)).units)
        target.write_bytes(join_transport(parts))
        # encoders of sound begin earlier than before, and with them the presentation
        start = min(unit.time for unit in _video(tracks(target)).units[count:])
        self.did(start, start + INSTANT, changed_to=changed)


def _write(
    path: Path,
    pictures: Iterable[Picture],
    sound: Float32,
    rate: Fraction,
    sample_rate: int,
    layout: str,
) -> None:
    encode(path, pictures, sound, rate=rate, sample_rate=sample_rate, layout=layout)


def _at(path: Path, time: float) -> bytes:
    """A stream whose picture begins at a time of the container's clock."""
    found = tracks(path)
    begin = min(unit.time for unit in _video(found).units)
    out = io.BytesIO()
    write(out, found, form="mpegts", options=_COPY, after=time - begin)
    return out.getvalue()


def _video(found: list[Track]) -> Track:
    return next(track for track in found if track.kind == "video")


def _scaled(pictures: Iterable[Picture], height: int, width: int) -> Iterator[Picture]:
    scaler = VideoReformatter()
    for picture in pictures:
        frame = scaler.reformat(picture.frame(), width=width, height=height, format="yuv420p")
        yield picture_of(frame, picture.time, picture.duration)


def _every_second(pictures: Iterable[Picture]) -> Iterator[Picture]:
    for number, picture in enumerate(pictures):
        if number % 2 == 0:
            yield replace(picture, duration=2 * picture.duration)
