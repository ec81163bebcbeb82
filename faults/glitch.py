"""Glitch: one to three frames that are foreign, blank or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from faults.drawing import mirrored
from faults.media import BLACK, GREY, WHITE, Picture, plain
from faults.span import SpanFault
from faults.truth import TILE, Severity
from pipeline.types import Kind, Region

_LEVELS = {"black": BLACK, "white": WHITE, "grey": GREY}


class GlitchFault(SpanFault):
    """Damages one to three frames from the start of the order on.

    A flash frame that an edit left over, a switch to a dead input, a buffer that was shown before
    it was written, a frame whose blocks were mixed up.
    """

    name = "glitch"
    kind = Kind.GLITCH
    summary = "One to three frames that are foreign, black, white, grey or full of mixed-up blocks"
    lengths = (0.0, 0.0)  # so many frames, whatever the end of the order
    # Proposed: the damaged share of one frame, then whole frames. MVAD has no such kind.
    ladder = {
        Severity.VERY_SUBTLE: {"frames": 1, "share": 0.04},
        Severity.SUBTLE: {"frames": 1, "share": 0.15},
        Severity.NOTICEABLE: {"frames": 1, "share": 1.0},
        Severity.VERY_NOTICEABLE: {"frames": 3, "share": 1.0},
    }
    _LOOK_EVERY = 12  # frames between those of which one may come back as a foreign frame

    _seen = _taken = 0
    _other: Picture | None = None
    _detail = -1.0
    _region: Region | None = None

    def chosen(self, picture: Picture) -> bool:
        """As in SpanFault: counted from the start of the order."""
        if picture.time >= self.order.start - 1e-6 and self._taken < self.parameters["frames"]:
            self._taken += 1
            return True
        if not self._taken:
            self._keep(picture)
        return False

    def _keep(self, picture: Picture) -> None:
        """Of the frames before, the one with the most contrast is the foreign one."""
        if self._seen % self._LOOK_EVERY == 0:
            detail = float(picture.luma[::4, ::4].std())
            if detail > self._detail:
                self._other, self._detail = picture, detail
        self._seen += 1

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        whole = self.parameters["share"] == 1
        variants = ["foreign", "inverted", "blocks", *_LEVELS] if whole else ["blocks"]
        variant = str(self.rng.choice(variants))
        self.parameters["variant"] = variant
        down = bool(self.rng.random() < 0.5)
        place = self.rng.uniform(size=2)
        for picture in pictures:
            other = self._other or picture
            if variant == "blocks":
                yield self._mixed_up(picture, other, place)
            elif variant == "foreign":
                yield picture.showing(mirrored(other, down=down))
            elif variant == "inverted":
                yield replace(
                    picture,
                    luma=(BLACK + WHITE - np.clip(picture.luma, BLACK, WHITE)).astype(np.uint8),
                    cb=(255 - picture.cb).astype(np.uint8),
                    cr=(255 - picture.cr).astype(np.uint8),
                )
            else:
                height, width = picture.luma.shape
                blank = plain(0, 0, (height, width), _LEVELS[variant])
                yield picture.showing(blank)

    def _mixed_up(self, picture: Picture, other: Picture, place: np.ndarray) -> Picture:
        """Macroblocks of a rectangle from elsewhere, or of one colour."""
        rows, columns = (max(length // TILE, 1) for length in picture.luma.shape)
        side = float(self.parameters["share"]) ** 0.5
        high, wide = max(round(rows * side), 1), max(round(columns * side), 1)
        top, left = round(place[0] * (rows - high)), round(place[1] * (columns - wide))
        made = picture.copy()
        for row in range(top, top + high):
            for column in range(left, left + wide):
                source = other if self.rng.random() < 0.5 else picture
                from_row, from_column = self.rng.integers(rows), self.rng.integers(columns)
                blank = self.rng.random() < 0.25
                for plane, origin, size in (
                    (made.luma, source.luma, TILE),
                    (made.cb, source.cb, TILE // 2),
                    (made.cr, source.cr, TILE // 2),
                ):
                    block = origin[
                        from_row * size : from_row * size + size,
                        from_column * size : from_column * size + size,
                    ]
                    target = plane[
                        row * size : row * size + size, column * size : column * size + size
                    ]
                    value = int(self.rng.integers(16, 236))
                    if blank or block.shape != target.shape:
                        target[:] = value
                    else:
                        target[:] = block
        height, width = picture.luma.shape
        self._region = Region(
            left=left * TILE / width,
            top=top * TILE / height,
            right=min((left + wide) * TILE / width, 1.0),
            bottom=min((top + high) * TILE / height, 1.0),
        )
        return made

    def region(self) -> Region | None:
        """As in SpanFault: that of the blocks, where they are not everywhere."""
        return self._region if self.parameters["share"] < 1 else None

    def alias(self) -> tuple[Kind, ...]:
        """As in SpanFault."""
        return {
            "blocks": (Kind.BLOCK_CORRUPTION,),
            "black": (Kind.BLACK,),
            "grey": (Kind.SOLID_COLOR, Kind.DECODER_SMEAR),
            "white": (Kind.SOLID_COLOR,),
        }.get(str(self.parameters["variant"]), ())
