"""Photographs set in motion: pans and zooms, with cuts and a little grain."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from corpus.sources import Recipe, RejectedError
from faults.media import Picture, picture_of
from pipeline.measurements import Float32

# Photographs are not sampled from more lines, nor from more than 1.5 times the clip's
_SOURCE_LINES = 720
_FLAT, _MOST_FLAT, _DARK = 1.5, 0.85, 40.0  # code values; share of tiles; mean code value


def moving(
    recipe: Recipe, rate: Fraction, count: int, rng: np.random.Generator
) -> Iterator[Picture]:
    """Pans and zooms over photographs, with cuts between them and a little grain."""
    width, height = recipe.size
    photos = [
        planes
        for planes in (_planes(Path(path), width, height) for path in recipe.pictures)
        if not _is_plain(planes[0])
    ]
    if not photos:
        raise RejectedError("nothing but plain areas")
    cuts = np.linspace(0, count, len(photos) + 1).round().astype(int)
    if len(cuts) > 2:
        cuts[1:-1] += rng.integers(-round(float(rate)), round(float(rate)) + 1, len(cuts) - 2)
    luma: Float32
    grain = float(rng.choice([0.0, 0.8, 1.6]))
    noises = [rng.normal(0, grain, (height, width)).astype(np.float32) for _ in range(4)]
    for shot, planes in enumerate(photos):
        begin, end = _view(rng), _view(rng)
        frames = int(cuts[shot + 1] - cuts[shot])
        for n in range(frames):
            share = n / max(frames - 1, 1)
            zoom, x, y = ((1 - share) * np.array(begin) + share * np.array(end)).tolist()
            luma, cb, cr = (
                _window(plane, shape, zoom, x, y)
                for plane, shape in zip(
                    planes,
                    ((height, width), (height // 2, width // 2), (height // 2, width // 2)),
                    strict=True,
                )
            )
            index = int(cuts[shot]) + n
            if grain:
                noise = np.roll(noises[index % 4], 37 * index, axis=(0, 1)[index % 2])
                luma = (luma + noise).astype(np.float32)
            yield Picture(
                float(index / rate),
                float(1 / rate),
                np.clip(luma + 0.5, 16, 235).astype(np.uint8),
                np.clip(cb + 0.5, 16, 240).astype(np.uint8),
                np.clip(cr + 0.5, 16, 240).astype(np.uint8),
            )


def _is_plain(luma: Float32) -> bool:
    """Whether a picture shows next to nothing: one colour and a logo, or darkness."""
    high, wide = (side // 16 * 16 for side in luma.shape)
    tiles = luma[:high, :wide].reshape(high // 16, 16, wide // 16, 16)
    flat = float((tiles.std(axis=(1, 3)) < _FLAT).mean())
    return flat > _MOST_FLAT or float(luma.mean()) < _DARK


def _view(rng: np.random.Generator) -> tuple[float, float, float]:
    """Zoom and place of the window: shares of the picture and of the room that is left."""
    return float(rng.uniform(0.62, 0.95)), float(rng.uniform(0, 1)), float(rng.uniform(0, 1))


def _planes(path: Path, width: int, height: int) -> tuple[Float32, Float32, Float32]:
    """A photograph, cropped to the shape of the clip, as limited-range planes."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    scale = min(
        1.0, max(_SOURCE_LINES, 1.5 * height) / min(frame.height, frame.width * height / width)
    )
    wide, high = round(frame.width * scale) // 4 * 4, round(frame.height * scale) // 4 * 4
    if wide < width or high < height:
        raise RejectedError(f"{path.name} has only {frame.width}x{frame.height}")
    frame = frame.reformat(
        wide, high, format="yuv420p", interpolation="AREA", dst_color_range="MPEG"
    )
    picture = picture_of(frame, 0.0, 0.0)
    rows = min(high, wide * height // width) // 2 * 2
    columns = min(wide, rows * width // height) // 2 * 2
    top, left = (high - rows) // 4 * 2, (wide - columns) // 4 * 2
    planes = (
        picture.luma[top : top + rows, left : left + columns],
        picture.cb[top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2],
        picture.cr[top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2],
    )
    return tuple(plane.astype(np.float32) for plane in planes)  # type: ignore[return-value]


def _window(plane: Float32, shape: tuple[int, int], zoom: float, x: float, y: float) -> Float32:
    """A part of a plane, scaled to `shape`: linear at twice the size, then mean of 2x2."""
    rows = _places(plane.shape[0], 2 * shape[0], zoom, y)
    columns = _places(plane.shape[1], 2 * shape[1], zoom, x)
    left = int(columns[0])
    lines = _mixed(plane[:, left : int(columns[-1]) + 2], rows, 0)
    lines = lines[0::2] + lines[1::2]
    cells = _mixed(lines, columns - left, 1)
    return np.asarray((cells[:, 0::2] + cells[:, 1::2]) / 4, np.float32)


def _places(size: int, count: int, zoom: float, at: float) -> npt.NDArray[np.float32]:
    span = zoom * (size - 2)
    start = at * (size - 2 - span)
    return (start + (np.arange(count) + 0.5) * span / count).astype(np.float32)


def _mixed(plane: Float32, places: npt.NDArray[np.float32], axis: int) -> Float32:
    first = places.astype(np.int64)
    share = (places - first).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    below = np.take(plane, first, axis)
    made: Float32 = below + (np.take(plane, first + 1, axis) - below) * share
    return made
