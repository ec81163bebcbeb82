"""From shot to shot: fades, dissolves, whip pans, fast cuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from faults.chroma_grid import crop, even
from faults.drawing import code, dimmed, mirrored, mixed, resized
from faults.lookalikes.base import Passage, Whole
from faults.media import WHITE, Picture, Plane, plain
from pipeline.types import Kind


class FadeThroughBlack(Passage):
    """Out to black in a second, black for an instant, and in again."""

    name = "fade_through_black"
    summary = "A fade out to black and in again"
    resembles = (Kind.BLACK, Kind.FREEZE, Kind.BRIGHTNESS_PUMPING, Kind.GLITCH, Kind.BLUR)
    seconds = (1.8, 2.6)
    _HELD = 0.3  # seconds of black

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
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
        """As in Passage."""
        height, width = picture.luma.shape
        self._white = plain(0, 0, (height, width), WHITE)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        half = (self.length - self._HELD) / 2
        return mixed(picture, self._white, min(at / half, (self.length - at) / half, 1))


class FadesAtTheEnds(Whole):
    """In from black at the start, out to black at the end."""

    name = "fades_at_the_ends"
    summary = "A fade in from black at the start and out to black at the end"
    resembles = (Kind.BLACK, Kind.FREEZE, Kind.BRIGHTNESS_PUMPING, Kind.BLUR)

    def change(self, picture: Picture, index: int) -> Picture:
        """As in Whole."""
        gain = min(picture.time, self.clean.duration - picture.time - picture.duration, 1.0)
        return dimmed(picture, max(gain, 0.0)) if gain < 1 else picture


class Crossfade(Passage):
    """Dissolves into another shot."""

    name = "crossfade"
    summary = "A dissolve of about a second into another shot"
    resembles = (Kind.BLUR, Kind.FREEZE, Kind.GLITCH, Kind.DROPPED_FRAMES, Kind.COMBING)
    seconds = (0.8, 1.6)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        return mixed(picture, mirrored(picture), at / self.length)

    def after(self, picture: Picture) -> Picture:
        """As in Passage."""
        return mirrored(picture)


class WhipPan(Passage):
    """The camera is torn aside, and another shot comes to rest."""

    name = "whip_pan"
    summary = "A whip pan into another shot"
    resembles = (Kind.BLUR, Kind.DROPPED_FRAMES, Kind.GLITCH, Kind.TEARING, Kind.BLOCK_CORRUPTION)
    seconds = (0.4, 0.6)

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
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
        """As in Passage."""
        return mirrored(picture)


def _whipped(plane: Plane, moved: int, smeared: int) -> Plane:
    rolled = np.roll(plane, moved, axis=1).astype(np.float32)
    return code(ndimage.uniform_filter1d(rolled, smeared, axis=1, mode="wrap"))


class FastCuts(Passage):
    """A montage: every shot lasts 6 to 14 frames."""

    name = "fast_cuts"
    summary = "A montage of shots of a quarter to half a second"
    resembles = (Kind.GLITCH, Kind.DROPPED_FRAMES, Kind.FLASHING, Kind.BLUR, Kind.BLOCK_CORRUPTION)
    seconds = (2.0, 3.5)

    def begin(self, picture: Picture) -> None:
        """As in Passage."""
        self._until = 0

    def change(self, picture: Picture, at: float) -> Picture:
        """As in Passage."""
        if self.frame(at) >= self._until:
            self._until = self.frame(at) + int(self.rng.integers(6, 15))
            self._zoom = float(self.rng.uniform(0.4, 0.7))
            self._place = self.rng.uniform(0, 1 - self._zoom, 2)
            self._mirror = bool(self.rng.random() < 0.5)
        height, width = picture.luma.shape
        part = crop(
            picture,
            (even(self._place[0] * height), even(self._place[1] * width)),
            (even(self._zoom * height), even(self._zoom * width)),
        )
        shot = resized(part, (height, width))
        return mirrored(shot) if self._mirror else shot
