"""Programme time: when a moment of an HLS stream was made, as its playlists say.

`#EXT-X-PROGRAM-DATE-TIME` gives the first sample of a segment a date (RFC 8216, 4.3.2.6); segments
without one follow their neighbours by their lengths, but not over a discontinuity. FFmpeg does not
pass these dates on. So the first time stamp of each segment is read as its bytes go by (MPEG-TS,
and fragments of MP4), and the presentation clock says where in the stream it is.

Where a playlist announces a discontinuity (4.3.2.3), the first time stamp after it tells which jump
is meant, such as that to advertising and back.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urljoin

from pipeline import fragments

if TYPE_CHECKING:
    from pipeline.reach import Readable

Found = TypeVar("Found")
_HEAD = 1 << 18  # bytes of a segment in which its first time stamp is looked for
_KNOWN = 500  # segments whose dates are remembered
_MOMENTS = 5000  # moments, the newest; a day of segments that each drift has 14,400
_LARGEST = 1e15  # of a number in a playlist; whatever is larger is none
_WAITING = 20  # segments that were opened and not yet seen
_EARLY = 0.5  # seconds by which a segment may begin before the end of what was seen so far
_MAPS = 50  # initialisation segments that are remembered
_SAME = 0.02  # seconds by which a date may differ from where the one before leads: rounding
_LONGEST = 1 << 22  # bytes of a playlist that is looked at
_URI = re.compile(r'URI="([^"]+)"')
_PACKET, _SYNC = 188, 0x47
_TICKS = 90_000
_WRAP = 2**33 / _TICKS  # seconds
_ABOUT = 2.0  # seconds by which the first time stamps of picture and sound may differ
_VIDEO, _AUDIO = range(0xE0, 0xF0), (*range(0xC0, 0xE0), 0xBD)  # stream IDs of PES


@dataclass(frozen=True)
class _Segment:
    """A segment that a playlist lists.

    Attributes:
        url: its address.
        date: as seconds since 1970, if it has one.
        map: address of its initialisation segment; "" where it has none.
        breaks: a discontinuity comes before it.
    """

    url: str
    date: float | None
    map: str = ""
    breaks: bool = False


@dataclass(frozen=True)
class _Begun:
    """A segment that was opened.

    Attributes:
        stamp: its first time stamp, in seconds.
        date: as seconds since 1970, if it has one.
        after: seconds of presentation that were seen when it was opened; None: not known yet.
    """

    stamp: float
    date: float | None
    after: float | None = None


class ProgramTime:
    """The dates of one stream, over all of its connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # segments by playlist and number: an address may come again and again
        self._known: OrderedDict[tuple[str, int], _Segment] = OrderedDict()
        self._tracks: OrderedDict[str, dict[int, fragments.Track]] = OrderedDict()  # by map
        self._opened: dict[str, int] = {}  # number of the last segment, by playlist
        self._waiting: deque[_Begun] = deque(maxlen=_WAITING)
        self._moments: deque[tuple[float, float | None]] = deque(maxlen=_MOMENTS)
        self._reached = float("-inf")
        self._any = False
        self._announced: deque[float] = deque(maxlen=_WAITING)  # time stamps, in seconds

    def listed(self, url: str, lines: list[str]) -> None:
        """A media playlist was fetched.

        Args:
            url: its address.
            lines: stripped.
        """
        with self._lock:
            dates = _dates(url, lines, self._known)
            self._any = self._any or any(one.date is not None for one in dates.values())
            for key, segment in dates.items():
                self._known[key] = segment
                self._known.move_to_end(key)
            while len(self._known) > max(_KNOWN, len(dates)):
                self._known.popitem(last=False)

    def passing(self, url: str, file: Readable) -> Readable:
        """The same file, which is looked at as it is read: a playlist, or a segment with a date."""
        if is_playlist(url):
            return _Listed(file, lambda body: self._listed(url, body))
        with self._lock:
            # FFmpeg asks for a map before the segment that needs it
            if any(one.map == url for one in self._known.values()):
                return _Headed(
                    file,
                    lambda data, _: fragments.tracks(data) or None,
                    lambda found: self._mapped(url, found),
                )
            known = any(
                one.url == url and (self._any or one.breaks) for one in self._known.values()
            )
        return _Headed(file, self._stamp(url), lambda s: self._began(url, s)) if known else file

    def restart(self) -> None:
        """The stream is connected anew: its presentation begins at zero again."""
        with self._lock:
            self._waiting.clear()
            self._moments.clear()
            self._opened.clear()
            self._reached = float("-inf")

    def reach(self, presentation: Callable[[float], float], end: float) -> None:
        """The stream was seen up to a moment.

        Args:
            presentation: gives the time of presentation of a time stamp, by the newest clock.
            end: seconds of presentation.
        """
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
            for one in waiting:
                time = presentation(one.stamp)
                after = self._reached if one.after is None else one.after
                # a segment comes after all that was seen when it was opened; where it does not,
                # its clock is one that has not begun yet
                if after - _EARLY <= time <= end:
                    self._add(time, one.date)
                else:
                    self._waiting.append(replace(one, after=after))
            self._reached = end

    def at(self, time: float) -> datetime | None:
        """The date of a moment of presentation; None where the stream does not say."""
        with self._lock:
            if not self._moments:
                return None
            before = [moment for moment in self._moments if moment[0] <= time + 1e-6]
            start, date = max(before, default=self._moments[0], key=lambda moment: moment[0])
        return None if date is None else _date(date + time - start)

    def announces(self, stamp: float) -> bool:
        """Whether a playlist said that time stamps go on anew about there, in seconds."""
        with self._lock:
            away = [(stamp - one + _WRAP / 2) % _WRAP - _WRAP / 2 for one in self._announced]
        return any(abs(one) < _ABOUT for one in away)

    def moments(self) -> list[tuple[float, datetime | None]]:
        """Where the dates of the presentation begin, and where they change: seconds and date."""
        with self._lock:
            known = list(self._moments)
        return [(max(time, 0.0), None if date is None else _date(date)) for time, date in known]

    def _add(self, time: float, date: float | None) -> None:
        """Keep what says something new."""
        start, before = self._moments[-1] if self._moments else (time, None)
        if date is None and before is None:
            return
        follows = date is not None and before is not None and time >= start
        if follows and abs((before or 0.0) + time - start - (date or 0.0)) <= _SAME:
            return
        self._moments.append((time, date))

    def _mapped(self, url: str, tracks: dict[int, fragments.Track]) -> None:
        with self._lock:
            self._tracks[url] = tracks
            while len(self._tracks) > _MAPS:
                self._tracks.popitem(last=False)

    def _stamp(self, url: str) -> Callable[[bytes, bool], float | None]:
        """What finds the first time stamp in the beginning of a segment."""

        def found(data: bytes, whole: bool) -> float | None:
            if not fragments.is_fragment(data):
                return first_stamp(data, whole=whole)
            with self._lock:
                segment = self._next(url)
                known = self._tracks.get(segment[1].map, {}) if segment else {}
            return fragments.first_time(data, known)

        return found

    def _next(self, url: str) -> tuple[tuple[str, int], _Segment] | None:
        """The segment that an address stands for when it is asked for now."""
        own = [key for key, one in self._known.items() if one.url == url]
        if not own:
            return None
        key = next((k for k in own if k[1] > self._opened.get(k[0], -1)), own[-1])
        return key, self._known[key]

    def _listed(self, url: str, body: bytes) -> None:
        lines = [line.strip() for line in body.decode("utf-8", "replace").splitlines()]
        if any(line.startswith("#EXT-X-TARGETDURATION:") for line in lines):
            self.listed(url, lines)

    def _began(self, url: str, stamp: float) -> None:
        with self._lock:
            segment = self._next(url)
            if segment is not None:
                (playlist, number), one = segment
                self._opened[playlist] = number
                self._waiting.append(_Begun(stamp, one.date))
                if one.breaks:
                    self._announced.append(stamp)


def _dates(
    url: str, lines: list[str], known: Mapping[tuple[str, int], _Segment]
) -> dict[tuple[str, int], _Segment]:
    """The segments of a playlist, by its address and their number."""
    # address, map, seconds, discontinuities before it
    listed: list[tuple[str, str, float, int]] = []
    dates: list[float | None] = []
    date: float | None = None
    mapped = ""
    seconds, runs, first = 0.0, 0, 0
    broken = False
    breaks: list[bool] = []
    dated = False  # a date was listed; after it, what was known before may be of another run
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-PROGRAM-DATE-TIME":
            date = _parsed(value)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            first = int(_number(value))
        elif tag == "#EXT-X-MAP":
            name = _URI.search(value)
            mapped = urljoin(url, name[1]) if name else ""
        elif tag == "#EXT-X-DISCONTINUITY":
            runs += 1
            broken = True
        elif tag == "#EXTINF":
            seconds = _number(value.partition(",")[0])
        elif line and not line.startswith("#"):
            # a window that moves on leaves dates behind that later segments still rest on
            address = urljoin(url, line)
            before = known.get((url, first + len(listed)))
            dated = dated or date is not None
            same = before is not None and before.url == address
            if date is None and before is not None and same and not dated:
                date = before.date
            dates.append(date)
            listed.append((address, mapped, seconds, runs))
            # the tag leaves the window before its segment, or with it
            breaks.append(broken or (before is not None and same and before.breaks))
            date, seconds, broken = None, 0.0, False
    for n in range(1, len(listed)):
        last = dates[n - 1]
        if dates[n] is None and last is not None and listed[n][3] == listed[n - 1][3]:
            dates[n] = last + listed[n - 1][2]
    for n in range(len(listed) - 2, -1, -1):
        after = dates[n + 1]
        if dates[n] is None and after is not None and listed[n][3] == listed[n + 1][3]:
            dates[n] = after - listed[n][2]
    return {
        (url, first + n): _Segment(one[0], date, one[1], broke)
        for n, (one, date, broke) in enumerate(zip(listed, dates, breaks, strict=True))
    }


def _parsed(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text.strip())
        # RFC 8216 wants a time zone; without one it is taken as UTC
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if abs(value) < _LARGEST else 0.0  # nor is what is no number


def _date(seconds: float) -> datetime | None:
    """A moment since 1970; None where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def first_stamp(data: bytes, *, whole: bool) -> float | None:
    """The first PTS of an MPEG transport stream, in seconds: that of video where there is one.

    Args:
        data: its beginning.
        whole: nothing more is looked at, so the first PTS of sound will do.
    """
    sound: float | None = None
    for at in range(0, len(data) - _PACKET + 1, _PACKET):
        packet = data[at : at + _PACKET]
        if packet[0] != _SYNC:
            return None
        if not packet[1] & 0x40:  # no PES begins in it
            continue
        start = 4 + (packet[4] + 1 if packet[3] & 0x20 else 0)  # after the adaptation field
        pes = packet[start:]
        if len(pes) < 14 or pes[:3] != b"\0\0\1" or not pes[7] & 0x80:
            continue
        p = pes[9:14]
        stamp = (
            (p[0] >> 1 & 7) << 30 | p[1] << 22 | (p[2] >> 1) << 15 | p[3] << 7 | p[4] >> 1
        ) / _TICKS
        if pes[3] in _VIDEO:
            return stamp
        if pes[3] in _AUDIO and sound is None:
            sound = stamp
    return sound if whole else None


def is_playlist(url: str) -> bool:
    """Whether an address is one of an HLS playlist, by its name."""
    return url.partition("?")[0].partition("#")[0].lower().endswith((".m3u8", ".m3u"))


class _Passing(ABC):
    """A file that is looked at as it is read from its beginning."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.name: str = getattr(file, "name", "")  # by which FFmpeg knows the format
        self._seen: bytes | None = b""  # so far; None: nothing more is looked at
        self._at = 0  # where the next read begins

    @abstractmethod
    def look(self, seen: bytes, *, at_end: bool) -> bool:
        """Look at all that was read so far; returns whether that is enough."""

    def read(self, size: int, /) -> bytes:
        """As the file."""
        data = self._file.read(size)
        if self._seen is not None and self._at != len(self._seen):
            self._seen = None  # it is read from another place
        self._at += len(data)
        if self._seen is not None:
            self._seen += data
            if self.look(self._seen, at_end=not data):
                self._seen = None
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As the file. FFmpeg goes to the end and back to learn how long it is."""
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        """As the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """As the file."""
        return self._file.seekable()

    def close(self) -> None:
        """As the file."""
        self._file.close()


class _Headed(_Passing, Generic[Found]):
    """A segment or a map; what is looked for at its beginning is told.

    Args:
        file: that passes by.
        find: is given all that was read so far and whether nothing more is looked at.
        told: is given what it found.
    """

    def __init__(
        self,
        file: Readable,
        find: Callable[[bytes, bool], Found | None],
        told: Callable[[Found], None],
    ) -> None:
        super().__init__(file)
        self._find, self._told = find, told

    def look(self, seen: bytes, *, at_end: bool) -> bool:
        """See _Passing."""
        whole = at_end or len(seen) >= _HEAD
        found = self._find(seen, whole)
        if found is not None:
            self._told(found)
        return whole or found is not None


class _Listed(_Passing):
    """A playlist, which is told when all of it has been read."""

    def __init__(self, file: Readable, told: Callable[[bytes], None]) -> None:
        super().__init__(file)
        self._told = told

    def look(self, seen: bytes, *, at_end: bool) -> bool:
        """See _Passing."""
        if at_end:
            self._told(seen)
        return at_end or len(seen) > _LONGEST
