"""Substitute pictures: one plain colour, colour bars, or a slate in place of the programme."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from faults.base import FrameFault
from faults.chroma_grid import even
from faults.drawing import Colour, fitting, paint, planes_of, write_line, ycbcr
from faults.media import Picture, plain
from faults.truth import Severity
from pipeline.types import Kind

Rgb = npt.NDArray[np.uint8]


class _CardFault(FrameFault):
    """Puts the same picture in place of every frame."""

    @abstractmethod
    def card(self, size: tuple[int, int]) -> Picture:
        """The substitute, of (height, width); what is drawn goes into the parameters."""

    def begin(self, picture: Picture) -> None:
        """As in FrameFault."""
        height, width = picture.luma.shape
        self._card = self.card((height, width))

    def change(self, picture: Picture, index: int) -> Picture:
        """As in FrameFault."""
        return picture.showing(self._card)


class SolidColorFault(_CardFault):
    """One colour in place of the picture.

    Blue and black screens of video recorders and projectors without signal, grey or white of a
    failed render, green of planes that were never written.
    """

    name = "solid_color"
    kind = Kind.SOLID_COLOR
    summary = "One plain colour in place of the picture"
    also = (Kind.FREEZE, Kind.SLATE, Kind.DECODER_SMEAR)
    # Proposed, as for black: the length of a flash, of an interruption, of an outage.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.6},
        Severity.SUBTLE: {"seconds": 1.0},
        Severity.NOTICEABLE: {"seconds": 2.0},
        Severity.VERY_NOTICEABLE: {"seconds": 4.0},
    }
    _COLOURS: dict[str, Colour] = {
        "blue": (0, 0, 200),
        "white": (255, 255, 255),
        "grey": (128, 128, 128),
        "green": (0, 135, 0),
        "magenta": (220, 0, 220),
        "red": (200, 20, 20),
    }

    def card(self, size: tuple[int, int]) -> Picture:
        """As in _CardFault."""
        name = str(self.rng.choice([*self._COLOURS, "any"]))
        colour = self._COLOURS.get(name)
        if colour is None:
            red, green, blue = self.rng.integers(60, 256, 3)
            colour = int(red), int(green), int(blue)
        self.parameters |= {"colour": name, "rgb": colour}
        return plain(0, 0, size, *ycbcr(colour, size[0]))


class ColorBarsFault(_CardFault):
    """A test pattern in place of the picture.

    Bars before the programme that were not cut off, or those that a generator or router shows when
    its input is lost. EBU bars 100/0/75/0 and 100/0/100/0 (ITU-R BT.801), SMPTE EG 1 and RP 219.
    """

    name = "color_bars"
    kind = Kind.COLOR_BARS
    summary = "EBU or SMPTE colour bars in place of the picture, also with a line of text"
    also = (Kind.FREEZE, Kind.SLATE)
    # Proposed. Telestream reports them from one frame on.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.4},
        Severity.SUBTLE: {"seconds": 1.0},
        Severity.NOTICEABLE: {"seconds": 2.0},
        Severity.VERY_NOTICEABLE: {"seconds": 4.0},
    }
    _IDENTS = ("STUDIO 2", "LINE 4 LONDON", "OB UNIT 7  CAM 1", "FEED A")

    def card(self, size: tuple[int, int]) -> Picture:
        """As in _CardFault."""
        patterns: dict[str, Callable[[int, int], Rgb]] = {
            "ebu75": lambda h, w: _ebu(h, w, 191),
            "ebu100": lambda h, w: _ebu(h, w, 255),
            "smpte": _smpte,
            "rp219": _rp219,
        }
        name = str(self.rng.choice([*patterns]))
        ident = str(self.rng.choice([*self._IDENTS])) if self.rng.random() < 0.3 else ""
        self.parameters |= {"pattern": name, "ident": ident}
        height, width = size
        card = Picture(0, 0, *planes_of(patterns[name](height, width)))
        if ident:
            box = np.ones((even(height * 0.12), even(width * 0.44)), np.float32)
            card = paint(card, box, (16, 128, 128), int(height * 0.3), int(width * 0.28))
            letter = fitting(ident, int(height * 0.08), int(width * 0.4))
            card = write_line(card, ident, letter, (235, 128, 128), (0.36, 0.5))
        return card


def _row(colours: list[tuple[float, Colour]], width: int) -> Rgb:
    """One line [W, 3] of colours, each with its share of the width."""
    edges = np.cumsum([share for share, _ in colours])
    index = np.searchsorted(edges / edges[-1] * width, np.arange(width), side="right")
    return np.array([colour for _, colour in colours], np.uint8)[index]


def _rows(parts: list[tuple[float, Rgb]], height: int) -> Rgb:
    edges = np.cumsum([share for share, _ in parts])
    index = np.searchsorted(edges / edges[-1] * height, np.arange(height), side="right")
    return np.stack([line for _, line in parts])[index]


def _primaries(level: int) -> list[Colour]:
    """Yellow, cyan, green, magenta, red and blue."""
    mixes = ((1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1))
    return [(r * level, g * level, b * level) for r, g, b in mixes]


def _ebu(height: int, width: int, level: int) -> Rgb:
    colours: list[Colour] = [(255, 255, 255), *_primaries(level), (0, 0, 0)]
    return _rows([(1, _row([(1, colour) for colour in colours], width))], height)


_GREY75: Colour = (191, 191, 191)
_ZERO: Colour = (0, 0, 0)
_FULL: Colour = (255, 255, 255)


def _smpte(height: int, width: int) -> Rgb:
    """SMPTE EG 1: bars, castellations, -I, white, +Q and PLUGE."""
    yellow, cyan, green, magenta, red, blue = _primaries(191)
    top = [_GREY75, yellow, cyan, green, magenta, red, blue]
    middle = [blue, _ZERO, magenta, _ZERO, cyan, _ZERO, _GREY75]
    third = 1 / 3
    bottom: list[tuple[float, Colour]] = [
        (1.25, (0, 33, 76)),
        (1.25, _FULL),
        (1.25, (50, 0, 106)),
        (1.25, _ZERO),
        (third, _ZERO),
        (third, (0, 0, 0)),
        (third, (10, 10, 10)),  # +4 IRE of PLUGE; -4 has no R'G'B'
        (1, _ZERO),
    ]
    return _rows(
        [
            (8, _row([(1, c) for c in top], width)),
            (1, _row([(1, c) for c in middle], width)),
            (3, _row(bottom, width)),
        ],
        height,
    )


def _rp219(height: int, width: int) -> Rgb:
    """SMPTE RP 219: 75 % bars between 40 % grey, three rows of references under them."""
    yellow, cyan, green, magenta, red, blue = _primaries(191)
    grey40, grey15 = (102, 102, 102), (38, 38, 38)
    bars = [(1.0, c) for c in (_GREY75, yellow, cyan, green, magenta, red, blue)]
    side = 7 / 6  # d is 1/8 of the width, the bars share 3/4 of it
    ramp = [(7 / 64, (v, v, v)) for v in np.linspace(0, 255, 64).astype(int).tolist()]
    last: list[tuple[float, Colour]] = [
        (side, grey15),
        (1.5, _ZERO),
        (2.0, _FULL),
        (5 / 6, _ZERO),
        (third := 1 / 3, (0, 0, 0)),
        (third, _ZERO),
        (third, (5, 5, 5)),  # +2 %
        (third, _ZERO),
        (third, (10, 10, 10)),  # +4 %
        (1.0, _ZERO),
        (side, grey15),
    ]
    return _rows(
        [
            (7, _row([(side, grey40), *bars, (side, grey40)], width)),
            (1, _row([(side, (0, 255, 255)), (7.0, _GREY75), (side, (0, 0, 255))], width)),
            (1, _row([(side, (255, 255, 0)), *ramp, (side, (255, 0, 0))], width)),
            (3, _row(last, width)),
        ],
        height,
    )


class SlateFault(_CardFault):
    """A card with a message in place of the picture.

    What editing programs render for missing media and playout shows when its source is lost.
    """

    name = "slate"
    kind = Kind.SLATE
    summary = "A card such as 'media offline' or 'technical difficulties' in place of the picture"
    also = (Kind.FREEZE, Kind.SOLID_COLOR)
    # Proposed. Title cards of programmes stay for 2 to 3 s; a slate stays longer.
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 3.2},
        Severity.SUBTLE: {"seconds": 3.8},
        Severity.NOTICEABLE: {"seconds": 4.6},
        Severity.VERY_NOTICEABLE: {"seconds": 5.5},
    }
    _MESSAGES = (
        ("MEDIA OFFLINE", ""),
        ("TECHNICAL DIFFICULTIES", "Please stand by"),
        ("PLEASE STAND BY", ""),
        ("NO SIGNAL", "Check the input"),
        ("We'll be right back", "The programme will resume shortly"),
        ("This video is not available", "Error 404"),
    )
    _GROUNDS: tuple[Colour, ...] = (
        (120, 10, 20),
        (20, 30, 90),
        (40, 40, 46),
        (0, 70, 90),
        (190, 190, 190),
    )

    def card(self, size: tuple[int, int]) -> Picture:
        """As in _CardFault."""
        height, width = size
        head, line = self._MESSAGES[int(self.rng.integers(len(self._MESSAGES)))]
        ground = self._GROUNDS[int(self.rng.integers(len(self._GROUNDS)))]
        gradient = bool(self.rng.random() < 0.4)
        self.parameters |= {"message": head, "gradient": gradient, "ground": ground}
        shade = np.linspace(1.25, 0.75, height) if gradient else np.ones(height)
        rows = np.clip(np.outer(shade, ground), 0, 255).astype(np.uint8)
        card = Picture(0, 0, *planes_of(np.repeat(rows[:, None], width, axis=1)))
        ink = ycbcr((20, 20, 20) if min(ground) > 150 else (240, 240, 240), height)
        large = fitting(head, int(height * 0.14), int(width * 0.8))
        card = write_line(card, head, large, ink, (0.45 if line else 0.5, 0.5))
        if line:
            small = fitting(line, int(height * 0.07), int(width * 0.8))
            card = write_line(card, line, small, ink, (0.62, 0.5))
        return replace(card, time=0.0)
