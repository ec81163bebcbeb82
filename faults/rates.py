"""Frame rates that codecs have."""

from __future__ import annotations

_MPEG2 = (24, 25, 30, 50, 60)  # frames per second that it can say, and their 1000/1001
_SAME = 0.001


def mpeg2_has(rate: float) -> bool:
    """Whether MPEG-2 can say a frame rate (frames per second)."""
    return any(abs(rate - one / slower) < _SAME for one in _MPEG2 for slower in (1, 1.001))
