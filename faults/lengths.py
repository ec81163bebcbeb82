"""Lengths: sound and picture that begin or end apart, files cut short, streams without content."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from faults.base import FaultError, FileFault
from faults.media import Clean
from faults.packets import Track, Unit, joints, opened, remux, tracks, write
from faults.truth import Severity
from pipeline.decode import DecodedFrame, DecodedSound, Decoder
from pipeline.types import Kind

_INDEXED = (".mp4", ".m4v", ".mov", ".m4a")  # by an index that stands at the end if not asked for
_FASTSTART = {"movflags": "+faststart"}
# containers whose header says how long they are
_STATES_LENGTH = (*_INDEXED, ".mkv", ".webm", ".avi", ".flac", ".flv")


class _BothFault(FileFault):
    """Needs picture and sound."""

    whole = True  # an end of the asset is damaged, wherever the order says

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        if not clean.has_picture or not clean.has_sound:
            return "it needs picture and sound"
        return None


class AvLengthMismatchFault(_BothFault):
    """Lets sound end early, start late, or go on after the picture."""

    name = "av_length_mismatch"
    kind = Kind.AV_LENGTH_MISMATCH
    summary = "Sound that ends before the picture, starts after it or goes on long after it"
    also = (Kind.MISSING_STREAM, Kind.SILENCE, Kind.FREEZE, Kind.TRUNCATED)
    # Telestream Vidchecker: sound is too short from 2 frames on, too long from 2 s on.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.3},
        Severity.SUBTLE: {"seconds": 0.7},
        Severity.NOTICEABLE: {"seconds": 1.5},
        Severity.VERY_NOTICEABLE: {"seconds": 3.0},
    }
    _TOO_LONG = 2.0

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault."""
        seconds = float(self.parameters["seconds"])
        found = {track.kind: track for track in tracks(source)}
        end = min(found["video"].end, found["audio"].end)
        if seconds > end - 1.0:
            raise FaultError(f"{self.name}: the asset is shorter than {seconds + 1:g} s")
        ways = ["ends_early", "starts_late"] + ["goes_on"] * (seconds > self._TOO_LONG)
        way = str(self.rng.choice(ways))
        self.parameters["way"] = way
        changes: dict[str, Callable[[Track], Iterable[Unit]]] = {
            "ends_early": lambda t: [
                u for u in t.units if t.kind == "video" or u.end <= end - seconds
            ],
            "starts_late": lambda t: [u for u in t.units if t.kind == "video" or u.time >= seconds],
            "goes_on": lambda t: t.units if t.kind == "audio" else _until(t.units, end - seconds),
        }
        written = {track.kind: track for track in remux(source, target, changes[way])}
        video, audio = written["video"], written["audio"]
        if way == "starts_late":
            first = min(unit.time for unit in video.units)
            self.did(first, audio.units[0].time)
        else:
            start, stop = sorted((video.end, audio.end))
            self.did(start, stop)


def _until(units: tuple[Unit, ...], time: float) -> tuple[Unit, ...]:
    """Packets that are shown before a time, up to a place where the stream may be cut."""
    places = [n for n in joints(units) if max(unit.time for unit in units[:n]) < time]
    return units[: places[-1]] if places else units[:1]


class TruncatedFault(FileFault):
    """Cuts a file off that says how long it is."""

    name = "truncated"
    kind = Kind.TRUNCATED
    summary = "A file that ends before its header says, as after a broken transfer"
    whole = True
    # the frame that the cut goes through may be shown, as far as it came
    also = (
        *(Kind.DECODE_ERROR, Kind.BLOCK_CORRUPTION),
        *(Kind.AV_LENGTH_MISMATCH, Kind.MISSING_STREAM),
    )
    # share of the presentation that is lost (proposed); 0.7 s at least, as less is within what
    # good files' headers say too much
    ladder = {
        Severity.VERY_SUBTLE: {"lost_share": 0.1},
        Severity.SUBTLE: {"lost_share": 0.25},
        Severity.NOTICEABLE: {"lost_share": 0.5},
        Severity.VERY_NOTICEABLE: {"lost_share": 0.75},
    }
    _LEAST = 0.7

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault.

        Raises:
            FaultError: the container does not say how long it is, or the asset is too short.
        """
        if target.suffix.lower() not in _STATES_LENGTH:
            raise FaultError(f"{target.suffix} does not say how long it is")
        whole = source
        if target.suffix.lower() in _INDEXED:
            whole = target.with_name("whole" + target.suffix)  # its index comes first
            write(whole, tracks(source), options=_FASTSTART)
        kept = self.clean.duration - max(
            self._LEAST, float(self.parameters["lost_share"]) * self.clean.duration
        )
        if kept < 0.5:
            raise FaultError(f"{self.name}: the asset is too short")
        data = whole.read_bytes()
        at = _place_of(whole, kept)
        target.write_bytes(data[:at])
        self.did(reach(target), self.clean.duration, kept_bytes=at, of_bytes=len(data))


def _place_of(path: Path, time: float) -> int:
    """Where in a file the content of that time begins, in the middle of a packet."""
    with opened(path) as container:
        origin = Decoder(container).asset().start_time
        for packet in container.demux(container.streams[0]):
            if packet.pts is None or packet.pos is None or packet.pos < 0:
                continue
            if float(packet.pts * packet.time_base) - origin >= time:
                return int(packet.pos) + packet.size // 2
    raise FaultError(f"the places of packets in {path.name} are not known")


def reach(path: Path) -> float:
    """Seconds of presentation that can be decoded."""
    end = 0.0
    with opened(path) as container:
        for item in Decoder(container, threads=1):
            if isinstance(item, DecodedFrame):
                end = max(end, item.time + item.duration)
            elif isinstance(item, DecodedSound):
                end = max(end, item.time + item.samples.shape[1] / item.rate)
    return end


class MissingStreamFault(_BothFault):
    """Leaves out the packets of a stream that the header declares."""

    name = "missing_stream"
    kind = Kind.MISSING_STREAM
    summary = "A declared stream without content, or without it from some time on"
    also = (Kind.AV_LENGTH_MISMATCH, Kind.SILENCE, Kind.FREEZE)
    # share of the presentation in which the stream is missing (proposed)
    ladder = {
        Severity.VERY_SUBTLE: {"stream": "audio", "missing_share": 0.3},
        Severity.SUBTLE: {"stream": "audio", "missing_share": 0.6},
        Severity.NOTICEABLE: {"stream": "audio", "missing_share": 1.0},
        Severity.VERY_NOTICEABLE: {"stream": "video", "missing_share": 1.0},
    }
    _LEAST = 2.2  # seconds; less is another length, not a missing stream (Telestream: 2 s)

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault.

        Raises:
            FaultError: the asset is too short.
        """
        kind, share = str(self.parameters["stream"]), float(self.parameters["missing_share"])
        # MP4 does not declare what has no packets: there the first packet of sound stays, in
        # which there is nothing but the delay of the encoder
        indexed = target.suffix.lower() in _INDEXED
        if indexed:
            kind = self.parameters["stream"] = "audio"
        length = self.clean.duration
        until = (
            (0.0 if indexed else -1.0) if share >= 1 else length - max(self._LEAST, share * length)
        )
        if share < 1 and until < 0.5:
            raise FaultError(f"{self.name}: the asset is too short")
        written = remux(
            source,
            target,
            lambda t: t.units if t.kind != kind else [u for u in t.units if u.end <= until],
        )
        start = max((track.end for track in written if track.kind == kind), default=0.0)
        end = max(track.end for track in written if track.kind != kind)
        self.did(start, end)
