"""Text that is shown: titles, credits, subtitles, tickers."""

from __future__ import annotations

import numpy as np

from faults.chroma_grid import even
from faults.drawing import fitting, letters, paint, write_line, ycbcr
from faults.lookalikes.base import Passage, Whole
from faults.media import BLACK, GREY, Picture, plain
from pipeline.types import Kind

_INK = (235, GREY, GREY)
_NAMES = ("Anna Marsh", "Tom Okafor", "Li Wei", "Rosa Duarte", "J. Novak")
_HEADLINES = (
    "Council votes on harbour plan  +++  Trains run late in the north  +++  Rain by evening"
)
_SPOKEN = (
    "I never said it would be easy.",
    "Then why are we still here?",
    "Look at the river.",
    "They left before the storm came in.",
)


class TitleCard(Passage):
    """A still title for two and a half seconds, by cuts."""

    name = "title_card"
    summary = "A still title card of 2.5 s"
    resembles = (Kind.SLATE, Kind.FREEZE, Kind.SOLID_COLOR, Kind.BLACK)
    seconds = (2.4, 2.6)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        height, width = picture.luma.shape
        ground = [(0, 0, 0), (20, 30, 60), (150, 40, 30), (225, 220, 205)][self.rng.integers(4)]
        card = plain(0, 0, (height, width), *ycbcr(ground, height))
        ink = ycbcr((20, 20, 20) if ground[0] > 200 else (240, 240, 240), height)
        title = str(self.rng.choice(["PART TWO", "The Long Way Home", "London, 1946"]))
        size = fitting(title, int(height * 0.12), int(width * 0.8))
        self._card = write_line(card, title, size, ink, (0.5, 0.5))

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        return picture.showing(self._card)


class CreditsRoll(Passage):
    """Names that roll over black."""

    name = "credits_roll"
    summary = "Credits that roll over black"
    resembles = (
        Kind.BLACK,
        Kind.FREEZE,
        Kind.PARTIAL_FREEZE,
        Kind.SLATE,
        Kind.COMBING,
        Kind.LETTERBOX_CHANGE,
        Kind.REPEATED_FRAMES,
    )
    seconds = (3.5, 5.0)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        height, width = picture.luma.shape
        size = max(int(height * 0.06), 8)
        speed = max(round(height * 3 / 1080), 1)  # samples a frame
        rows = speed * (self.frame(self.length) + 2) + height
        self._page = np.zeros((rows, width), np.float32)
        for line, top in enumerate(range(size, rows - 2 * size, 2 * size)):
            name = letters(_NAMES[line % len(_NAMES)], size)
            left = (width - name.shape[1]) // 2
            if left >= 0:
                self._page[top : top + name.shape[0], left : left + name.shape[1]] = name
        self._speed = speed

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        height, width = picture.luma.shape
        top = self._speed * self.frame(at)
        black = plain(picture.time, picture.duration, (height, width), BLACK)
        return paint(black, self._page[top : top + height], _INK, 0, 0)


class Subtitles(Whole):
    """Lines that come and go at the bottom."""

    name = "subtitles"
    summary = "Subtitles that come and go"
    resembles = (
        Kind.GLITCH,
        Kind.TEARING,
        Kind.PARTIAL_FREEZE,
        Kind.LETTERBOX_CHANGE,
        Kind.BLOCK_CORRUPTION,
    )

    _until = 0.0
    _line = 0
    _shown = False

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        if picture.time >= self._until:
            self._shown = not self._shown
            self._line = int(self.rng.integers(len(_SPOKEN)))
            # Netflix timed-text guide: 5/6 s to 7 s
            self._until = picture.time + self.rng.uniform(
                *((1.0, 2.5) if self._shown else (0.2, 1))
            )
        if not self._shown:
            return picture
        height, width = picture.luma.shape
        text = _SPOKEN[self._line]
        size = fitting(text, int(height * 0.07), int(width * 0.9))
        edge = max(size / 20 / height, 1 / height)
        for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            place = 0.9 + down * 2 * edge, 0.5 + across * 2 * edge
            picture = write_line(picture, text, size, (BLACK, GREY, GREY), place)
        return write_line(picture, text, size, _INK, (0.9, 0.5))


class Ticker(Whole):
    """A strip of headlines that runs along the bottom."""

    name = "ticker"
    summary = "Headlines that run along the bottom"
    resembles = (Kind.PARTIAL_FREEZE, Kind.TEARING, Kind.COMBING, Kind.LETTERBOX_CHANGE)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        height, width = picture.luma.shape
        band = np.ones((max(even(height * 0.08), 10), width // 2 * 2), np.float32)
        top = even(height * 0.88)
        strip = paint(picture, band, ycbcr((20, 30, 110), height), top, 0)
        text = letters(_HEADLINES, max(int(band.shape[0] * 0.6), 8))
        speed = max(width // 320, 1) * 2  # samples a frame; the width in about 6 s at 25 fps
        cycle = text.shape[1] + width
        left = width - (speed * index) % cycle
        return paint(strip, text, _INK, top + (band.shape[0] - text.shape[0]) // 2, left)
