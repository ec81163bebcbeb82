"""Figures of live streams for Prometheus, through the exporter that Ray brings along."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ray.util.metrics import Counter, Gauge

from pipeline.live.event import Event
from pipeline.live.store import Store


class Metrics:
    """What deploy/grafana.json shows.

    Args:
        store: to read from.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states = Gauge("vidette_streams", "Streams by state", ("state",))
        self._up = Gauge("vidette_stream_watched", "1 where a stream is watched", ("stream",))
        self._behind = Gauge(
            "vidette_stream_behind_seconds", "Seconds that watching is late", ("stream",)
        )
        self._cost = Gauge("vidette_stream_cpus", "CPU seconds per second of a stream", ("stream",))
        self._open = Gauge("vidette_open_defects", "Defects that last", ("stream", "kind"))
        self._found = Counter("vidette_defects_total", "Defects that began", ("stream", "kind"))
        self._seconds = Counter(
            "vidette_defect_seconds_total", "Seconds of defects that ended", ("stream", "kind")
        )
        self._shown: set[tuple[str, str]] = set()
        self._named: set[str] = set()  # streams that figures were given of

    def take(self, events: Sequence[Event]) -> None:
        """See Sink."""
        for event in events:
            tags = {"stream": event.stream, "kind": str(event.kind)}
            if event.change == "opened":
                self._found.inc(1.0, tags)
            elif event.change == "closed" and event.outcome != "withdrawn":
                # a counter takes nothing that is not above zero
                self._seconds.inc(max((event.end - event.start).total_seconds(), 1e-3), tags)

    def refresh(self) -> None:
        """Bring the gauges up to date; to be called every few seconds."""
        states: dict[str, int] = {}
        streams = self._store.figures()
        names = {stream.name for stream in streams}
        for name in self._named - names:  # the exporter forgets none
            for gauge in (self._up, self._behind, self._cost):
                gauge.set(math.nan, {"stream": name})
        self._named = names
        for stream in streams:
            states[stream.state] = states.get(stream.state, 0) + 1
            tags = {"stream": stream.name}
            self._up.set(float(stream.state == "watching"), tags)
            for gauge, figure in ((self._behind, stream.behind), (self._cost, stream.cost)):
                if figure is not None:
                    gauge.set(figure, tags)
        for state in ("waiting", "connecting", "watching", "outage", "ended", "quarantined"):
            self._states.set(float(states.get(state, 0)), {"state": state})
        standing: dict[tuple[str, str], int] = {}
        for event in self._store.standing():
            key = (event.stream, str(event.kind))
            standing[key] = standing.get(key, 0) + 1
        for key in self._shown | set(standing):
            self._open.set(float(standing.get(key, 0)), {"stream": key[0], "kind": key[1]})
        self._shown |= set(standing)
