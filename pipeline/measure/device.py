"""The meter of frames that lie on a GPU: measured there, many at a time; only statistics leave it.

A decoder lends its frames from a small pool, so each is copied at once (within the device) and
given back as soon as that copy is done. What was copied is measured when a batch is full, or when
what has gathered is taken; a batch is measured while the next one gathers.

This module imports torch: import it only where it is needed.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, fields

import av
import av.video.plane
import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from models.nets.coarseness import shared
from pipeline.measure.frame import MAPS, PictureMeter, UInt8
from pipeline.measure.tensors import Looks, chroma_pass, look_pass, luma_pass
from pipeline.measurements import (
    UNASKED,
    Float32,
    FrameFlag,
    Look,
    PictureFormat,
    PictureStatistics,
)

BATCH = 16  # frames that are measured at once
_measuring = threading.Lock()  # what passes need in between is had once, not for every stream
LENT = 2  # frames of the decoder that are held until they are copied


class _Moment:
    """A point in the work of a device; on a CPU all work before it is done."""

    def __init__(self, device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Return when everything before it is done."""
        if self._event is not None:
            self._event.synchronize()


@dataclass
class _Batch:
    """Frames that are being measured.

    Attributes:
        first: number of the first frame, as the meter counts.
        maps: [T, 7, tile rows, tile columns], on their way to the host.
        profiles: [T, H], likewise.
        looks: likewise; None where there are none.
        looked: time and number of the frame of each look.
        done: when all have arrived.
    """

    first: int
    maps: Tensor
    profiles: Tensor
    looks: Looks | None
    looked: list[tuple[float, int]]
    done: _Moment


class DeviceMeter(PictureMeter):
    """Measures the frames of one video stream on the device that they lie on.

    Args:
        picture_format: of the frames.
        device: that holds them; the CPU works as well, more slowly than PictureMeter.
        coarseness: as of PictureMeter.
    """

    def __init__(
        self, picture_format: PictureFormat, device: str = "cuda", coarseness: bool = False
    ) -> None:
        self.device = device
        super().__init__(picture_format)
        self._device = torch.device(device)
        self._judge = shared(device) if coarseness else None
        height, width = picture_format.height, picture_format.width
        # before the frames that wait lies the one that was measured last
        self._luma = torch.empty(BATCH + 1, height, width, dtype=torch.uint8, device=self._device)
        self._chroma_planes = torch.empty(0)  # [T, rows, columns, 2]; made with the first frame
        self._waiting = self._last_count = 0  # frames that wait; of the last batch
        self._due: list[tuple[float, int]] = []  # time and place among those that wait
        self._batches: deque[_Batch] = deque()
        self._lent: deque[tuple[_Moment, av.VideoFrame]] = deque()
        self._shown: tuple[UInt8, UInt8, UInt8] | None = None

    def add(self, frame: av.VideoFrame, time: float, duration: float, flags: FrameFlag) -> None:
        """Measure one frame of this meter's format, NV12 or P010 on this meter's device."""
        self._next()
        luma, chroma = (samples_on_device(plane) for plane in frame.planes)
        if not len(self._chroma_planes):
            self._chroma_planes = torch.empty(
                BATCH, *chroma.shape, dtype=torch.uint8, device=self._device
            )
            self._luma[0].copy_(luma)  # a first frame has not changed
        self._chroma_planes[self._waiting].copy_(chroma)
        self._luma[self._waiting + 1].copy_(luma)
        self._lent.append((_Moment(self._device), frame))
        while len(self._lent) > LENT:
            self._give_back()
        if self._is_due(time, duration):
            self._due.append((time, self._waiting))
        self._rows.append((time, duration, int(flags)))
        self._waiting += 1
        self._shown = None
        if self._waiting == BATCH:
            self._measure()

    def planes(self) -> tuple[UInt8, UInt8, UInt8]:
        """As of PictureMeter; a copy, for which this waits."""
        if not len(self._chroma_planes):
            raise ValueError("no frame was added")
        if self._shown is None:
            place = self._waiting or 0
            chroma = self._chroma_planes[(place or self._last_count) - 1].cpu().numpy()
            luma = self._luma[place].cpu().numpy()
            self._shown = luma, chroma[..., 0], chroma[..., 1]
        return self._shown

    def last(self) -> tuple[Float32, Float32, Look | None]:
        """As of PictureMeter; waits until the frame is measured."""
        self._settle()
        return super().last()

    def take(self) -> PictureStatistics | None:
        """As of PictureMeter; waits until the frames are measured."""
        self._settle()
        return super().take()

    def _give_back(self) -> None:
        copied, _ = self._lent.popleft()
        copied.wait()

    def _measure(self) -> None:
        """Begin to measure the frames that wait."""
        count, self._waiting = self._waiting, 0
        self._last_count = count
        planes = self._luma[: count + 1]
        maps = torch.empty(count, MAPS, *self.format.tiles, device=self._device)
        profiles = torch.empty(count, self.format.height, device=self._device)
        first = len(self._rows) - count
        looks = None
        with _measuring:
            luma_pass(planes, maps, profiles)
            chroma_pass(self._chroma_planes[:count], self.format, maps[:, 4:6])
            if self._due:
                looked_at = torch.stack([planes[place + 1] for _, place in self._due])
                seen = look_pass(looked_at, self._judge)
                looks = Looks(*(_to_host(getattr(seen, field.name)) for field in fields(Looks)))
        looked = [(time, first + place) for time, place in self._due]
        self._due = []
        self._luma[0].copy_(planes[count])
        self._batches.append(
            _Batch(first, _to_host(maps), _to_host(profiles), looks, looked, _Moment(self._device))
        )

    def _settle(self) -> None:
        """Wait for all frames to be measured, and give the decoder back what it lent."""
        if self._waiting:
            self._measure()
        while self._lent:
            self._give_back()
        while self._batches:
            batch = self._batches.popleft()
            batch.done.wait()
            count = len(batch.maps)
            here = slice(batch.first, batch.first + count)
            self._maps[here, :MAPS], self._maps[here, MAPS:] = batch.maps.numpy(), UNASKED
            self._profiles[batch.first : batch.first + count] = batch.profiles.numpy()
            for n, (time, frame) in enumerate(batch.looked):
                self._looks.append(_look(batch.looks, n, time, frame))


def samples_on_device(plane: av.video.plane.VideoPlane) -> Tensor:
    """The samples of a plane in 8 bits, over the frame's own memory where they have no more."""
    # by hand: torch passes a stream, which PyAV takes for a request to wait for it
    samples: Tensor = from_dlpack(plane.__dlpack__())
    if samples.dtype == torch.uint8:
        return samples
    deep = samples.view(torch.int16).to(torch.int32) & 0xFFFF
    return ((deep + 128) >> 8).clamp_(max=255).to(torch.uint8)


def _to_host(values: Tensor) -> Tensor:
    """A copy on the host that is on its way; see _Batch.done."""
    if values.device.type == "cpu":
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def _look(looks: Looks | None, n: int, time: float, frame: int) -> Look:
    if looks is None:
        raise ValueError("a batch without looks has none")
    of = {field.name: getattr(looks, field.name)[n].numpy() for field in fields(Looks)}
    of["histogram"] = of["histogram"].astype(np.int64)
    return Look(time=time, frame=frame, **of)
