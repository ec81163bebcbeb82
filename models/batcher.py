"""Batches over streams: what many threads ask of one model at the same time is run at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Generic, TypeVar, TypeVarTuple

Asked = TypeVar("Asked")
Given = TypeVar("Given")
Made = TypeVar("Made")
Key = TypeVarTuple("Key")
RECENT = 1.0  # seconds for which a thread that asked is expected to ask again


def made_once(make: Callable[[*Key], Made]) -> Callable[[*Key], Made]:
    """One for all threads, also where several ask first at once: only then do they share batches.

    `functools.cache` would let each of those make one of its own.

    Args:
        make: gives it, for a device, say; its arguments must be hashable.
    """
    there: dict[tuple[*Key], Made] = {}
    lock = threading.Lock()

    @wraps(make)
    def shared(*key: *Key) -> Made:
        if key not in there:
            with lock:
                if key not in there:
                    there[key] = make(*key)
        return there[key]

    return shared


@dataclass
class _Request(Generic[Asked, Given]):
    """What one thread asks, and what it gets.

    Attributes:
        asked: what for.
        at: when, on time.monotonic().
        given: the answers; empty where there is none.
        error: why there is none.
        done: whether either is there.
    """

    asked: Asked
    at: float
    given: list[Given] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False

    def result(self) -> Given:
        if self.error is not None:
            raise self.error
        return self.given[0]


class Batcher(Generic[Asked, Given]):
    """Gathers requests of many threads for one model; one of the waiting threads runs each batch.

    A batch is run when it is full, when its oldest request has waited for long enough, or as soon
    as every thread that asked of late is waiting: one that has fallen silent holds nobody up, and
    a thread that is alone never waits. Batches are of 1, 2, 4, 8 and so on requests, so that a
    model meets few shapes; of what waits, the rest is left to the next batch. Each thread waits
    for its answer, so it has one request in a batch at most, and requests are answered in the order
    in which they came. A batch that fails is tried again request by request, so that one bad frame
    fails alone.

    Args:
        run: gives the answers to a batch, in its order; it may group what differs in shape.
        most: requests in a batch, a power of two.
        wait: seconds that the oldest of them waits for others.
    """

    def __init__(
        self, run: Callable[[Sequence[Asked]], Sequence[Given]], most: int, wait: float
    ) -> None:
        self._run, self._most, self._wait = run, most, wait
        self._changed = threading.Condition()
        self._waiting: list[_Request[Asked, Given]] = []
        self._threads: dict[int, float] = {}  # when each asked last
        self._led = False  # a thread gathers a batch or runs it

    def ask(self, asked: Asked) -> Given:
        """The answer to one request.

        Raises:
            Exception: what the model raises on it.
        """
        request: _Request[Asked, Given] = _Request(asked, time.monotonic())
        with self._changed:
            self._threads[threading.get_ident()] = request.at
            self._waiting.append(request)
            self._changed.notify_all()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: request.done or not self._led)
                if request.done:
                    return request.result()
                self._led = True
                batch = self._gathered()
            self._answer(batch)

    def _gathered(self) -> list[_Request[Asked, Given]]:
        """The next batch; the lock is held, and given up while others are waited for."""
        deadline = self._waiting[0].at + self._wait
        while len(self._waiting) < min(self._most, self._expected()):
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                break
        size = 1 << min(len(self._waiting), self._most).bit_length() - 1  # a power of two
        batch = self._waiting[:size]
        del self._waiting[:size]
        return batch

    def _expected(self) -> int:
        """How many threads asked of late."""
        since = time.monotonic() - RECENT
        self._threads = {one: at for one, at in self._threads.items() if at >= since}
        return len(self._threads)

    def _answer(self, batch: list[_Request[Asked, Given]]) -> None:
        try:
            self._run_on(batch)
        except Exception as error:
            for one in batch:
                try:
                    if len(batch) == 1:
                        raise error
                    self._run_on([one])
                except Exception as own:
                    one.error = own
        finally:
            with self._changed:
                for one in batch:
                    if not one.given and one.error is None:
                        one.error = RuntimeError("the thread that ran its batch was interrupted")
                    one.done = True
                self._led = False
                self._changed.notify_all()

    def _run_on(self, batch: list[_Request[Asked, Given]]) -> None:
        given = self._run([one.asked for one in batch])
        for one, answer in zip(batch, given, strict=True):
            one.given = [answer]
