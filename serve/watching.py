"""The deployment that watches live streams: a desk in a thread, asked by the application.

The store is asked in threads: a database that is away must not keep the replica from saying that
it lives.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from ray import serve

from pipeline.errors import UsageError, WorkersError
from pipeline.live.desk import STEP, Desk
from pipeline.live.event import Event
from pipeline.live.store import Known, Store
from pipeline.live.streams import Pool, Stream
from pipeline.settings import load
from pipeline.uri import shown
from serve.config import Config
from serve.problems import ProblemError

log = logging.getLogger("ray.serve.vidette")
_AGAIN = 1.0  # seconds until the folder is asked for again, or workers are
_POLL = 0.15  # seconds between looks at the log while somebody waits
_FULL = 60.0  # seconds until somebody may have let go of a monitor
_BADNESS = ("quarantined", "outage", "connecting", "waiting", "watching", "ended", "stopped")


@serve.deployment
class Watching:
    """One process that owns the store of live streams and has the workers that watch them.

    Args:
        config: of the service.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = config.data / "watch"
        # whenever a worker connects; a name may have another address by then
        self._settings = load(limits={"public_addresses_only": not config.private_addresses})
        self._store = Store(self._folder, config.database)
        self._adding = asyncio.Lock()  # who adds looks first at what there is
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="desk", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with Desk.lock(self._folder):
                    self._at_the_desk()
            except UsageError:  # an older replica of this deployment is not gone yet
                self._stop.wait(_AGAIN)
            except WorkersError as error:
                log.error("streams are not watched: %s", error)
                self._stop.wait(10 * _AGAIN)
            except Exception:
                log.exception("the desk failed; it is opened again")
                self._stop.wait(_AGAIN)

    def _at_the_desk(self) -> None:
        config = self._config
        desk = Desk(
            self._folder,
            self._settings,
            {"default": Pool(cpus=config.monitor_cpus, gpus=config.monitor_gpus)},
            webhooks=config.monitor_webhooks,
            standby=config.monitor_standby,
            most=config.monitor_workers + config.monitor_standby if config.monitor_workers else 0,
            secret=config.webhook_secret,
            database=config.database,
        )
        try:
            while not self._stop.wait(STEP):
                desk.step()
        finally:
            desk.close()

    async def check_health(self) -> None:
        """Raises where nobody watches."""
        if not self._thread.is_alive():
            raise RuntimeError("the desk has ended")

    def __del__(self) -> None:
        """Let the workers go before the process ends."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    # ------------------------------------------------------------------------------ what is asked

    async def add(self, stream: Stream, *, replace: bool) -> bool:
        """Add a stream, or change one; returns whether it is new.

        Raises:
            ProblemError: 409 where there is another of this name, 404 where there is none to
                replace, 422 where its settings are wrong, 429 where there are too many.
        """
        try:
            stream.chosen(self._settings)
        except UsageError as error:
            raise ProblemError(422, "invalid_settings", str(error)) from error
        async with self._adding:
            known = await asyncio.to_thread(self._store.streams)
            old = known.get(stream.name)
            if replace and old is None:
                raise ProblemError(404, "not_found", "there is no such monitor")
            if not replace and old is not None:
                if old.stream != stream.model_copy(update={"owner": old.stream.owner}):
                    said = "there is another monitor of this name; PATCH it"
                    raise ProblemError(409, "exists", said)
                return False
            if old is None:
                refuse_many(stream.owner, known, self._config)
            await asyncio.to_thread(self._store.add, stream)
            return old is None

    async def remove(self, name: str) -> bool:
        """See Store.remove."""
        return await asyncio.to_thread(self._store.remove, name)

    async def pardon(self, name: str) -> bool:
        """See Store.pardon."""
        return await asyncio.to_thread(self._store.pardon, name)

    async def stream(self, name: str) -> Stream | None:
        """A stream as it was asked for."""
        known = (await asyncio.to_thread(self._store.streams)).get(name)
        return known.stream if known else None

    async def monitors(self) -> list[dict[str, Any]]:
        """All streams and how they are, the worst first."""
        return await asyncio.to_thread(self._monitors)

    def _monitors(self) -> list[dict[str, Any]]:
        standing: dict[str, list[Event]] = {}
        for event in self._store.standing():
            standing.setdefault(event.stream, []).append(event)
        glimpsed = self._store.glimpsed()
        found = [
            _told(one, standing.get(name, []), glimpsed.get(name))
            for name, one in self._store.streams().items()
        ]
        return sorted(found, key=_badness)

    async def monitor(self, name: str, window: float) -> dict[str, Any] | None:
        """One stream with what happened to it in the last seconds."""
        return await asyncio.to_thread(self._monitor, name, window)

    def _monitor(self, name: str, window: float) -> dict[str, Any] | None:
        known = self._store.streams().get(name)
        if known is None:
            return None
        first = time.time() - window
        glimpse = self._store.glimpse(name)
        facts = _told(known, self._store.standing(name), glimpse.time if glimpse else None)
        spec = known.stream
        return facts | {
            "only": list(spec.only),
            "skip": list(spec.skip),
            "settings": spec.settings,
            "coverage": [
                (max(start, first), end) for start, end in self._store.coverage(name) if end > first
            ],
            "pictured": self._store.pictured(name),
            "history": self._store.history(name, first),
            "events": [
                event.model_dump(mode="json", by_alias=True)
                for event in self._store.events_of(name, 200)
                if event.end.timestamp() > first
            ],
        }

    async def picture(self, name: str, event: str) -> bytes | None:
        """A JPEG of a stream as it is, or of one of its events."""
        glimpse = await asyncio.to_thread(self._store.glimpse, name, event)
        return glimpse.jpeg if glimpse else None

    async def last(self) -> int:
        """See Store.last_number."""
        return await asyncio.to_thread(self._store.last_number)

    async def since(self, number: int, seconds: float) -> list[tuple[int, str, str]]:
        """Events after a number of the log: number, stream, JSON. Waits for the first of them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            found = await asyncio.to_thread(self._store.since, number)
            if found or loop.time() >= until:
                return [(n, e.stream, e.model_dump_json(by_alias=True)) for n, e in found]
            await asyncio.sleep(_POLL)

    async def rollup(self, label: str, window: float) -> list[dict[str, Any]]:
        """See Store.rollup."""
        return await asyncio.to_thread(self._store.rollup, label, window, time.time())


def refuse_many(owner: str, known: Mapping[str, Known], config: Config) -> None:
    """Refuse one monitor more.

    Args:
        owner: who asks for it.
        known: monitors that there are, by name.
        config: of the service.

    Raises:
        ProblemError: 429, there are too many, or too many of this owner.
    """
    if len(known) >= config.monitors:
        detail = f"there are {len(known)} already"
        raise ProblemError(429, "too_many_monitors", detail, retry_after=_FULL)
    own = sum(one.stream.owner == owner for one in known.values())
    if own >= config.monitors_of_one_key:
        raise ProblemError(429, "quota", f"this key has {own} monitors already", retry_after=_FULL)


def _told(known: Known, standing: list[Event], glimpsed: float | None) -> dict[str, Any]:
    """What is told of a stream."""
    status = known.status
    state = "quarantined" if known.quarantined else status.state if status else "waiting"
    facts: dict[str, Any] = {
        "name": known.stream.name,
        "uri": shown(known.stream.uri),
        "labels": known.stream.labels,
        "state": state,
        "detail": known.quarantined or (status.detail if status else "waits for a worker"),
        "picture": glimpsed,
        "defects": [
            {
                "id": event.id,
                "kind": event.kind,
                "start": event.start.timestamp(),
                "severity": event.severity,
                "summary": event.summary,
                "evidence": event.evidence,
            }
            for event in sorted(standing, key=lambda event: -event.severity)
        ],
    }
    if status is not None:
        facts |= status.model_dump(
            mode="json", exclude={"stream", "state", "detail", "connections"}
        )
    return facts


def _badness(facts: dict[str, Any]) -> tuple[int, float, str]:
    worst = max((defect["severity"] for defect in facts["defects"]), default=0.0)
    rank = _BADNESS.index(facts["state"])
    return (rank if rank < 4 else 4 - (worst > 0), -worst, facts["name"])
