"""The coordinator with made-up workers: who watches what, whoever dies."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.errors import WorkersError
from pipeline.live.coordinator import SPARE_FOR, Coordinator
from pipeline.live.store import Store
from pipeline.live.streams import Pool
from tests.live.crew import FakeCrew
from tests.live.test_store import event, stream


class Desk:
    """A coordinator with its store and crew."""

    def __init__(self, folder, crew, names=(), *, standby=1, most=0, pools=None):
        self.crew, self.store = crew, Store(folder)
        self.told = []
        for name in names:
            self.store.add(stream(name))
        self.coordinator = Coordinator(
            self.store, crew, pools or {"default": Pool()}, [self], standby=standby, most=most,
            clock=crew.clock,
        )  # fmt: skip

    def take(self, events):
        self.told += events

    def run(self, seconds, step=0.5):
        for _ in range(round(seconds / step)):
            self.coordinator.step()
            self.crew.now += step


@pytest.fixture
def crew():
    return FakeCrew()


@pytest.fixture
def desk(tmp_path, crew):
    made = []

    def make(names=(), *, crew=crew, **more):
        made.append(Desk(tmp_path, crew, names, **more))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


NAMES = [f"s{n}" for n in range(10)]


def test_all_streams_are_watched_and_one_worker_stands_by(desk, crew):
    one = desk(NAMES)
    one.run(12)
    assert sorted(crew.watching()) == sorted(NAMES)
    busy = set(crew.watching().values())
    assert len(busy) == 5  # 0.3 CPUs each, 0.85 of a CPU a worker
    assert len(crew.hands) == 6
    assert all(worker.load <= 0.85 for worker in one.coordinator.workers)


def test_streams_of_a_dead_worker_are_watched_again_at_once(desk, crew):
    one = desk(NAMES)
    one.run(12)
    victim = crew.watching()["s3"]
    opened = event("opened", "s3")
    crew.events[victim] = [opened]
    one.run(1)
    crew.kill(victim)
    one.run(1)  # the one that stood by has taken over
    assert sorted(crew.watching()) == sorted(NAMES)
    assert crew.hands[crew.watching()["s3"]].resumed["s3"] == [opened]
    one.run(10)
    assert len(crew.hands) == 6  # somebody stands by again


def test_who_takes_over_knows_what_was_over_a_moment_ago(desk, crew):
    one = desk(["s0", "s1"])
    one.run(12)
    victim = crew.watching()["s0"]
    now = crew.now
    over = event("closed", "s0", now - 3, now - 2, outcome="ended")
    long_ago = event("closed", "s0", now - 999, now - 998, "e0", outcome="ended")
    crew.events[victim] = [long_ago, over]
    one.run(1)
    crew.kill(victim)
    one.run(1)
    hand = crew.hands[crew.watching()["s0"]]
    assert (hand.resumed["s0"], hand.resumed["s1"]) == ([over], [])


def test_what_a_worker_says_twice_is_told_once(desk, crew):
    one = desk(["s0"])
    one.run(6)
    worker = crew.watching()["s0"]
    for _ in range(2):
        crew.events[worker] = [event("opened", "s0")]
        one.run(1)
    assert [e.change for e in one.told] == ["opened"]


def test_a_killer_among_others_is_found_and_put_in_quarantine(desk, crew):
    names = [f"s{n}" for n in range(6)]
    one = desk(names)
    one.run(12)
    deaths = 0
    while one.store.streams()["s2"].quarantined is None:
        assert deaths < 6
        if "s2" in crew.watching():
            crew.kill(crew.watching()["s2"])
            deaths += 1
        one.run(8)
    others = sorted(set(names) - {"s2"})
    assert sorted(crew.watching()) == others
    assert [name for name, known in one.store.streams().items() if known.quarantined] == ["s2"]
    assert [e.kind for e in one.told if e.stream == "s2"] == ["outage"]
    one.store.pardon("s2")
    one.run(8)
    assert sorted(crew.watching()) == sorted(names)


def test_a_killer_is_found_where_there_is_room_for_few_workers(desk):
    """Twenty streams of one worker, and a cluster that has room for three."""
    crew = FakeCrew(room=3)
    crew.cost = {f"s{n}": 0.04 for n in range(20)}
    one = desk(sorted(crew.cost), crew=crew, most=2)
    one.run(30)
    assert len(set(crew.watching().values())) < 3
    unwatched = deaths = 0
    while one.store.streams()["s7"].quarantined is None:
        assert deaths < 12
        if "s7" in crew.watching():
            crew.kill(crew.watching()["s7"])
            deaths += 1
        for _ in range(20):
            one.run(0.5)
            unwatched = 0 if len(crew.watching()) >= 19 else unwatched + 1
            assert unwatched < 24  # 12 s
    one.run(60)
    assert sorted(crew.watching()) == sorted(set(crew.cost) - {"s7"})
    held = [name for name, known in one.store.streams().items() if known.quarantined]
    assert held == ["s7"]
    one.run(60)
    assert len(crew.hands) <= 3  # nobody is kept for suspects that are none


@pytest.mark.parametrize("seed", range(8))
def test_several_killers_are_found_one_by_one(desk, seed):
    """Three of sixteen kill within 5 to 40 s; the cluster has room for four workers."""
    draw = random.Random(seed)
    crew = FakeCrew(room=4)
    crew.cost = {f"s{n}": 0.05 for n in range(16)}
    one = desk(sorted(crew.cost), crew=crew, most=3)
    one.run(30)
    killers = {"s2", "s9", "s13"}
    due: dict[str, float] = {}
    for _ in range(2 * 2400):
        watching = crew.watching()
        for name in killers & watching.keys():
            if crew.now > due.setdefault(name, crew.now + draw.uniform(5, 40)):
                del due[name]
                crew.kill(crew.watching()[name])
                break
        one.run(0.5)
        held = {name for name, known in one.store.streams().items() if known.quarantined}
        if held == killers:
            break
        assert held < killers
    assert held == killers
    one.run(60)
    assert sorted(crew.watching()) == sorted(set(crew.cost) - killers)


def test_both_workers_for_suspects_die_at_once(desk, crew):
    """As where the same breaks both: nobody is let go for the death of the other."""
    one = desk(["s0", "s1", "s2", "s3"])
    crew.cost = dict.fromkeys(["s0", "s1", "s2", "s3"], 0.1)
    one.run(40)
    while len(set(crew.watching().values())) > 1:  # all of them at one
        one.run(10)
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(12)
    apart = set(crew.watching().values())
    assert len(apart) == 2
    for worker in apart:
        crew.kill(worker)
    one.run(12)
    assert sorted(crew.watching()) == ["s0", "s1", "s2", "s3"]
    assert {one.store.streams()[name].deaths for name in crew.watching()} == {3}
    assert len(set(crew.watching().values())) == 2


def test_suspects_are_apart_also_where_there_is_room_for_no_worker_more(desk):
    crew = FakeCrew(room=1)
    one = desk(["s0", "s1"], crew=crew, most=1, standby=0)
    one.run(12)
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(30)
        assert sorted(crew.watching()) == ["s0", "s1"]


def test_the_next_coordinator_knows_who_is_suspect(desk, crew):
    one = desk(["s0", "s1", "s2"])
    one.run(12)
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(8)
    both = {name for name in ("s0", "s1", "s2") if one.store.streams()[name].deaths == 2}
    assert "s0" in both
    one.coordinator.close()
    two = desk()
    two.run(12)
    assert sorted(crew.watching()) == ["s0", "s1", "s2"]
    others = {crew.watching()[name] for name in {"s0", "s1", "s2"} - both}
    assert not others & {crew.watching()[name] for name in both}


def test_a_suspect_that_is_removed_leaves_no_worker_behind(desk, crew):
    one = desk(["s0", "s1"])
    one.run(12)
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(8)
    one.store.remove("s0")
    one.store.remove("s1")
    one.run(30)
    assert len(crew.hands) == 1  # the one that stands by


def test_quarantine_is_an_outage_that_lasts(desk, crew):
    one = desk(["s0"])
    one.run(8)
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(8)
    one.run(60)
    (outage,) = one.store.standing("s0")
    assert 55 < (outage.end - outage.start).total_seconds() < 70
    one.coordinator.close()
    two = desk()
    two.run(30)
    (again,) = two.store.standing("s0")
    assert (again.id, again.start) == (outage.id, outage.start)
    assert 85 < (again.end - again.start).total_seconds() < 100
    (row,) = two.store.rollup("cdn", 60, crew.now)
    assert (row["kind"], row["share"]) == ("outage", 1.0)
    two.store.remove("s0")
    two.run(10)
    assert two.store.standing("s0") == []


def test_one_that_was_there_by_chance_is_not_put_in_quarantine(desk, crew):
    one = desk([f"s{n}" for n in range(4)])
    one.run(12)
    crew.kill(crew.watching()["s0"])
    one.run(8)
    crew.kill(crew.watching()["s0"])  # and whoever is with it now
    one.run(8)
    assert sorted(crew.watching()) == ["s0", "s1", "s2", "s3"]


def test_one_that_was_there_by_chance_may_lose_a_worker_of_its_own(desk, crew):
    one = desk(["s0", "s1"])
    one.run(12)
    for _ in range(3):  # two that it shares, and one that it has alone
        crew.kill(crew.watching()["s0"])
        one.run(8)
    assert sorted(crew.watching()) == ["s0", "s1"]
    crew.kill(crew.watching()["s0"])
    one.run(8)
    assert list(crew.watching()) == ["s1"]
    assert one.store.streams()["s0"].quarantined


def test_machines_that_die_put_nobody_in_quarantine(desk, crew):
    one = desk(["s0"])
    one.run(8)
    for _ in range(4):
        crew.kill(crew.watching()["s0"], with_machine=True)
        one.run(10)
        assert list(crew.watching()) == ["s0"]
    assert one.store.streams()["s0"].quarantined is None
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(10)
    assert one.store.streams()["s0"].quarantined


def test_a_suspect_that_behaves_is_free_after_a_while(desk, crew):
    one = desk(["s0", "s1"])
    one.run(8)
    for _ in range(2):
        crew.kill(crew.watching()["s0"])
        one.run(8)
    assert len(set(crew.watching().values())) == 2  # each alone
    one.run(700, step=1.0)
    assert sorted(crew.watching()) == ["s0", "s1"]
    assert len(crew.hands) == 2  # one for both and one that stands by
    assert not [n for n, known in one.store.streams().items() if known.quarantined]


def test_an_overloaded_worker_is_relieved(desk, crew):
    one = desk(["s0", "s1"])
    one.run(8)
    assert len(set(crew.watching().values())) == 1
    worker = crew.watching()["s0"]
    for name in ("s0", "s1"):
        crew.hands[worker].streams[name] = 0.7
    one.run(15)
    assert len(set(crew.watching().values())) == 2
    assert all(load.load <= 0.85 for load in one.coordinator.workers)


class TellsLate(FakeCrew):
    """A crew whose workers have something to say of each stream that they leave."""

    def leave(self, worker, stream):
        super().leave(worker, stream)
        self.events.setdefault(worker, []).append(event("opened", stream, identity=f"of {stream}"))


def test_who_goes_on_knows_what_was_seen_last(desk):
    crew = TellsLate()
    one = desk(["s0", "s1"], crew=crew)
    one.run(8)
    (worker,) = set(crew.watching().values())
    for name in ("s0", "s1"):
        crew.hands[worker].streams[name] = 0.7
    one.run(10)
    (moved,) = [name for name, by in crew.watching().items() if by != worker]
    resumed = crew.hands[crew.watching()[moved]].resumed[moved]
    assert [open_.id for open_ in resumed] == [f"of {moved}"]


def test_a_stream_that_is_handed_over_is_not_lost_with_either_worker(desk, crew):
    one = desk(["s0", "s1"])
    one.run(8)
    (worker,) = set(crew.watching().values())
    for name in ("s0", "s1"):
        crew.hands[worker].streams[name] = 0.7
    while not one.coordinator._booked:
        one.run(0.5)
    (to,) = one.coordinator._booked.values()
    for dies in (to, worker):
        crew.kill(dies)
        one.run(10)
        assert sorted(crew.watching()) == ["s0", "s1"]
        assert not one.coordinator._booked


def test_what_is_changed_goes_on_with_what_was_open(desk):
    crew = TellsLate()
    one = desk(["s0"], crew=crew)
    one.run(8)
    one.store.add(stream("s0", cdn="a"))
    one.run(3)
    (open_,) = crew.hands[crew.watching()["s0"]].resumed["s0"]
    assert open_.id == "of s0"
    one.store.remove("s0")
    one.run(3)
    assert not crew.watching()
    assert not one.store.standing()


def test_the_last_words_of_workers_are_kept_when_it_ends(desk, crew):
    one = desk(["s0"])
    one.run(8)
    crew.events[crew.watching()["s0"]] = [event("opened", "s0")]
    one.coordinator.close()
    assert [e.change for e in one.told] == ["opened"]
    assert not crew.hands


def test_what_streams_cost_is_known_to_the_next(desk, crew):
    crew.cost = {"s0": 0.6, "s1": 0.6}
    one = desk(["s0", "s1"])
    one.run(20)
    one.coordinator.close()
    crew.now += 5.0
    two = desk(["s0", "s1"])
    two.run(6)
    assert len(set(crew.watching().values())) == 2


def test_workers_without_need_are_let_go(desk, crew):
    one = desk(NAMES)
    one.run(12)
    for name in NAMES[1:]:
        one.store.remove(name)
    one.run(2 * SPARE_FOR + 20)
    assert list(crew.watching()) == ["s0"]
    assert len(crew.hands) == 2


def test_no_more_workers_than_allowed(desk, crew):
    one = desk(NAMES, most=2)
    one.run(40)
    assert sorted(crew.watching()) == sorted(NAMES)
    assert len(crew.hands) == 2


def test_pools_have_their_own_workers(tmp_path, crew):
    one = Desk(tmp_path, crew, pools={"default": Pool(), "big": Pool(cpus=4.0)})
    one.store.add(stream("a"))
    one.store.add(stream("b").model_copy(update={"pool": "big"}))
    one.store.add(stream("c").model_copy(update={"pool": "gone"}))
    one.run(8)
    assert sorted(crew.watching()) == ["a", "b"]
    pools = {worker.name: worker.pool for worker in one.coordinator.workers}
    assert pools[crew.watching()["b"]] == "big"
    one.store.close()


def test_the_next_coordinator_goes_on(desk, crew):
    one = desk(NAMES)
    one.run(12)
    crew.events[crew.watching()["s1"]] = [event("opened", "s1")]
    one.run(1)
    one.coordinator.close()
    assert not crew.hands
    two = desk()
    two.run(12)
    assert sorted(crew.watching()) == sorted(NAMES)
    assert [e.id for e in crew.hands[crew.watching()["s1"]].resumed["s1"]] == ["e1"]


def test_a_worker_that_dies_as_all_ends_holds_nothing_up(desk, crew):
    one = desk(["s0", "s1"])
    one.run(12)
    crew.kill(crew.watching()["s0"])
    one.coordinator.close()
    assert not crew.hands


def test_a_stream_that_is_removed_closes_what_was_open(desk, crew):
    one = desk(["s0"])
    one.run(6)
    crew.events[crew.watching()["s0"]] = [event("opened", "s0")]
    one.run(1)
    one.store.remove("s0")
    one.run(1)
    assert not crew.watching()
    assert [(e.change, e.outcome) for e in one.told] == [("opened", None), ("closed", "lost")]


def test_workers_that_do_not_start_end_it(desk, crew):
    crew.broken = True
    one = desk(["s0"])
    with pytest.raises(WorkersError, match="workers do not start"):
        one.run(60)


def test_workers_that_do_not_start_for_a_while_are_tried_again_ever_more_seldom(desk, crew):
    one = desk(["s0"])
    one.run(12)
    crew.broken = True
    for worker in list(crew.hands):
        crew.kill(worker)
    crew.hired.clear()
    one.run(600)
    assert not crew.watching()
    waits = np.diff(crew.hired)
    assert len(waits) > 8  # two at a time: one of them to stand by
    assert 60 < waits.max() < 60 + crew.starts_in + 1
    crew.broken = False
    one.run(60 + 2 * crew.starts_in)
    assert list(crew.watching()) == ["s0"]


@pytest.mark.slow
def test_deaths_at_random_leave_nobody_unwatched(desk, crew):
    draw = random.Random(7)
    one = desk([f"s{n}" for n in range(40)], standby=3)
    one.run(12)
    for _ in range(10):
        crew.kill(draw.choice(sorted(set(crew.watching().values()))))
        one.run(10)
        assert len(crew.watching()) == 40
        one.run(700, step=10.0)  # deaths are forgotten: these are the machines' fault
    assert not [n for n, known in one.store.streams().items() if known.quarantined]
