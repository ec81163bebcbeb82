"""Listeners of one replica, and when replicas come and go."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from types import SimpleNamespace

import pytest

from serve import tail as tail_module
from serve.api import Door
from serve.config import Config
from serve.keys import ANYBODY
from serve.monitors import Monitors
from serve.tail import LateError, Tail


class Source:
    """What a tail asks."""

    def __init__(self):
        self.log = []
        self.states = [{"name": "a", "n": 0}]
        self.asked = 0

    def tell(self, stream="a"):
        self.log.append(stream)

    async def last(self):
        return len(self.log)

    async def since(self, number, seconds):
        self.asked += 1
        until = asyncio.get_running_loop().time() + seconds
        while len(self.log) <= number and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.01)
        return [(number + n + 1, s, f'"{s}"') for n, s in enumerate(self.log[number:])]

    async def monitors(self):
        return [dict(state) for state in self.states]

    def tail(self):
        return Tail(self.since, self.last, self.monitors)


async def heard(tail, count, after=None, kind="defect"):
    found = []
    async with aclosing(tail.listen(after)) as messages:
        async for message in messages:
            if message.event == kind:
                found.append(message)
                if len(found) == count:
                    break
    return found


async def exhausted(messages):
    async for _ in messages:
        pass


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_each_event_once_whenever_somebody_comes():
    async def listen():
        source = Source()
        for _ in range(5):
            source.tell()
        tail = source.tail()
        tasks = [
            asyncio.create_task(heard(tail, count, after))
            for count, after in ((8, 0), (5, 3), (3, None), (6, -3), (8, -99))
        ]
        await asyncio.sleep(0.2)
        for _ in range(3):
            source.tell()
            await asyncio.sleep(0.02)
        return [[m.number for m in found] for found in await asyncio.gather(*tasks)]

    every, some, new, last, all_of_them = run(listen())
    assert every == all_of_them == [1, 2, 3, 4, 5, 6, 7, 8]
    assert some == [4, 5, 6, 7, 8]
    assert new == [6, 7, 8]
    assert last == [3, 4, 5, 6, 7, 8]


def test_where_a_listener_begins_is_told_first():
    async def work():
        source = Source()
        for _ in range(3):
            source.tell()
        for after, number in ((None, 3), (1, 1), (-2, 1), (-9, 0)):
            async with aclosing(source.tail().listen(after)) as messages:
                first = await anext(messages)
            assert (first.event, first.number) == ("start", number)

    run(work())


def test_what_comes_while_following_begins_is_not_lost():
    async def listen():
        source = Source()
        good = source.last

        async def last():  # answers late, and of the moment at which it answers
            await asyncio.sleep(0.2)
            return await good()

        tail = Tail(source.since, last, source.monitors)
        task = asyncio.create_task(heard(tail, 2, after=0))
        for _ in range(2):
            await asyncio.sleep(0.12)
            source.tell()
        return await task

    assert [m.number for m in run(listen())] == [1, 2]


def test_states_are_told_when_they_change(monkeypatch):
    monkeypatch.setattr(tail_module, "_EVERY", 0.02)

    async def listen():
        source = Source()
        tail = source.tail()
        first = await heard(tail, 1, kind="monitors")
        task = asyncio.create_task(heard(tail, 2, kind="monitors"))
        await asyncio.sleep(0.1)
        source.states = [{"name": "a", "n": 0}, {"name": "b", "n": 1}]
        second = await task
        gone = asyncio.create_task(heard(tail, 1, kind="gone"))
        await asyncio.sleep(0.1)
        source.states = [{"name": "b", "n": 1}]
        return first, second, await gone

    first, second, gone = run(listen())
    assert json.loads(first[0].data) == [{"name": "a", "n": 0}]
    assert json.loads(second[1].data) == [{"name": "b", "n": 1}]  # what has not changed is not told
    assert json.loads(gone[0].data) == ["a"]


def test_who_does_not_listen_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(tail_module, "_LAG", 10)

    async def listen():
        source = Source()
        tail = source.tail()
        slow = tail.listen(None)
        waiting = asyncio.ensure_future(anext(slow))
        quick = asyncio.create_task(heard(tail, 100))
        await asyncio.sleep(0.1)
        for _ in range(100):
            source.tell()
            await asyncio.sleep(0.001)
        found = await quick
        await waiting
        with pytest.raises(LateError):
            await exhausted(slow)
        return found

    assert [m.number for m in run(listen())] == list(range(1, 101))


def test_nobody_is_asked_when_nobody_listens():
    async def listen():
        source = Source()
        tail = source.tail()
        task = asyncio.create_task(heard(tail, 1))
        await asyncio.sleep(0.1)
        source.tell()
        await task
        await asyncio.sleep(0.1)
        asked = source.asked
        source.tell()
        await asyncio.sleep(0.2)
        return asked, source.asked

    before, after = run(listen())
    assert before == after


def test_a_source_that_fails_is_asked_again(monkeypatch):
    monkeypatch.setattr(tail_module, "_AGAIN", 0.01)

    async def listen():
        source = Source()
        tail = source.tail()
        good, broken = source.since, True

        async def since(number, seconds):
            if broken and seconds:
                raise RuntimeError
            return await good(number, seconds)

        tail._since = since
        task = asyncio.create_task(heard(tail, 1))
        await asyncio.sleep(0.1)
        source.tell()
        await asyncio.sleep(0.1)
        broken = False
        return await task

    assert [m.number for m in run(listen())] == [1]


def test_who_was_told_much_has_to_come_again_and_misses_nothing(tmp_path):
    """What Serve keeps for a listener that does not read has a bound."""
    source = Source()

    def remote(call):
        return SimpleNamespace(remote=call)

    watching = SimpleNamespace(
        since=remote(source.since), last=remote(source.last), monitors=remote(source.monitors)
    )
    # the data of `start` are four bytes, those of each event three
    config = Config(data=tmp_path, listener_bytes=12)
    monitors = Monitors(config, Door(None), watching, None)

    async def told(after):
        found, messages = [], monitors._messages(None, after, False, ANYBODY)
        with suppress(LateError):
            while True:
                found.append((await anext(messages)).number)
        return found[1:]  # the first says where it begins

    async def listen():
        for _ in range(6):
            source.tell()
        first = await told(0)
        return first, await told(first[-1])

    assert run(listen()) == ([1, 2, 3], [4, 5, 6])
    assert not monitors._listening.total()
