"""What programmes rightly lay over a picture from one frame to the next: captions, insets."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from faults.drawing import letters
from training.corruption.synthesis import CROP

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_WORDS = (  # noqa: SIM905 - easier to read
    "the of and a to in is you that it he was for on are with as I his they be at one have "
    "this from or had by hot but some what there we can out other were all your when up use "
    "word how said an each she which do their time if will way about many then them would "
    "write like these her long make thing see him two has look more day could go come did my "
    "sound no most number who over know water than call first people may down side been now "
    "find any new work part take "
).split()
_LINES = 500  # of text that are drawn once
_BOTH, _CAPTION, _REPLACED = 0.15, 0.6, 0.15  # chances
_INK, _GREY = 235.0, 128.0
_OUTLINED, _BOXED = 0.55, 0.2


def lay_over(
    luma: UInt8, chroma: UInt8, other: tuple[UInt8, UInt8], rng: np.random.Generator
) -> None:
    """Lay something over one frame of a pair, or over both.

    Args:
        luma: [2, CROP, CROP]; is changed.
        chroma: [4, CROP/2, CROP/2]; is changed.
        other: luma [CROP, CROP] and chroma [2, CROP/2, CROP/2] of another picture, for insets.
        rng: draws.
    """
    which = [0, 1] if rng.random() < _BOTH else [int(rng.integers(2))]
    if rng.random() < _CAPTION:
        _caption(luma, chroma, which, rng)
        if len(which) == 1 and rng.random() < _REPLACED:
            _caption(luma, chroma, [1 - which[0]], rng)
        return
    for _ in range(int(rng.integers(1, 3))):
        high, wide = (
            int(np.exp(rng.uniform(np.log(low), np.log(most))))
            for low, most in ((12, 150), (16, 220))
        )
        top, left = (max(int(rng.integers(-10, CROP - 6)), 0) // 2 * 2 for _ in range(2))
        bottom, right = (min(at + size, CROP) // 2 * 2 for at, size in ((top, high), (left, wide)))
        if min(bottom - top, right - left) < 6:
            continue
        cover = np.zeros((CROP, CROP), np.float32)
        if rng.random() < 0.5:
            cover[top:bottom, left:right] = 1 if rng.random() < 0.6 else rng.uniform(0.3, 1)
            _paint(luma, chroma, which, cover, _colour(rng))
            continue
        step = int(rng.integers(1, 3))
        inside, half = (
            np.s_[top:bottom, left:right],
            np.s_[top // 2 : bottom // 2, left // 2 : right // 2],
        )
        for n in which:
            _put(luma[n][inside], other[0][::step, ::step])
            for plane, color in zip(chroma[2 * n : 2 * n + 2], other[1], strict=True):
                _put(plane[half], color[::step, ::step])
        if rng.random() < 0.5:
            edge = int(rng.choice([2, 4]))
            cover[inside] = 1
            cover[top + edge : bottom - edge, left + edge : right - edge] = 0
            _paint(luma, chroma, which, cover, (rng.uniform(16, _INK), _GREY, _GREY))


def _put(into: UInt8, picture: UInt8) -> None:
    high, wide = (min(a, b) for a, b in zip(into.shape, picture.shape, strict=True))
    into[:high, :wide] = picture[:high, :wide]


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    return rng.uniform(16, _INK), rng.uniform(100, 156), rng.uniform(100, 156)


def _paint(
    luma: UInt8, chroma: UInt8, which: list[int], cover: Float32, colour: tuple[float, float, float]
) -> None:
    """Paint a colour where `cover` [CROP, CROP] says, 0 to 1."""
    half = cover[::2, ::2]
    for n in which:
        luma[n] = luma[n] * (1 - cover) + colour[0] * cover
        for m in range(2):
            plane = chroma[2 * n + m]
            chroma[2 * n + m] = plane * (1 - half) + colour[1 + m] * half


def _caption(luma: UInt8, chroma: UInt8, which: list[int], rng: np.random.Generator) -> None:
    """A line or two, with an outline, on a dark box, or plain."""
    top, left = int(rng.integers(0, CROP - 20)), int(rng.integers(-60, 160))
    style = rng.random()
    ink = (_INK, _GREY, _GREY) if rng.random() < 0.75 else _colour(rng)
    for number in range(int(rng.integers(1, 3))):
        line = _lines()[int(rng.integers(_LINES))]
        y, x = top + number * int(1.3 * len(line)), left + int(rng.integers(-20, 20))
        line = line[: max(CROP - y, 0), max(-x, 0) : max(CROP - x, 0)]
        x = max(x, 0)
        if min(line.shape) < 4:
            continue
        cover, dark = np.zeros((2, CROP, CROP), np.float32)
        cover[y : y + line.shape[0], x : x + line.shape[1]] = line
        if style < _OUTLINED:
            edge = int(rng.integers(1, 3))
            for down, across in ((-edge, 0), (edge, 0), (0, -edge), (0, edge)):
                dark = np.maximum(dark, np.roll(cover, (down, across), (0, 1)))
        elif style < _OUTLINED + _BOXED:
            box = np.s_[max(y - 4, 0) : y + len(line) + 4, max(x - 6, 0) : x + line.shape[1] + 6]
            dark[box] = rng.uniform(0.3, 1)
        _paint(luma, chroma, which, dark, (16.0, _GREY, _GREY))
        _paint(luma, chroma, which, cover, ink)


@cache
def _lines() -> list[Float32]:
    """Lines of text, drawn: coverage from 0 to 1."""
    rng = np.random.default_rng(11)
    made = []
    for _ in range(_LINES):
        text = " ".join(rng.choice(_WORDS, int(rng.integers(1, 8)))).capitalize()
        text += str(rng.choice([".", "?", "!", "", ",", "..."]))
        text = text.upper() if rng.random() < 0.2 else text
        made.append(letters(text, int(rng.integers(10, 36))))
    return made
