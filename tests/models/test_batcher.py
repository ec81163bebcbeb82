"""Requests of many threads share batches, and none waits for who is silent."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from models import batcher
from models.batcher import Batcher, made_once

pytestmark = pytest.mark.timeout(60)
NEVER = 3600.0  # seconds: a test that has to wait for it fails


class Model:
    """Doubles numbers, and remembers its batches."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, asked):
        self.go.wait()
        self.batches.append(list(asked))
        if "bad" in asked:
            raise ValueError("no number")
        return [2 * one for one in asked]


def test_a_thread_that_is_alone_never_waits():
    model = Model()
    batcher = Batcher(model, most=8, wait=NEVER)
    assert [batcher.ask(n) for n in range(5)] == [0, 2, 4, 6, 8]
    assert model.batches == [[0], [1], [2], [3], [4]]


def test_threads_share_batches_that_are_no_larger_than_allowed():
    model = Model()
    batcher = Batcher(model, most=4, wait=0.02)
    together = threading.Barrier(8)

    def stream(number):
        answers = []
        for n in range(20):
            together.wait()
            answers.append(batcher.ask(100 * number + n))
        return answers

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stream, range(8)))
    assert answers == [[2 * (100 * s + n) for n in range(20)] for s in range(8)]
    assert sum(map(len, model.batches)) == 160
    sizes = {len(batch) for batch in model.batches}
    assert max(sizes) == 4
    assert sizes <= {1, 2, 4}
    # each stream is in a batch once at most: none has more than its share
    for batch in model.batches:
        assert len({one // 100 for one in batch}) == len(batch)


def test_of_what_waits_a_batch_takes_a_power_of_two():
    model = Model()
    shared = Batcher(model, most=8, wait=0.0)
    model.go.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(shared.ask, 0)
        while not shared._led:
            time.sleep(0.001)
        asked = [pool.submit(shared.ask, n) for n in range(1, 8)]
        while len(shared._waiting) < 7:
            time.sleep(0.001)
        model.go.set()
        assert [one.result() for one in (first, *asked)] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert [len(batch) for batch in model.batches] == [1, 4, 2, 1]


def test_a_stream_that_falls_silent_holds_nobody_up(monkeypatch):
    model = Model()
    shared = Batcher(model, most=8, wait=0.05)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(shared.ask, 1).result()  # another thread, which asks no more
        assert shared.ask(2) == 4  # waits for it, but not for long
    monkeypatch.setattr(batcher, "RECENT", 0.0)
    lonely = Batcher(model, most=8, wait=NEVER)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lonely.ask, 1).result()
        assert lonely.ask(3) == 6  # what asked long ago is not expected


def test_what_comes_while_the_model_runs_is_the_next_batch():
    model = Model()
    shared = Batcher(model, most=8, wait=0.01)
    model.go.clear()
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(shared.ask, n) for n in range(5)]
        while len(shared._threads) < 5:
            time.sleep(0.001)
        model.go.set()
        assert sorted(one.result() for one in asked) == [0, 2, 4, 6, 8]
    assert len(model.batches) < 5
    assert not shared._waiting


def test_a_request_that_fails_fails_alone():
    model = Model()
    shared = Batcher(model, most=4, wait=NEVER)
    together = threading.Barrier(4)

    def ask(asked):
        shared._threads.update({n: float("inf") for n in range(4)})  # all four are expected
        together.wait()
        return shared.ask(asked)

    with ThreadPoolExecutor(4) as pool:
        good, bad, other, last = (pool.submit(ask, asked) for asked in (1, "bad", 3, 4))
        assert (good.result(), other.result(), last.result()) == (2, 6, 8)
        with pytest.raises(ValueError, match="no number"):
            bad.result()
    assert len(model.batches[0]) == 4
    assert sorted(map(len, model.batches[1:])) == [1, 1, 1, 1]
    shared._threads.clear()
    assert shared.ask(5) == 10


def test_threads_that_ask_first_at_once_share_one():
    together, made = threading.Barrier(4), []

    @made_once
    def shared(key):
        made.append(key)
        time.sleep(0.05)  # the others ask meanwhile
        return object()

    def ask(key):
        together.wait()
        return shared(key)

    with ThreadPoolExecutor(4) as pool:
        one, same, other, another = pool.map(ask, ("cpu", "cpu", "cuda", "cpu"))
    assert one is same is another is not other
    assert sorted(made) == ["cpu", "cuda"]


def test_what_could_not_be_made_is_tried_again():
    outcomes = [OSError("no weights"), "a net"]

    @made_once
    def shared(_):
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    with pytest.raises(OSError, match="no weights"):
        shared("cpu")
    assert shared("cpu") == "a net"
