"""The first time stamp of a fragment of MP4 (CMAF), from the few boxes that say it.

ISO/IEC 14496-12. An initialisation segment has the time scale and the edit list of each track
(`moov`), a media segment the decoding time of its first sample (`moof`). FFmpeg's demuxer knows all
of it and passes on only frames, when it is too late to tell the segments apart.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_KINDS = (b"styp", b"ftyp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"free", b"mdat")
_MOST = 1000  # boxes that are looked at on one level


@dataclass(frozen=True)
class Track:
    """What an initialisation segment says of a track.

    Attributes:
        scale: ticks a second.
        shift: ticks by which its edit list moves presentation.
        is_video: else it is something else, mostly sound.
    """

    scale: int
    shift: int
    is_video: bool


def is_fragment(data: bytes) -> bool:
    """Whether data begin as a segment of MP4 does."""
    return data[4:8] in _KINDS


def tracks(data: bytes) -> dict[int, Track]:
    """The tracks of an initialisation segment, by number; none where it is none."""
    found: dict[int, Track] = {}
    try:
        for moov in _inside(data, b"moov"):
            head = next(_inside(moov, b"mvhd"), b"")
            whole = _scale(head) if head else 0
            for trak in _inside(moov, b"trak"):
                number, track = _track(trak, whole)
                if track.scale > 0:
                    found[number] = track
    except (struct.error, IndexError):
        return {}
    return found


def first_time(data: bytes, known: Mapping[int, Track]) -> float | None:
    """Seconds of presentation, by the stream's own clock, of the first sample of a segment.

    Args:
        data: its beginning.
        known: the tracks of its initialisation segment; that of video is asked where there is one.

    Returns:
        None where it does not say, or not yet.
    """
    try:
        times = {
            number: time
            for moof in _inside(data, b"moof")
            for number, time in map(_fragment, _inside(moof, b"traf"))
            if time is not None and number in known
        }
    except (struct.error, IndexError):
        return None
    if not times:
        return None
    number = min(times, key=lambda one: (not known[one].is_video, one))
    track = known[number]
    return (times[number] - track.shift) / track.scale


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the boxes that follow each other; one that is cut off ends them."""
    at = 0
    for _ in range(_MOST):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if size < head or at + size > len(data):
            return
        yield kind, data[at + head : at + size]
        at += size


def _inside(data: bytes, wanted: bytes) -> Iterator[bytes]:
    return (content for kind, content in _boxes(data) if kind == wanted)


def _scale(header: bytes) -> int:
    """The time scale of `mvhd` and `mdhd`."""
    return int(struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)[0])


def _track(trak: bytes, whole: int) -> tuple[int, Track]:
    """Number and facts of a track; `whole` is the time scale of the presentation."""
    head = next(_inside(trak, b"tkhd"))
    (number,) = struct.unpack_from(">I", head, 20 if head[0] == 1 else 12)
    media = next(_inside(trak, b"mdia"))
    scale = _scale(next(_inside(media, b"mdhd")))
    handler = next(_inside(media, b"hdlr"), b"")
    shift = 0
    for edits in _inside(trak, b"edts"):
        for table in _inside(edits, b"elst"):
            shift = _shift(table, scale, whole)
    return number, Track(scale, shift, handler[8:12] == b"vide")


def _shift(table: bytes, scale: int, whole: int) -> int:
    """Ticks that the first edits take off: where media begin, less an empty edit before them."""
    form, size = (">Qq", 20) if table[0] == 1 else (">Ii", 12)
    (count,) = struct.unpack_from(">I", table, 4)
    empty = 0
    for n in range(min(count, _MOST)):
        duration, begin = struct.unpack_from(form, table, 8 + n * size)
        if begin >= 0:
            return int(begin) - empty
        empty += duration * scale // whole if whole else 0
    return -empty


def _fragment(traf: bytes) -> tuple[int, int | None]:
    """Number of a track, and the ticks at which its first sample is presented, before edits."""
    (number,) = struct.unpack_from(">I", next(_inside(traf, b"tfhd")), 4)
    table = next(_inside(traf, b"tfdt"), None)
    if table is None:
        return number, None
    (time,) = struct.unpack_from(">Q" if table[0] == 1 else ">I", table, 4)
    run = next(_inside(traf, b"trun"), None)
    return number, time + (_offset(run) if run is not None else 0)


def _offset(run: bytes) -> int:
    """From decoding to presentation of the first sample of `trun`, in ticks."""
    flags = int.from_bytes(run[1:4], "big")
    (count,) = struct.unpack_from(">I", run, 4)
    if not flags & 0x800 or not count:
        return 0
    at = 8 + 4 * sum(bool(flags & bit) for bit in (0x1, 0x4, 0x100, 0x200, 0x400))
    return int(struct.unpack_from(">i" if run[0] == 1 else ">I", run, at)[0])
