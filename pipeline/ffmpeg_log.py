"""FFmpeg's log: the only sign of some damage, and the only words for some failures.

The log is one for the whole process and its lines carry no stream, so only one user at a time gets
anything from it; the others go without.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

_lock = threading.Lock()
_users = 0


def _enter(level: int) -> bool:
    """Count a user; true for the only one, for whom the level is set."""
    global _users  # noqa: PLW0603 - the log is global too
    with _lock:
        _users += 1
        if _users == 1:
            av.logging.set_level(level)
        return _users == 1


def _leave() -> None:
    global _users  # noqa: PLW0603
    with _lock:
        _users -= 1
        if not _users:
            av.logging.set_level(None)


class ErrorCount:
    """Counts what FFmpeg logs as errors, in any thread, while this is the only user.

    At level PANIC nothing is formatted or stored but the last error and their number, so that
    other messages cost nothing.
    """

    def __enter__(self) -> ErrorCount:
        _enter(av.logging.PANIC)
        self._seen = av.logging.get_last_error()[0]
        return self

    def __exit__(self, *_: object) -> None:
        _leave()

    def take(self) -> int:
        """Errors since the last call; 0 while there are other users."""
        count: int = av.logging.get_last_error()[0]
        new, self._seen = count - self._seen, count
        return new if _users == 1 else 0


@contextmanager
def messages() -> Iterator[list[tuple[int, str, str]]]:
    """The errors that this thread makes FFmpeg log: (level, component, text)."""
    alone = _enter(av.logging.ERROR)
    try:
        if alone:
            with av.logging.Capture(local=True) as lines:
                yield lines
        else:
            yield []
    finally:
        _leave()
