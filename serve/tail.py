"""What listeners of one replica are told: events as they come, and how monitors are."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("ray.serve.vidette")
_HELD = 5.0  # seconds that a question for new events waits for them
_EVERY = 1.0  # seconds between looks at monitors
_LAG = 5000  # messages that a listener may be behind; then it has to come again
_AGAIN = 1.0  # seconds after a question that failed


@dataclass(frozen=True)
class Message:
    """One.

    Attributes:
        event: start (data: nothing), defect (data: an event), monitors (data: those that changed),
            gone (data: names).
        data: JSON.
        number: of an event in the log; None: it is of the moment, and not told again.
        stream: that a defect is of.
    """

    event: str
    data: str
    number: int | None = None
    stream: str | None = None


class LateError(Exception):
    """A listener did not take what it was told."""


class Tail:
    """Asks once for all who listen. Made inside a running event loop.

    Args:
        since: events after a number of the log, waiting so many seconds for the first one.
        last: the newest number of the log.
        monitors: all of them, as they are told of.
    """

    def __init__(
        self,
        since: Callable[[int, float], Awaitable[list[tuple[int, str, str]]]],
        last: Callable[[], Awaitable[int]],
        monitors: Callable[[], Awaitable[list[dict[str, Any]]]],
    ) -> None:
        self._since, self._last, self._monitors = since, last, monitors
        self._listeners: set[asyncio.Queue[Message | None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._follows = asyncio.Event()  # from a number of the log on that is known

    async def listen(self, after: int | None) -> AsyncIterator[Message]:
        """Everything from now on, after a `start` with the number of the last event before.

        Args:
            after: a number of the log: what came after it as well; below 0: so many of the last.

        Raises:
            LateError: the listener is too slow.
        """
        queue: asyncio.Queue[Message | None] = asyncio.Queue(_LAG)
        told = after if after is not None and after >= 0 else await self._last()
        if after is not None and after < 0:
            told = max(0, told + after)
        self._listeners.add(queue)
        self._run()
        try:
            await self._follows.wait()  # or what comes before it would be lost
            yield Message("start", "null", told)
            while found := await self._since(told, 0.0):  # what it missed
                for number, stream, data in found:
                    told = number
                    yield Message("defect", data, number, stream)
            while True:
                message = await queue.get()
                if message is None:
                    raise LateError
                if message.number is None or message.number > told:
                    told = message.number or told
                    yield message
        finally:
            self._listeners.discard(queue)
            if not self._listeners:
                self._stop()

    def _run(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._follow()),
                asyncio.create_task(self._look()),
            ]

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._follows.clear()

    def _tell(self, message: Message) -> None:
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(message)

    async def _follow(self) -> None:
        number: int | None = None
        while True:
            try:
                if number is None:
                    # a listener reads what lies before by itself; what it gets twice it knows
                    number = await self._last()
                    self._follows.set()
                for found, stream, data in await self._since(number, _HELD):
                    number = found
                    self._tell(Message("defect", data, found, stream))
            except Exception:  # the deployment may be starting again
                log.exception("events cannot be followed")
                await asyncio.sleep(_AGAIN)

    async def _look(self) -> None:
        known: dict[str, str] = {}
        while True:
            try:
                found = {one["name"]: json.dumps(one) for one in await self._monitors()}
                changed = [text for name, text in found.items() if known.get(name) != text]
                gone = [name for name in known if name not in found]
                known = found
                if changed:
                    self._tell(Message("monitors", f"[{','.join(changed)}]"))
                if gone:
                    self._tell(Message("gone", json.dumps(gone)))
            except Exception:
                log.exception("monitors cannot be looked at")
            await asyncio.sleep(_EVERY)
