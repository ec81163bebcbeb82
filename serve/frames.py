"""Frames as tensors, for other programs: an array in, maps of damage and of blockiness out.

The net runs in the process that took the frames in: they go to no other. Requests that come at the
same time are run as one batch, which is what a GPU wants. A part of the ingress class, which Serve
moves to other processes: annotations are evaluated.
"""

import asyncio
import io
import logging
import math
import threading
import time
from collections import Counter as Counted
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
from fastapi import Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from ray import serve

from models.frames import Frame, padded_samples
from pipeline.measure.frame import samples_of
from serve.api import Door, api
from serve.asking import bounded
from serve.config import Config
from serve.keys import ANYBODY, Holder
from serve.problems import ProblemError

log = logging.getLogger("ray.serve.vidette")
NPY = "application/x-npy"
_WAIT = 0.005  # seconds that a batch waits for more
_LEAST, _MOST = 16, 8192  # samples a side
_GREY, _COLOUR = 3, 4  # dimensions
_HEADER = 16_384  # bytes: NumPy takes none of more than 10,000
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_BODIES = 4  # uploads of the largest size that a replica holds at once
_OWN_BODIES = 2  # of one key
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_DESCRIBED: dict[str, Any] = {
    "requestBody": {"required": True, "content": {NPY: _BINARY}},
}

Tensor = npt.NDArray[np.uint8]
Scored = npt.NDArray[np.float32]


class Frames:
    """The endpoint.

    Args:
        config: of the service.
        door: lets in.
        registry: of the figures for Prometheus.
    """

    def __init__(self, config: Config, door: Door, registry: CollectorRegistry) -> None:
        self._config, self._door = config, door
        self._runtime: Any = None
        self._making = threading.Lock()
        self._held = 0  # samples that wait or are scored
        self._bytes: Counted[str] = Counted()  # of bodies that are read or waited with, by key
        self._as_batch.set_max_batch_size(config.frames_together)  # type: ignore[attr-defined]
        self._works: set[asyncio.Task[Scored]] = set()  # a task that nobody holds may vanish
        self._a_sample = 1e-7  # seconds that one took of late
        self._running: float | None = None  # since when the net runs
        self._frames = Counter("vidette_frames", "frames scored as tensors", registry=registry)
        self._batches = Histogram(
            "vidette_frames_batch", "frames of one run of the net", buckets=_BATCHES,
            registry=registry,
        )  # fmt: skip

    @api.post(
        "/v1/score/frames",
        response_class=Response,
        responses={200: {"description": "Probabilities", "content": {NPY: _BINARY}}},
        openapi_extra=_DESCRIBED,
    )
    async def score_frames(self, request: Request) -> Response:
        """Maps of frames that follow each other: how probably each tile is corrupt, and blocky.

        The body is a NumPy file (.npy) of uint8: [T, H, W, 3], RGB, or [T, H, W], luma in limited
        range (16 to 235). So is the answer, float32 [T, 2, ceil(H/16), ceil(W/16)]: probabilities
        of corruption and of blockiness. Each frame is compared with the one before it in the array.
        """
        with self._door.scoring(request) as holder:
            maps = await self._maps(request, holder)
        out = io.BytesIO()
        np.save(out, maps, allow_pickle=False)
        return Response(out.getvalue(), media_type=NPY)

    async def _maps(self, request: Request, holder: Holder) -> Scored:
        """What the net says of the frames of a request."""
        body = bytearray()
        try:
            await self._read_tensor(request, body, holder)
        except BaseException:
            self._bytes[holder.name] -= len(body)
            raise
        # a client that goes away does not end the work: what it holds counts until that is done
        work = asyncio.create_task(self._worked(body, holder))
        self._works.add(work)
        work.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(self._config.frames_seconds):
                return await asyncio.shield(work)
        except TimeoutError as error:
            detail = f"not done after {self._config.frames_seconds:g} s"
            raise ProblemError(503, "time_limit", detail, self.frames_backlog()) from error

    def _forget(self, work: "asyncio.Task[Scored]") -> None:
        self._works.discard(work)
        if not work.cancelled():
            work.exception()  # whoever asked may have gone

    async def _worked(self, body: bytearray, holder: Holder) -> Scored:
        """Maps of a body that is counted, which ends that."""
        try:
            header = header_of(body)
            most = self._config.samples_waiting
            if header.samples > most:
                detail = f"{header.samples} samples, padded; send at most {most} at once"
                raise ProblemError(413, "too_large", detail)
            if self._held + header.samples > most:
                raise self._busy(f"{self._held} samples are waiting already")
            self._held += header.samples
            try:
                frames = await asyncio.to_thread(frames_of, body)
                maps = await self._as_batch(frames)
            finally:
                self._held -= header.samples
        finally:
            self._bytes[holder.name] -= len(body)
        if isinstance(maps, ProblemError):
            raise maps
        return maps

    def frames_backlog(self) -> float:
        """Seconds until what waits here is scored."""
        return self._held * self._a_sample

    def frames_health(self) -> None:
        """Raises where the net is stuck: nothing can end a kernel that does not return."""
        since = self._running
        if since is not None and time.monotonic() - since > self._config.frames_seconds:
            raise RuntimeError("the net does not come to an end")

    def _busy(self, detail: str) -> ProblemError:
        return ProblemError(429, "busy", detail, retry_after=math.ceil(self.frames_backlog()) or 1)

    async def _read_tensor(self, request: Request, body: bytearray, holder: Holder) -> None:
        """Fill `body`, and count it."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != NPY:
            raise ProblemError(415, "unsupported_media_type", f"send {NPY}")
        most = self._config.max_upload_bytes
        async for part in bounded(request, most).stream():
            body += part
            self._bytes[holder.name] += len(part)
            own, every = self._bytes[holder.name], self._bytes.total()
            if every > _BODIES * most:
                raise self._busy(f"{every} bytes of frames are waiting already")
            if holder is not ANYBODY and own > _OWN_BODIES * most:
                detail = f"this key has {own} bytes of frames waiting already"
                raise ProblemError(429, "quota", detail, retry_after=2)

    @serve.batch(batch_wait_timeout_s=_WAIT)
    async def _as_batch(self, asked: list[list[Frame]]) -> list[Scored | ProblemError]:
        return await asyncio.to_thread(self._run_net, asked)

    def _run_net(self, asked: Sequence[Sequence[Frame]]) -> list[Scored | ProblemError]:
        """Maps of each request; a problem where the net fails on it and on it alone."""
        runtime = self._net()
        self._running = time.monotonic()
        try:
            if len(asked) > 1:
                try:
                    return self._scored_together(runtime, asked)
                except Exception:
                    log.warning("a batch of %d requests failed; each is tried alone", len(asked))
            return [self._scored_alone(runtime, one) for one in asked]
        finally:
            self._running = None

    def _scored_together(self, runtime: Any, asked: Sequence[Sequence[Frame]]) -> list[Any]:
        frames = [frame for one in asked for frame in one]
        samples = sum(padded_samples(1, *frame.luma.shape) for frame in frames)
        began = time.perf_counter()
        maps = iter(runtime.run(frames))
        took = (time.perf_counter() - began) / samples
        self._a_sample += 0.2 * (took - self._a_sample)
        self._frames.inc(len(frames))
        self._batches.observe(len(frames))
        return [
            np.stack([[one.corruption, one.blockiness] for _, one in zip(some, maps, strict=False)])
            for some in asked
        ]

    def _scored_alone(self, runtime: Any, one: Sequence[Frame]) -> Scored | ProblemError:
        try:
            (scored,) = self._scored_together(runtime, [one])
        except Exception as error:
            log.exception("the net failed on frames of %s", one[0].luma.shape)
            if "OutOfMemory" in type(error).__name__:  # torch's, which is not imported here
                detail = "the device has not enough memory for these frames"
                return ProblemError(503, "out_of_memory", detail, retry_after=10)
            return ProblemError(500, "internal_error", "the net failed on these frames")
        found: Scored = scored
        return found

    def _net(self) -> Any:
        """The runtime; made when it is first asked for, since torch takes seconds to load."""
        from models.runtime import CorruptionRuntime  # noqa: PLC0415

        with self._making:
            if self._runtime is None:
                self._runtime = CorruptionRuntime(threads=max(1, int(self._config.cpus)))
            return self._runtime


@dataclass(frozen=True)
class Header:
    """What a .npy file says that it holds.

    Attributes:
        shape: [T, H, W] or [T, H, W, 3].
        order: C: the last index is the fastest; F: the first one is.
        offset: bytes before the samples.
    """

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    offset: int

    @property
    def samples(self) -> int:
        """What scoring it costs: luma samples, padded as the net sees them."""
        count, height, width = self.shape[:3]
        return padded_samples(count, height, width)


def header_of(body: bytes | bytearray) -> Header:
    """The header of a .npy file that holds frames; nothing is allocated for what it declares.

    Raises:
        ProblemError: 422, it holds none that can be scored, or not as many as it says.
    """
    file = io.BytesIO(memoryview(body)[:_HEADER])
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = _READERS[version](file)
    except Exception as error:  # NumPy raises a dozen kinds for headers that are none
        raise ProblemError(422, "invalid_request", f"this is no .npy file: {error}") from error
    if dtype != np.uint8:
        raise ProblemError(422, "invalid_request", f"the array is of {dtype}, not of uint8")
    if len(shape) not in (_GREY, _COLOUR) or (len(shape) == _COLOUR and shape[3] != 3):
        detail = f"its shape is {shape}, not [T, H, W, 3] or [T, H, W]"
        raise ProblemError(422, "invalid_request", detail)
    count, height, width = shape[:3]
    if count < 1 or not all(_LEAST <= side <= _MOST for side in (height, width)):
        detail = f"{count} frames of {width}x{height}; sides are {_LEAST} to {_MOST} samples"
        raise ProblemError(422, "invalid_request", detail)
    declared, there = math.prod(shape), len(body) - file.tell()
    if declared != there:
        detail = f"its header declares {declared} bytes of samples, {there} follow"
        raise ProblemError(422, "invalid_request", detail)
    return Header(tuple(shape), "F" if fortran else "C", file.tell())


def frames_of(body: bytes | bytearray) -> list[Frame]:
    """The frames of a .npy file.

    Raises:
        ProblemError: see `header_of`.
    """
    header = header_of(body)
    samples = np.frombuffer(body, np.uint8, offset=header.offset)
    array = samples.reshape(header.shape, order=header.order)
    found: list[Frame] = []
    for picture in array:
        luma, cb, cr = _planes(picture)
        found.append(Frame(luma, found[-1].luma if found else luma, cb, cr))
    return found


def _planes(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma and both colours in limited range."""
    height, width = picture.shape[:2]
    half = -(-height // 2), -(-width // 2)
    if picture.ndim == _GREY - 1:
        neutral = np.full(half, 128, np.uint8)
        return np.ascontiguousarray(picture), neutral, neutral
    whole = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    planes = []
    for plane, (rows, columns) in zip(
        whole.reformat(format="yuv420p").planes, ((height, width), half, half), strict=True
    ):
        planes.append(samples_of(plane)[:rows, :columns].copy())
    luma, cb, cr = planes
    return luma, cb, cr
