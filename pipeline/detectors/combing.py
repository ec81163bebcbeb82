"""Combing: fields of two times woven into one frame of a progressive picture.

Each field lies between the lines of the other. Where fields have times of their own, the later one
of a frame fits between the lines of the next frame better than the earlier one does, all over what
moves and frame after frame; in a progressive picture neither is better. FFmpeg's idet tells
interlaced frames by the same comparison. Stripes, however fine, give nothing to either. What is
drawn on even lines alone and moves up or down does; but its frames have no combs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.measurements import FrameFlag, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind, Region

MOVES = 2.0  # code values of motion of a tile that would comb if it were interlaced
FEW = 0.004  # share of the picture that must move for a frame to tell anything
LEAST = 10  # tiles, likewise: the order is that of many lines
# Where fewer of the frames that tell show the order than HALF (of pulldown 3 in 5 do), there must
# be twice as many of them.
HALF = 0.5
# The order is a mean over tiles and frames, and by chance not 0 where they are few: it must be so
# many times 1 / sqrt(tiles of all frames). A photograph that hardly moves has 1.1, woven files 6.8
# and more (83 of the development split).
SURE = 3.0
_LATER = (1, -1)  # sign of the order where even lines are later, and where odd ones are
_LATER_FIELD = ("even", "odd")


class CombingSettings(DetectorSettings):
    """Settings of the combing detector."""

    min_order: float = setting(
        0.1,
        "",
        "by how much the fields of one order fit better between the lines of the next frame than "
        "those of the other, as a share of the motion",
        "calibrated: 0.15 to 0.82 in the mean of 63 woven files; in 19 minutes of clean clips no "
        "five frames, 0.3 s apart at most, have it",
        gt=0,
    )
    min_comb: float = setting(
        0.015,
        "",
        "comb of what moves, as a share of its motion, in the mean of such frames",
        "calibrated likewise: 0.02 and more; confetti that falls on even lines 0.004",
        ge=0,
    )
    min_frames: int = setting(
        5,
        "frames",
        "fewest combed frames of a defect",
        "calibrated likewise",
        ge=1,
    )
    min_share: float = setting(
        0.15,
        "",
        "share of woven frames among those that tell anything",
        "of 83 woven development files 0.23 and more have them, of pulldown 0.4",
        ge=0,
        le=1,
    )
    max_gap: float = setting(
        0.3, "s", "longest time of clean motion in one defect", "3:2 pulldown: 3 frames in 5", ge=0
    )


class CombingDetector(PictureDetector):
    """Asks which field is the earlier one, frame by frame."""

    name = "combing"
    version = "5"
    kinds = (Kind.COMBING,)
    summary = (
        "Interlace combing in a stream that says it is progressive; stripes and interlaced "
        "streams are not reported"
    )
    Settings = CombingSettings

    def __init__(self, settings: CombingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: CombingSettings = settings
        # one for each order of the fields: even lines later, odd lines later
        self._verdicts = [events.Verdicts(max_gap=settings.max_gap) for _ in _LATER]
        # frames in which each tile was combed
        self._where = [np.zeros(picture_format.tiles, np.int64) for _ in _LATER]

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        if self.format.interlaced:
            return []
        frames = picture.frames
        moves = picture.motion > MOVES
        count = moves.sum(axis=(1, 2))
        size = moves[0].size
        tells = count >= max(FEW * size, LEAST)
        tells &= (frames["flags"] & FrameFlag.INTERLACED) == 0
        motion = np.where(moves, picture.motion, 0).sum(axis=(1, 2))
        motion = np.maximum(motion, MOVES)
        # two comparisons to one of motion
        order = np.where(moves, picture.order, 0).sum(axis=(1, 2)) / (2 * motion)
        comb = np.where(moves, picture.comb, 0).sum(axis=(1, 2)) / motion
        duration = float(np.median(frames["duration"]))
        found: list[Observation] = []
        for which, later in enumerate(_LATER):
            combed = tells & (later * order >= self.settings.min_order)
            woven = comb >= self.settings.min_comb  # an intact frame after a woven one is not
            values = np.stack([later * order, comb, count / size, woven], axis=1)
            spells = self._verdicts[which].feed(
                frames["time"], duration, combed, tells & ~combed, values
            )
            found += self._observe(which, spells, duration, after=duration)
            for n in np.flatnonzero(combed):
                bound = 2 * self.settings.min_order * picture.motion[n]
                self._where[which] += moves[n] & (later * picture.order[n] > bound)
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        for which, verdicts in enumerate(self._verdicts):
            found += self._observe(which, verdicts.finish(), 1 / self.format.frame_rate)
        return found

    def _observe(
        self, which: int, spells: list[events.Spell], duration: float, after: float = 0.0
    ) -> list[Observation]:
        """The spells that are defects; `after`: the first intact frame shows the order too."""
        found = []
        for spell in spells:
            order, comb, moving, woven = (float(value) for value in spell.mean)
            sparse = spell.rows < HALF * (spell.rows + spell.others)
            least = self.settings.min_frames * (2 if sparse else 1)
            if spell.rows < least or comb < self.settings.min_comb:
                continue
            count = round(spell.rows * woven)
            of_frames = count / (spell.rows + spell.others)
            tiles = moving * self._where[which].size * spell.rows
            if of_frames < self.settings.min_share or order * np.sqrt(tiles) < SURE:
                continue
            end = max(spell.end - after, spell.start + duration)
            found.append(
                Observation(
                    Kind.COMBING,
                    start=spell.start,
                    end=end,
                    severity=events.ladder(moving * comb * of_frames, 0.01, 0.05, 0.15, 0.4),
                    confidence=float(
                        np.clip(0.5 + order + 2 * comb + 0.01 * min(spell.rows, 20), 0.3, 0.97)
                    ),
                    summary=(
                        f"lines of two times are woven together, the {_LATER_FIELD[which]} ones "
                        f"later, in {count} frames ({100 * of_frames:.0f} % of those that "
                        f"move)"
                    ),
                    evidence={
                        "order_to_motion": order,
                        "comb_to_motion": comb,
                        "share_of_picture_moving": moving,
                        "share_of_frames": of_frames,
                        "frames": float(count),
                    },
                    peak=spell.peak,
                    region=self._region(self._where[which]),
                )
            )
        if spells:
            self._where[which][:] = 0
        return found

    def _region(self, where: npt.NDArray[np.int64]) -> Region | None:
        """Box of the tiles that were combed in more than a tenth of the frames of the most."""
        often = where > 0.1 * where.max()
        if not often.any() or often.mean() > 0.9:
            return None
        return Region.around(often)
