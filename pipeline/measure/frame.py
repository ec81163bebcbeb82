"""The pass over every decoded frame: tile maps and row profiles, on the planes of the decoder.

By Numba. Nothing is copied or converted for 8-bit planar YUV and NV12: the kernel reads the
decoder's own memory. Other formats go through one shared swscale context to yuv420p first (deep
formats lose their low bits there). About 1.4 ms of one core per 1080p frame, without
the nets that judge the looks (models/coarseness.py) and sudden changes (models/mends.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import av
import av.video.plane
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter
from numba import njit

from pipeline.errors import SeamError
from pipeline.measure.look import look
from pipeline.measure.measured import MeasuredFrame
from pipeline.measure.sums import byte_sum
from pipeline.measurements import (
    FRAME_ROW,
    UNASKED,
    Float32,
    FrameFlag,
    Look,
    PictureFormat,
    PictureStatistics,
)

if TYPE_CHECKING:
    from models.coarseness import Coarseness
    from pipeline.measure.steps import StepMeter

UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
Int16 = npt.NDArray[np.int16]

TILE = PictureFormat.TILE
MAPS = 7  # of a frame: luma, motion, detail, comb, cb, cr, order
MOTION, ORDER = 1, 6  # those that depend on the frame before
HELD = MAPS + 2  # with what a net says of the change in the frame before, see StepMeter
LOOK_EVERY = 0.2  # seconds between closer looks; the accuracy limit of what is found by them alone
_PLANAR = {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"}
_DIRECT = _PLANAR | {"nv12", "gray"}


@njit(cache=True, nogil=True)
def _one_row(
    row: UInt8,
    old: UInt8,
    above: UInt8,
    above2: UInt8,
    width: int,
    compare: bool,
    level: UInt16,
    change: UInt16,
    gradient: UInt16,
    weave: UInt16,
    steps: UInt8,
) -> None:
    """Add a single row to the column sums of `_luma_pass`."""
    for x in range(width):
        a, b, c, d = row[x], old[x], above[x], above2[x]
        level[x] += np.uint16(a)
        step = np.uint8(max(a, c) - min(a, c))
        steps[x] = step
        if compare:
            change[x] += np.uint16(np.uint8(max(a, b) - min(a, b)))
            field = np.uint8(min(np.uint8(max(a, d) - min(a, d)), np.uint8(251)))
            field = np.uint8(field + np.uint8(4))
            gradient[x] += np.uint16(step)
            weave[x] += np.uint16(np.uint8(max(step, field) - field))
    if compare:
        for x in range(1, width):
            a, b = row[x], row[x - 1]
            gradient[x] += np.uint16(np.uint8(max(a, b) - min(a, b)))


@njit(cache=True, nogil=True)
def _luma_pass(
    plane: UInt8,
    before: UInt8,
    width: int,
    height: int,
    luma: Float32,
    motion: Float32,
    detail: Float32,
    comb: Float32,
    order: Float32,
    rows: Float32,
) -> None:
    """One pass over a luma plane and its predecessor, see PictureStatistics for the definitions.

    Two rows at a time share their loads, and half of the pairs, which have rows of both fields,
    stand for all in differences. Sums run down columns in uint16 (16 rows of differences of at most
    255 fit, twice), which the compiler vectorises; only then are 16 neighbours added up.
    """
    tile_rows, tile_columns = luma.shape
    padded = tile_columns * 16
    level = np.zeros(padded, np.uint16)
    change = np.zeros(padded, np.uint16)
    gradient = np.zeros(padded, np.uint16)
    weave = np.zeros(padded, np.uint16)
    fields = np.zeros(padded, np.int16)
    first = np.zeros(width, np.uint8)
    second = np.zeros(width, np.uint8)
    for ty in range(tile_rows):
        top = ty * 16
        bottom = min(top + 16, height)
        level[:] = 0
        change[:] = 0
        gradient[:] = 0
        weave[:] = 0
        fields[:] = 0
        compared = 0  # rows of which differences are taken
        woven = 0  # rows of which combs are taken
        for y in range(top, bottom, 2):
            row = plane[y]
            above = plane[y - 1 if y > 0 else 0]
            if y + 1 == bottom:  # an odd last row
                _one_row(row, before[y], above, plane[y - 2 if y > 1 else y], width, y % 4 == 0,
                         level, change, gradient, weave, first)  # fmt: skip
                compared += y % 4 == 0
                woven += y % 4 == 0
                rows[y] = np.float32(byte_sum(first)) / np.float32(width)
                continue
            below = plane[y + 1]
            if y % 4:
                for x in range(width):
                    a, b, c = row[x], above[x], below[x]
                    level[x] += np.uint16(np.uint16(a) + np.uint16(c))
                    first[x] = np.uint8(max(a, b) - min(a, b))
                    second[x] = np.uint8(max(c, a) - min(c, a))
            else:
                compared += 2
                woven += 1
                old, old_below = before[y], before[y + 1]
                above2 = plane[y - 2 if y > 1 else y]
                for x in range(width):
                    a, b, c, d = row[x], old[x], below[x], old_below[x]
                    level[x] += np.uint16(np.uint16(a) + np.uint16(c))
                    change[x] += np.uint16(
                        np.uint16(np.uint8(max(a, b) - min(a, b)))
                        + np.uint16(np.uint8(max(c, d) - min(c, d)))
                    )
                for x in range(width):
                    a, b, c, d = row[x], above[x], above2[x], below[x]
                    step = np.uint8(max(a, b) - min(a, b))
                    field = np.uint8(min(np.uint8(max(a, c) - min(a, c)), np.uint8(251)))
                    field = np.uint8(field + np.uint8(4))
                    step2 = np.uint8(max(d, a) - min(d, a))
                    gradient[x] += np.uint16(np.uint16(step) + np.uint16(step2))
                    weave[x] += np.uint16(np.uint8(max(step, field) - field))
                    first[x] = step
                    second[x] = step2
                # rows lie between those of the other field, or beside one of them at an edge
                upper, lower = y - 1 if y > 0 else 1, y + 2 if y + 2 < height else y
                for x in range(width):
                    a, b, c, d = row[x], old[x], below[x], old_below[x]
                    e, f = plane[upper, x], before[upper, x]
                    g, h = plane[lower, x], before[lower, x]
                    odd = np.uint8((np.uint16(e) + np.uint16(c) + np.uint16(1)) >> 1)
                    old_odd = np.uint8((np.uint16(f) + np.uint16(d) + np.uint16(1)) >> 1)
                    even = np.uint8((np.uint16(a) + np.uint16(g) + np.uint16(1)) >> 1)
                    old_even = np.uint8((np.uint16(b) + np.uint16(h) + np.uint16(1)) >> 1)
                    fields[x] += np.int16(
                        np.int16(np.uint8(max(a, old_odd) - min(a, old_odd)))
                        + np.int16(np.uint8(max(d, even) - min(d, even)))
                        - np.int16(np.uint8(max(b, odd) - min(b, odd)))
                        - np.int16(np.uint8(max(c, old_even) - min(c, old_even)))
                    )
                for x in range(1, width):
                    a, b, c, d = row[x], row[x - 1], below[x], below[x - 1]
                    gradient[x] += np.uint16(
                        np.uint16(np.uint8(max(a, b) - min(a, b)))
                        + np.uint16(np.uint8(max(c, d) - min(c, d)))
                    )
            rows[y] = np.float32(byte_sum(first)) / np.float32(width)
            rows[y + 1] = np.float32(byte_sum(second)) / np.float32(width)
        for tx in range(tile_columns):
            start = tx * 16
            across = min(start + 16, width) - start
            s = np.uint32(0)
            d = np.uint32(0)
            g = np.uint32(0)
            w = np.uint32(0)
            o = np.int32(0)
            for i in range(16):
                s += np.uint32(level[start + i])
                d += np.uint32(change[start + i])
                g += np.uint32(gradient[start + i])
                w += np.uint32(weave[start + i])
                o += np.int32(fields[start + i])
            luma[ty, tx] = s / np.float32((bottom - top) * across)
            count = np.float32(compared * across)
            motion[ty, tx] = d / count
            detail[ty, tx] = g / count
            order[ty, tx] = o / count
            comb[ty, tx] = w / np.float32(woven * across)


@njit(cache=True, nogil=True)
def _tile_means(
    plane: UInt8, width: int, height: int, across: int, down: int, out: Float32
) -> None:
    """Mean of each tile of `down` x `across` samples of a plane."""
    tile_rows, tile_columns = out.shape
    column = np.zeros(tile_columns * across, np.uint16)
    for ty in range(tile_rows):
        top = min(ty * down, height - 1)
        bottom = min(top + down, height)
        column[:] = 0
        for y in range(top, bottom):
            row = plane[y]
            for x in range(width):
                column[x] += np.uint16(row[x])
        for tx in range(tile_columns):
            left = tx * across
            s = np.uint32(0)
            if across == 8:  # a fixed count, which the compiler unrolls
                for x in range(8):
                    s += np.uint32(column[left + x])
            else:
                for x in range(across):
                    s += np.uint32(column[left + x])
            out[ty, tx] = s / np.float32((bottom - top) * (min(left + across, width) - left))


def samples_of(plane: av.video.plane.VideoPlane) -> UInt8:
    """A plane of 8-bit samples as [rows, line size], over the frame's own memory."""
    line = plane.line_size
    flat: UInt8 = np.frombuffer(memoryview(plane), np.uint8)
    return flat[: flat.size // line * line].reshape(-1, line)


class PictureMeter:
    """Measures the frames of one video stream as they come; `take` hands over what has gathered.

    Args:
        picture_format: of the frames.
        coarseness: whether a net judges at each look how coarsely the picture was quantised.
        steps: whether another one judges what changes at once.

    Attributes:
        device: that it measures on.
    """

    device = "cpu"

    def __init__(
        self, picture_format: PictureFormat, coarseness: bool = False, steps: bool = False
    ) -> None:
        self.format = picture_format
        self._coarseness: Coarseness | None = None
        if coarseness:
            from models.coarseness import shared  # noqa: PLC0415 - loads a runtime for nets

            self._coarseness = shared()
        self._steps: StepMeter | None = None
        if steps:
            from pipeline.measure.steps import StepMeter  # noqa: PLC0415 - as above

            self._steps = StepMeter(picture_format)
        self._reformatter: VideoReformatter | None = None
        self._previous: UInt8 | None = None  # the luma of the last frame, which it keeps alive
        self._last: av.VideoFrame | None = None  # as it was measured
        self._look_due = -np.inf
        self._rows: list[tuple[float, float, int]] = []
        # room for the frames of a segment: maps [T, 9, th, tw] (luma motion detail comb cb cr
        # order, begun, mended) and row profiles [T, H]; made for each segment: detectors may keep
        # parts of them
        self._maps = np.empty((0, HELD, *picture_format.tiles), np.float32)
        self._profiles = np.empty((0, picture_format.height), np.float32)
        self._looks: list[Look] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, frame: av.VideoFrame, time: float, duration: float, flags: FrameFlag) -> None:
        """Measure one frame of this meter's format."""
        planes = frame.planes
        if frame.format.name not in _DIRECT or any(plane.line_size <= 0 for plane in planes):
            self._reformatter = self._reformatter or VideoReformatter()
            frame = self._reformatter.reformat(frame, format="yuv420p")
            planes = frame.planes
        width, height = self.format.width, self.format.height
        luma = samples_of(planes[0])
        before = luma if self._previous is None else self._previous
        count = self._next()
        maps = self._maps[count]
        _luma_pass(luma, before, width, height, *maps[:4], maps[ORDER], self._profiles[count])
        self._chroma(frame, planes, maps[4], maps[5])
        if self._is_due(time, duration):
            seen = look(luma, width, height, time, count)
            if self._coarseness is not None:
                seen.quantisers = self._coarseness.of_plane(luma[:height, :width])
            self._looks.append(seen)
        self._previous, self._last = luma, frame
        if self._steps is None:
            maps[MAPS:] = UNASKED
        else:
            self._steps.add(time, self.planes(), maps[MOTION], maps[MAPS:])
        self._rows.append((time, duration, int(flags)))

    def add_measured(
        self, frame: MeasuredFrame, time: float, duration: float, flags: FrameFlag
    ) -> None:
        """Take a frame that another meter has measured.

        Raises:
            SeamError: this meter would have taken a closer look at another moment.
        """
        count = self._next()
        self._maps[count], self._profiles[count] = frame.maps, frame.profile
        due = self._is_due(time, duration)
        if due != (frame.look is not None):
            raise SeamError(f"the frames around {time:.3f} s last differently long in its range")
        if frame.look is not None:
            self._looks.append(replace(frame.look, time=time, frame=count))
        self._rows.append((time, duration, int(flags)))

    def look_anew(self) -> None:
        """Take a closer look at the next frame, and count from there."""
        self._look_due = -np.inf
        if self._steps is not None:
            self._steps.renew()

    def last(self) -> tuple[Float32, Float32, Look | None]:
        """Maps [9, th, tw] and profile [H] of the last frame as stored, and its look if it has one.

        Views: they change with `take`.
        """
        count = len(self._rows) - 1
        seen = self._looks[-1] if self._looks and self._looks[-1].frame == count else None
        return self._maps[count], self._profiles[count], seen

    def forget(self) -> None:
        """Drop what has gathered, for who takes it from `last`."""
        self._rows, self._looks = [], []

    def _next(self) -> int:
        """The row of the next frame."""
        count = len(self._rows)
        if count == len(self._maps):
            self._grow()
        return count

    def _is_due(self, time: float, duration: float) -> bool:
        """Whether a frame is looked at closer; it counts as looked at then."""
        if time < self._look_due:
            return False
        self._look_due = time + LOOK_EVERY - duration / 2
        return True

    def planes(self) -> tuple[UInt8, UInt8, UInt8]:
        """Luma [H, W] and chroma of the frame that was added last, in the frame's own memory.

        Raises:
            ValueError: there is none yet.
        """
        frame = self._last
        if frame is None:
            raise ValueError("no frame was added")
        height, width = self.format.height, self.format.width
        luma = samples_of(frame.planes[0])[:height, :width]
        if frame.format.name == "gray":
            neutral = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
            return luma, neutral, neutral
        chroma = frame.planes[1]
        if frame.format.name == "nv12":
            both = samples_of(chroma)[: -(-height // 2), : -(-width // 2) * 2]
            return luma, both[:, ::2], both[:, 1::2]
        high, wide = chroma.height, chroma.width
        cb, cr = (samples_of(plane)[:high, :wide] for plane in frame.planes[1:3])
        return luma, cb, cr

    def _grow(self) -> None:
        """Make room for a second of frames, or for as many again."""
        held = len(self._maps)
        more = held or int(np.clip(np.ceil(self.format.frame_rate) + 2, 4, 64))
        maps = np.empty((held + more, *self._maps.shape[1:]), np.float32)
        profiles = np.empty((held + more, self.format.height), np.float32)
        maps[:held], profiles[:held] = self._maps, self._profiles
        self._maps, self._profiles = maps, profiles

    def _chroma(
        self,
        frame: av.VideoFrame,
        planes: tuple[av.video.plane.VideoPlane, ...],
        cb: Float32,
        cr: Float32,
    ) -> None:
        name = frame.format.name
        if name == "gray":
            cb[:] = cr[:] = 128
        elif name == "nv12":
            both = samples_of(planes[1])
            for offset, out in ((0, cb), (1, cr)):
                half = np.ascontiguousarray(both[:, offset::2])
                _tile_means(half, -(-frame.width // 2), -(-frame.height // 2), 8, 8, out)
        else:
            wide, high = planes[1].width, planes[1].height
            across = TILE if wide == frame.width else TILE // 2
            down = TILE if high == frame.height else TILE // 2
            for plane, out in ((planes[1], cb), (planes[2], cr)):
                _tile_means(samples_of(plane), wide, high, across, down, out)

    def take(self) -> PictureStatistics | None:
        """The statistics of all frames since the last call; None when there were none."""
        if not self._rows:
            return None
        count = len(self._rows)
        maps, profiles = self._maps[:count], self._profiles[:count]
        if self.format.full_range:  # to limited-range code values, BT.601/709: 219/255 and +16
            scale = np.float32(219 / 255)
            maps[:, :4] *= scale
            maps[:, ORDER] *= scale
            maps[:, 0] += 16
            maps[:, 4:6] = (maps[:, 4:6] - 128) * np.float32(224 / 255) + 128
            profiles *= scale
        frames = np.zeros(count, FRAME_ROW)
        frames["time"], frames["duration"], frames["flags"] = zip(*self._rows, strict=True)
        means = np.einsum("nkyx,yx->kn", maps[:, :ORDER], _tile_weights(self.format))
        for name, values in zip(
            ("luma", "motion", "detail", "comb", "cb", "cr"), means, strict=True
        ):
            frames[name] = values
        luma, motion, detail, comb, cb, cr, order = (maps[:, index] for index in range(MAPS))
        taken = PictureStatistics(
            self.format, frames, luma, motion, detail, comb, order, cb, cr, profiles, self._looks,
            maps[:, MAPS:],
        )  # fmt: skip
        self._rows, self._looks = [], []
        self._maps, self._profiles = self._maps[:0], self._profiles[:0]
        return taken


def _tile_weights(picture_format: PictureFormat) -> Float32:
    """Share of the picture that each tile covers (edge tiles are smaller), float32 [th, tw]."""
    rows, columns = picture_format.tiles
    high = np.minimum(TILE, picture_format.height - np.arange(rows) * TILE)
    wide = np.minimum(TILE, picture_format.width - np.arange(columns) * TILE)
    return (np.outer(high, wide) / (picture_format.height * picture_format.width)).astype(
        np.float32
    )
