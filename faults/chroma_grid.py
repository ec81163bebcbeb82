"""Cropping and placing where chroma has samples: places and sizes are even."""

from __future__ import annotations

from dataclasses import replace

from faults.media import Picture


def even(value: float) -> int:
    """Rounded down to an even number."""
    return int(value) // 2 * 2


def crop(picture: Picture, corner: tuple[int, int], size: tuple[int, int]) -> Picture:
    """A rectangle of the picture; all numbers even."""
    (top, left), (high, wide) = corner, size
    rows, columns = slice(top, top + high), slice(left, left + wide)
    half = slice(top // 2, (top + high) // 2), slice(left // 2, (left + wide) // 2)
    return replace(
        picture,
        luma=picture.luma[rows, columns],
        cb=picture.cb[half],
        cr=picture.cr[half],
    )
