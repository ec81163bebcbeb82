"""One live stream, watched in a thread of its own: connect, decode, measure, judge, again.

What comes out is small: events, the times that were covered, and how the stream is. Whatever goes
wrong with the stream is an event or a state; nothing is raised to whoever watches others.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from pipeline.decode import Decoder
from pipeline.errors import SourceError
from pipeline.hardware import accelerator
from pipeline.live.connect import connected, has_timestamps, is_dash, wait
from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse, Glimpses
from pipeline.live.playlists import STALE, Playlists
from pipeline.live.relay import Relay
from pipeline.live.silence import Silence
from pipeline.live.streams import Stream
from pipeline.live.tracker import AWAY, LATE, TOUCHING, Stamps, Tracker
from pipeline.measurements import Segment
from pipeline.panel import Found, judges_coarseness, judges_steps, lips
from pipeline.segment import Segmenter
from pipeline.settings import Settings
from pipeline.types import Kind, Published

log = logging.getLogger("vidette")

State = Literal["connecting", "watching", "outage", "ended", "stopped"]
JOIN = 0.5  # seconds between intervals of coverage that are one
# Seconds that are judged at a time: what begins one waits for the rest of it, over HLS until the
# next segment of the playlist is there. Whole seconds cost about an eighth less (bench.live).
LENGTH = 0.5
BEHIND = 10.0  # seconds: then what is old is skipped
SETTLED = 0.5  # of its length: a segment that took so long to come was not waiting for us
SETTLING = 3.0  # seconds after which the clock is taken as it is
STEADY = 60.0  # seconds of watching after which a connection counts as a good one
UNSEEN = (Kind.OUTAGE, Kind.STALE_PLAYLIST)  # there is nothing to see meanwhile


class Status(Published):
    """How a stream is."""

    stream: str
    state: State = "connecting"
    detail: str = Field(default="", description="why, where it is not watched")
    since: float = Field(description="of the state, seconds since 1970")
    seen: float | None = Field(default=None, description="how far it was watched, likewise")
    program_time: datetime | None = Field(
        default=None, description="when what was seen last was made, as the stream says (HLS)"
    )
    behind: float = Field(default=0.0, description="seconds that watching is late")
    cost: float | None = Field(default=None, description="CPU seconds per second of stream")
    connections: int = 0
    skipped: float = Field(default=0.0, description="seconds left out because watching was late")
    size: tuple[int, int] | None = None
    luma: float | None = Field(default=None, description="mean code value, now")
    loudness: float | None = Field(default=None, description="short-term, LUFS, now")
    av_offset_ms: float | None = Field(
        default=None, description="sound early against lips; null where no speaker is seen well"
    )
    problems: list[str] = Field(default_factory=list, description="detectors that failed")
    no_hardware: str | None = Field(
        default=None, description="why it is decoded in software although a GPU was asked for"
    )


class Clock:
    """Relates presentation to the wall clock; a first burst of old media does not mislead it."""

    def __init__(self) -> None:
        self._anchor: float | None = None
        self._began = self._last = 0.0
        self.settled = False

    def saw(self, segment: Segment, now: float) -> None:
        """A segment is there."""
        if self._anchor is None:
            self._began, self.settled = now, False
        elif now - self._last >= SETTLED * (segment.end - segment.start):
            self.settled = True
        self.settled = self.settled or now - self._began >= SETTLING
        self._last = now
        latest, before = now - segment.end, self._anchor
        if before is None or latest < before - (LATE if self.settled else 0.0):
            self._anchor = latest

    def restart(self) -> None:
        """The stream comes later from now on."""
        self._anchor = None

    @property
    def anchor(self) -> float:
        """The wall clock at presentation zero."""
        return 0.0 if self._anchor is None else self._anchor


class Watcher:
    """Watches one stream until it is stopped, or the stream says that it is over.

    Args:
        stream: what to watch.
        settings: to judge by.
        tell: is called with each event, in the stream's thread or in that of `tick`.
        cover: is called with each interval that was watched, start and end since 1970.
        show: is called with a small picture now and then, and with one of each event that opens.
        resumed: see Tracker.
    """

    def __init__(
        self,
        stream: Stream,
        settings: Settings,
        tell: Callable[[Event], None],
        cover: Callable[[str, float, float], None],
        show: Callable[[Glimpse], None],
        resumed: Sequence[Event] = (),
    ) -> None:
        self.stream = stream
        self._settings = stream.chosen(settings)
        self._tell, self._cover = tell, cover
        self._tracker = Tracker(stream.name, stream.labels, self._settings.min_confidence, resumed)
        self._glimpses = Glimpses(stream.name, show)
        self._playlists = Playlists()
        self._clock = Clock()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        now = time.time()
        self._status = Status(stream=stream.name, since=now)
        self._held: list[Found] = []  # until the clock is settled
        self._watched: list[tuple[float, float]] = []  # likewise, seconds of presentation
        self._covered = now  # how far
        self._reached = 0.0  # likewise, seconds of presentation of this connection
        self._silence = Silence(now, hidden=is_dash(stream.uri))
        self._behind = False  # so that it is to be connected anew
        self._skipping = False  # since it was, and until something is covered
        self._thread = threading.Thread(target=self._run, name=f"watch {stream.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Do not go on, and tell nothing any more; a read that waits is left to itself."""
        self._stop.set()
        with self._lock:
            self._state("stopped", "")

    def status(self) -> Status:
        """How it is."""
        with self._lock:
            return self._status.model_copy(deep=True)

    def tick(self, now: float) -> None:
        """Look whether the stream has fallen silent; to be called about twice a second."""
        with self._lock:
            if self._stop.is_set() or self._status.state == "ended":
                return
            stale = self._playlists.stale_since(now)
            if stale is not None:
                said = "the playlist has had nothing new for {:.1f} s"
                late = now - stale + STALE * self._playlists.target
                self._note(Kind.STALE_PLAYLIST, stale, now, said.format(late))
            elif self._playlists.moves or not self._playlists.target:  # or it lasts from before us
                self._emit(self._tracker.settle(Kind.STALE_PLAYLIST, now))
            self._silence.look(now)
            quiet = self._silence.lasts(
                opening=self._status.state == "connecting", target=self._playlists.target
            )
            if quiet:
                stuck = "judging what came last does not get on" if self._silence.is_stuck else ""
                why = self._status.detail or stuck or "nothing new comes in"
                self._note(Kind.OUTAGE, now - quiet, now, f"{why} (for {quiet:.0f} s)")
                if self._status.state == "watching":
                    self._state("outage", why)
                if quiet > AWAY:
                    self._emit(self._tracker.abandon())

    # ----------------------------------------------------------------------- in its own thread

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            why = self._connect()
            if self._stop.is_set():
                return
            if self._behind or self._playlists.is_late:
                self._behind, self._skipping = False, True
                continue
            if self._playlists.ended:
                with self._lock:
                    if self._stop.is_set():
                        return
                    for kind in UNSEEN:
                        self._emit(self._tracker.settle(kind, time.time()))
                    self._emit(self._tracker.abandon())  # where nothing of it could be read
                    self._state("ended", "the stream says that it is over")
                return
            self._skipping = False
            failures = 1 if time.monotonic() - began > STEADY else failures + 1
            with self._lock:
                if self._stop.is_set():
                    return
                watched = self._status.connections > 0
                self._state("outage" if watched else "connecting", why)
                if watched:
                    now = time.time()
                    self._silence.look(now)
                    self._note(Kind.OUTAGE, now - self._silence.waited, now, why)
            self._stop.wait(wait(failures, random.random()))  # noqa: S311 - jitter

    def _connect(self) -> str:
        """One connection from beginning to end; returns why it ended."""
        self._playlists.programme.restart()
        hwaccel, obstacle = accelerator(self._settings.device)
        with self._lock:
            self._status.no_hardware = obstacle or None
        try:
            with connected(
                self.stream.uri,
                self._settings.limits,
                self._playlists,
                newest=self._status.connections > 0,
                hwaccel=hwaccel,
            ) as container:
                decoder = Decoder(container, self._settings.threads or 1)
                return self._watch(decoder)
        except SourceError as error:
            return error.detail
        except Exception as error:
            log.exception("watching %s failed", self.stream.name)
            return f"{type(error).__name__}: {error}"

    def _watch(self, decoder: Decoder) -> str:
        asset = decoder.asset()
        relay = Relay(self._settings, asset)
        why = "the input ended"
        pts = decoder.pts if has_timestamps(self.stream.uri) else None
        self._clock.restart()
        self._reached = 0.0
        with self._lock:
            self._status.connections += 1
        cpu = time.thread_time()
        try:
            aspect = asset.video[0].sample_aspect_ratio if asset.video else None
            seen = self._glimpses.passing(self._silence.handing(decoder), aspect or 1.0)
            segmenter = Segmenter(
                lips(self._settings, asset),
                judges_coarseness(self._settings),
                LENGTH,
                steps=judges_steps(self._settings),
            )
            for segment in segmenter.run(seen):
                if self._stop.is_set():
                    return why
                for note in segment.notes:
                    if note.what == "read_error":
                        why = note.detail
                finished, standing = relay.update(segment)
                spent, cpu = time.thread_time() - cpu, time.thread_time()
                with self._lock:
                    if self._stop.is_set():
                        return why
                    self._playlists.programme.reach(decoder.presentation, segment.end)
                    if segment.end > segment.start:
                        self._arrive(segment, spent)
                    self._judge(finished, standing, pts)
                    self._status.av_offset_ms = relay.av_offset_ms()
                    self._status.problems = [problem.detail for problem in relay.problems]
                    if self._behind:
                        return "watching fell behind"
        finally:
            last = relay.finish()
            with self._lock:
                self._clock.settled = True
                if not self._stop.is_set():
                    ended, cut_off = self._parted(last)
                    self._judge(ended, cut_off, pts)
                    self._tracker.interrupt()
                    if self._playlists.ended:
                        self._emit(self._tracker.abandon())
        return why

    def _arrive(self, segment: Segment, spent: float) -> None:
        now, status = time.time(), self._status
        told = self._tracker.settle(Kind.OUTAGE, now)
        if told:
            self._clock.restart()
            self._emit(told)
        self._clock.saw(segment, now)
        self._tracker.resume(now)
        if status.state != "watching":
            self._state("watching", "")
        # segments overlap where one stream leads another
        length = segment.end - max(segment.start, self._reached)
        self._reached = max(self._reached, segment.end)
        if length > 0:
            cost = spent / length
            status.cost = cost if status.cost is None else status.cost + 0.1 * (cost - status.cost)
        self._watched.append((segment.start, segment.end))
        if self._clock.settled:
            status.seen = self._clock.anchor + segment.end
            status.program_time = self._playlists.programme.at(segment.end)
            status.behind = round(max(now - status.seen, 0.0), 3)
            if status.behind > BEHIND:
                self._behind = True
        if segment.picture is not None:
            status.size = (segment.picture.format.width, segment.picture.format.height)
            status.luma = round(float(segment.picture.frames["luma"][-1]), 2)
        for sound in segment.sound[:1]:
            heard = float(sound.short_term[-1])
            status.loudness = round(heard, 2) if heard == heard else None  # noqa: PLR0124 - nan

    def _judge(self, finished: list[Found], standing: list[Found], pts: Stamps | None) -> None:
        self._held += finished
        if not self._clock.settled:
            return
        anchor = self._clock.anchor
        for start, end in self._watched:
            if self._skipping:
                gap = max(anchor + start - self._covered, 0.0)
                self._status.skipped = round(self._status.skipped + gap, 3)
                self._skipping = False
            self._covered = anchor + end
            self._cover(self.stream.name, anchor + start, anchor + end)
        self._watched.clear()
        ended, self._held = self._held, []
        programme = self._playlists.programme.at
        self._emit(self._tracker.update(ended, standing, anchor, time.time(), programme, pts))

    # ------------------------------------------------------------------------------- with the lock

    def _parted(self, last: list[Found]) -> tuple[list[Found], list[Found]]:
        """What a connection had to say at its end: what has ended, and what was open and cut off.

        The latter may go on in the next connection; where the stream is over there is none.
        """
        told = {(event.kind, event.track) for event in self._tracker.standing}
        cut = float("inf") if self._playlists.ended else self._reached - TOUCHING
        parts: tuple[list[Found], list[Found]] = [], []
        for found in last:
            _, track, saw = found
            parts[saw.end >= cut and (saw.kind, track) in told].append(found)
        return parts

    def _note(self, kind: Kind, start: float, now: float, said: str) -> None:
        self._emit(self._tracker.note(kind, start, now, _severity(now - start), said))

    def _emit(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.change == "opened" and event.kind not in UNSEEN:  # its picture is there first
                length = (event.end - event.start).total_seconds()
                self._glimpses.take(event.id, event.position + length / 2)
            self._tell(event)

    def _state(self, state: State, detail: str) -> None:
        if state != self._status.state:
            self._status.since = time.time()
        self._status.state, self._status.detail = state, detail


def _severity(seconds: float) -> float:
    """Of a stream that does not come: ten seconds of it are as bad as it gets."""
    return min(0.5 + seconds / 20.0, 1.0)
