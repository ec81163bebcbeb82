"""How long a live stream has given nothing, and how long it may: our own slowness is no silence."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

from pipeline.decode import Decoded
from pipeline.live.playlists import GRACE, STALE
from pipeline.measurements import Note

STALL = 4.0  # seconds without anything new: players have run dry by then
OPENING = 8.0  # likewise, of the first connection: FFmpeg looks at a stream before it gives any
# Seconds that count between two looks at the most: a process that gets no time of its machine comes
# to look late, and what came meanwhile may be there.
LOOK = 1.0
STUCK = 30.0  # seconds of work on what came at once: it will not end
BURST = 1.0  # seconds between arrivals from which on they are bursts
# Segments of DASH are not seen, only what they bring. Until so many of them have come they may be
# as long as that, in seconds (2 to 6 are usual).
KNOWN, LONGEST_SEGMENT = 3, 10.0


class Silence:
    """Of one stream, over all of its connections; may be looked at from another thread.

    Args:
        now: the time, seconds since 1970.
        hidden: its segments are not seen (DASH).

    Attributes:
        waited: seconds for something new, since anything came.
        worked: seconds on what came last.
        is_stuck: whether it is that which lasts too long, by the last `lasts`.
    """

    def __init__(self, now: float, *, hidden: bool = False) -> None:
        self.waited = self.worked = 0.0
        self.is_stuck = False
        self._hidden = hidden
        self._looked = now
        self._busy = False
        self._bursts: deque[float] = deque(maxlen=2 * KNOWN)
        self._usual = STALL  # what was not too long when it was last looked at

    def handing(self, items: Iterable[Decoded]) -> Iterator[Decoded]:
        """Hand on what a connection gives, and know when it is worked on."""
        reached = -math.inf
        try:
            for item in items:
                if not isinstance(item, Note) and item.time > reached:
                    reached = item.time
                    self._came()
                self.worked, self._busy = 0.0, True
                yield item
                self._busy = False
        finally:
            self._busy = False

    def _came(self) -> None:
        if BURST < self.waited <= self._usual:
            self._bursts.append(self.waited)
        self.waited = 0.0

    def look(self, now: float) -> None:
        """Count; to be called about twice a second."""
        since = min(max(now - self._looked, 0.0), LOOK)
        self._looked = now
        if self._busy:
            self.worked += since
        else:
            self.waited += since

    def lasts(self, *, opening: bool, target: float) -> float:
        """For how long it has lasted, in seconds, if that is too long; else 0.

        Args:
            opening: nothing was ever seen of the stream.
            target: duration of its segments, as its playlist says; 0 where there is none.
        """
        longest = target or max(self._bursts, default=0.0)
        if self._hidden and len(self._bursts) < KNOWN:
            longest = max(longest, LONGEST_SEGMENT)
        self._usual = max(OPENING if opening else STALL, STALE * longest + GRACE)
        self.is_stuck = self._busy and self.worked > STUCK
        if self.is_stuck:
            return self.worked
        return self.waited if self.waited > self._usual else 0.0
