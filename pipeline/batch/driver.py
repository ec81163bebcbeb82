"""The driver: hands assets to workers, replaces those that die, and says how far it all is.

A pool of Ray actors, not Ray Data: an asset is one unit of work from seconds to hours long, workers
must be replaced when a decoder takes them down, and what is done is known by the ledger alone. Ray
Data would add blocks, which fail and are retried as a whole, and its own checkpoints, which saved
nothing of a job that died half-way.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from pipeline import cluster
from pipeline.batch.cuts import Cuts
from pipeline.batch.inspector import Bounds, Cut, Done, Inspector, Job, Measured
from pipeline.batch.ledger import FullError, Ledger, Record, identity
from pipeline.batch.sources import Wanted
from pipeline.errors import UsageError
from pipeline.settings import Settings

log = logging.getLogger("vidette")
_ATTEMPTS = 2
_LOST = 5  # machines that may die under an asset
_STILLBORN = 3  # workers that may die at their start before the run is given up
_ASKED_AT_ONCE = 16  # assets
_GRACE = 20.0  # seconds over its time that a worker has to end by itself before it is killed
_LOOK_EVERY = 0.5  # seconds
# Seconds between looks at how far assets in work are, and at how many of them: each is a file
_ASK_EVERY, _ASKED = 3.0, 32


@dataclass(frozen=True)
class Plan:
    """How to go about it.

    Attributes:
        workers: processes; 0: as many as the cluster has room for.
        cpus, gpus: of each, as Ray counts them; a worker decodes with so many threads.
        address: of a Ray cluster; None: start one here, "auto": the one that runs here.
        bounds: of each asset.
        retry_failed: have another go at what failed before, or may come out better now.
        reports: give the page of each asset charts, pictures and sound of the worst moments.
        range_seconds: an asset of at least two ranges of so many seconds of presentation is cut
            into them where there are two workers; 0: none is.
    """

    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    bounds: Bounds = field(default_factory=Bounds)
    retry_failed: bool = False
    reports: bool = False
    range_seconds: float = 0.0


@dataclass
class State:
    """How far a run is.

    Attributes:
        total: assets.
        there: done by an earlier run.
        done, failed: by this one.
        seconds: of presentation that this run examined.
        defects: that this run found.
        without: assets of this run of which nothing could be examined.
        running: URIs in work.
        underway: seconds of presentation of these that were examined.
        share: these, in whole assets.
        parts: ranges of long assets that are measured, and all of them, until they are joined.
        started: on time.monotonic().
        interrupted: by the user.
    """

    total: int
    there: int = 0
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    defects: int = 0
    without: int = 0
    running: tuple[str, ...] = ()
    underway: float = 0.0
    share: float = 0.0
    parts: tuple[int, int] = (0, 0)
    started: float = field(default_factory=time.monotonic)
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Assets that are not finished."""
        return self.total - self.there - self.done - self.failed

    @property
    def speed(self) -> float:
        """Seconds of presentation per second."""
        return (self.seconds + self.underway) / max(time.monotonic() - self.started, 1e-3)

    @property
    def time_left(self) -> float | None:
        """Seconds, if the assets that are left are like the others; None: nothing tells."""
        finished = self.done + self.failed + self.share
        if not finished or not self.left:
            return None
        each = (time.monotonic() - self.started) / finished
        return max(each * (self.left - self.share), 0.0)


def run(
    wanted: Sequence[Wanted],
    ledger: Ledger,
    settings: Settings,
    plan: Plan,
    told: Callable[[State], None],
) -> tuple[list[str], State]:
    """Inspect what is not done yet.

    Args:
        wanted: the assets.
        ledger: where results go.
        settings: of all assets.
        plan: how.
        told: is called about twice a second.

    Returns:
        The IDs of all assets, in order, and what became of them. KeyboardInterrupt ends it early,
        with what was finished.

    Raises:
        FullError: there is no room for results; those that are there are whole.
        UsageError: the cluster cannot be joined, or has no room for one worker.
        WorkersError: Ray has died.
    """
    settings = settings.model_copy(update={"threads": max(1, int(plan.cpus))})
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:  # some are slow to tell what they have
        names = pool.map(lambda one: identity(one.uri, settings), wanted)
        jobs = {
            name: Job(name, one.uri, one.labels) for name, one in zip(names, wanted, strict=True)
        }
    results = ledger.ids("results")
    again = ledger.ids("again") if plan.retry_failed else set()
    over = results - again if plan.retry_failed else results | ledger.ids("failed")
    for job in jobs.values():
        if job.id in over:
            _labelled(ledger, job)
    queue = deque(
        replace(job, again=job.id in again) for job in jobs.values() if job.id not in over
    )
    state = State(total=len(jobs), there=len(jobs) - len(queue))
    told(state)
    if queue:
        with cluster.Session(plan.address) as session:
            try:
                _Pool(ledger, settings, plan, state, told, session).run(queue)
            except KeyboardInterrupt:
                state.interrupted = True
    return list(jobs), state


def _labelled(ledger: Ledger, job: Job) -> None:
    """Give a record that is there the labels of today's manifest."""
    record = ledger.record(job.id)
    if record is not None and record.labels != job.labels:
        ledger.keep(record.model_copy(update={"labels": job.labels}))


class _Pool:
    """Workers, and what each has in work."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        plan: Plan,
        state: State,
        told: Callable[[State], None],
        session: cluster.Session,
    ) -> None:
        self._ledger, self._settings, self._plan = ledger, settings, plan
        self._state, self._told, self._session = state, told, session
        self._actor = ray.remote(num_cpus=plan.cpus, num_gpus=plan.gpus, max_restarts=0)(Inspector)
        self._queue: deque[Job] = deque()
        self._starting: dict[Any, Any] = {}  # workers by reference to their being ready
        self._busy: dict[Any, tuple[Any, Job, float]] = {}  # by reference: worker, job, deadline
        self._stillborn = 0  # workers that died before they were ready, one after the other
        self._cuts = Cuts()
        self._most = 1  # workers
        self._asked = 0.0  # how far assets are, on the monotonic clock

    def run(self, queue: deque[Job]) -> None:
        """Work through the queue."""
        self._queue = queue
        self._most = self._size()
        self._fill()
        while self._busy or (self._starting and (self._queue or self._cuts.waiting)):
            self._session.check()
            ready, _ = ray.wait([*self._busy, *self._starting], timeout=_LOOK_EVERY)
            for reference in ready:
                if reference in self._starting:
                    self._ready(reference)
                else:
                    self._take(reference)
            self._end_late()
            self._state.running = tuple({job.uri: None for _, job, _ in self._busy.values()})
            self._state.parts = self._cuts.parts
            self._look()
            self._told(self._state)

    def _look(self) -> None:
        """See how far the assets in work are."""
        now = time.monotonic()
        if now - self._asked < _ASK_EVERY:
            return
        self._asked, state = now, self._state
        state.underway = state.share = 0.0
        measured, parts = state.parts
        if parts:  # of long assets: joining costs little beside measuring
            state.underway = measured * self._plan.range_seconds
            state.share = measured / parts * self._cuts.count
        whole = [job for _, job, _ in self._busy.values() if job.id not in self._cuts]
        for job in whole[:_ASKED]:
            try:
                working = self._ledger.read("working", job.key) or {}
            except Exception as error:  # of a store that is away: it is no more than shown
                log.debug("how far %s is could not be read: %s", job.uri, error)
                continue
            position = float(working.get("position") or 0.0)
            state.underway += position
            if duration := working.get("duration"):
                state.share += min(position / float(duration), 1.0)

    def _size(self) -> int:
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        room = int(have.get("CPU", 0) / self._plan.cpus) if self._plan.cpus else len(self._queue)
        if self._plan.gpus:
            room = min(room, int(have.get("GPU", 0) / self._plan.gpus))
        if self._plan.workers:  # a cluster that grows may have no room yet
            return self._plan.workers
        if not room:
            raise UsageError(
                f"the cluster has no room for a worker of {self._plan.cpus:g} CPUs "
                f"and {self._plan.gpus:g} GPUs"
            )
        return room

    def _fill(self) -> None:
        """Start as many workers as there is work for."""
        work = len(self._queue) + self._cuts.waiting + len(self._busy)
        while len(self._busy) + len(self._starting) < min(self._most, work):
            self._start()

    def _start(self) -> None:
        """Start a worker; it is given an asset when it is there, so that limits begin with work."""
        plan = self._plan
        # ranges are decoded on CPUs; a GPU takes an asset in one piece
        cut = self._most > 1 and self._settings.device == "cpu"
        seconds = plan.range_seconds if cut else 0.0
        worker: Any = self._actor.remote(
            self._ledger.out, self._settings, plan.bounds, plan.reports, seconds
        )
        self._starting[worker.ready.remote()] = worker

    def _ready(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            ray.get(reference)
        except RayError as error:
            self._stillborn += not cluster.node_died(error)
            if self._stillborn == _STILLBORN:
                raise UsageError(f"workers do not start: {error}") from error
            self._start()
        else:
            self._stillborn = 0
            self._hand_out(worker)

    def _hand_out(self, worker: Any) -> None:
        """Give a worker what comes next, or let it go."""
        limit = self._plan.bounds.seconds
        # under a limit, an asset is not joined before all of it is there: waiting would count
        job = self._cuts.ready(self._queue, 0 if limit else len(self._busy))
        if job is None and not self._queue:
            ray.kill(worker)
            return
        job = job or self._queue.popleft()
        # what cannot be joined is inspected anew, and has the limit again
        seconds = limit * (2 if job.parts else 1)
        deadline = time.monotonic() + seconds + _GRACE if limit else float("inf")
        self._busy[worker.work.remote(job)] = (worker, job, deadline)

    def _take(self, reference: Any) -> None:
        worker, job, _ = self._busy.pop(reference)
        done: Done | Cut | Measured | None = None
        try:
            done = ray.get(reference)
        except RayActorError as error:
            self._died(job, error)
            self._fill()
            return
        except RayTaskError as error:
            if isinstance(error.cause, FullError):
                raise FullError(str(error.cause)) from error
            self._fail(job, "error", f"{type(error.cause).__name__}: {error.cause}")
        except RayError as error:  # Ray's own watch over memory, among others
            ray.kill(worker)
            self._died(job, error)
            self._fill()
            return
        else:
            self._note(job, done)
        self._hand_out(worker)
        if isinstance(done, Cut):  # there is work for more of them now
            self._fill()

    def _note(self, job: Job, done: Done | Cut | Measured) -> None:
        """What a worker has done."""
        if isinstance(done, Done):
            self._count(done)
            self._over(job)
        elif isinstance(done, Cut):
            self._ledger.remove(f"pieces/{job.id}/given-up.json")  # of a run that broke off
            self._queue.extendleft(reversed(self._cuts.add(job, done.parts)))
        elif job.id not in self._cuts:  # its asset was finished without it
            self._drop_pieces(job)
        elif done.whole is not None:
            self._give_up(job, done.whole)
        else:
            self._cuts.measured(job)

    def _over(self, job: Job) -> None:
        """An asset is finished: nothing of it is wanted any more."""
        if job.id in self._cuts:
            self._queue = deque(one for one in self._queue if one.id != job.id)
            self._cuts.finish(job.id)
            self._drop_pieces(job)

    def _drop_pieces(self, job: Job) -> None:
        """Remove the pieces of an asset, unless one of them is still being written."""
        if all(other.id != job.id for _, other, _ in self._busy.values()):
            self._ledger.drop_pieces(job.id)

    def _give_up(self, job: Job, reason: str) -> None:
        """A range cannot be measured: its asset is inspected in one piece."""
        self._queue = deque(one for one in self._queue if one.id != job.id)
        if self._cuts.give_up(job, reason):
            name = f"pieces/{job.id}/given-up.json"
            self._ledger.write(name, json.dumps({"reason": reason}).encode())

    def _count(self, done: Done) -> None:
        state = self._state
        state.done += 1
        state.seconds += done.seconds
        state.defects += done.defects
        state.without += not done.examined

    def _is_written(self, job: Job) -> bool:
        """Whether an asset has its result although its worker is gone; it counts then."""
        unwritten = job.part is not None or job.again
        record = None if unwritten else self._ledger.read("results", job.id)
        if record is None:
            return False
        one = Record.model_validate(record).inspection
        self._over(job)
        self._count(Done.of(one) if one is not None else Done(0.0, 0, False))
        return True

    def _died(self, job: Job, error: RayError) -> None:
        """A worker is gone: its asset is tried once more, unless it was done or is too large."""
        self._session.check()  # with a Ray that has died all workers are, which is nobody's fault
        if job.part is not None and not self._cuts.wants(job):
            self._ledger.remove(f"working/{job.key}.json")
            if job.id not in self._cuts:
                self._drop_pieces(job)
            return
        if self._is_written(job):
            return
        working = self._ledger.read("working", job.key) or {}
        where = f"at {working.get('position', 0.0):.1f} s"
        if working.get("reason") == "memory_limit":
            limit = self._plan.bounds.megabytes
            self._fail(job, "memory_limit", f"over {limit:g} MB of memory {where}")
            return
        lost = cluster.node_died(error)
        next_try = replace(job, attempt=job.attempt + (not lost), lost=job.lost + lost)
        if next_try.attempt > _ATTEMPTS or next_try.lost > _LOST:
            times = f"{job.attempt} times" + (f", its machine {job.lost}" if job.lost else "")
            detail = f"its worker died {times}, the last time {where}: {cluster.why_died(error)}"
            self._fail(job, "worker_died", detail)
        elif job.id in self._cuts and job.part is None:
            self._cuts.again(next_try)
        else:
            self._queue.append(next_try)

    def _end_late(self) -> None:
        """Kill workers that are stuck: a native call cannot be cancelled."""
        now = time.monotonic()
        for reference, (worker, job, deadline) in list(self._busy.items()):
            if now > deadline:
                del self._busy[reference]
                ray.kill(worker)
                limit = self._plan.bounds.seconds
                if not self._is_written(job):  # else its page took too long
                    said = f"stuck, killed {_GRACE:g} s after its {limit:g} s"
                    self._fail(job, "time_limit", said)
                self._fill()

    def _fail(self, job: Job, reason: str, detail: str) -> None:
        if job.part is not None:
            self._ledger.remove(f"working/{job.key}.json")
            self._give_up(job, f"a range of it failed: {detail}")
            return
        self._state.failed += 1
        self._over(job)
        self._ledger.keep(
            Record(
                id=job.id, uri=job.uri, labels=job.labels, state="failed", reason=reason,
                detail=detail, attempts=job.tries,
            )
        )  # fmt: skip
