"""Picture faults that change the frames of an interval together: each may depend on others."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from faults.base import FaultError, PictureFault
from faults.media import Picture
from faults.truth import TILE, MaskedFrames
from pipeline.measurements import Float32
from pipeline.types import Kind, Region


class SpanFault(PictureFault):
    """Changes the frames of the interval together; the truth is where they did change.

    What shows in motion only does not show in a still picture: then there is no truth.

    Attributes:
        before: the last frame before the interval, None at the start.
    """

    # Changed frames with more seconds between them are truths of their own.
    spacing: ClassVar[float] = float("inf")
    # Median over the changed frames of the mean absolute difference of luma, in code values, below
    # which the change is real and nobody sees it: then this is no place for the fault.
    least_difference: ClassVar[float] = 0.0

    before: Picture | None = None

    @abstractmethod
    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the damaged frames of the interval, as many as come in and in their order."""

    def region(self) -> Region | None:
        """The part of the picture that is damaged; None: all of it."""
        return None

    def masked(self) -> MaskedFrames | None:
        """Where frames were damaged, if neither everywhere nor in one rectangle."""
        return None

    def alias(self) -> tuple[Kind, ...]:
        """As `also`, for what was drawn."""
        return self.also

    def chosen(self, picture: Picture) -> bool:
        """Whether a frame is of the interval; called once for each frame, in order."""
        return self.inside(picture.time)

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureFault."""
        for chosen, group in itertools.groupby(pictures, key=self.chosen):
            if chosen:
                yield from self._watched(group)
                continue
            for picture in group:
                self.before = picture
                yield picture

    def _watched(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        waiting: deque[Picture] = deque()

        def counted() -> Iterator[Picture]:
            for picture in pictures:
                waiting.append(picture)
                yield picture

        start = end = None
        apart_by: list[float] = []  # of the frames of one truth
        all_by: list[float] = []
        for damaged in self.span(counted()):
            clean = waiting.popleft()
            yield damaged
            if same(clean, damaged):
                continue
            if start is not None and end is not None and clean.time - end > self.spacing:
                self._record(start, end, max(apart_by))
                start, apart_by = None, []
            start = clean.time if start is None else start
            end = clean.time + clean.duration
            apart_by.append(difference(clean, damaged))
            all_by.append(apart_by[-1])
        if start is not None and end is not None:
            self._record(start, end, max(apart_by))
        if all_by and float(np.median(all_by)) < self.least_difference:
            raise FaultError(f"{self.name}: too little moves there for anyone to see it")

    def _record(self, start: float, end: float, largest: float) -> None:
        self.did(
            start,
            end,
            region=self.region(),
            masked=self.masked(),
            also=self.alias(),
            difference=largest,
        )


def same(one: Picture, other: Picture) -> bool:
    """Whether two pictures show exactly the same."""
    return all(
        a is b or np.array_equal(a, b)
        for a, b in ((one.luma, other.luma), (one.cb, other.cb), (one.cr, other.cr))
    )


def difference(one: Picture, other: Picture) -> float:
    """Mean absolute difference of luma, in code values."""
    return float(np.abs(one.luma.astype(np.int16) - other.luma).mean())


def step_by_tile(one: Picture, other: Picture) -> Float32:
    """Mean absolute difference of luma by tile, in code values [tile rows, tile columns]."""
    apart = np.abs(one.luma.astype(np.int16) - other.luma)
    rows, columns = (size // TILE for size in apart.shape)
    tiles = apart[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE)
    return np.asarray(tiles.mean(axis=(1, 3), dtype=np.float32))


def ahead(pictures: Iterator[Picture], count: int) -> Iterator[tuple[Picture, Picture]]:
    """Each frame with the one `count` frames later, or with the last one there is."""
    held: deque[Picture] = deque()
    for picture in pictures:
        held.append(picture)
        if len(held) > count:
            yield held.popleft(), picture
    last = held[-1] if held else None
    while held and last is not None:
        yield held.popleft(), last
