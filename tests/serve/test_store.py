"""Accepted inspections: each is done once, whoever dies; in SQLite and in PostgreSQL."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from serve import store as store_module
from serve.problems import ProblemError
from serve.store import Store, Wanted
from tests.databases import at_once


@pytest.fixture
def store(tmp_path, database):
    made = Store(tmp_path, database)
    yield made
    made.close()


def submit(
    store: Store, key: str | None = None, digest: str = "d", owner: str = "me", most=10, **more
):
    wanted = Wanted(name="x.mp4", uri="u", **more)
    return store.submit(owner, wanted, most=most, key=key, digest=digest)


def test_the_same_key_and_request_are_one_inspection(store):
    name, new = submit(store, "k")
    assert new
    assert submit(store, "k") == (name, False)
    assert submit(store)[0] != name
    assert submit(store, "k", owner="you")[0] != name
    with pytest.raises(ProblemError) as told:
        submit(store, "k", digest="other")
    assert (told.value.status, told.value.code) == (422, "idempotency_mismatch")


def test_a_key_has_a_quota(store):
    for _ in range(2):
        submit(store, most=2)
    with pytest.raises(ProblemError) as told:
        submit(store, most=2)
    assert (told.value.status, told.value.retry_after) == (429, 10)
    submit(store, owner="you", most=2)
    store.cancel(store.page("me", None, 1)[0]["id"])
    submit(store, most=2)


def test_work_of_the_dead_is_claimed_again_a_few_times(store, monkeypatch):
    now = time.time()
    monkeypatch.setattr(store_module, "time", SimpleNamespace(time=lambda: now))
    name, _ = submit(store, webhook="https://a.example/hook")
    for attempt in range(1, store_module.ATTEMPTS + 1):
        assert store.claim().name == name
        assert store.claim() is None  # it is somebody's now
        assert store.facts(name)["attempts"] == attempt
        now += store_module.LEASE + 0.1
    assert store.claim() is None
    facts = store.facts(name)
    assert (facts["state"], facts["problem"]["code"]) == ("failed", "worker_died")
    (message,) = store.due()  # that too is told
    assert json.loads(message.body)["type"] == "inspection.failed"


def test_what_is_cancelled_stays_so(store):
    name, _ = submit(store)
    claimed = store.claim()
    assert store.renew(claimed, 1.0, 4.0)
    assert store.facts(name)["progress"] == 0.25
    assert store.cancel(name)
    assert not store.renew(claimed, 2.0, 4.0)
    store.finish(claimed, result="{}")
    assert store.result(name) == ("cancelled", None)
    assert not store.cancel("nothing")


def test_what_is_over_is_forgotten_and_nothing_else(store):
    names = [submit(store)[0] for _ in range(4)]
    store.claim()
    store.cancel(names[2])
    assert store.prune(time.time() + 1) == [names[2]]
    assert store.facts(names[2]) is None
    assert store.prune(time.time() + 1) == []
    assert store.counts() == {"running": 1, "queued": 2}


def test_pages_go_back_in_time(store):
    names = [submit(store)[0] for _ in range(5)]
    first = store.page("me", None, 3)
    assert [row["id"] for row in first] == names[:1:-1]
    second = store.page("me", first[-1]["cursor"], 3)
    assert [row["id"] for row in second] == names[1::-1]
    assert store.page("you", None, 3) == []
    assert store.counts() == {"queued": 5}


def test_who_lost_an_inspection_does_not_speak_for_it(store, monkeypatch):
    monkeypatch.setattr(store_module, "LEASE", 0.05)
    name, _ = submit(store)
    slow = store.claim()
    time.sleep(0.06)
    other = store.claim()
    assert (other.name, other.attempt) == (name, 2)
    assert not store.renew(slow, 1.0, None)
    store.finish(slow, result="{}")
    assert store.result(name) == ("running", None)
    store.finish(other, result="{}")
    assert store.result(name) == ("done", "{}")


def test_a_runner_that_ends_costs_no_attempt(store):
    submit(store)
    for _ in range(store_module.ATTEMPTS + 1):
        claimed = store.claim()
        assert claimed.attempt == 1
        store.release(claimed)
    assert store.counts() == {"queued": 1}


def test_many_who_claim_at_once_get_each_inspection_once(store, tmp_path, database):
    names = {submit(store, most=100)[0] for _ in range(24)}
    got: list[str] = []

    def work() -> None:
        own = Store(tmp_path, database)
        while (claimed := own.claim()) is not None:
            got.append(claimed.name)
            own.finish(claimed, result="{}")
        own.close()

    at_once(work)
    assert sorted(got) == sorted(names)
    assert store.counts() == {"done": 24}


def test_a_message_is_one_senders_for_a_while(store, monkeypatch):
    store.submit(
        "me", Wanted(name="x", uri="u", webhook="https://a.example"), most=1, key=None, digest=""
    )
    store.finish(store.claim(), problem={"code": "c", "detail": "d"})
    (message,) = store.due()
    assert '"code": "c"' in message.body
    assert store.due() == []
    store.put_off(message.id, -1.0)
    (again,) = store.due()
    assert (again.id, again.attempts) == (message.id, 1)
    store.delivered(message.id)
    monkeypatch.setattr(store_module.time, "time", lambda: 1e12)
    assert store.due() == []
