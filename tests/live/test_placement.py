"""Streams find workers by what they cost."""

from __future__ import annotations

import pytest

from pipeline.live.placement import GUESS, ROOM, Placement


@pytest.fixture
def two():
    placement = Placement(1.0)
    placement.joined("a")
    placement.joined("b")
    return placement


def fill(placement, costs):
    for name, cost in costs.items():
        placement.measured(name, cost)
        placement.place(name)


def test_one_worker_is_filled_before_the_idle_one_is_used(two):
    fill(two, {"x": 0.4, "y": 0.4})
    assert two.where("x") == two.where("y")
    assert len(two.idle) == 1
    fill(two, {"z": 0.4})
    assert two.where("z") != two.where("x")


def test_without_room_a_stream_waits_or_is_squeezed_in(two):
    fill(two, {"x": 0.8, "y": 0.8})
    two.measured("z", 0.3)
    assert two.place("z") is None
    assert two.place("z", crowd=True) in ("a", "b")


def test_a_stream_too_large_for_any_worker_has_one_to_itself(two):
    fill(two, {"x": 0.2})
    two.measured("uhd", 1.6)
    assert two.place("uhd") != two.where("x")


def test_an_unmeasured_stream_is_taken_for_an_average_one(two):
    assert two.cost("x") == GUESS
    fill(two, {"x": 0.1, "y": 0.2})
    assert two.cost("z") == pytest.approx(0.15)


def test_an_overloaded_worker_gives_up_what_is_enough(two):
    fill(two, {"x": 0.3, "y": 0.3, "z": 0.2})
    assert two.relief() is None
    two.measured("x", 0.7)
    worker = two.where("x")
    stream, old, new = two.relief()
    # 0.35 is over the room: y is too small, x is the smallest that is enough
    assert (stream, old) == ("x", worker)
    assert new != worker
    assert two.where("x") == new
    assert two.relief() is None
    assert two.load(old) <= ROOM


def test_nothing_moves_where_no_worker_has_room(two):
    fill(two, {"x": 0.8, "y": 0.5})
    fill(two, {"z": 0.3})
    two.measured("z", 0.7)
    before = {name: two.where(name) for name in "xyz"}
    assert two.relief() is None
    assert {name: two.where(name) for name in "xyz"} == before


def test_what_a_dead_worker_watched_is_known(two):
    fill(two, {"x": 0.4, "y": 0.4})
    dead = two.where("x")
    assert sorted(two.left(dead)) == ["x", "y"]
    assert two.where("x") is None
    assert two.place("x") not in (dead, None)


def test_workers_are_lacking_by_what_waits():
    placement = Placement(1.0)
    for name in "abcd":
        placement.measured(name, 0.5)
    assert placement.lacking("abcd") == 3  # 2.0 CPUs at 0.85 a worker
    placement.joined("w")
    assert placement.lacking("a") == 0
    assert placement.lacking("abcd") == 2


def test_a_worker_is_spare_when_the_others_have_room(two):
    fill(two, {"x": 0.6, "y": 0.6})
    assert two.spare() is None
    two.measured("x", 0.1)
    two.measured("y", 0.2)
    assert two.spare() == two.where("x")


def test_suspects_are_kept_from_the_others():
    placement = Placement(1.0)
    placement.joined("common")
    assert placement.confine("killer", 1) is None
    placement.joined("cell", alone=True)
    assert placement.confine("killer", 1) == "cell"
    assert placement.apart("killer") == "cell"
    assert placement.confine("second", 1) is None
    assert placement.confine("second", 2) == "cell"
    assert placement.place("other") == "common"
    assert placement.apart("other") is None
    assert placement.idle == []


def no_guilt(_):
    return (0,)


def test_suspects_are_spread_over_their_workers():
    placement = Placement(1.0)
    placement.joined("first", alone=True)
    for n in range(5):
        placement.confine(f"s{n}", 5)
    assert placement.spread(3, no_guilt) is None
    placement.joined("second", alone=True)
    moves = [placement.spread(3, lambda name: (int(name[1:]),)) for _ in range(3)]
    assert moves == [("s4", "first", "second"), ("s3", "first", "second"), None]
    assert placement.secluded == ["first", "second"]


def test_one_suspect_after_the_other_is_alone():
    placement = Placement(1.0)
    placement.joined("first", alone=True)
    assert placement.confine("s0", None) == "first"
    assert placement.confine("s1", None) is None  # not with the one that is to be alone
    placement.joined("second", alone=True)
    places = {name: placement.confine(name, None) for name in ("s1", "s2", "s3")}
    assert places["s1"] == "second"
    assert places["s2"] == places["s3"]
    assert placement.spread(None, no_guilt) is None
    (alone,) = placement.streams(placement.secluded[-1])
    placement.remove(alone)  # it is none: the next one
    moved = placement.spread(None, lambda name: (name == "s3",))
    assert moved == ("s3", places["s3"], placement.where("s3"))
    assert placement.streams(moved[2]) == ["s3"]


def test_a_crowded_worker_for_suspects_gives_none_of_them_to_others():
    placement = Placement(1.0)
    placement.joined("common")
    placement.joined("cell", alone=True)
    for name in ("a", "b", "c"):
        placement.measured(name, 0.5)
        placement.confine(name, 3)
    assert placement.relief() is None
