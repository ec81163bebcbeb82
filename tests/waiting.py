"""Waiting for what a busy machine does later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T],
    seconds: float = 60.0,
    why: Callable[[], object] = lambda: "it did not happen",
) -> T:
    """What a condition says, as soon as it is true; the test fails with `why` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)
    return found
