"""What the playlists of a live HLS stream say of its delivery, seen as they are fetched."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from pipeline.errors import SourceError
from pipeline.programme import ProgramTime, is_playlist
from pipeline.reach import Reach, Readable

if TYPE_CHECKING:
    from pipeline.source import Limits

STALE = 1.5  # target durations without anything new: after RFC 8216 6.2.2 and Apple's validator
GRACE = 1.0  # seconds more, for the way
_STANDS_STILL = "the playlist has had nothing new for too long"
_MOST = 1 << 22  # bytes of a playlist
_FORGOTTEN = 3.0  # target durations: a playlist that is not asked for any more says nothing
_REMEMBERED = 600.0  # seconds after which it is not even kept
# Of a segment: by how much each load comes later until it comes soon after a change, and then once
# more, so that a segment that is a little late itself is not missed. Chosen on segments of 2 s.
_LATER, _SPARE = 0.25, 0.1
_USUAL = 1.5  # of a segment, between two loads: longer, and something held them up
_LONGEST_HELD = 12.0  # seconds; FFmpeg asks again after half a target duration
_OVER = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-ENDLIST\n"
_GONE = ("not_found", "not_permitted")  # the second where a store does not let its files be listed


@dataclass
class _Playlist:
    target: float  # seconds
    newest: tuple[str, str]  # media sequence and last segment
    changed: float  # when, on the clock of the wall
    asked: float
    ended: bool
    moved: bool  # it has changed since it was seen first

    @property
    def due(self) -> float:
        """When something new should have been in it."""
        return self.changed + STALE * self.target


class Playlists:
    """Remembers the media playlists of one stream over all of its connections.

    Attributes:
        programme: when its segments were made.
        is_late: whether a connection ends because segments were gone before they were read.
    """

    def __init__(self) -> None:
        self.is_late = False
        self.programme = ProgramTime()
        self._lock = threading.Lock()
        self._known: dict[str, _Playlist] = {}
        self._asked: set[str] = set()  # by this connection

    def connect(self) -> None:
        """A connection begins; the addresses that it is given may be for it alone."""
        self.is_late = False
        with self._lock:
            self._asked.clear()

    def saw(self, url: str, body: bytes, now: float) -> bool:
        """A playlist was fetched; returns whether it has had nothing new for too long."""
        lines = [line.strip() for line in body.decode("utf-8", "replace").splitlines()]
        target = _value(lines, "#EXT-X-TARGETDURATION:")
        if target is None:  # a list of variants
            return False
        segments = [line for line in lines if line and not line.startswith("#")]
        sequence = _value(lines, "#EXT-X-MEDIA-SEQUENCE:") or "0"
        newest = (sequence, segments[-1] if segments else "")
        ended = "#EXT-X-ENDLIST" in lines
        with self._lock:
            self._asked.add(url)
            self._known = {
                name: one for name, one in self._known.items() if now - one.asked < _REMEMBERED
            }
            known = self._known.get(url)
            moves = known is not None and known.newest != newest
            changed = now if known is None or moves else known.changed
            moved = moves or (known is not None and known.moved)
            seen = self._known[url] = _Playlist(
                _seconds(target), newest, changed, now, ended, moved
            )
        return not ended and now > seen.due + GRACE

    @property
    def target(self) -> float:
        """The longest target duration, in seconds; 0 where there is no playlist."""
        with self._lock:
            return max((one.target for one in self._known.values()), default=0.0)

    @property
    def ended(self) -> bool:
        """Whether the stream says that nothing more will come."""
        with self._lock:
            asked = [one for name, one in self._known.items() if name in self._asked]
        return bool(asked) and all(one.ended for one in asked)

    @property
    def moves(self) -> bool:
        """Whether something new was seen in each that is read."""
        with self._lock:
            asked = [one for name, one in self._known.items() if name in self._asked]
        return bool(asked) and all(one.moved or one.ended for one in asked)

    def stale_since(self, now: float) -> float | None:
        """Since when a playlist that is still asked for has had nothing new, if that is too long.

        The moment is when something new was due.
        """
        with self._lock:
            due = [
                one.due
                for one in self._known.values()
                # it must have been asked for in vain: we may be what is slow
                if not one.ended
                and one.asked > one.due + GRACE
                and now - one.asked < _FORGOTTEN * one.target + GRACE
            ]
        return min(due, default=None)


@dataclass
class _Listed:
    """A media playlist as it was loaded, and how far its segments were asked for.

    Attributes:
        url: its address.
        first: number of its first segment.
        names: of its segments.
        lengths: likewise, in seconds.
        target: duration, in seconds.
        ended: whether nothing more will come.
        began: of the load, on the monotonic clock.
        lines: of its text.
        read: the highest number that was asked for, over all loads; None: of nothing yet.
    """

    url: str
    first: int
    names: list[str]
    lengths: list[float]
    target: float
    ended: bool
    began: float
    lines: list[str]
    read: int | None = None

    @classmethod
    def of(cls, url: str, body: bytes, began: float, before: _Listed | None) -> _Listed | None:
        """What was loaded; None where it has no segments, or nobody sees which are read."""
        # names may be bytes that are no text: they are handed on as they came
        lines = body.decode("utf-8", "surrogateescape").replace("\r", "").split("\n")
        timed = [line.removeprefix("#EXTINF:") for line in lines if line.startswith("#EXTINF:")]
        names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        target = _value(lines, "#EXT-X-TARGETDURATION:")
        if target is None or not timed or not names:
            return None
        if len(set(names)) < len(names):  # ranges of one file
            return None
        try:
            first = int(_value(lines, "#EXT-X-MEDIA-SEQUENCE:") or 0)
            urljoin(url, names[-1])
        except ValueError:  # FFmpeg will say what it thinks of these
            return None
        most = _seconds(target) + 0.5  # which lengths are rounded to
        lengths = [min(_seconds(text.partition(",")[0]), most) for text in timed]
        ended = "#EXT-X-ENDLIST" in lines
        now = cls(url, first, names, lengths, _seconds(target), ended, began, lines)
        if before is not None and now.newest >= before.newest:  # or an encoder began anew
            now.read = before.read
        return now

    @property
    def newest(self) -> int:
        """Number of what comes after its last segment."""
        return self.first + len(self.names)

    @property
    def is_read(self) -> bool:
        """Whether its last segment was asked for."""
        return self.read is not None and self.read >= self.newest - 1

    def asked(self, url: str) -> int | None:
        """A segment is asked for; its number, if it is one of these."""
        file = url.rpartition("/")[2]
        for n in range(len(self.names) - 1, -1, -1):
            name = self.names[n]  # joined where that may be the one: a window may be hours long
            if name.rpartition("/")[2] == file and urljoin(self.url, name) == url:
                self.read = max(self.first + n, -1 if self.read is None else self.read)
                return self.first + n
        return None

    def may_be_gone(self, number: int, now: float) -> bool:
        """Whether a segment was asked for so late that a server need not have it any more."""
        before = sum(self.lengths[: number - self.first + 1])
        return now - self.began > before + self.target

    def lost(self, before: _Listed) -> bool:
        """Whether segments left the playlist unread because whoever reads it was late.

        Where an encoder leaps, more segments are new than there was time for.
        """
        if before.read is None or self.first <= before.read + 1:
            return False
        new = (self.newest - before.newest) * sum(self.lengths) / len(self.lengths)
        return new <= self.began - before.began + 2.0 * self.target


@dataclass
class _Pace:
    """When a media playlist is loaded again: after a change no sooner than a segment lasts.

    A client that waits for the length of a segment after each change keeps the lateness with which
    it happened to begin, up to a whole segment. This one waits a quarter longer until it finds two
    segments at once: then it comes about a quarter of a segment after each, and stays there.

    Attributes:
        listed: of the last load.
        body: what FFmpeg was given of it.
        changed: whether that load found something new.
        is_soon: whether loads come soon after changes.
        later: of a segment, that the next load comes later than it may.
    """

    listed: _Listed
    body: bytes
    changed: bool = True
    is_soon: bool = False
    later: float = _LATER

    @classmethod
    def of(cls, listed: _Listed, before: _Pace | None) -> _Pace:
        """After a load."""
        lines = list(listed.lines)
        last = max(n for n, line in enumerate(lines) if line.startswith("#EXTINF:"))
        title = lines[last].partition(",")[2]
        # FFmpeg waits for this long before it asks again: it is to ask early, and be held
        lines[last] = f"#EXTINF:{listed.lengths[-1] / 2:.6f},{title}"
        now = cls(listed, "\n".join(lines).encode("utf-8", "surrogateescape"))
        if before is not None:
            then = before.listed
            now.changed = listed.newest != then.newest
            # more than one are there after a load that came late as well, which says nothing
            late = listed.began - then.began > _USUAL * listed.lengths[-1]
            both = listed.newest == then.newest + 2 and not late
            now.is_soon = both or (before.is_soon and now.changed)
            if now.is_soon:
                now.later = 0.0 if before.is_soon else _SPARE
        return now

    def rest(self, now: float) -> float:
        """Seconds until the next load."""
        if not self.changed:  # FFmpeg has waited for half the target duration
            return 0.0
        listed = self.listed
        return max(listed.began + (1.0 + self.later) * listed.lengths[-1] - now, 0.0)


class LiveReach(Reach):
    """Reaches like any asset's, and lets `playlists` see the playlists that pass.

    A connection does not begin on a playlist that stands still: its segments were seen before. It
    ends where segments were gone before they were read, because whoever reads was late: what FFmpeg
    would leave out is no hole in the stream.
    """

    def __init__(self, uri: str, limits: Limits, playlists: Playlists) -> None:
        super().__init__(uri, limits)
        self._playlists = playlists
        self.programme = playlists.programme  # over all connections
        playlists.connect()
        self._begun: set[str] = set()
        self._paces: dict[str, _Pace | None] = {}
        self._listed: dict[str, _Listed] = {}  # as it was loaded last
        self._overdue = False  # of the segment that is being opened: it may be gone

    def main(self) -> Readable:
        """The stream itself, open.

        Raises:
            SourceError: it cannot be opened, or stands still.
        """
        if is_playlist(self._uri):  # read once beforehand, to be seen
            began = time.monotonic()
            look = super().main()
            try:
                body = _whole(look)
            finally:
                look.close()
            if self._saw(self._name, body):
                raise SourceError("stale_playlist", _STANDS_STILL)
            if (listed := _Listed.of(self._name, body, began, None)) is not None:
                self._listed[self._name] = listed
        return super().main()

    def __call__(self, url: str, flags: int, options: Mapping[str, str]) -> Readable:
        """Open a file that the stream names; an empty one where that is refused or fails."""
        if self._playlists.is_late:
            return io.BytesIO(_OVER if is_playlist(url) else b"")
        if not is_playlist(url):
            return self._segment(url, flags, options)
        pace = self._paces.get(url)
        if pace is not None and (rest := pace.rest(time.monotonic())):
            # there is more to read meanwhile, or nobody should be held for so long
            if not pace.listed.is_read or rest > _LONGEST_HELD:
                return io.BytesIO(pace.body)
            time.sleep(rest)
        began = time.monotonic()
        file = super().__call__(url, flags, options)
        if not is_playlist(url) or isinstance(file, io.BytesIO):
            return file
        try:
            body = _whole(file)
        except SourceError as error:
            self.note(error.reason, error.detail)
            body = b""
        finally:
            file.close()
        if self._saw(url, body):
            self.note("stale_playlist", _STANDS_STILL)
            return io.BytesIO()
        before = self._listed.get(url)
        listed = _Listed.of(url, body, began, before)
        if listed is not None:
            if before is not None and listed.lost(before):
                self._playlists.is_late = True
                return io.BytesIO(_OVER)
            self._listed[url] = listed
        following = None if listed is None or listed.ended else _Pace.of(listed, pace)
        self._paces[url] = following if body else pace  # what failed has told nothing
        return io.BytesIO(body if following is None else following.body)

    def note(self, reason: str, detail: str) -> None:
        """Keep a problem for whoever reads the container, unless it is our own lateness."""
        if self._overdue and reason in _GONE:
            self._playlists.is_late = True
        else:
            super().note(reason, detail)

    def _segment(self, url: str, flags: int, options: Mapping[str, str]) -> Readable:
        now = time.monotonic()
        for listed in self._listed.values():
            number = listed.asked(url)
            if number is not None:
                self._overdue = listed.may_be_gone(number, now)
        try:
            return super().__call__(url, flags, options)
        finally:
            self._overdue = False

    def _saw(self, url: str, body: bytes) -> bool:
        """Whether a playlist that this connection would begin on stands still."""
        stale = bool(body) and self._playlists.saw(url, body, time.time())
        first = url not in self._begun
        self._begun.add(url)
        return stale and first


def _whole(file: Readable) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := file.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > _MOST:
            raise SourceError("input_too_large", f"a playlist is longer than {_MOST} bytes")
    return b"".join(parts)


def _value(lines: list[str], tag: str) -> str | None:
    return next((line.removeprefix(tag) for line in lines if line.startswith(tag)), None)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return 10.0
    return max(seconds, 0.1) if math.isfinite(seconds) else 10.0
