"""Painting on pictures: letters, colours, and the few operations that several faults share."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image, ImageDraw, ImageFont

from faults.media import BLACK, GREY, WHITE, Picture, Plane, picture_of
from pipeline.measurements import Float32

Colour = tuple[int, int, int]  # R, G, B, 0 to 255, or Y, Cb, Cr


def _matrix(height: int) -> Float32:
    """R'G'B' 0..255 to limited range less (16, 128, 128): BT.709, below 720 lines BT.601."""
    kr, kb = (0.2126, 0.0722) if height >= 720 else (0.299, 0.114)
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    red = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    return np.stack([luma * 219, blue * 224, red * 224]).astype(np.float32) / np.float32(255)


def ycbcr(rgb: Colour, height: int) -> Colour:
    """Limited-range code values of an R'G'B' colour in a picture of this height."""
    y, cb, cr = _matrix(height) @ np.asarray(rgb, np.float32)
    return round(float(y)) + BLACK, round(float(cb)) + GREY, round(float(cr)) + GREY


def planes_of(rgb: npt.NDArray[np.uint8]) -> tuple[Plane, Plane, Plane]:
    """Luma, Cb and Cr of an R'G'B' image [H, W, 3] of even size."""
    coded = rgb.astype(np.float32) @ _matrix(rgb.shape[0]).T
    luma, cb, cr = (coded[..., n] for n in range(3))
    return code(luma + BLACK), code(halved(cb) + GREY), code(halved(cr) + GREY)


def code(values: npt.NDArray[np.floating]) -> Plane:
    """Rounded to 8 bits."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def halved(plane: Float32) -> Float32:
    """Means of 2x2 samples, for chroma."""
    high, wide = plane.shape
    return np.asarray(plane.reshape(high // 2, 2, wide // 2, 2).mean(axis=(1, 3)))


def dimmed(picture: Picture, gain: float) -> Picture:
    """The picture at another gain, about black; above 1 it is clipped at white."""
    levels = np.arange(256, dtype=np.float32)
    luma = code(np.minimum(BLACK + (levels - BLACK) * gain, np.maximum(levels, WHITE)))
    chroma = code(GREY + (levels - GREY) * gain)
    return replace(picture, luma=luma[picture.luma], cb=chroma[picture.cb], cr=chroma[picture.cr])


def mixed(one: Picture, other: Picture, share: float) -> Picture:
    """A crossfade at the time of `one`: `share` of `other`."""
    return replace(
        one,
        luma=_mixed(one.luma, other.luma, share),
        cb=_mixed(one.cb, other.cb, share),
        cr=_mixed(one.cr, other.cr, share),
    )


def _mixed(one: Plane, other: Plane, share: float) -> Plane:
    return code(one * np.float32(1 - share) + other * np.float32(share))


def mirrored(picture: Picture, *, across: bool = True, down: bool = False) -> Picture:
    """Left and right exchanged, or top and bottom, or both."""
    turn = (slice(None, None, -1 if down else 1), slice(None, None, -1 if across else 1))
    return replace(
        picture,
        luma=np.ascontiguousarray(picture.luma[turn]),
        cb=np.ascontiguousarray(picture.cb[turn]),
        cr=np.ascontiguousarray(picture.cr[turn]),
    )


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture scaled to an even (height, width)."""
    frame = VideoReformatter().reformat(
        picture.frame(), width=size[1], height=size[0], interpolation=Interpolation.BICUBIC
    )
    return picture_of(frame, picture.time, picture.duration)


def inset(picture: Picture, small: Picture, top: int, left: int) -> Picture:
    """`small` laid over a copy of the picture; even places and sizes keep chroma aligned."""
    made = picture.copy()
    high, wide = small.luma.shape
    made.luma[top : top + high, left : left + wide] = small.luma
    for whole, part in ((made.cb, small.cb), (made.cr, small.cr)):
        whole[top // 2 : (top + high) // 2, left // 2 : (left + wide) // 2] = part
    return made


@lru_cache(maxsize=64)
def letters(text: str, size: int) -> Float32:
    """Coverage 0..1 of text, of even height and width, in the font that Pillow carries."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    wide, high = int(right - left) + 4, int(bottom - top) + 4
    image = Image.new("L", (wide + wide % 2, high + high % 2))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, 255, font)
    return np.asarray(image, np.float32) / np.float32(255)


def paint(picture: Picture, coverage: Float32, colour: Colour, top: int, left: int) -> Picture:
    """A copy with a colour (Y, Cb, Cr) painted where `coverage` is; what lies outside is cut off.

    `top` and `left` are rounded down to even values.
    """
    height, width = picture.luma.shape
    top, left = top // 2 * 2, left // 2 * 2
    upper, first = max(-top, 0), max(-left, 0)
    part = coverage[upper : height - top, first : width - left]
    if not part.size:
        return picture
    top, left = max(top, 0), max(left, 0)
    made = picture.copy()
    for plane, weight, value, step in (
        (made.luma, part, colour[0], 1),
        (made.cb, halved(part), colour[1], 2),
        (made.cr, halved(part), colour[2], 2),
    ):
        place = (
            slice(top // step, top // step + weight.shape[0]),
            slice(left // step, left // step + weight.shape[1]),
        )
        plane[place] = code(plane[place] * (1 - weight) + value * weight)
    return made


def write_line(
    picture: Picture, text: str, size: int, colour: Colour, middle: tuple[float, float]
) -> Picture:
    """A copy with a line of text whose middle is at shares of (height, width)."""
    height, width = picture.luma.shape
    coverage = letters(text, size)
    return paint(
        picture,
        coverage,
        colour,
        round(middle[0] * height - coverage.shape[0] / 2),
        round(middle[1] * width - coverage.shape[1] / 2),
    )


def fitting(text: str, size: int, width: int) -> int:
    """The font size, at most `size`, at which a line is no wider than `width`."""
    return max(min(size, int(size * width / letters(text, size).shape[1])), 8)
