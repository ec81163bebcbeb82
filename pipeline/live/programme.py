"""Programme time: when a moment of a live HLS stream was made, as its playlists say.

`#EXT-X-PROGRAM-DATE-TIME` gives the first sample of a segment a date (RFC 8216, 4.3.2.6); segments
without one follow their neighbours by their lengths, but not over a discontinuity. FFmpeg does not
pass these dates on. So the first time stamp of each segment is read as its bytes go by, and the
presentation clock says where in the stream it is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urljoin

from pipeline.reach import Readable

_HEAD = 1 << 18  # bytes of a segment in which its first time stamp is looked for
_KNOWN = 500  # segments whose dates are remembered, and moments
_WAITING = 20  # segments that were opened and not yet seen
_EARLY = 0.5  # seconds by which a segment may begin before the end of what was seen so far
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
        self._dates: OrderedDict[str, float | None] = OrderedDict()  # by address of the segment
        self._waiting: deque[_Begun] = deque(maxlen=_WAITING)
        self._moments: deque[tuple[float, float | None]] = deque(maxlen=_KNOWN)
        self._reached = float("-inf")
        self._any = False

    def listed(self, url: str, lines: list[str]) -> None:
        """A media playlist was fetched.

        Args:
            url: its address.
            lines: stripped.
        """
        with self._lock:
            dates = _dates(url, lines, self._dates)
            self._any = self._any or any(date is not None for date in dates.values())
            for one, date in dates.items():
                self._dates[one] = date
                self._dates.move_to_end(one)
            while len(self._dates) > max(_KNOWN, len(dates)):
                self._dates.popitem(last=False)

    def seen(self, url: str, file: Readable) -> Readable:
        """The same file, whose first bytes are looked at where it is a segment that has a date."""
        with self._lock:
            known = url in self._dates and self._any
        return _Headed(file, lambda stamp: self._began(url, stamp)) if known else file

    def restart(self) -> None:
        """The stream is connected anew: its presentation begins at zero again."""
        with self._lock:
            self._waiting.clear()
            self._moments.clear()
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
                    self._moments.append((time, one.date))
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
        return None if date is None else datetime.fromtimestamp(date + time - start, UTC)

    def _began(self, url: str, stamp: float) -> None:
        with self._lock:
            self._waiting.append(_Begun(stamp, self._dates.get(url)))


def _dates(
    url: str, lines: list[str], known: OrderedDict[str, float | None]
) -> dict[str, float | None]:
    """Dates of the segments of a playlist, as seconds since 1970."""
    listed: list[tuple[str, float, float | None, int]] = []  # address, seconds, date, run
    date: float | None = None
    seconds, run = 0.0, 0
    for line in lines:
        if line.startswith("#EXT-X-PROGRAM-DATE-TIME:"):
            date = _parsed(line.partition(":")[2])
        elif line.startswith("#EXT-X-DISCONTINUITY") and "SEQUENCE" not in line:
            run += 1
        elif line.startswith("#EXTINF:"):
            seconds = _number(line.partition(":")[2].partition(",")[0])
        elif line and not line.startswith("#"):
            one = urljoin(url, line)
            # a window that moves on leaves dates behind that later segments still rest on
            listed.append((one, seconds, date if date is not None else known.get(one), run))
            date, seconds = None, 0.0
    dates = [date for _, _, date, _ in listed]
    for n in range(1, len(listed)):
        before = dates[n - 1]
        if dates[n] is None and before is not None and listed[n][3] == listed[n - 1][3]:
            dates[n] = before + listed[n - 1][1]
    for n in range(len(listed) - 2, -1, -1):
        after = dates[n + 1]
        if dates[n] is None and after is not None and listed[n][3] == listed[n + 1][3]:
            dates[n] = after - listed[n][1]
    return {one: date for (one, *_), date in zip(listed, dates, strict=True)}


def _parsed(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    # RFC 8216 wants a time zone; without one it is taken as UTC
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


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


class _Headed:
    """A file whose first time stamp is told as soon as it has been read."""

    def __init__(self, file: Readable, told: Callable[[float], None]) -> None:
        self._file, self._told = file, told
        self._head: bytes | None = b""

    def read(self, size: int, /) -> bytes:
        """As the file."""
        data = self._file.read(size)
        if self._head is not None:
            self._head += data
            whole = not data or len(self._head) >= _HEAD
            stamp = first_stamp(self._head, whole=whole)
            if stamp is not None:
                self._told(stamp)
            if stamp is not None or whole:
                self._head = None
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As the file; what is read from another place is not its beginning."""
        if (offset, whence) != (0, 0) and whence in (0, 1, 2):
            self._head = None
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
