"""The coordinator: who watches what, what becomes of those who die, and where their news goes.

All that it must not lose is in the store. It may die at any time; the next one goes on from there.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.errors import StoreError, WorkersError
from pipeline.live.crew import Crew, Gone, Ready, Said
from pipeline.live.event import Event
from pipeline.live.glimpse import Glimpse
from pipeline.live.placement import Placement
from pipeline.live.quarantine import Quarantined
from pipeline.live.store import Known, Store
from pipeline.live.streams import Pool, Stream
from pipeline.live.suspects import APART, PARDON, Suspects
from pipeline.live.tracker import REMEMBERED
from pipeline.live.watcher import Status
from pipeline.types import Kind

log = logging.getLogger("vidette")
ASK_EVERY = 0.2  # seconds; workers keep the question until they have something to say
TIDY_EVERY = 5.0  # seconds between looks at who has too much or too little to do
PRUNE_EVERY = 3600.0  # seconds
PATIENT = 20.0  # seconds that a stream waits for a worker to start before it is squeezed in
SPARE_FOR = 60.0  # seconds that a worker must have been superfluous
STILLBORN = 5  # workers in a row that die at their start, before any lived: something is wrong
LONGEST_REST = 60.0  # seconds until the next is tried; doubled from one second on
CLOSING = 3.0  # seconds for what workers still have to say


class Sink(Protocol):
    """Where events go."""

    def take(self, events: Sequence[Event]) -> None:
        """Take events that are in the store."""


@dataclass
class _Hand:
    pool: str
    hired: float
    place: str | None = None  # once it is there
    safe: int = 0  # number of its last batch that is in the store
    asked: float = 0.0
    memory: int = 0
    cpu: float = 0.0
    alone: bool = False
    until: int | None = None  # it is ended once this batch is in the store

    @property
    def final(self) -> int:
        """Number of a batch that has all that happened before now; one may be on its way."""
        return self.safe + 2


@dataclass(frozen=True)
class WorkerFacts:
    """A worker, for people."""

    name: str
    pool: str
    place: str | None
    streams: int
    load: float
    cpu: float
    memory: int


@dataclass
class _PoolState:
    pool: Pool
    placement: Placement
    spare_since: float | None = None
    suspects: Suspects = field(default_factory=Suspects)


class Coordinator:
    """Made once for a store.

    Args:
        store: of the streams.
        crew: has the workers.
        pools: the kinds of workers.
        sinks: get events once they are in the store.
        webhooks: addresses that get them as well, see `Store.take`.
        standby: workers of each pool that are warm and have nothing to do.
        most: workers of a pool that does not say so itself; 0: any number.
        clock: the wall clock.
    """

    def __init__(
        self,
        store: Store,
        crew: Crew,
        pools: Mapping[str, Pool],
        sinks: Sequence[Sink] = (),
        webhooks: Sequence[str] = (),
        *,
        standby: int = 1,
        most: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._crew, self._sinks = store, crew, list(sinks)
        self._webhooks, self._standby, self._most, self._clock = webhooks, standby, most, clock
        self._pools = {name: _PoolState(pool, Placement(pool.cpus)) for name, pool in pools.items()}
        self._hands: dict[str, _Hand] = {}
        self._streams: dict[str, Stream] = {}
        self._waiting: dict[str, float] = {}  # streams that nobody watches, since when
        self._urgent: set[str] = set()  # of these: were watched until their worker died
        # Streams that are handed over: by whom, and the batch that has the last of it. Whoever goes
        # on must know what was open; until then it is only booked.
        self._handing: dict[str, tuple[str, int]] = {}
        self._booked: dict[str, str] = {}
        self._held: dict[str, Quarantined] = {}  # streams in quarantine
        self._wishes: int | None = None
        self._tidied = self._pruned = 0.0
        self._stillborn = 0  # in a row
        self._lived = False  # any worker
        self._rests = 0.0  # until then nobody is hired

    @property
    def workers(self) -> list[WorkerFacts]:
        """All that were hired."""
        facts = []
        for name, hand in self._hands.items():
            placement = self._pools[hand.pool].placement
            there = name in placement.workers
            facts.append(
                WorkerFacts(
                    name, hand.pool, hand.place,
                    len(placement.streams(name)) if there else 0,
                    placement.load(name) if there else 0.0,
                    hand.cpu, hand.memory,
                )
            )  # fmt: skip
        return facts

    def step(self) -> None:
        """Do what is to be done now; to be called a few times a second.

        Raises:
            WorkersError: workers do not start, and none ever did.
        """
        now = self._clock()
        self._read_streams(now)
        told = [news for news in self._crew.news() if news.worker in self._hands]
        self._said([news for news in told if isinstance(news, Said)])
        for news in told:
            if isinstance(news, Ready):
                self._ready(news)
            elif isinstance(news, Gone):
                self._gone(news, now)
        for state in self._pools.values():
            self._acquit(state, state.suspects.survivors(state.placement, now), now)
        handing = {worker for worker, _ in self._handing.values()}
        for name, hand in self._hands.items():
            if hand.place is not None and (now - hand.asked >= ASK_EVERY or name in handing):
                hand.asked = now
                self._crew.ask(name, hand.safe)
        self._place(now)
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            for state in self._pools.values():
                self._tidy(state, now)
            for held in self._held.values():
                self._tell(held.lasts(now))
        if now - self._pruned >= PRUNE_EVERY:
            self._pruned = now
            self._store.prune(now)

    def close(self) -> None:
        """End all workers; what they watched is watched again by whoever comes next."""
        try:
            self._collect()
        except StoreError:
            log.exception("what workers had to say last is lost")
        finally:
            for name in list(self._hands):
                self._crew.dismiss(name)
            self._hands.clear()

    def _collect(self) -> None:
        """Let workers leave their streams, and take what they still have to say."""
        for state in self._pools.values():
            for worker in state.placement.workers:
                for name in state.placement.streams(worker):
                    self._crew.leave(worker, name)
        wanted = {name: hand.final for name, hand in self._hands.items() if hand.place is not None}
        until = time.monotonic() + CLOSING
        while wanted and time.monotonic() < until:
            for name in wanted:
                self._crew.ask(name, self._hands[name].safe)
            told = [news for news in self._crew.news() if news.worker in wanted]
            self._said([news for news in told if isinstance(news, Said)])
            gone = {news.worker for news in told if isinstance(news, Gone)}
            wanted = {
                name: number
                for name, number in wanted.items()
                if name in self._hands and name not in gone and self._hands[name].safe < number
            }
            time.sleep(0.01)

    # ------------------------------------------------------------------------------------- streams

    def _read_streams(self, now: float) -> None:
        wishes = self._store.wishes()
        if wishes == self._wishes:
            return
        known = self._store.streams()
        for name in [name for name in self._streams if not _wanted(known.get(name))]:
            self._drop(name, removed=name not in known)
        for name, one in known.items():
            if not _wanted(one) or self._streams.get(name) == one.stream:
                continue
            if one.stream.pool not in self._pools:
                log.error("stream %s: there is no pool %r", name, one.stream.pool)
                continue
            if name in self._streams:
                self._drop(name, removed=False)
            self._streams[name] = one.stream
            self._waiting[name] = now
            state = self._pools[one.stream.pool]
            if one.died > now - PARDON:  # an earlier coordinator saw it
                state.suspects.remember(name, one.deaths)
            if one.status is not None and one.status.cost is not None:  # of an earlier watch
                state.placement.measured(name, one.status.cost)
        for name in self._held.keys() - known.keys():
            self._lose(self._store.standing(name))
        held = {name: one.stream for name, one in known.items() if one.quarantined}
        for name in held.keys() - self._held.keys():  # an earlier coordinator put it there
            standing = self._store.standing(name)
            self._held[name] = Quarantined(held[name], standing, now)
            self._lose([event for event in standing if event.kind != Kind.OUTAGE])
        self._held = {name: self._held[name] for name in held}
        self._wishes = wishes

    def _lose(self, standing: Iterable[Event]) -> None:
        """Close what was open of a stream that is not watched any more."""
        lost = {"change": "closed", "outcome": "lost"}
        self._tell([event.model_copy(update=lost) for event in standing])

    def _drop(self, name: str, *, removed: bool) -> None:
        """Let a stream not be watched."""
        stream = self._streams.pop(name)
        state = self._pools[stream.pool]
        worker = state.placement.remove(name)
        state.suspects.clear(name)
        self._waiting.pop(name, None)
        self._urgent.discard(name)
        if self._booked.pop(name, None) is None and worker is not None:
            self._leave(worker, name)
        if removed:
            self._handing.pop(name, None)
            state.placement.forget(name)
            self._lose(self._store.standing(name))

    def _leave(self, worker: str, name: str) -> None:
        """Let a worker leave a stream, and wait for what it has to say of it."""
        self._crew.leave(worker, name)
        self._handing[name] = worker, self._hands[worker].final

    def _is_handed_over(self, name: str) -> bool:
        worker, number = self._handing.get(name, ("", 0))
        hand = self._hands.get(worker)
        if hand is not None and hand.safe < number:
            return False
        self._handing.pop(name, None)
        return True

    def _place(self, now: float) -> None:
        placed: dict[str, str] = {}
        for name, since in sorted(self._waiting.items(), key=self._worst_first):
            stream = self._streams[name]
            state = self._pools[stream.pool]
            late = now - since > PATIENT
            worker = None
            if name in state.suspects:
                worker = state.placement.confine(
                    name, len(state.suspects) if late else state.suspects.share
                )
            if name not in state.suspects or (late and worker is None):
                coming = self._starting(stream.pool) > 0 or not self._is_full(stream.pool)
                crowd = name in self._urgent or not coming or late
                worker = state.placement.place(name, crowd=crowd)
            if worker is not None:
                placed[name] = worker
        self._begin(placed)
        if now >= self._rests:
            for name, state in self._pools.items():
                self._hire_for(name, state, now)

    def _worst_first(self, waiting: tuple[str, float]) -> tuple[int, ...]:
        name, _ = waiting
        return tuple(-n for n in self._pools[self._streams[name].pool].suspects.guilt(name))

    def _begin(self, placed: Mapping[str, str]) -> None:
        """Let workers watch streams, given by name: thousands may wait at once."""
        for name in placed:
            self._waiting.pop(name, None)
            self._urgent.discard(name)
        self._booked |= placed
        placed = {name: to for name, to in self._booked.items() if self._is_handed_over(name)}
        if not placed:
            return
        self._store.placed({name: self._hands[worker].place for name, worker in placed.items()})
        standing: dict[str, list[Event]] = {}
        # what was over a moment ago too: a playlist may show it once more
        over = self._store.closed(self._clock() - REMEMBERED, math.inf)
        for event in self._store.standing() + over:
            standing.setdefault(event.stream, []).append(event)
        for name, worker in placed.items():
            del self._booked[name]
            self._crew.watch(worker, self._streams[name], standing.get(name, []))

    # ------------------------------------------------------------------------------------- workers

    def _starting(self, pool: str, *, alone: bool = False) -> int:
        return sum(
            hand.pool == pool and hand.place is None and hand.alone == alone
            for hand in self._hands.values()
        )

    def _limit(self, pool: str) -> int:
        return self._pools[pool].pool.most or self._most

    def _common(self, pool: str) -> int:
        return sum(hand.pool == pool and not hand.alone for hand in self._hands.values())

    def _is_full(self, pool: str) -> bool:
        limit = self._limit(pool)
        return limit > 0 and self._common(pool) >= limit

    def _hire_for(self, name: str, state: _PoolState, now: float) -> None:
        needed = min(APART, len(state.suspects))
        while state.placement.idle and len(state.placement.secluded) < needed:
            # it is there already; one that starts will stand by in its place
            self._hands[state.placement.seclude()].alone = True
            coming = [h for h in self._hands.values() if h.pool == name and h.place is None]
            for hand in [hand for hand in coming if hand.alone][:1]:
                hand.alone = False
        apart = sum(hand.pool == name and hand.alone for hand in self._hands.values())
        for _ in range(needed - apart):
            self._hire(name, now, alone=True)
        waiting = [
            s for s in self._waiting if self._streams[s].pool == name and s not in state.suspects
        ]
        if not waiting and not state.placement.workers:
            return
        lacking = state.placement.lacking(waiting) + self._standby - len(state.placement.idle)
        if waiting and not state.placement.workers:
            lacking = max(lacking, 1)
        limit = self._limit(name)
        if limit:
            lacking = min(lacking, limit - self._common(name) + self._starting(name))
        for _ in range(lacking - self._starting(name)):
            self._hire(name, now)

    def _hire(self, pool: str, now: float, *, alone: bool = False) -> None:
        worker = uuid.uuid4().hex[:8]
        self._hands[worker] = _Hand(pool, now, alone=alone)
        self._crew.hire(worker, self._pools[pool].pool)

    def _ready(self, news: Ready) -> None:
        self._stillborn, self._lived = 0, True
        hand = self._hands[news.worker]
        hand.place = news.place
        self._pools[hand.pool].placement.joined(news.worker, alone=hand.alone)

    def _said(self, told: Sequence[Said]) -> None:
        """Keep what workers have said, all at once: a write for each would cost too much."""
        if not told:
            return
        events: list[Event] = []
        coverage: list[tuple[str, float, float]] = []
        statuses: list[Status] = []
        glimpses: list[Glimpse] = []
        for news in told:
            placement = self._pools[self._hands[news.worker].pool].placement
            events += [event for event in news.batch.events if event.stream in self._streams]
            coverage += news.batch.coverage
            glimpses += [one for one in news.batch.glimpses if one.stream in self._streams]
            for status in news.batch.statuses:
                if placement.where(status.stream) == news.worker:
                    statuses.append(status)
                    if status.cost is not None:
                        placement.measured(status.stream, status.cost)
        fresh = self._store.take(events, coverage, statuses, self._webhooks, glimpses)
        for news in told:
            hand, batch = self._hands[news.worker], news.batch
            hand.safe, hand.cpu, hand.memory = batch.number, batch.cpu, batch.memory
            if hand.until is not None and hand.safe >= hand.until:
                self._end(news.worker)
        self._out(fresh)

    def _end(self, worker: str) -> None:
        self._crew.dismiss(worker)
        del self._hands[worker]

    def _gone(self, news: Gone, now: float) -> None:
        hand = self._hands.pop(news.worker)
        if hand.place is None:
            self._stillborn += 1
            log.error("a worker died while it started: %s", news.why)
            self._rests = now + min(2.0 ** (self._stillborn - 1), LONGEST_REST)
            if self._stillborn >= STILLBORN and not self._lived:
                raise WorkersError(f"workers do not start: {news.why}")
            return
        if hand.until is not None:  # it had nothing more to do
            return
        state = self._pools[hand.pool]
        names = state.placement.left(news.worker)
        for name in names:
            self._booked.pop(name, None)
        log.warning("worker %s is gone (%s), with %d streams", hand.place, news.why, len(names))
        deaths = {} if news.with_machine else self._store.died(names, now, PARDON)
        guilty = state.suspects.died(names, deaths, apart=hand.alone)
        for name in names:
            if name in guilty:
                self._quarantine(name, deaths[name], now)
            else:
                self._waiting[name] = now
                self._urgent.add(name)

    def _acquit(self, state: _PoolState, names: Iterable[str], now: float) -> None:
        """Streams are no suspects any more, and go to where the others are."""
        for name in names:
            state.suspects.clear(name)
            worker = state.placement.apart(name)
            if worker is not None:
                state.placement.remove(name)
                if self._booked.pop(name, None) is None:
                    self._leave(worker, name)
                self._waiting[name] = now
                self._urgent.add(name)

    def _quarantine(self, name: str, deaths: int, now: float) -> None:
        stream = self._streams[name]
        why = f"its workers died {deaths} times; it is not watched until somebody pardons it"
        log.error("stream %s is in quarantine: %s", name, why)
        self._store.quarantine(name, why)
        self._drop(name, removed=False)
        self._lose(self._store.standing(name))
        self._held[name] = Quarantined(stream, [], now)
        self._tell(self._held[name].lasts(now))

    def _tidy(self, state: _PoolState, now: float) -> None:
        """Even out who has too much and too little to do."""
        placement = state.placement
        while (move := placement.relief()) is not None:
            self._move(*move)
        if state.suspects:
            known = self._store.streams()
            old = [s for s in state.suspects if s in known and known[s].died < now - PARDON]
            self._acquit(state, old, now)
        while (move := placement.spread(state.suspects.share, state.suspects.guilt)) is not None:
            self._move(*move)
        for worker in placement.secluded[min(APART, len(state.suspects)) :]:
            self._release(state, worker)
        spare = placement.spare()
        if spare is None:
            state.spare_since = None
        elif state.spare_since is None:
            state.spare_since = now
        elif now - state.spare_since > SPARE_FOR:
            state.spare_since = None
            for name in placement.streams(spare):
                placement.remove(name)
                to = placement.place(name, crowd=True, avoid=[spare])
                if to is not None and to != spare:
                    self._move(name, spare, to)
        for worker in placement.idle[self._standby :]:
            if now - self._hands[worker].hired > SPARE_FOR:
                self._release(state, worker)

    def _move(self, name: str, old: str, new: str) -> None:
        if self._booked.pop(name, None) is None:  # else it has not begun there
            self._leave(old, name)
        self._begin({name: new})

    def _release(self, state: _PoolState, worker: str) -> None:
        """Let a worker go, once it has said all, also of what it has just left."""
        names = state.placement.left(worker)
        for name in names:
            self._waiting[name] = self._clock()
            if self._booked.pop(name, None) is None:
                self._leave(worker, name)
        if names or any(who == worker for who, _ in self._handing.values()):
            self._hands[worker].until = self._hands[worker].final
        else:
            self._end(worker)

    # ---------------------------------------------------------------------------------------- news

    def _tell(self, events: Sequence[Event]) -> None:
        """Events of the coordinator's own."""
        self._out(self._store.take(events, [], [], self._webhooks))

    def _out(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for sink in self._sinks:
            try:
                sink.take(events)
            except Exception:  # events are in the store, and the other sinks want them
                log.exception("events could not be written to %s", type(sink).__name__)


def _wanted(known: Known | None) -> bool:
    return known is not None and known.quarantined is None
