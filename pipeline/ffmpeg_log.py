"""FFmpeg's log: the only sign of some damage, and the only words for some failures.

The log is one for the whole process and its lines carry no stream. What one thread decodes by
itself is known by that thread, however many there are; codecs with threads of their own log in
those, so that of such users only one at a time gets anything.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

_lock = threading.Lock()
_levels: list[int] = []  # that users want
_logger = logging.getLogger("libav")


class _Errors(logging.Handler):
    """Counts errors by the thread in which they were logged."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[int] = Counter()

    def handle(self, record: logging.LogRecord) -> bool:
        """As in logging.Handler, without its lock."""
        if record.levelno == logging.ERROR:
            self._counts[threading.get_ident()] += 1
        return True

    def take(self) -> int:
        """Errors of this thread since the last call in it."""
        return self._counts.pop(threading.get_ident(), 0)


_errors = _Errors()


def _enter(level: int) -> None:
    with _lock:
        _levels.append(level)
        _apply()


def _leave(level: int) -> None:
    with _lock:
        _levels.remove(level)
        _apply()


def _apply() -> None:
    """Let as much be logged as the most curious user wants; none of it is printed."""
    level = max(_levels, default=None)
    listening = level == av.logging.ERROR
    if listening:
        _logger.addHandler(_errors)
    else:
        _logger.removeHandler(_errors)
    _logger.propagate = not listening
    av.logging.set_skip_repeated(not listening)
    av.logging.set_level(level)


class ErrorCount:
    """Counts what FFmpeg logs as errors.

    Args:
        own_thread: all is decoded in the thread that asks, and what others log does not count.
            Else errors in any thread do, while this is the only user: at level PANIC nothing is
            formatted or stored but the last error and their number.
        threaded: name of the codec whose threads log at any time; "" where none has any.
    """

    def __init__(self, *, own_thread: bool, threaded: str = "") -> None:
        self._own, self._threaded = own_thread, threaded
        self._late = 0
        self._level = av.logging.ERROR if own_thread else av.logging.PANIC

    def __enter__(self) -> ErrorCount:
        _enter(self._level)
        self._seen = av.logging.get_last_error()[0]
        if self._own:
            _errors.take()
        return self

    def __exit__(self, *_: object) -> None:
        _leave(self._level)

    def take(self) -> int:
        """Errors since the last call; 0 for who needs to be the only user and is not.

        Without those of threads, see `take_late`.
        """
        if self._own:
            return _errors.take()
        count, last = av.logging.get_last_error()
        new, self._seen = count - self._seen, count
        if len(_levels) != 1:
            return 0
        if new and last is not None and last[1] == self._threaded:
            self._late += new
            return 0
        return new

    def take_late(self) -> int:
        """Errors of threads since the last call, whenever they came."""
        late, self._late = self._late, 0
        return late


@contextmanager
def messages() -> Iterator[list[tuple[int, str, str]]]:
    """The errors that this thread makes FFmpeg log: (level, component, text)."""
    _enter(av.logging.ERROR)
    try:
        with av.logging.Capture(local=True) as lines:
            yield lines
    finally:
        _leave(av.logging.ERROR)
