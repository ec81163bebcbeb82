"""Frames as tensors: what is read of a request, and how requests share a batch, without Ray."""

from __future__ import annotations

import asyncio
import io
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from starlette.requests import Request

from models.frames import Maps
from serve import asking
from serve.api import Door
from serve.config import Config
from serve.frames import Frames, frames_of
from serve.keys import ANYBODY, Keys, make_key
from serve.problems import ProblemError


def _body_of(count: int) -> bytearray:
    out = io.BytesIO()
    np.save(out, np.zeros((count, 32, 32), np.uint8))
    return bytearray(out.getvalue())


def _asking(body: bytes, rest: float = 0.0, key: str = "") -> Request:
    """A request whose body comes at once but for its last byte, which comes later."""
    parts = [bytes(body[:-1]), bytes(body[-1:])]
    headers = [(b"content-type", b"application/x-npy"), (b"host", b"localhost")]
    headers += [(b"authorization", f"Bearer {key}".encode())] if key else []

    async def receive():
        if len(parts) == 1:
            await asyncio.sleep(rest)
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    return Request(scope, receive)


def test_frames_that_are_held_are_counted_until_they_are_scored(tmp_path, monkeypatch):
    """Whoever asks for more meanwhile is told to come back, and whoever goes away frees nothing."""
    four = Config(data=tmp_path, samples_waiting=4 * 64 * 64)  # as the net sees frames of 32x32
    frames = Frames(four, Door(None), CollectorRegistry())
    going = threading.Event()

    async def slow(one):  # Serve makes batches inside its replicas alone
        assert await asyncio.to_thread(going.wait, 10)
        return np.zeros((len(one), 2, 2, 2), np.float32)

    monkeypatch.setattr(frames, "_as_batch", slow)

    async def run():
        first = asyncio.create_task(frames._worked(_body_of(3), ANYBODY))
        while not frames._held:
            await asyncio.sleep(0.01)
        with pytest.raises(ProblemError) as busy:
            await frames._worked(_body_of(2), ANYBODY)
        assert (busy.value.status, busy.value.code) == (429, "busy")
        assert busy.value.retry_after >= 1
        with pytest.raises(ProblemError) as large:
            await frames._worked(_body_of(5), ANYBODY)
        assert large.value.status == 413
        gone = asyncio.create_task(frames.score_frames(_asking(_body_of(1))))
        while frames._held < 4 * 64 * 64:
            await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.05)
        assert gone.cancelled()
        assert frames._held == 4 * 64 * 64
        going.set()
        assert (await first).shape == (3, 2, 2, 2)
        await asyncio.gather(*frames._works)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert frames._held == 0


def test_bodies_that_come_slowly_are_held_for_a_while_and_by_a_key_in_part(tmp_path, monkeypatch):
    """A key may hold half of what a replica does, and what pauses is refused."""
    monkeypatch.setattr(asking, "_PAUSE", 0.5)
    path = tmp_path / "keys.json"
    one, other = (make_key(path, name, ["submit"]) for name in ("one", "other"))
    body = _body_of(1)
    config = Config(data=tmp_path, max_upload_bytes=len(body))
    frames = Frames(config, Door(Keys(path)), CollectorRegistry())

    async def done(asked):
        return np.zeros((len(asked), 2, 2, 2), np.float32)

    monkeypatch.setattr(frames, "_as_batch", done)

    async def run():
        stalled = [
            asyncio.create_task(frames.score_frames(_asking(body, 60.0, one))) for _ in range(2)
        ]
        await asyncio.sleep(0.1)
        for _ in range(2):
            with pytest.raises(ProblemError) as quota:
                await frames.score_frames(_asking(body, 0.0, one))
            assert (quota.value.status, quota.value.code) == (429, "quota")
        assert (await frames.score_frames(_asking(body, 0.0, other))).status_code == 200
        for task in stalled:
            with pytest.raises(ProblemError) as slow:
                await task
            assert (slow.value.status, slow.value.code) == (408, "too_slow")
        assert (await frames.score_frames(_asking(body, 0.0, one))).status_code == 200

    asyncio.run(asyncio.wait_for(run(), 30))
    assert not frames._bytes.total()


class _Net:
    """Fails on frames that are white, or that come with a white one."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self.seen: list[int] = []

    def run(self, frames):
        self.seen.append(len(frames))
        if any(frame.luma.min() == 255 for frame in frames):
            raise self._error("no")
        return [Maps(np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)) for _ in frames]


class _OutOfMemoryError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(RuntimeError, 500, "internal_error"), (_OutOfMemoryError, 503, "out_of_memory")],
)
def test_one_request_that_fails_fails_alone(tmp_path, monkeypatch, error, status, code):
    frames = Frames(Config(data=tmp_path), Door(None), CollectorRegistry())
    net = _Net(error)
    monkeypatch.setattr(frames, "_net", lambda: net)
    good = frames_of(_body_of(2))
    bad = [replace(frame, luma=np.full_like(frame.luma, 255)) for frame in frames_of(_body_of(3))]
    first, second, third = frames._run_net([good, bad, good])
    assert first.shape == third.shape == (2, 2, 2, 2)
    assert (second.status, second.code) == (status, code)
    assert net.seen == [7, 2, 3, 2]  # all together, and each alone
    assert frames._running is None

    async def batched(one):
        return frames._run_net([one])[0]

    monkeypatch.setattr(frames, "_as_batch", batched)
    monkeypatch.setattr("serve.frames.frames_of", lambda _: bad)
    with pytest.raises(ProblemError) as told:
        asyncio.run(frames._worked(_body_of(3), ANYBODY))
    assert told.value.code == code
    assert frames._held == 0


def test_a_net_that_is_stuck_ends_the_wait_and_then_the_replica(tmp_path, monkeypatch):
    config = Config(data=tmp_path, frames_seconds=0.2)
    frames = Frames(config, Door(None), CollectorRegistry())
    going = threading.Event()

    class Stuck:
        def run(self, some):
            assert going.wait(20)
            return [Maps(*np.zeros((2, 2, 2), np.float32)) for _ in some]

    async def batched(one):
        return (await asyncio.to_thread(frames._run_net, [one]))[0]

    monkeypatch.setattr(frames, "_net", Stuck)
    monkeypatch.setattr(frames, "_as_batch", batched)

    async def run():
        frames.frames_health()
        with pytest.raises(ProblemError) as told:
            await frames.score_frames(_asking(_body_of(1)))
        assert (told.value.status, told.value.code) == (503, "time_limit")
        assert frames._held  # it is not done
        while True:
            try:
                frames.frames_health()
            except RuntimeError:
                break
            await asyncio.sleep(0.05)
        going.set()
        await asyncio.gather(*frames._works)

    asyncio.run(asyncio.wait_for(run(), 30))
    frames.frames_health()
    assert (frames._held, frames._bytes.total()) == (0, 0)


def _declaring(shape: tuple[int, ...], following: int) -> bytes:
    out = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, fields)
    return out.getvalue() + bytes(following)


@pytest.mark.parametrize(
    ("shape", "following"),
    [
        ((10**6, 8192, 8192, 3), 100),
        ((2, 64, 64), 2 * 64 * 64 - 1),
        ((2, 64, 64), 2 * 64 * 64 + 1),
        ((-1, 64, 64), 0),
        ((1, 64, 10**30), 0),
    ],
)
def test_what_a_header_declares_must_be_there_before_anything_is_allocated(shape, following):
    body = _declaring(shape, following)
    tracemalloc.start()
    try:
        with pytest.raises(ProblemError) as told:
            frames_of(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (told.value.status, told.value.code) == (422, "invalid_request")
    assert peak < 2**20


def test_the_order_of_samples_in_a_file_changes_nothing():
    array = np.random.default_rng(3).integers(16, 235, (2, 32, 48), np.uint8)
    for order in ("C", "F"):
        out = io.BytesIO()
        np.save(out, np.asarray(array, order=order))
        first, second = frames_of(out.getvalue())
        assert np.array_equal(first.luma, array[0])
        assert np.array_equal(second.luma, array[1])
        assert np.array_equal(second.before, array[0])


@pytest.mark.parametrize(
    "body",
    [
        b"PK\x03\x04junk",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': (), 'fo",
        b"\x93NUMPY\x01\x00\x06\x00{{}:1}",
        b"",
    ],
)
def test_what_is_no_array_is_a_problem(body):
    with pytest.raises(ProblemError) as told:
        frames_of(body)
    assert told.value.status == 422
