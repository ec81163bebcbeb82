"""Streams in quarantine: what is told of them while nobody watches them."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.live.event import Event
from pipeline.live.streams import Stream
from pipeline.live.tracker import Tracker
from pipeline.types import Kind


class Quarantined:
    """A stream in quarantine: an outage that lasts.

    Args:
        stream: it.
        standing: its events that are open.
        now: since when, where none of them says.
    """

    def __init__(self, stream: Stream, standing: Iterable[Event], now: float) -> None:
        outages = [event for event in standing if event.kind == Kind.OUTAGE]
        self._since = outages[0].start.timestamp() if outages else now
        self._tracker = Tracker(stream.name, stream.labels, resumed=outages)

    def lasts(self, now: float) -> list[Event]:
        """What is to be told of it."""
        said = "it is not watched until somebody pardons it"
        return self._tracker.note(Kind.OUTAGE, self._since, now, 1.0, said)
