"""Panels in turn: an endless stream judged in bounded memory.

Detectors remember what is usual in an asset, and some remember all of it. So a panel is relieved
after a while by another that has watched along for some time, and has learned what is usual.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.measurements import Segment
from pipeline.panel import Found, Panel
from pipeline.settings import Settings
from pipeline.types import Asset, Problem

LENGTH = 600.0  # seconds that a panel judges
BESIDE = 30.0  # seconds that its successor watches along, unheard
LASTING = 1.0  # seconds before the end within which something still lasts


class Relay:
    """Shows segments to the panel whose turn it is.

    Args:
        settings: of the detectors.
        asset: the stream as it was opened.
        length: seconds after which a panel is relieved.
        beside: seconds that its successor has watched by then.
    """

    def __init__(
        self, settings: Settings, asset: Asset, length: float = LENGTH, beside: float = BESIDE
    ) -> None:
        self._settings, self._asset = settings, asset
        self._length, self._beside = length, beside
        self._panel = Panel(settings, asset)
        self._next: Panel | None = None
        self._until: float | None = None  # of presentation
        self.problems: list[Problem] = []

    def update(self, segment: Segment) -> tuple[list[Found], list[Found]]:
        """Take the next segment.

        Returns:
            What has ended, and what would have been found if the stream ended here.
        """
        # an interruption is the watcher's to tell, and nothing else that ends here has an end
        segment = replace(segment, notes=[n for n in segment.notes if n.what != "end"])
        if self._until is None:
            self._until = segment.start + self._length
        self._panel.update(segment)
        finished = self._taken(self._panel)
        if segment.end >= self._until - self._beside:
            if self._next is None:
                self._next = Panel(self._settings, self._asset)
            self._next.update(segment)
        if self._next is not None and segment.end >= self._until:
            finished += self._relieve(self._next, segment.end)
        return finished, self._panel.standing()

    def finish(self) -> list[Found]:
        """The connection has ended."""
        self._panel.finish()
        return self._taken(self._panel)

    def av_offset_ms(self) -> float | None:
        """See Panel."""
        return self._panel.av_offset_ms()

    def _relieve(self, successor: Panel, now: float) -> list[Found]:
        self._panel.finish()
        # what still lasts goes on with the successor
        ended = [f for f in self._taken(self._panel) if f[2].end < now - LASTING]
        self._panel, self._next = successor, None
        self._until = now + self._length
        return ended + self._taken(successor)

    def _taken(self, panel: Panel) -> list[Found]:
        found, panel.found = panel.found, []
        # each panel meets the same ones anew
        self.problems += [one for one in panel.problems if one not in self.problems]
        panel.problems = []
        return found
