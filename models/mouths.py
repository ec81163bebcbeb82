"""From faces to pictures of one mouth: followed through a shot, held still, cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.faces import Face

RATE = 25.0  # pictures of a mouth per second
SIDE = 80  # samples
SHARE = 0.75  # of the size of the face: chin to nose, cheek to cheek
_FAR = 0.5  # face sizes by which a face may move between two looks
_GROWS = 1.4  # times by which its size may change between two looks
_SMOOTH = 7  # frames over which its place is averaged: the finder jitters, a head does not


@dataclass(frozen=True)
class MouthPath:
    """Where one mouth is.

    Attributes:
        first: frame at which the face appears.
        centres: [T, 2] x and y, in samples of the frame.
        side: of the square around it, one for the whole path: it must not breathe.
        face: mean size of the face.
        score: mean score of the face.
    """

    first: int
    centres: npt.NDArray[np.float64]
    side: float
    face: float
    score: float


def follow(looks: Mapping[int, Sequence[Face]]) -> list[MouthPath]:
    """Join the faces that were found in some frames of a shot to paths.

    Args:
        looks: faces by number of the frame, where it was looked for some.

    Returns:
        The paths, the largest faces first. Between looks the place is interpolated; a path ends at
        the last look that has the face. A face seen once only is none.
    """
    ended: list[list[tuple[int, Face]]] = []
    going: list[list[tuple[int, Face]]] = []
    for number in sorted(looks):
        left = list(looks[number])
        still: list[list[tuple[int, Face]]] = []
        for path in going:
            last = path[-1][1]
            near = [face for face in left if is_same(last, face)]
            if near:
                face = min(near, key=lambda one: _distance(last, one))
                left.remove(face)
                path.append((number, face))
                still.append(path)
            else:
                ended.append(path)
        going = still + [[(number, face)] for face in left]
    paths = [_path(one) for one in ended + going if len(one) > 1]
    return sorted(paths, key=lambda path: -path.face)


def _distance(one: Face, other: Face) -> float:
    return float(np.hypot(one.mouth[0] - other.mouth[0], one.mouth[1] - other.mouth[1]))


def is_same(one: Face, other: Face) -> bool:
    """Whether two faces of frames that follow each other closely are one."""
    ratio = other.size / one.size
    return _distance(one, other) < _FAR * one.size and 1 / _GROWS < ratio < _GROWS


def _path(seen: Sequence[tuple[int, Face]]) -> MouthPath:
    numbers = np.array([number for number, _ in seen])
    every = np.arange(numbers[0], numbers[-1] + 1)
    centres = np.stack(
        [np.interp(every, numbers, [face.mouth[axis] for _, face in seen]) for axis in (0, 1)],
        axis=1,
    )
    half = _SMOOTH // 2
    extended = np.pad(centres, ((half, half), (0, 0)), mode="edge")
    total = np.cumsum(np.pad(extended, ((1, 0), (0, 0))), axis=0)
    size = float(np.median([face.size for _, face in seen]))
    return MouthPath(
        int(numbers[0]),
        (total[_SMOOTH:] - total[:-_SMOOTH]) / _SMOOTH,
        SHARE * size,
        size,
        float(np.mean([face.score for _, face in seen])),
    )


def cut_out(
    luma: npt.NDArray[np.uint8], centre: npt.NDArray[np.float64], side: float
) -> npt.NDArray[np.uint8]:
    """The square [SIDE, SIDE] around a mouth; what lies outside of the frame repeats its edge.

    Args:
        luma: [H, W] of the frame.
        centre: x and y.
        side: of the square, in samples of the frame.
    """
    height, width = luma.shape
    left, top = centre - side / 2
    out = int(np.ceil(max(0.0, -left, -top, left + side - width, top + side - height)))
    if out:
        luma, left, top = np.pad(luma, out, mode="edge"), left + out, top + out
    box = (left, top, left + side, top + side)
    picture = Image.fromarray(luma).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(picture)
