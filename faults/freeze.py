"""Freeze: the picture stops while time goes on, wholly or beside a part that still moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from faults.base import FaultError
from faults.cadence import LEAST_STEP
from faults.chroma_grid import even
from faults.drawing import inset
from faults.media import Picture
from faults.span import SpanFault, difference, step_by_tile
from faults.truth import TILE, MaskedFrames, Severity
from pipeline.types import Kind, Region

# A part lives, to a viewer, where this share of its tiles is off by LEAST_STEP from a moment
# (seconds) before, in that share of the frames: else nothing tells it from a whole freeze, or
# only for a moment.
MOMENT, LIVING_TILES, LIVING_FRAMES = 0.5, 0.1, 0.75


class FreezeFault(SpanFault):
    """Shows one frame again and again; then the programme is where it would have been.

    As when an encoder, a frame synchroniser or a decoder loses its input and holds the last frame.
    """

    name = "freeze"
    kind = Kind.FREEZE
    summary = "One frame shown again and again, then on with the programme"
    also = (Kind.REPEATED_FRAMES,)
    least_difference = 1.0  # proposed
    # Proposed. One freeze of 0.36 s is acceptable (van Kester 2011), file alarms are at 2 s.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.6},
        Severity.SUBTLE: {"seconds": 1.0},
        Severity.NOTICEABLE: {"seconds": 2.0},
        Severity.VERY_NOTICEABLE: {"seconds": 4.0},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        still = self.before
        for picture in pictures:
            still = still or picture
            yield picture.showing(still)


class PartialFreezeFault(SpanFault):
    """Freezes the picture except a strip or box, which goes on living.

    As when the source freezes in front of a graphics machine: ticker, clock and inserted speaker
    still move. The part that lives is that of the programme itself, so that nothing appears or
    disappears at the ends; where it hardly moves, there is no place for the fault.
    """

    name = "partial_freeze"
    kind = Kind.PARTIAL_FREEZE
    summary = "The picture frozen except a moving strip (ticker) or box (clock, speaker)"
    also = (Kind.FREEZE,)
    least_difference = 1.0  # proposed
    # Proposed: file alarms for freezes are at 2 s.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 2.2},
        Severity.SUBTLE: {"seconds": 3.0},
        Severity.NOTICEABLE: {"seconds": 4.0},
        Severity.VERY_NOTICEABLE: {"seconds": 5.5},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        still = self.before
        self._times: list[float] = []
        earlier: deque[Picture] = deque(maxlen=max(round(MOMENT * self.clean.rate), 1))
        moves: list[bool] = []
        for picture in pictures:
            if still is None:
                still = picture
            if not self._times:
                self._draw(picture.luma.shape)
            self._times.append(picture.time)
            live = self._live(picture)
            if len(earlier) == earlier.maxlen:
                moves.append(_moves(earlier[0], live))
            earlier.append(live)
            yield inset(picture.showing(still), live, self._top, self._left)
        if not moves or np.mean(moves) < LIVING_FRAMES:
            raise FaultError(
                "partial_freeze: the part that lives hardly moves there: it would be a whole freeze"
            )

    def _draw(self, size: tuple[int, ...]) -> None:
        height, width = size
        self._size = (height, width)
        shape = str(self.rng.choice(["ticker", "clock", "speaker"]))
        self.parameters["overlay"] = shape
        if shape == "ticker":  # a strip over the whole width, at the bottom or above it
            high, wide = self.rng.uniform(0.08, 0.14), 1.0
            top, left = 1 - high - self.rng.choice([0.0, 0.04]), 0.0
        else:
            high = self.rng.uniform(0.07, 0.1) if shape == "clock" else self.rng.uniform(0.22, 0.3)
            wide = self.rng.uniform(0.13, 0.2) if shape == "clock" else high
            top = self.rng.choice([0.05, 0.95 - high])
            left = self.rng.choice([0.05, 0.95 - wide])
        self._top, self._left = even(top * height), even(left * width)
        self._high, self._wide = max(even(high * height), 2), max(even(wide * width), 2)

    def _live(self, picture: Picture) -> Picture:
        rows = slice(self._top, self._top + self._high)
        columns = slice(self._left, self._left + self._wide)
        half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
        return Picture(
            picture.time,
            picture.duration,
            picture.luma[rows, columns],
            picture.cb[half],
            picture.cr[half],
        )

    def region(self) -> Region | None:
        """As in SpanFault: all above a ticker that ends the picture."""
        height = self._size[0]
        if self._top + self._high < height:
            return None
        return Region(left=0, top=0, right=1, bottom=self._top / height)

    def masked(self) -> MaskedFrames | None:
        """As in SpanFault."""
        if self.region() is not None:
            return None
        rows, columns = (-(-length // TILE) for length in self._size)
        frozen = np.ones((rows, columns), bool)
        # tiles that live wholly
        frozen[
            -(-self._top // TILE) : (self._top + self._high) // TILE,
            -(-self._left // TILE) : (self._left + self._wide) // TILE,
        ] = False
        return MaskedFrames(self._times, np.broadcast_to(frozen, (len(self._times), rows, columns)))


def _moves(one: Picture, other: Picture) -> bool:
    """Whether a viewer sees that a part has moved; one smaller than a tile is looked at whole."""
    if min(one.luma.shape) < TILE:
        return difference(one, other) >= LEAST_STEP
    return bool((step_by_tile(one, other) >= LEAST_STEP).mean() >= LIVING_TILES)
