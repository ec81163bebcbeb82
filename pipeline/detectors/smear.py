"""Decoder smear: what decoders show in place of a reference frame that never arrived.

A missing reference is filled with one value, grey (Y, Cb and Cr 128) in most decoders, and
the differences of the frames that follow are drawn onto it: outlines that move on nothing, until
the next key frame. Planes of zeros give a green, planes of ones a magenta that no camera and no
legal graphic reaches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.measurements import Float32, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind, Region

# Fill colours (name, Y, Cb, Cr) as decoded, and what conversion to RGB and back makes of the
# last two, which RGB cannot hold.
FILLS = (
    ("grey", 128.0, 128.0, 128.0),
    ("green", 84.0, 89.0, 78.0),
    ("magenta", 169.0, 166.0, 176.0),
)
LUMA_NEAR = 30.0  # code values from the fill to which differences drawn on it take most tiles
CHROMA_NEAR = 14.0
EXACT = 3.0  # code values around the fill of a tile on which nothing was drawn yet
ALONE = 0.8  # share of these among all that are about as bright; walls and fog have shades
STAY = 0.15  # share of the area that stays near the fill while the damage lasts
LEAVE = 0.5  # share of what was near the fill that leaves at once at the next key frame
DRAWN = 0.12  # share of the area on which something was drawn; on a grey card there is less
CLEAN = 0.99  # share of the area that stays near the fill where nothing but faint outlines is drawn
LETTERS = 0.8  # share without drawing at the end above which letters ran over a card
UNTOUCHED = 0.05  # share without drawing at the end; a fade in from grey leaves no tile as it was
# Rows of macroblocks in just this grey, for a moment, are what is left of slices: nothing needs to
# be drawn on them, but something must stir. Share of a row that is filled, code values of motion.
WHOLE_ROWS, LIVES = 0.9, 0.2
FAINT = 0.03  # the same, where nothing has left the fill: letters on a card would
BEYOND = 16.0  # Cb and Cr both below this, or above 255 less this: no RGB colour is there


class SmearSettings(DetectorSettings):
    """Settings of the decoder_smear detector."""

    min_share: float = setting(
        0.04,
        "share of the picture",
        "smallest area that is filled",
        "calibrated: slices lost from 270 lines up; research, V11: from one frame on",
        gt=0,
        lt=1,
    )
    max_duration: float = setting(
        30.0,
        "s",
        "longest time to the next key frame that is waited for",
        "key frames of broadcast and streaming are at most 10 s apart",
        gt=0,
    )


@dataclass
class _Smear:
    """Area that was filled at once, and what became of it."""

    name: str
    start: float
    area: npt.NDArray[np.bool_]
    abrupt: bool  # it came from one frame to the next, not with the first frame of all
    slices: bool  # it is rows of macroblocks, see _slices
    end: float = 0.0
    frames: int = 0
    exact: float = 1.0  # share of the area without drawing, in the last frame
    stayed: float = 1.0  # least share of the area near the fill
    drawn: float = 0.0  # largest share of the area that is near the fill and drawn on
    motion: float = 0.0


class SmearDetector(PictureDetector):
    """Waits for an area that jumps to a fill colour, is drawn upon, and jumps back."""

    name = "decoder_smear"
    version = "2"
    kinds = (Kind.DECODER_SMEAR,)
    summary = (
        "Grey, green or magenta in place of a missing reference frame, with moving outlines "
        "drawn on it until the next key frame"
    )
    Settings = SmearSettings

    def __init__(self, settings: SmearSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: SmearSettings = settings
        grey = 16 + 128 * 219 / 255 if picture_format.full_range else 128.0
        self._fills = [(n, grey if n == "grey" else y, u, v) for n, y, u, v in FILLS]
        self._open: _Smear | None = None
        self._beyond: _Smear | None = None
        self._before: tuple[Float32, Float32, Float32] | None = None

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        sample = (slice(None), slice(None, None, 2), slice(None, None, 2))
        luma, cb, cr = picture.luma[sample], picture.cb[sample], picture.cr[sample]
        suspect = [
            np.count_nonzero(_within((luma, cb, cr), fill, EXACT, EXACT), axis=(1, 2))
            for fill in self._fills
        ]
        few = self.settings.min_share / 2 * luma[0].size
        beyond = np.count_nonzero(_beyond(cb, cr), axis=(1, 2))
        found: list[Observation] = []
        for n in range(len(luma)):
            if self._open is not None and self._before is not None:
                found += self._go_on(self._open, self._before, picture, n)
            if self._open is None:
                for at, fill in enumerate(self._fills):
                    if suspect[at][n] >= few:
                        self._begin(fill, picture, n)
            if beyond[n] or self._beyond is not None:
                found += self._outside(picture, n)
            self._before = (picture.luma[n], picture.cb[n], picture.cr[n])
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = []
        if self._open is not None and self._open.abrupt:
            found += self._report(self._open, at_end=True)
        if self._beyond is not None:
            found.append(self._observe(self._beyond, 0.9))
        return found

    def _begin(
        self, fill: tuple[str, float, float, float], picture: PictureStatistics, n: int
    ) -> None:
        """Open a smear if an area of frame `n` has just taken the colour of a fill."""
        maps = (picture.luma[n], picture.cb[n], picture.cr[n])
        area = filled = _within(maps, fill, EXACT, EXACT)
        wider = _within(maps, fill, 4 * EXACT, EXACT)
        if self._before is not None:
            new = ~_within(self._before, fill, LUMA_NEAR, CHROMA_NEAR)
            area, wider = area & new, wider & new
        if area.mean() < self.settings.min_share or area.sum() < ALONE * wider.sum():
            return
        abrupt = self._before is not None
        start = float(picture.frames["time"][n])
        self._open = _Smear(fill[0], start, area, abrupt, _slices(filled))
        self._add(self._open, picture, n)

    def _go_on(
        self,
        smear: _Smear,
        before: tuple[Float32, Float32, Float32],
        picture: PictureStatistics,
        n: int,
    ) -> list[Observation]:
        """Follow the open smear through frame `n`."""
        fill = next(fill for fill in self._fills if fill[0] == smear.name)
        maps = (picture.luma[n], picture.cb[n], picture.cr[n])
        near = _within(maps, fill, LUMA_NEAR, CHROMA_NEAR)[smear.area]
        was = _within(before, fill, LUMA_NEAR, CHROMA_NEAR)[smear.area]
        if near.mean() >= max(STAY, (1 - LEAVE) * was.mean()):
            exact = float(_within(maps, fill, EXACT, EXACT)[smear.area].mean())
            smear.exact = exact
            smear.stayed = min(smear.stayed, float(near.mean()))
            smear.drawn = max(smear.drawn, float(near.mean()) - exact)
            self._add(smear, picture, n)
            if smear.end - smear.start > self.settings.max_duration:
                self._open = None
            return []
        self._open = None
        step = sum(
            (np.abs(a - b) for a, b in zip(maps, before, strict=True)), np.zeros_like(maps[0])
        )
        leaves = was & (step[smear.area] > 2 * EXACT)
        if leaves.sum() < LEAVE * was.sum() or was.mean() < STAY:
            return []  # it fades
        return self._report(smear, at_end=False)

    def _add(self, smear: _Smear, picture: PictureStatistics, n: int) -> None:
        row = picture.frames[n]
        smear.end = float(row["time"] + row["duration"])
        smear.frames += 1
        if smear.frames > 1:
            smear.motion += float(picture.motion[n][smear.area].mean())

    def _report(self, smear: _Smear, at_end: bool) -> list[Observation]:
        if smear.abrupt and not at_end and smear.slices:
            moved = smear.motion / max(smear.frames - 1, 1)
            return [self._observe(smear, 0.7)] if moved >= LIVES else []
        needed = FAINT if smear.stayed > CLEAN else DRAWN
        if min(smear.drawn, 1 - smear.exact) < needed or smear.motion == 0:
            return []
        if smear.stayed <= CLEAN and smear.exact > LETTERS:
            return []
        if not smear.abrupt and smear.exact < UNTOUCHED:
            return []
        confidence = 0.5 + 0.4 * min(smear.drawn / 0.5, 1) - 0.15 * (not smear.abrupt)
        return [self._observe(smear, confidence - 0.2 * at_end)]

    def _outside(self, picture: PictureStatistics, n: int) -> list[Observation]:
        """Chroma that no RGB colour has: no drawing, no beginning and end are needed."""
        area = _beyond(picture.cb[n], picture.cr[n])
        if area.mean() >= self.settings.min_share / 4:
            if self._beyond is None:
                name = "green" if picture.cb[n][area].mean() < 128 else "magenta"
                start = float(picture.frames["time"][n])
                self._beyond = _Smear(name, start, area, abrupt=True, slices=False)
            elif area.sum() > self._beyond.area.sum():
                self._beyond.area = area
            self._add(self._beyond, picture, n)
            return []
        if self._beyond is None:
            return []
        smear, self._beyond = self._beyond, None
        return [self._observe(smear, 0.9)]

    def _observe(self, smear: _Smear, confidence: float) -> Observation:
        share = float(smear.area.mean())
        length = smear.end - smear.start
        motion = smear.motion / max(smear.frames - 1, 1)
        return Observation(
            Kind.DECODER_SMEAR,
            start=smear.start,
            end=smear.end,
            severity=max(0.25, events.ladder(share * min(0.5 + length, 1.5), 0.03, 0.1, 0.3, 0.8)),
            confidence=float(np.clip(confidence, 0.2, 0.95)),
            summary=(
                f"{100 * share:.0f} % of the picture takes the {smear.name} of a missing "
                f"reference frame for {length:.2f} s, with outlines drawn on it"
            ),
            evidence={
                "share_of_picture": share,
                "duration_s": length,
                "share_drawn_on": smear.drawn,
                "motion_code_values": motion,
            },
            peak=smear.start + min(length / 2, 0.5),
            region=None if share > 0.9 else Region.around(smear.area),
        )


def _slices(area: npt.NDArray[np.bool_]) -> bool:
    """Whether an area is rows of macroblocks from edge to edge, up to the top or the bottom."""
    share = area.mean(axis=1)
    rows = np.flatnonzero(share > 1 - WHOLE_ROWS)
    return bool(
        0 < len(rows) < len(share)
        and np.all(share[rows] >= WHOLE_ROWS)
        and np.all(np.diff(rows) == 1)
        and (rows[0] == 0 or rows[-1] == len(share) - 1)
    )


def _within(
    maps: tuple[Float32, Float32, Float32],
    fill: tuple[str, float, float, float],
    luma: float,
    chroma: float,
) -> npt.NDArray[np.bool_]:
    """Tiles whose luma and chroma lie that close to a fill."""
    near: npt.NDArray[np.bool_] = np.asarray(np.abs(maps[0] - fill[1]) <= luma)
    near &= np.abs(maps[1] - fill[2]) <= chroma
    near &= np.abs(maps[2] - fill[3]) <= chroma
    return near


def _beyond(cb: Float32, cr: Float32) -> npt.NDArray[np.bool_]:
    """Tiles of a green or magenta that no RGB colour has."""
    none: npt.NDArray[np.bool_] = np.maximum(cb, cr) < BEYOND
    full: npt.NDArray[np.bool_] = np.minimum(cb, cr) > 255 - BEYOND
    return none | full
