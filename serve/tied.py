"""What processes that take jobs have in common; it loads nothing."""

from __future__ import annotations

import ctypes
import signal
import sys

MESSAGE = 1 << 17  # bytes of a job at most
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def tie() -> None:
    """Die when the parent does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
