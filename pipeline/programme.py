"""Programme time: when a moment of an HLS stream was made, as its playlists say.

`#EXT-X-PROGRAM-DATE-TIME` gives the first sample of a segment a date (RFC 8216, 4.3.2.6); segments
without one follow their neighbours by their lengths, but not over a discontinuity. FFmpeg does not
pass these dates on. So the first time stamp of each segment is read as its bytes go by, and the
presentation clock says where in the stream it is.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    from pipeline.reach import Readable

_HEAD = 1 << 18  # bytes of a segment in which its first time stamp is looked for
_KNOWN = 500  # segments whose dates are remembered
_MOMENTS = 5000  # moments, the newest; a day of segments that each drift has 14,400
_LARGEST = 1e15  # of a number in a playlist; whatever is larger is none
_WAITING = 20  # segments that were opened and not yet seen
_EARLY = 0.5  # seconds by which a segment may begin before the end of what was seen so far
_SAME = 0.02  # seconds by which a date may differ from where the one before leads: rounding
_LONGEST = 1 << 22  # bytes of a playlist that is looked at
_PACKET, _SYNC = 188, 0x47
_TICKS = 90_000
_VIDEO, _AUDIO = range(0xE0, 0xF0), (*range(0xC0, 0xE0), 0xBD)  # stream IDs of PES


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
        # address and date of segments, by playlist and number: an address may come again and again
        self._known: OrderedDict[tuple[str, int], tuple[str, float | None]] = OrderedDict()
        self._opened: dict[str, int] = {}  # number of the last segment, by playlist
        self._waiting: deque[_Begun] = deque(maxlen=_WAITING)
        self._moments: deque[tuple[float, float | None]] = deque(maxlen=_MOMENTS)
        self._reached = float("-inf")
        self._any = False

    def listed(self, url: str, lines: list[str]) -> None:
        """A media playlist was fetched.

        Args:
            url: its address.
            lines: stripped.
        """
        with self._lock:
            dates = _dates(url, lines, self._known)
            self._any = self._any or any(date is not None for _, date in dates.values())
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
            known = self._any and any(one == url for one, _ in self._known.values())
        return _Headed(file, lambda stamp: self._began(url, stamp)) if known else file

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

    def _listed(self, url: str, body: bytes) -> None:
        lines = [line.strip() for line in body.decode("utf-8", "replace").splitlines()]
        if any(line.startswith("#EXT-X-TARGETDURATION:") for line in lines):
            self.listed(url, lines)

    def _began(self, url: str, stamp: float) -> None:
        with self._lock:
            own = [key for key, (one, _) in self._known.items() if one == url]
            if own:
                key = next((k for k in own if k[1] > self._opened.get(k[0], -1)), own[-1])
                self._opened[key[0]] = key[1]
                self._waiting.append(_Begun(stamp, self._known[key][1]))


def _dates(
    url: str, lines: list[str], known: Mapping[tuple[str, int], tuple[str, float | None]]
) -> dict[tuple[str, int], tuple[str, float | None]]:
    """Addresses of the segments of a playlist, and their dates as seconds since 1970."""
    listed: list[tuple[str, float, int]] = []  # address, seconds, discontinuities before it
    dates: list[float | None] = []
    date: float | None = None
    seconds, runs, first = 0.0, 0, 0
    dated = False  # a date was listed; after it, what was known before may be of another run
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-PROGRAM-DATE-TIME":
            date = _parsed(value)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            first = int(_number(value))
        elif tag == "#EXT-X-DISCONTINUITY":
            runs += 1
        elif tag == "#EXTINF":
            seconds = _number(value.partition(",")[0])
        elif line and not line.startswith("#"):
            # a window that moves on leaves dates behind that later segments still rest on
            address = urljoin(url, line)
            same, before = known.get((url, first + len(listed)), ("", None))
            dated = dated or date is not None
            if date is None and same == address and not dated:
                date = before
            dates.append(date)
            listed.append((address, seconds, runs))
            date, seconds = None, 0.0
    for n in range(1, len(listed)):
        last = dates[n - 1]
        if dates[n] is None and last is not None and listed[n][2] == listed[n - 1][2]:
            dates[n] = last + listed[n - 1][1]
    for n in range(len(listed) - 2, -1, -1):
        after = dates[n + 1]
        if dates[n] is None and after is not None and listed[n][2] == listed[n + 1][2]:
            dates[n] = after - listed[n][1]
    return {
        (url, first + n): (one, date)
        for n, ((one, *_), date) in enumerate(zip(listed, dates, strict=True))
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

    @abstractmethod
    def look(self, seen: bytes, *, at_end: bool) -> bool:
        """Look at all that was read so far; returns whether that is enough."""

    def read(self, size: int, /) -> bytes:
        """As the file."""
        data = self._file.read(size)
        if self._seen is not None:
            self._seen += data
            if self.look(self._seen, at_end=not data):
                self._seen = None
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As the file; what is read from another place is not its beginning."""
        if (offset, whence) != (0, 0) and whence in (0, 1, 2):
            self._seen = None
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """As the file."""
        return self._file.seekable()

    def close(self) -> None:
        """As the file."""
        self._file.close()


class _Headed(_Passing):
    """A segment, whose first time stamp is told."""

    def __init__(self, file: Readable, told: Callable[[float], None]) -> None:
        super().__init__(file)
        self._told = told

    def look(self, seen: bytes, *, at_end: bool) -> bool:
        """See _Passing."""
        whole = at_end or len(seen) >= _HEAD
        stamp = first_stamp(seen, whole=whole)
        if stamp is not None:
            self._told(stamp)
        return whole or stamp is not None


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
