"""From observations, finished and standing, to events that open, change and close."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.clock import WRAP
from pipeline.live.event import Change, Event
from pipeline.measurements import Observation
from pipeline.panel import Found
from pipeline.types import Kind

TOUCHING = 0.5  # seconds between intervals that are of one defect
REMEMBERED = 120.0  # seconds for which a closed event is known again
UPDATE_EVERY = 10.0  # seconds between updates that say nothing but that it lasts
WORSE = 0.1  # of severity, that is worth an update of its own
PATIENCE = 6  # rounds, of half a second, that an open event may be missing: then it is withdrawn
RESUMED = 10.0  # seconds after a move in which an open event must be seen again
AT_ONCE = 2.0  # seconds of the new watch in which what went on unseen must have begun
AWAY = 30.0  # seconds unwatched after which nothing of before is taken to go on (proposed)
REPLAYED = 0.25  # seconds by which two watchers may differ on where something lay that was over
# Seconds by which two watchers may differ on when the same thing began: by timestamps no more than
# what they have seen of it makes; by the clock of the wall, where the timestamps began anew, more:
# each dates a stream by when its segments come (1.7 to 7 s apart with HLS segments of 2 s,
# bench.nodes). How far apart timestamps may be is proposed.
STAMPS = 1.0
CLOCKS = 5.0
LATE = 1.0  # seconds by which a date may be late and stay as it was told (proposed)
ANEW = 12.0  # seconds between both differences from which on the timestamps began anew
_WATCHER = "live/1"  # what the watcher says itself


Programme = Callable[[float], datetime | None]
Stamps = Callable[[float], float | None]


def _unknown(_: float) -> None:
    """Of a stream that gives no dates, or no timestamps."""


@dataclass
class _Known:
    event: Event
    told: float  # when, on the clock of the wall
    # that its start is dated by, in the presentation of this connection; None: not known
    anchor: float | None = None
    missing: int = 0  # rounds
    # where it lies, seconds of presentation of this connection; None: not seen in it
    span: tuple[float, float] | None = None

    @property
    def resumed(self) -> bool:
        """Whether it is from before a gap, and was not seen since."""
        return self.span is None and self.event.detector != _WATCHER

    def redate(self, anchor: float) -> None:
        """Move to where this anchor puts it, if that is clearly earlier.

        Media come early never, and late where they are old, or where a busy machine took an outage
        of its own for one of the stream.
        """
        if self.anchor is not None and anchor < self.anchor - LATE:
            by = timedelta(seconds=anchor - self.anchor)
            moved = {"start": self.event.start + by, "end": self.event.end + by}
            self.event, self.anchor = self.event.model_copy(update=moved), anchor


class Tracker:
    """The events of one stream.

    Args:
        stream: its name.
        labels: its labels.
        least: per kind, the confidence below which nothing is said.
        resumed: events that were open when somebody else stopped watching, and those that had been
            over for less than REMEMBERED: a playlist may show them once more.
    """

    def __init__(
        self,
        stream: str,
        labels: Mapping[str, str],
        least: Mapping[Kind, float] | None = None,
        resumed: Iterable[Event] = (),
    ) -> None:
        self._stream, self._labels = stream, dict(labels)
        self._least = dict(least or {})
        known = [_Known(event, 0.0) for event in resumed]
        self._open = [one for one in known if one.event.change != "closed"]
        self._closed = [one for one in known if one.event.change == "closed"]
        self._programme: Programme = _unknown
        self._pts: Stamps = _unknown
        self._again: float | None = None  # since when the stream is seen by this tracker

    @property
    def standing(self) -> list[Event]:
        """What is open."""
        return [one.event for one in self._open]

    def update(
        self,
        finished: Iterable[Found],
        standing: Iterable[Found],
        anchor: float,
        now: float,
        programme: Programme | None = None,
        pts: Stamps | None = None,
    ) -> list[Event]:
        """Take what detectors say.

        Args:
            finished: observations that have ended.
            standing: observations as they would be if the stream ended here.
            anchor: the wall clock at presentation zero, as seconds since 1970.
            now: the wall clock.
            programme: gives the date of a moment of presentation, where the stream says.
            pts: gives its timestamp in the stream.

        Returns:
            What is to be told.
        """
        self._programme, self._pts = programme or _unknown, pts or _unknown
        for one in self._open + self._closed:
            one.redate(anchor)
        told: list[Event] = []
        seen: set[int] = set()
        for found in finished:
            told += self._take(found, anchor, now, seen, ended=True)
        for found in standing:
            told += self._take(found, anchor, now, seen, ended=False)
        told += self._missing(seen, now)
        self._closed = [c for c in self._closed if c.event.end.timestamp() > now - REMEMBERED]
        return told

    def note(self, kind: Kind, start: float, end: float, severity: float, said: str) -> list[Event]:
        """Open, or prolong, what the watcher itself sees of the input, for instance an outage."""
        observation = Observation(kind, start, end, severity, 1.0, said, {"seconds": end - start})
        return self._take((_WATCHER, None, observation), 0.0, end, set(), ended=False)

    def settle(self, kind: Kind, end: float) -> list[Event]:
        """Close what `note` opened, if anything is open."""
        told = []
        for one in [
            o for o in self._open if _key(o.event) == (kind, None, _WATCHER.partition("/")[0])
        ]:
            at = max(_at(end), one.event.start)
            seconds = (at - one.event.start).total_seconds()
            evidence = {"seconds": round(seconds, 3)}
            told.append(self._close(one, end=at, outcome="ended", evidence=evidence))
        return told

    def interrupt(self) -> None:
        """The connection is gone: what is open may go on where the next one begins."""
        for one in self._open + self._closed:
            one.span, one.anchor, one.missing = None, None, 0
        self._again = None

    def abandon(self) -> list[Event]:
        """The stream stays away: what was open then is closed where it was last seen."""
        return [self._close(one, outcome="lost") for one in list(self._open) if one.resumed]

    def resume(self, now: float) -> None:
        """The stream is seen: events that were resumed must show themselves soon."""
        if self._again is None:
            self._again = now

    def _take(
        self, found: Found, anchor: float, now: float, seen: set[int], *, ended: bool
    ) -> list[Event]:
        detector, track, saw = found
        if saw.confidence < self._least.get(saw.kind, 0.0):
            return []
        start, end = anchor + saw.start, max(anchor + saw.end, anchor + saw.start)
        key = (saw.kind, track, detector.partition("/")[0])
        # what was withdrawn and is seen again is told again
        kept = [c for c in self._closed if c.event.outcome != "withdrawn" and _key(c.event) == key]
        over = [c for c in kept if self._was(c, saw, start, end)]
        if any(one.span is None for one in over):
            return []  # of before: a playlist shows it once more
        for one in self._open:
            event = one.event
            if _key(event) == key and self._goes_on(one, saw, start):
                seen.add(id(one))
                if one.anchor is None:
                    one.anchor = self._dated_by(event, saw, start)
                    one.redate(anchor)
                one.span = saw.start, saw.end
                return self._refresh(one, saw, detector, end, now, ended=ended)
        if over:
            return []  # the same, seen once more by the panel that took over
        event = self._event("opened", detector, track, saw, start, end, now)
        one = _Known(event, now, anchor, span=(saw.start, saw.end))
        self._open.append(one)
        seen.add(id(one))
        return [event, self._close(one, outcome="ended")] if ended else [event]

    def _was(self, one: _Known, saw: Observation, start: float, end: float) -> bool:
        """Whether what is seen is, for the most part, an event that is over."""
        event = one.event
        if one.span is not None:
            return _covers(*one.span, saw.start, saw.end, TOUCHING)
        first, last = event.start.timestamp(), event.end.timestamp()
        apart = self._apart(event, saw.start, start)
        if apart is None:
            return _covers(first, last, start, end, TOUCHING)
        return _covers(0.0, last - first, apart, apart + saw.end - saw.start, REPLAYED)

    def _goes_on(self, one: _Known, saw: Observation, start: float) -> bool:
        """Whether what is seen is the open event, or its continuation."""
        event = one.event
        if event.detector == _WATCHER:
            return True
        if one.span is not None:
            first, last = one.span
            return saw.start <= last + TOUCHING and saw.end >= first - TOUCHING
        # it is the same if a playlist still had its beginning; what was not seen went on if it was
        # there at once, and soon: the end that is known is up to UPDATE_EVERY old
        apart = self._apart(event, saw.start, start)
        if apart is None:
            same = abs(start - event.start.timestamp()) <= CLOCKS
        else:
            same = abs(apart) <= STAMPS
        earlier = apart is not None and apart + saw.end - saw.start < 0.0
        gap = start - event.end.timestamp()
        return same or (saw.start <= AT_ONCE and gap <= AWAY + UPDATE_EVERY and not earlier)

    def _dated_by(self, event: Event, saw: Observation, start: float) -> float | None:
        """The anchor that would date an event of before as it is, where its PTS tell."""
        apart = self._apart(event, saw.start, start)
        return None if apart is None else event.start.timestamp() - (saw.start - apart)

    def _apart(self, event: Event, presented: float, start: float) -> float | None:
        """Seconds of the stream from the start of an event to a moment of presentation.

        None where timestamps do not say: there are none, or they began anew.
        """
        pts = self._pts(presented)
        if pts is None or event.pts is None:
            return None
        apart = (pts - event.pts + WRAP / 2) % WRAP - WRAP / 2
        return apart if abs(apart - (start - event.start.timestamp())) < ANEW else None

    def _refresh(
        self, one: _Known, saw: Observation, detector: str, end: float, now: float, *, ended: bool
    ) -> list[Event]:
        one.missing = 0
        before = one.event
        now_known = {
            "end": max(_at(end), before.start) if ended else max(_at(end), before.end),
            "severity": _share(saw.severity),
            "confidence": _share(saw.confidence),
            "summary": saw.summary,
            "evidence": _rounded(saw.evidence),
            "region": saw.region,
            "detector": detector,
        }
        if one.event.detector != _WATCHER:
            now_known["program_end"] = self._programme(saw.end)
        if ended:
            return [self._close(one, outcome="ended", **now_known)]
        one.event = before.model_copy(update={"change": "updated", **now_known})
        worse = one.event.severity - before.severity >= WORSE
        if not worse and now - one.told < UPDATE_EVERY:
            # what is compared with is what was told last
            one.event = one.event.model_copy(update={"severity": before.severity})
            return []
        one.told = now
        return [one.event]

    def _missing(self, seen: set[int], now: float) -> list[Event]:
        told = []
        for one in list(self._open):
            if id(one) in seen or one.event.detector == _WATCHER:
                continue
            if one.resumed:
                if self._again is not None and now > self._again + RESUMED:
                    told.append(self._close(one, outcome="lost"))
                continue
            one.missing += 1
            if one.missing >= PATIENCE:
                told.append(self._close(one, outcome="withdrawn"))
        return told

    def _stamp(self, presented: float) -> float | None:
        pts = self._pts(presented)
        return None if pts is None else round(pts, 3)

    def _close(self, one: _Known, **known: object) -> Event:
        one.event = one.event.model_copy(update={"change": "closed", **known})
        self._open.remove(one)
        self._closed.append(one)
        return one.event

    def _event(
        self,
        change: Change,
        detector: str,
        track: int | None,
        saw: Observation,
        start: float,
        end: float,
        now: float,
    ) -> Event:
        name = detector.partition("/")[0]
        key = f"{self._stream}|{saw.kind}|{track}|{start:.1f}|{name}|{now:.3f}"
        own = detector == _WATCHER  # times of the wall, not of presentation
        return Event(
            id=hashlib.sha256(key.encode()).hexdigest()[:16],
            change=change,
            stream=self._stream,
            labels=self._labels,
            kind=saw.kind,
            start=_at(start),
            end=_at(end),
            position=0.0 if own else round(saw.start, 3),
            pts=None if own else self._stamp(saw.start),
            program_start=None if own else self._programme(saw.start),
            program_end=None if own else self._programme(saw.end),
            severity=_share(saw.severity),
            confidence=_share(saw.confidence),
            track=track,
            region=saw.region,
            evidence=_rounded(saw.evidence),
            summary=saw.summary,
            detector=detector,
        )


def _key(event: Event) -> tuple[Kind, int | None, str]:
    return event.kind, event.track, event.detector.partition("/")[0]


def _covers(first: float, last: float, start: float, end: float, margin: float) -> bool:
    """Whether most of an interval lies in another one, or not further than a margin from it."""
    inside = min(end, last + margin) - max(start, first - margin)
    return inside >= 0 and inside >= (end - start) / 2


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _share(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 4)


def _rounded(evidence: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(number), 6) for name, number in evidence.items()}
