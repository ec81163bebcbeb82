"""What is shown against what should be: tiles that differ, damage that shows, and where it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from faults.media import BLACK, Picture, plain
from faults.truth import TILE, Mask, MaskedFrames
from faults.visibility import AHEAD, BEHIND, around, shown

# A sample is damaged where luma or chroma differ by more than this many code values from the
# undamaged decode, and a tile where more than this share of its samples is. Proposed: 12 code
# values at an edge are just seen, and 16 of 256 samples are a line through the tile.
DIFFERS = 12
TILE_SHARE = 1 / 16
JOINED = 0.3  # seconds; damage with less than this between is one defect (proposed)
_LATE = 0.4  # frame intervals by which a frame may be late and still be the one of that time


@dataclass(frozen=True)
class Compared:
    """A frame of the undamaged decode, and what is shown in its place.

    Attributes:
        mask: tiles that differ, [tile rows, tile columns].
        stale: nothing new has come, and what is still shown is an intact frame: the picture
            stands, but no block of it is corrupt.
    """

    clean: Picture
    shown: Picture
    mask: Mask
    stale: bool


def compared(
    clean: Iterable[Picture], damaged: Iterable[Picture], rate: Fraction
) -> Iterator[Compared]:
    """Compare each clean frame with what a player shows at its time.

    That is the frame before, where none has come; before the first, the first that comes.
    """
    late = _LATE / float(rate)
    coming = iter(damaged)
    following = next(coming, None)
    held: Picture | None = None
    intact = True
    for was in clean:
        new = held is None
        held = following if held is None else held
        while following is not None and following.time <= was.time + late:
            if following.luma.shape == was.luma.shape:
                held, new = following, True
            following = next(coming, None)
        if held is None or held.luma.shape != was.luma.shape:
            held = plain(was.time, was.duration, was.luma.shape, BLACK)
        shown = was.showing(held)
        mask = tiles_that_differ(was, shown)
        if new:
            intact = not mask.any()
        yield Compared(was, shown, mask, stale=intact and not new and bool(mask.any()))


@dataclass(frozen=True)
class Hit:
    """A frame that is not as it should be.

    Attributes:
        time, end: seconds.
        mask: tiles that differ.
        shows: those of them whose damage shows, see faults/visibility.py.
        stale: see Compared; nothing of it shows.
    """

    time: float
    end: float
    mask: Mask
    shows: Mask
    stale: bool


def hits(frames: Iterable[Compared]) -> Iterator[tuple[Compared, Hit | None]]:
    """Each frame with what is wrong with it; None: nothing."""
    held: list[Compared] = []
    at = 0  # of the frame that is looked at next, in those held
    for one in frames:
        held.append(one)
        if len(held) > at + AHEAD:
            yield held[at], _hit(held, at)
            at += 1
        if at > BEHIND:
            held.pop(0)
            at -= 1
    for n in range(at, len(held)):
        yield held[n], _hit(held, n)


def _hit(frames: Sequence[Compared], n: int) -> Hit | None:
    one = frames[n]
    if not one.mask.any():
        return None
    shows = np.zeros_like(one.mask)
    if not one.stale:
        shows = one.mask & shown(one.shown, around([each.clean for each in frames], n))
    clean = one.clean
    return Hit(clean.time, clean.time + clean.duration, one.mask, shows, one.stale)


def tiles_that_differ(clean: Picture, damaged: Picture) -> Mask:
    """Tiles of 16x16 luma samples that are damaged, [tile rows, tile columns]."""
    found: Mask = share_that_differs(clean, damaged) > TILE_SHARE
    return found


def share_that_differs(clean: Picture, damaged: Picture) -> npt.NDArray[np.float64]:
    """Share of the samples of each tile that are damaged, [tile rows, tile columns]; 0 to 1."""
    height, width = clean.luma.shape
    shape = (-(-height // TILE), -(-width // TILE))
    if all(
        np.array_equal(getattr(clean, plane), getattr(damaged, plane))
        for plane in ("luma", "cb", "cr")
    ):
        return np.zeros(shape)
    luma = _far(clean.luma, damaged.luma)
    chroma = _far(clean.cb, damaged.cb) | _far(clean.cr, damaged.cr)
    wide = np.zeros((shape[0] * TILE, shape[1] * TILE), bool)
    wide[:height, :width] = luma
    doubled = chroma.repeat(2, axis=0).repeat(2, axis=1)
    wide[: doubled.shape[0], : doubled.shape[1]] |= doubled
    tiles = wide.reshape(shape[0], TILE, shape[1], TILE)
    share: npt.NDArray[np.float64] = np.count_nonzero(tiles, axis=(1, 3)) / (TILE * TILE)
    return share


def _far(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    far: npt.NDArray[np.bool_] = np.maximum(one, other) - np.minimum(one, other) > DIFFERS
    return far


Stretch = tuple[float, float, MaskedFrames]  # start, end in seconds, and the damaged frames


def stretches(found: Sequence[Hit]) -> list[Stretch]:
    """Where damage shows: start and end in seconds, and the masks; `JOINED` apart at least.

    Frames that differ without showing it are in the masks of the stretch that is nearest.
    """
    spans: list[tuple[float, float]] = []
    for one in found:
        if one.shows.any():
            if spans and one.time - spans[-1][1] < JOINED:
                spans[-1] = (spans[-1][0], one.end)
            else:
                spans.append((one.time, one.end))
    parts: list[list[Hit]] = [[] for _ in spans]
    for one in found if spans else []:
        away = [max(start - one.time, one.end - end, 0.0) for start, end in spans]
        parts[int(np.argmin(away))].append(one)
    return [
        (
            start,
            end,
            MaskedFrames(
                [one.time for one in part],
                [one.mask for one in part],
                [one.shows for one in part],
            ),
        )
        for (start, end), part in zip(spans, parts, strict=True)
    ]


def area_of(stretch: Stretch, rate: Fraction) -> float:
    """Mean share of the picture whose damage shows, over the frames of a stretch."""
    start, end, masked = stretch
    frames = max(1, round((end - start) * float(rate)))
    return float(masked.shows.mean(axis=(1, 2)).sum() / frames)
