"""Memory of processes that live for long."""

from __future__ import annotations

import ctypes
import threading
import time

_EVERY = 60.0  # seconds


def give_back_regularly() -> None:
    """From now on give memory that is free back to the system, once a minute.

    glibc keeps what pictures of a burst took, and in each of its arenas (8 a core) by itself, so
    that a process would hold what all of its threads ever needed at their worst moments together.
    Other C libraries have no such function, and nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def give_back() -> None:
        while trim is not None:
            time.sleep(_EVERY)
            trim(0)

    threading.Thread(target=give_back, name="give memory back", daemon=True).start()
