"""Combing: fields of two times woven into one frame of a progressive picture.

Where something moves, every other line is from another time: lines differ from their neighbours
and not from the next but one. Fine stripes look the same, but stay when the motion ends, and what
moves elsewhere in the picture shows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.types import (
    FrameFlag,
    Kind,
    Observation,
    PictureFormat,
    PictureStatistics,
    Region,
    Segment,
)

MOVES = 6.0  # code values of motion in a tile that would comb if it were interlaced
STILL = 2.0  # code values of motion of a tile that no fields can comb
STRIPES = 4.0  # code values of comb of a still tile that has stripes; a woven scene has few such
FEW = 0.004  # share of the picture that must move for a frame to tell anything
LEAST = 4  # tiles, likewise
# A frame that is less combed than is asked for, but more than intact ones, ends no defect: comb to
# motion, share of the moving tiles. Where fewer of the frames that tell are combed than HALF, there
# must be twice as many of them.
WEAK, PARTLY, HALF = 0.1, 0.3, 0.5
# Least comb of a combed tile as a share of its detail: noise and thin lines have as much detail
# across as along. Woven real clips: 0.1 to 0.6. White noise of sigma 25 to 50 after H.264 is above
# 0.15 in 27 to 75 % of the tiles, above 0.22 in hardly any (12 clips).
SMALL, SURER = 0.02, 2.5  # where less than that share of the picture moves, min_sharp is higher
OF_DETAIL = 0.22


class CombingSettings(DetectorSettings):
    """Settings of the combing detector."""

    min_comb: float = setting(
        0.12,
        "",
        "comb of a tile that moves, as a share of its motion, from which it is combed",
        "calibrated: 0.15 to 0.42 over all moving tiles of nine woven clips, 0.01 to 0.08 in 119 "
        "clean ones",
        gt=0,
    )
    min_share: float = setting(
        0.4,
        "",
        "share of the moving tiles that are combed; a moving striped cloth is a part of what moves",
        "calibrated: 0.48 to 0.91 in nine woven clips, below 0.4 in 95 % of frames of clean ones",
        gt=0,
        le=1,
    )
    min_sharp: float = setting(
        0.1,
        "",
        "share of the moving tiles in which the comb is a large part of all detail",
        "calibrated likewise: noise, thin lines and letters stay below",
        gt=0,
        le=1,
    )
    min_frames: int = setting(
        5,
        "frames",
        "fewest combed frames of a defect",
        "calibrated: 169 clips, 12.5 minutes: at most 3 clean frames in a row look combed",
        ge=1,
    )
    max_gap: float = setting(
        0.3, "s", "longest time of clean motion in one defect", "3:2 pulldown: 3 frames in 5", ge=0
    )


class CombingDetector(PictureDetector):
    """Compares the comb of what moves with its motion, frame by frame."""

    name = "combing"
    version = "3"
    kinds = (Kind.COMBING,)
    summary = (
        "Interlace combing in a stream that says it is progressive; stripes and interlaced "
        "streams are not reported"
    )
    Settings = CombingSettings

    def __init__(self, settings: CombingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: CombingSettings = settings
        self._verdicts = events.Verdicts(max_gap=settings.max_gap)
        self._where = np.zeros(picture_format.tiles, np.int64)  # combed frames of each tile

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        if self.format.interlaced:
            return []
        frames, settings = picture.frames, self.settings
        moves = picture.motion > MOVES
        count = moves.sum(axis=(1, 2))
        size = moves[0].size
        tells = count >= max(FEW * size, LEAST)
        tells &= (frames["flags"] & FrameFlag.INTERLACED) == 0
        # nearly all frames of nearly all assets end here
        likely = tells & (frames["comb"] > settings.min_comb * settings.min_share / 2 * FEW * MOVES)
        values = np.zeros((len(frames), 4))
        combed = np.zeros(len(frames), np.bool_)
        nearly = np.zeros(len(frames), np.bool_)
        for n in map(int, np.flatnonzero(likely)):
            at = moves[n]
            comb, motion = picture.comb[n][at], picture.motion[n][at]
            tiles = comb > settings.min_comb * motion
            share = float(tiles.mean())
            sharp = float((tiles & (comb > OF_DETAIL * picture.detail[n][at])).mean())
            ratio = float(comb.sum() / motion.sum())
            values[n] = ratio, share, count[n] / size, sharp
            combed[n] = (
                ratio >= settings.min_comb
                and share >= settings.min_share
                and sharp >= settings.min_sharp * (SURER if count[n] < SMALL * size else 1)
                and self._at_rest(picture, n) < tiles.sum()
            )
            nearly[n] = not combed[n] and ratio >= WEAK and share >= PARTLY
            if combed[n]:
                self._mark(at, tiles)
        durations = float(np.median(frames["duration"]))
        no = tells & ~combed & ~nearly
        spells = self._verdicts.feed(frames["time"], durations, combed, no, values, nearly)
        return self._observe(spells, durations)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._observe(self._verdicts.finish(), 1 / self.format.frame_rate)

    def _at_rest(self, picture: PictureStatistics, n: int) -> int:
        """Tiles that are combed and do not move: stripes."""
        return int(np.count_nonzero((picture.motion[n] < STILL) & (picture.comb[n] > STRIPES)))

    def _mark(self, at: npt.NDArray[np.bool_], tiles: npt.NDArray[np.bool_]) -> None:
        marked = np.zeros(at.shape, np.bool_)
        marked[at] = tiles
        self._where += marked

    def _observe(self, spells: list[events.Spell], duration: float) -> list[Observation]:
        found = []
        for spell in spells:
            sparse = spell.rows < HALF * (spell.rows + spell.others)
            if spell.rows < self.settings.min_frames * (2 if sparse else 1):
                continue
            ratio, share, moving, sharp = (float(value) for value in spell.mean)
            length = spell.end - spell.start
            of_frames = min(spell.rows * duration / max(length, duration), 1.0)
            found.append(
                Observation(
                    Kind.COMBING,
                    start=spell.start,
                    end=spell.end,
                    severity=events.ladder(moving * ratio * of_frames, 0.001, 0.01, 0.05, 0.12),
                    confidence=float(
                        np.clip(
                            0.35
                            + 0.6 * (share - self.settings.min_share)
                            + sharp
                            + 0.02 * min(spell.rows, 10),
                            0.3,
                            0.97,
                        )
                    ),
                    summary=(
                        f"lines of two times are woven together in {100 * share:.0f} % of what "
                        f"moves, in {spell.rows} frames ({100 * of_frames:.0f} %)"
                    ),
                    evidence={
                        "comb_to_motion": ratio,
                        "share_of_moving_tiles": share,
                        "share_of_picture_moving": moving,
                        "share_of_frames": of_frames,
                        "frames": float(spell.rows),
                    },
                    peak=spell.peak,
                    region=self._region(),
                )
            )
        if spells:
            self._where[:] = 0
        return found

    def _region(self) -> Region | None:
        """Box of the tiles that were combed in more than a tenth of the frames of the most."""
        often = self._where > 0.1 * self._where.max()
        if not often.any() or often.mean() > 0.9:
            return None
        return Region.around(often)
