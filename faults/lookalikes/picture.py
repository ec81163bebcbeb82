"""Pictures that programmes rightly have and that resemble defects.

Lengths and speeds are those of usual programmes. What is cut in stands for another shot: without a
second programme at hand, it is the same one mirrored or cropped.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from scipy import ndimage

from faults.drawing import (
    code,
    dimmed,
    fitting,
    halved,
    inset,
    letters,
    mirrored,
    mixed,
    paint,
    resized,
    write_line,
    ycbcr,
)
from faults.lookalikes.base import PictureLookalike
from faults.media import BLACK, GREY, WHITE, Picture, Plane, plain
from faults.recode import recode
from pipeline.types import Float32, Kind

_INK, _NAMES = (235, GREY, GREY), ("Anna Marsh", "Tom Okafor", "Li Wei", "Rosa Duarte", "J. Novak")
_HEADLINES = (
    "Council votes on harbour plan  +++  Trains run late in the north  +++  Rain by evening"
)
_SPOKEN = (
    "I never said it would be easy.",
    "Then why are we still here?",
    "Look at the river.",
    "They left before the storm came in.",
)


class _Whole(PictureLookalike):
    """Changes every frame by itself."""

    @abstractmethod
    def change(self, picture: Picture, index: int) -> Picture:
        """The frame of the look-alike; `index` counts frames."""

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        for index, picture in enumerate(pictures):
            yield self.change(picture, index)


class _Passage(PictureLookalike):
    """Changes the frames of a passage whose length and place are drawn."""

    seconds: ClassVar[tuple[float, float]]  # shortest and longest passage

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        self.length = min(float(self.rng.uniform(*self.seconds)), self.clean.duration)
        start = float(self.rng.uniform(0, self.clean.duration - self.length))
        first: float | None = None
        for index, picture in enumerate(pictures):
            if picture.time < start - 1e-6:
                yield picture
                continue
            if first is None:
                first = picture.time
                self.begin(picture)
                self.first = index
            at = picture.time - first
            yield self.change(picture, at) if at < self.length else self.after(picture)

    def begin(self, picture: Picture) -> None:
        """Called with the first frame of the passage."""

    @abstractmethod
    def change(self, picture: Picture, at: float) -> Picture:
        """A frame of the passage, `at` seconds after its start."""

    def after(self, picture: Picture) -> Picture:
        """A frame after the passage."""
        return picture

    def frame(self, at: float) -> int:
        """Frames since the start of the passage, at the nominal rate."""
        return round(at * float(self.clean.rate))


# ------------------------------------------------------------------------------- transitions


class FadeThroughBlack(_Passage):
    """Out to black in a second, black for an instant, and in again."""

    name = "fade_through_black"
    summary = "A fade out to black and in again"
    resembles = (Kind.BLACK, Kind.FREEZE, Kind.BRIGHTNESS_PUMPING, Kind.GLITCH, Kind.BLUR)
    seconds = (1.8, 2.6)
    _HELD = 0.3  # seconds of black

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        half = (self.length - self._HELD) / 2
        return dimmed(picture, min(max(1 - at / half, 1 - (self.length - at) / half, 0), 1))


class FadeThroughWhite(FadeThroughBlack):
    """The same through white, shorter, as into a memory."""

    name = "fade_through_white"
    summary = "A fade out to white and in again"
    resembles = (Kind.SOLID_COLOR, Kind.FLASHING, Kind.GLITCH, Kind.ILLEGAL_LEVELS, Kind.FREEZE)
    seconds = (0.9, 1.6)
    _HELD = 0.16

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        height, width = picture.luma.shape
        self._white = plain(0, 0, (height, width), WHITE)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        half = (self.length - self._HELD) / 2
        return mixed(picture, self._white, min(at / half, (self.length - at) / half, 1))


class FadesAtTheEnds(_Whole):
    """In from black at the start, out to black at the end."""

    name = "fades_at_the_ends"
    summary = "A fade in from black at the start and out to black at the end"
    resembles = (Kind.BLACK, Kind.FREEZE, Kind.BRIGHTNESS_PUMPING, Kind.BLUR)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in _Whole."""
        gain = min(picture.time, self.clean.duration - picture.time - picture.duration, 1.0)
        return dimmed(picture, max(gain, 0.0)) if gain < 1 else picture


class Crossfade(_Passage):
    """Dissolves into another shot."""

    name = "crossfade"
    summary = "A dissolve of about a second into another shot"
    resembles = (Kind.BLUR, Kind.FREEZE, Kind.GLITCH, Kind.DROPPED_FRAMES, Kind.COMBING)
    seconds = (0.8, 1.6)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        return mixed(picture, mirrored(picture), at / self.length)

    def after(self, picture: Picture) -> Picture:
        """As in _Passage."""
        return mirrored(picture)


class WhipPan(_Passage):
    """The camera is torn aside, and another shot comes to rest."""

    name = "whip_pan"
    summary = "A whip pan into another shot"
    resembles = (Kind.BLUR, Kind.DROPPED_FRAMES, Kind.GLITCH, Kind.TEARING, Kind.BLOCK_CORRUPTION)
    seconds = (0.4, 0.6)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        share = at / self.length
        shot = picture if share < 0.5 else mirrored(picture)
        fastest = shot.luma.shape[1] / 5  # samples a frame
        speed = fastest * np.sin(np.pi * share)
        frames = self.length * float(self.clean.rate)
        # the way from where the first shot was, or to where the second will be
        way = fastest * frames / np.pi * ((1 if share < 0.5 else -1) - np.cos(np.pi * share))
        moved = int(way) // 2 * 2
        smeared = max(int(speed / 2), 1)  # the shutter is open for half of the time
        return replace(
            shot,
            luma=_whipped(shot.luma, moved, smeared),
            cb=_whipped(shot.cb, moved // 2, max(smeared // 2, 1)),
            cr=_whipped(shot.cr, moved // 2, max(smeared // 2, 1)),
        )

    def after(self, picture: Picture) -> Picture:
        """As in _Passage."""
        return mirrored(picture)


def _whipped(plane: Plane, moved: int, smeared: int) -> Plane:
    rolled = np.roll(plane, moved, axis=1).astype(np.float32)
    return code(ndimage.uniform_filter1d(rolled, smeared, axis=1, mode="wrap"))


class FastCuts(_Passage):
    """A montage: every shot lasts 6 to 14 frames."""

    name = "fast_cuts"
    summary = "A montage of shots of a quarter to half a second"
    resembles = (Kind.GLITCH, Kind.DROPPED_FRAMES, Kind.FLASHING, Kind.BLUR, Kind.BLOCK_CORRUPTION)
    seconds = (2.0, 3.5)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        self._until = 0

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        if self.frame(at) >= self._until:
            self._until = self.frame(at) + int(self.rng.integers(6, 15))
            self._zoom = float(self.rng.uniform(0.4, 0.7))
            self._place = self.rng.uniform(0, 1 - self._zoom, 2)
            self._mirror = bool(self.rng.random() < 0.5)
        height, width = picture.luma.shape
        part = _part(
            picture,
            (_even(self._place[0] * height), _even(self._place[1] * width)),
            (_even(self._zoom * height), _even(self._zoom * width)),
        )
        shot = resized(part, (height, width))
        return mirrored(shot) if self._mirror else shot


def _even(value: float) -> int:
    return int(value) // 2 * 2


def _part(picture: Picture, corner: tuple[int, int], size: tuple[int, int]) -> Picture:
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


# ------------------------------------------------------------------------------ cards, titles


class TitleCard(_Passage):
    """A still title for two and a half seconds, by cuts."""

    name = "title_card"
    summary = "A still title card of 2.5 s"
    resembles = (Kind.SLATE, Kind.FREEZE, Kind.SOLID_COLOR, Kind.BLACK)
    seconds = (2.4, 2.6)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        height, width = picture.luma.shape
        ground = [(0, 0, 0), (20, 30, 60), (150, 40, 30), (225, 220, 205)][self.rng.integers(4)]
        card = plain(0, 0, (height, width), *ycbcr(ground, height))
        ink = ycbcr((20, 20, 20) if ground[0] > 200 else (240, 240, 240), height)
        title = str(self.rng.choice(["PART TWO", "The Long Way Home", "London, 1946"]))
        size = fitting(title, int(height * 0.12), int(width * 0.8))
        self._card = write_line(card, title, size, ink, (0.5, 0.5))

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        return picture.showing(self._card)


class CreditsRoll(_Passage):
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
        """As in _Passage."""
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
        """As in _Passage."""
        height, width = picture.luma.shape
        top = self._speed * self.frame(at)
        black = plain(picture.time, picture.duration, (height, width), BLACK)
        return paint(black, self._page[top : top + height], _INK, 0, 0)


class Subtitles(_Whole):
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
        """As in _Whole."""
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


class Ticker(_Whole):
    """A strip of headlines that runs along the bottom."""

    name = "ticker"
    summary = "Headlines that run along the bottom"
    resembles = (Kind.PARTIAL_FREEZE, Kind.TEARING, Kind.COMBING, Kind.LETTERBOX_CHANGE)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in _Whole."""
        height, width = picture.luma.shape
        band = np.ones((max(_even(height * 0.08), 10), width // 2 * 2), np.float32)
        top = _even(height * 0.88)
        strip = paint(picture, band, ycbcr((20, 30, 110), height), top, 0)
        text = letters(_HEADLINES, max(int(band.shape[0] * 0.6), 8))
        speed = max(width // 320, 1) * 2  # samples a frame; the width in about 6 s at 25 fps
        cycle = text.shape[1] + width
        left = width - (speed * index) % cycle
        return paint(strip, text, _INK, top + (band.shape[0] - text.shape[0]) // 2, left)


class SlideWithSpeaker(_Passage):
    """A still slide with a speaker in a corner, as in lectures."""

    name = "slide_with_speaker"
    summary = "A still slide with a moving speaker in a corner"
    resembles = (Kind.PARTIAL_FREEZE, Kind.FREEZE, Kind.SLATE, Kind.SOLID_COLOR)
    seconds = (3.5, 5.0)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        height, width = picture.luma.shape
        slide = plain(0, 0, (height, width), *ycbcr((245, 245, 240), height))
        lines = ("Results of the second year", "Costs fell by 12 %", "Two sites were added")
        for number, line in enumerate(lines):
            size = fitting(line, int(height * (0.09 if not number else 0.06)), int(width * 0.6))
            place = (0.15 + 0.17 * number, 0.36)
            slide = write_line(slide, line, size, ycbcr((20, 30, 70), height), place)
        self._slide = slide

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        height, width = picture.luma.shape
        small = resized(picture, (_even(height * 0.25) or 2, _even(width * 0.25) or 2))
        corner = _even(height * 0.7), _even(width * 0.72)
        return inset(picture.showing(self._slide), small, *corner)


class PictureInPicture(_Passage):
    """Another shot in a frame in a corner."""

    name = "picture_in_picture"
    summary = "Another shot in a corner"
    resembles = (
        Kind.PARTIAL_FREEZE,
        Kind.LETTERBOX_CHANGE,
        Kind.TEARING,
        Kind.GLITCH,
        Kind.BLOCK_CORRUPTION,
    )
    seconds = (2.5, 4.0)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        self._corner = self.rng.choice([0.06, 0.62], 2)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        height, width = picture.luma.shape
        high, wide = _even(height * 0.32) or 2, _even(width * 0.32) or 2
        top, left = _even(self._corner[0] * height), _even(self._corner[1] * width)
        line = max(_even(height / 120), 2)
        frame = plain(0, 0, (high + 2 * line, wide + 2 * line), WHITE)
        framed = inset(picture, frame, top, left)
        return inset(framed, resized(mirrored(picture), (high, wide)), top + line, left + line)


# --------------------------------------------------------------------------------------- light


class NightScene(_Passage):
    """A scene by night: hardly any light, and the noise of a camera that looks for it."""

    name = "night_scene"
    summary = "A night scene of 8 to 20 % of the light, with sensor noise"
    resembles = (Kind.BLACK, Kind.NOISE, Kind.BANDING, Kind.FREEZE, Kind.ILLEGAL_LEVELS, Kind.BLUR)
    seconds = (3.0, 5.0)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        self._gain = float(self.rng.uniform(0.08, 0.2))
        self._sigma = float(self.rng.uniform(0.8, 1.6))

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        return _by_night(picture, self._gain, self._sigma, self.rng)


def _by_night(picture: Picture, gain: float, sigma: float, rng: np.random.Generator) -> Picture:
    """A fraction of the light; the noise comes before the rounding, as in a camera: no bands."""

    def dark(plane: Plane, zero: int, sigma: float) -> Float32:
        noise = rng.standard_normal(plane.shape, np.float32) * np.float32(sigma)
        return np.asarray(zero + (plane.astype(np.float32) - zero) * np.float32(gain) + noise)

    luma = np.maximum(dark(picture.luma, BLACK, sigma), BLACK)  # cameras clip at black
    return replace(
        picture,
        luma=code(np.minimum(luma, WHITE)),
        cb=code(dark(picture.cb, GREY, sigma / 3)),
        cr=code(dark(picture.cr, GREY, sigma / 3)),
    )


class CameraFlashes(_Passage):
    """Photographers: flashes at random times, each from its own place."""

    name = "camera_flashes"
    summary = "Flashes of photographers"
    resembles = (Kind.GLITCH, Kind.BRIGHTNESS_PUMPING, Kind.BLOCK_CORRUPTION, Kind.SOLID_COLOR)
    excused = (Kind.FLASHING,)
    seconds = (2.5, 3.5)
    _LIGHT = (1.0, 0.3)  # the flash, and what a camera still has of it in the next frame

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        count = int(self.rng.integers(3, 7))
        last = self.frame(self.length) - len(self._LIGHT)
        self._starts = self.rng.choice(np.arange(1, max(last, count + 1)), count, replace=False)
        self._places = self.rng.uniform(0.1, 0.9, (count, 2))

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        height, width = picture.luma.shape
        yy, xx = np.ogrid[:height, :width]
        luma = picture.luma.astype(np.float32)
        for start, (y, x) in zip(self._starts, self._places, strict=True):
            age = self.frame(at) - int(start)
            if not 0 <= age < len(self._LIGHT):
                continue
            distance = ((yy / height - y) ** 2 + ((xx - x * width) / height) ** 2) / 0.3
            light = self._LIGHT[age] * (0.35 + 0.65 * np.exp(-distance))
            luma = luma + (luma - BLACK) * 1.2 * light + 50 * light
        return replace(picture, luma=code(np.minimum(luma, WHITE)))


class SlowStrobe(_Passage):
    """A stage with two flashes a second, which BT.1702 allows."""

    name = "slow_strobe"
    summary = "A stage light that flashes twice a second, within BT.1702"
    resembles = (Kind.FLASHING, Kind.GLITCH, Kind.BRIGHTNESS_PUMPING, Kind.SOLID_COLOR)
    seconds = (3.0, 4.0)  # below the 5 s from which a sequence may be a risk
    _EVERY, _LIT = 0.5, 0.1  # seconds

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        lit = at % self._EVERY < self._LIT
        return dimmed(picture, 1.1 if lit else 0.4)


class Lightning(_Passage):
    """Strokes of lightning over a night scene."""

    name = "lightning"
    summary = "Lightning by night"
    resembles = (Kind.GLITCH, Kind.BLACK, Kind.BRIGHTNESS_PUMPING, Kind.BLOCK_CORRUPTION)
    excused = (Kind.FLASHING,)
    seconds = (3.0, 4.0)
    _STROKE = (0.9, 0.35, 0.7, 0.4, 0.25, 0.15)  # gain of successive frames: it flickers, then dies
    _NIGHT = 0.12

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        self._starts = [0.4, float(self.rng.uniform(1.6, 2.4))]

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        gain = self._NIGHT
        for start in self._starts:
            age = self.frame(at - start)
            if at >= start and age < len(self._STROKE):
                gain = max(gain, self._STROKE[age])
        return _by_night(picture, gain, 1.0, self.rng)


# ------------------------------------------------------------------------------ look and rhythm


class BlackAndWhite(_Whole):
    """A film without colour."""

    name = "black_and_white"
    summary = "Black-and-white film"
    resembles = (Kind.DECODER_SMEAR, Kind.SOLID_COLOR, Kind.BLACK, Kind.BLOCK_CORRUPTION)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in _Whole."""
        grey = np.full_like(picture.cb, GREY)
        return replace(picture, cb=grey, cr=grey)


class FilmGrain(_Whole):
    """Grain of a scanned film: a little coarser than a sample."""

    name = "film_grain"
    summary = "Film grain of sigma 2 to 3"
    resembles = (Kind.NOISE, Kind.BLOCKINESS, Kind.BANDING, Kind.GLITCH, Kind.COMBING)
    _SIZE = 0.6  # sigma of a grain in samples

    _sigma = 0.0

    def change(self, picture: Picture, index: int) -> Picture:
        """As in _Whole."""
        if not index:
            self._sigma = float(self.rng.uniform(2, 3))
        grain = self.rng.standard_normal(picture.luma.shape, np.float32)
        grain = ndimage.gaussian_filter(grain, self._SIZE)
        return replace(picture, luma=code(picture.luma + grain * (self._sigma / grain.std())))


class Letterboxed(_Whole):
    """A wide film in its black bars, from beginning to end."""

    name = "letterboxed"
    summary = "A wide film between black bars throughout"
    resembles = (Kind.LETTERBOX_CHANGE, Kind.BLACK, Kind.PARTIAL_FREEZE, Kind.FREEZE)
    _BAR = 0.125  # of the height: 2.39:1 in 16:9

    def change(self, picture: Picture, index: int) -> Picture:
        """As in _Whole."""
        height, width = picture.luma.shape
        top = _even(height * self._BAR)
        bars = plain(picture.time, picture.duration, (height, width), BLACK)
        return inset(bars, _part(picture, (top, 0), (height - 2 * top, width)), top, 0)


class _Drawn(PictureLookalike):
    """A cartoon: flat colours, each drawing shown for several frames."""

    holds: ClassVar[Sequence[int]]
    _STEP = 24  # code values from one flat tone to the next

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        drawing: Picture | None = None
        left, number = 0, 0
        for picture in pictures:
            if drawing is None or left == 0:
                drawing = self.drawn(picture)
                left = self.holds[number % len(self.holds)]
                number += 1
            left -= 1
            yield picture.showing(drawing)

    def drawn(self, picture: Picture) -> Picture:
        """A drawing in place of a frame."""
        return replace(
            picture,
            luma=_flat(picture.luma, 2.0, self._STEP),
            cb=_flat(picture.cb, 1.0, self._STEP // 2),
            cr=_flat(picture.cr, 1.0, self._STEP // 2),
        )


def _flat(plane: Plane, sigma: float, step: int) -> Plane:
    """Smoothed and quantised about mid grey, so that greys stay grey."""
    soft = ndimage.gaussian_filter(plane.astype(np.float32), sigma)
    return code(GREY + np.rint((soft - GREY) / step) * step)


_HELD = (Kind.REPEATED_FRAMES, Kind.FREEZE, Kind.DROPPED_FRAMES)


class CartoonOnTwos(_Drawn):
    """Every drawing is shown for two frames."""

    name = "cartoon_on_twos"
    summary = "A cartoon drawn on twos"
    resembles = (*_HELD, Kind.BANDING, Kind.BLOCKINESS, Kind.BLUR)
    holds = (2,)


class CartoonOnThrees(_Drawn):
    """Every drawing is shown for three frames."""

    name = "cartoon_on_threes"
    summary = "A cartoon drawn on threes"
    resembles = (*_HELD, Kind.BANDING, Kind.BLOCKINESS, Kind.BLUR)
    holds = (3,)


class Pulldown(_Drawn):
    """Film pictures shown for three frames and two in turn."""

    name = "pulldown"
    summary = "The 3:2 cadence of film in 60 Hz, or of animation on twos in 30 Hz"
    resembles = (*_HELD, Kind.COMBING, Kind.BRIGHTNESS_PUMPING)
    holds = (3, 2)

    def drawn(self, picture: Picture) -> Picture:
        """As in _Drawn: photographed."""
        return picture


class SlowMoveOverStill(_Passage):
    """The camera creeps over a photograph, by less than a sample a frame."""

    name = "slow_move_over_still"
    summary = "A slow pan and zoom over a photograph"
    resembles = (Kind.FREEZE, Kind.PARTIAL_FREEZE, Kind.REPEATED_FRAMES, Kind.BLUR, Kind.SLATE)
    seconds = (3.0, 4.5)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        self._still = picture
        self._zoom = self.rng.permutation([0.9, 0.9 - self.rng.uniform(0.01, 0.05)])
        self._corner = self.rng.uniform(0.0, 0.1, (2, 2))
        # a move of at most 1 % of the picture a second
        self._corner[1] = np.clip(
            self._corner[0] + self.rng.uniform(-0.01, 0.01, 2) * self.length, 0, 0.1
        )

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        share = at / self.length
        zoom = float(self._zoom[0] * (1 - share) + self._zoom[1] * share)
        corner = self._corner[0] * (1 - share) + self._corner[1] * share
        return replace(
            picture,
            luma=_framed(self._still.luma, zoom, corner),
            cb=_framed(self._still.cb, zoom, corner),
            cr=_framed(self._still.cr, zoom, corner),
        )


def _framed(plane: Plane, zoom: float, corner: np.ndarray) -> Plane:
    """A part of a plane, scaled up to its size; the corner in shares of it."""
    offset = corner * plane.shape
    moved = ndimage.affine_transform(
        plane.astype(np.float32), [zoom, zoom], offset, order=1, mode="nearest"
    )
    return code(moved)


class ShallowFocus(_Passage):
    """Focus is pulled to a subject; what is around it is soft."""

    name = "shallow_focus"
    summary = "A sharp subject before a defocused background"
    resembles = (Kind.BLUR, Kind.BLOCKINESS, Kind.BANDING)
    seconds = (2.5, 4.0)
    _PULL = 0.5  # seconds

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        height, width = picture.luma.shape
        yy, xx = np.ogrid[:height, :width]
        y, x = self.rng.uniform(0.4, 0.6), self.rng.uniform(0.3, 0.7)
        distance = np.hypot((yy / height - y) / 0.38, (xx - x * width) / height / 0.28)
        self._far: Float32 = np.clip((distance - 0.9) * 5, 0, 1).astype(np.float32)
        self._sigma = height / 120

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        pulled = min(at, self.length - at, self._PULL) / self._PULL
        sigma, far = self._sigma * max(pulled, 0.02), self._far
        small = halved(far)
        return replace(
            picture,
            luma=_softened(picture.luma, sigma, far),
            cb=_softened(picture.cb, sigma / 2, small),
            cr=_softened(picture.cr, sigma / 2, small),
        )


def _softened(plane: Plane, sigma: float, share: Float32) -> Plane:
    soft = ndimage.gaussian_filter(plane.astype(np.float32), sigma)
    return code(plane * (1 - share) + soft * share)


class CensoredFace(_Whole):
    """A face made unrecognisable by large squares, which follow it."""

    name = "censored_face"
    summary = "A pixelated area that moves about"
    resembles = (Kind.BLOCKINESS, Kind.BLOCK_CORRUPTION, Kind.GLITCH, Kind.BLUR)

    _phase = 0.0

    def change(self, picture: Picture, index: int) -> Picture:
        """As in _Whole."""
        if not index:
            self._phase = float(self.rng.uniform(0, 2 * np.pi))
        height, width = picture.luma.shape
        square = max(_even(height / 30), 2)
        count = max(int(0.25 * height / square), 1)
        side = square * count
        sway = self._phase + index / 40
        top = _even((height - side) * (0.45 + 0.15 * np.sin(0.7 * sway)))
        left = _even((width - side) * (0.5 + 0.2 * np.sin(sway)))
        face = _part(picture, (top, left), (side, side))
        hidden = replace(
            face,
            luma=_squares(face.luma, square),
            cb=_squares(face.cb, square // 2),
            cr=_squares(face.cr, square // 2),
        )
        return inset(picture, hidden, top, left)


def _squares(plane: Plane, size: int) -> Plane:
    count = plane.shape[0] // size
    means = plane.reshape(count, size, count, size).mean(axis=(1, 3))
    return code(means).repeat(size, 0).repeat(size, 1)


class MovingPattern(_Passage):
    """Checks or bricks that drift: a backdrop with hard edges at equal distances."""

    name = "moving_pattern"
    summary = "A checkerboard or brick pattern that moves slowly"
    resembles = (
        Kind.BLOCKINESS,
        Kind.COMBING,
        Kind.BANDING,
        Kind.TEARING,
        Kind.BLOCK_CORRUPTION,
        Kind.COLOR_BARS,
        Kind.BLUR,
    )
    seconds = (2.0, 3.5)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        height = picture.luma.shape[0]
        self._bricks = bool(self.rng.random() < 0.5)
        self._size = max(int(height / self.rng.integers(9, 18)), 4)
        self._colours = [ycbcr(c, height) for c in ((170, 90, 60), (205, 200, 190))]
        if not self._bricks:
            self._colours = [ycbcr(c, height) for c in ((40, 60, 130), (225, 225, 235))]

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        height, width = picture.luma.shape
        moved = self.frame(at)  # a sample a frame
        yy, xx = np.ogrid[:height, :width]
        y, x = yy + moved // 2, xx + moved
        size = self._size
        if self._bricks:
            joint = max(size // 8, 1)
            light = (y % size < joint) | ((x + size * (y // size % 2)) % (2 * size) < joint)
        else:
            light = (x // size + y // size) % 2 == 1
        dark, bright = self._colours
        ground = plain(picture.time, picture.duration, (height, width), *dark)
        return paint(ground, light.astype(np.float32), bright, 0, 0)


class Confetti(_Passage):
    """Many small things that fall: paper of all colours, or snow."""

    name = "confetti"
    summary = "Confetti or snowflakes that fall"
    resembles = (Kind.NOISE, Kind.GLITCH, Kind.BLOCK_CORRUPTION, Kind.COMBING, Kind.BLOCKINESS)
    seconds = (2.5, 4.0)

    def begin(self, picture: Picture) -> None:
        """As in _Passage."""
        height, width = picture.luma.shape
        count = int(self.rng.integers(100, 250))
        snow = bool(self.rng.random() < 0.5)
        self._places = self.rng.uniform(0, 1, (count, 2)) * (height, width)
        self._speeds = self.rng.uniform(0.2, 0.5, count) * height  # samples a second
        self._sway = self.rng.uniform(0, 2 * np.pi, count)
        high = max(_even(height / 60), 2)
        paper = np.ones((high, _even(high * 1.5) or 2), np.float32)
        self._shape = ndimage.gaussian_filter(np.pad(paper, 2), 1) if snow else paper
        colours = self.rng.integers(40, 256, (count, 3)).tolist()
        self._colours = [
            _INK if snow else ycbcr((red, green, blue), height) for red, green, blue in colours
        ]

    def change(self, picture: Picture, at: float) -> Picture:
        """As in _Passage."""
        height, width = picture.luma.shape
        shape, made = self._shape, picture.copy()
        high, wide = shape.shape
        tops = (self._places[:, 0] + self._speeds * at) % (height - high)
        lefts = self._places[:, 1] + np.sin(self._sway + 3 * at) * height / 40
        half = halved(shape)
        for top, left, colour in zip(tops, lefts % (width - wide), self._colours, strict=True):
            y, x = _even(float(top)), _even(float(left))
            for plane, weight, value, row, column in (
                (made.luma, shape, colour[0], y, x),
                (made.cb, half, colour[1], y // 2, x // 2),
                (made.cr, half, colour[2], y // 2, x // 2),
            ):
                rows, columns = weight.shape
                part = plane[row : row + rows, column : column + columns]
                part[:] = code(part * (1 - weight) + value * weight)
        return made


class LowBitrate(PictureLookalike):
    """Coded at a low but honest bit rate, as streaming services do on slow lines."""

    name = "low_bitrate"
    summary = "Encoded with x264 at crf 30"
    resembles = (Kind.BLOCKINESS, Kind.BLUR, Kind.BANDING, Kind.BLOCK_CORRUPTION, Kind.FREEZE)

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureLookalike."""
        return recode(pictures, "libx264", {"preset": "medium", "crf": "30"})
