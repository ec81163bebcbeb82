"""Which frames the corruption net looks at, within a budget, and what it says of them.

On a GPU that is every frame. On a CPU a frame costs the net as much as decoding ten, so that a
budget of a fifth of the decoding time buys one frame in fifty. They are spread evenly in time; in
each stretch the frame is taken whose tiles have changed most abruptly, since damage begins in a few
tiles and between two frames. Where the net finds something it looks at more frames around, on
credit: what it owes is paid back by looking at fewer later, so that a stream keeps to its budget
whatever it holds, and the same stream is always scored at the same frames.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.frames import Frame, frame_score
from pipeline.types import FrameFlag, PictureFormat, Score

if TYPE_CHECKING:
    from models.runtime import CorruptionRuntime

UInt8 = npt.NDArray[np.uint8]
log = logging.getLogger("vidette")

BUDGET = 0.2  # share of the decoding time, on a CPU
COST = 10.0  # decodes that scoring a frame costs on a CPU; measured: see docs/detectors.md
SAVED, OWED = 1.5, 12.0  # frames that may be saved up, and taken on credit
HELD_BYTES = 128 << 20  # of frames held until they are chosen from
CLOSE = 0.2  # seconds between frames that are scored where there is damage
POSITIVE = 0.4  # score of a frame from which on its neighbours are looked at as well
SUSPICIOUS = 12.0  # suspicion, in code values, that is worth a credit
FLAGGED = 1000.0  # suspicion of a frame that the transport or the decoder flags
_TOP = 0.005  # share of the tiles that suspicion is the mean of


@dataclass(frozen=True)
class Planes:
    """The planes of one decoded 8-bit frame, which they keep alive, and the name of their format.

    `luma` is [rows, line size]; `chroma` holds as many planes as the format has.
    """

    name: str
    luma: UInt8
    chroma: tuple[UInt8, ...]


@dataclass(frozen=True)
class _Held:
    time: float
    now: Planes
    before: Planes
    suspicion: float


class FrameScorer:
    """Holds the frames of a stretch, chooses among them and has them scored.

    Args:
        picture_format: of the stream.
        budget: share of the decoding time; None: a fifth on a CPU, every frame on a GPU.

    Attributes:
        failure: why nothing is scored any more; None while all is well.
    """

    def __init__(self, picture_format: PictureFormat, budget: float | None) -> None:
        self.format = picture_format
        self.failure: str | None = None
        self._budget = budget
        self._credit = 1.0  # frames that may be scored; the first stretch has one
        self._held: dict[int, tuple[Planes, Planes]] = {}
        self._last: Planes | None = None
        self._kept: _Held | None = None  # the most suspicious of stretches without a score
        self._tail: npt.NDArray[np.float32] | None = None  # motion of the last frame
        self._damaged = False  # the last frame that was scored
        self._scored_until = -np.inf
        size = picture_format.width * picture_format.height * 3 // 2
        count = min(picture_format.frame_rate, 120.0)
        # every frame, or pairs of neighbours far enough apart
        self._stride = 1 if count * size <= HELD_BYTES else int(2 * count * size / HELD_BYTES) + 2

    def hold(self, planes: Planes, number: int) -> None:
        """Take a frame, the `number`-th of its stretch."""
        if number % self._stride == 0:
            self._held[number] = (planes, planes if self._last is None else self._last)
        self._last = planes

    def score(
        self, frames: np.ndarray, motion: npt.NDArray[np.float32], hints: npt.NDArray[np.float64]
    ) -> list[Score]:
        """Score some of the frames that were held; forgets them.

        Args:
            frames: FRAME_ROW [T] of the stretch.
            motion: [T, tile rows, tile columns], see PictureStatistics.
            hints: seconds at which the transport or a decoder reported an error.
        """
        suspicion = self._suspicion(frames, motion, hints)
        held = [
            _Held(float(frames["time"][n]), *pair, float(suspicion[n]))
            for n, pair in self._held.items()
            if n < len(frames)
        ]
        self._held = {}
        if not held or self.failure is not None:
            return []
        try:
            return sorted(self._choose(held, len(frames)), key=lambda one: one.time)
        except Exception as error:  # what the other statistics tell must not be lost with it
            log.exception("frames are not scored from here on")
            self.failure = f"{type(error).__name__}: {error}"
            return []

    def _choose(self, held: list[_Held], count: int) -> list[Score]:
        """Score some of the frames of a stretch of `count`."""
        budget = self._budget
        if budget is None and _net().device.type == "cpu":
            budget = BUDGET
        if budget is None or budget >= COST:
            return self._run(held)
        self._credit = min(self._credit + budget / COST * count, SAVED)
        made: list[Score] = []
        if self._damaged:
            made += self._closely(held)
        else:
            first = max(held, key=lambda one: one.suspicion)
            if self._kept is not None and self._kept.suspicion >= first.suspicion:
                first = self._kept
            needed = -OWED / 2 if first.suspicion >= SUSPICIOUS else 0.999
            if self._credit < needed:
                self._kept = first
                return []
            self._kept = None
            made += self._pay([first])
            if self._damaged:
                made += self._closely([one for one in held if one.time != first.time])
        return made

    def _closely(self, held: list[_Held]) -> list[Score]:
        """Score frames all over the stretch, as far as the credit goes; at least the last."""
        wanted: list[_Held] = []
        for one in reversed(held):
            if not wanted or wanted[-1].time - one.time >= CLOSE - 1e-6:
                wanted.append(one)
        return self._pay(wanted[: max(1, int(self._credit + OWED))])

    def _pay(self, chosen: list[_Held]) -> list[Score]:
        self._credit -= len(chosen)
        made = self._run(chosen)
        last = max(made, key=lambda one: one.time)
        if last.time > self._scored_until:
            self._scored_until = last.time
            self._damaged = frame_score(last.corruption) >= POSITIVE
        return made

    def _run(self, chosen: list[_Held]) -> list[Score]:
        maps = _net().run([self._frame(one) for one in chosen])
        return [
            Score(one.time, map_.corruption, map_.blockiness)
            for one, map_ in zip(chosen, maps, strict=True)
        ]

    def _suspicion(
        self, frames: np.ndarray, motion: npt.NDArray[np.float32], hints: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """How abruptly a few tiles of each frame have changed, in code values, [T].

        The rise of their motion since the frame before, above that of the whole picture: a cut or a
        flash changes all tiles.
        """
        before = motion[:1] if self._tail is None else self._tail[None]
        rise = (motion - np.concatenate([before, motion[:-1]])).reshape(len(motion), -1)
        self._tail = motion[-1].copy()
        count = max(1, round(_TOP * rise.shape[1]))
        top = np.partition(rise, rise.shape[1] - count, axis=1)[:, -count:].mean(axis=1)
        found = (top - np.median(rise, axis=1)) * (1 - (rise > 4).mean(axis=1))
        found[(frames["flags"] & FrameFlag.CORRUPT) != 0] = FLAGGED
        for time in hints:
            found[np.abs(frames["time"] - time) < 0.1] = FLAGGED
        return np.asarray(found, np.float64)

    def _frame(self, held: _Held) -> Frame:
        luma = self._luma(held.now)
        before = luma if held.before is held.now else self._luma(held.before)
        cb, cr = self._chroma(held.now)
        return Frame(luma, before, cb, cr)

    def _luma(self, planes: Planes) -> UInt8:
        luma = planes.luma[: self.format.height, : self.format.width]
        return _limited(luma, 219, 16) if self.format.full_range else luma

    def _chroma(self, planes: Planes) -> tuple[UInt8, UInt8]:
        high, wide = -(-self.format.height // 2), -(-self.format.width // 2)
        if planes.name == "gray":
            neutral = np.full((high, wide), 128, np.uint8)
            return neutral, neutral
        if planes.name == "nv12":
            both = planes.chroma[0][:high]
            cb, cr = both[:, : 2 * wide : 2], both[:, 1 : 2 * wide : 2]
        else:
            down = 1 if "420" in planes.name else 2
            across = 2 if "444" in planes.name else 1
            cb, cr = (
                plane[: high * down : down, : wide * across : across] for plane in planes.chroma
            )
        # of an odd size, planes at full resolution have one line less than is asked for
        cb, cr = (np.pad(p, ((0, high - p.shape[0]), (0, wide - p.shape[1])), "edge")
                  if p.shape != (high, wide) else p for p in (cb, cr))  # fmt: skip
        if self.format.full_range:
            return _limited(cb, 224, 16), _limited(cr, 224, 16)
        return cb, cr


def _net() -> CorruptionRuntime:
    # torch takes seconds to load: only where there is a frame to score
    from models.runtime import shared  # noqa: PLC0415

    return shared()


def _limited(plane: UInt8, span: int, floor: int) -> UInt8:
    """Full-range code values as limited-range ones."""
    scaled = plane.astype(np.uint16) * span + 127
    return (scaled // 255 + floor).astype(np.uint8)
