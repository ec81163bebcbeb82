"""Damage that was encoded again: what a net sees begin and be mended at the same place.

The stream is flawless, and no key frame of it is where the damage was mended: that was one of an
earlier encode. A net (models/mends.py) judges frames at which a part of the picture changes at
once: what is corrupt from there on, and what was so up to there. Either by itself is wrong too
often: both are demanded, at the same place of the same shot.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, label

from pipeline.measure.cuts import is_cut
from pipeline.measurements import Float32

# All proposed, and chosen on damaged, clean and look-alike files of development sources
LIKELY = 2.0  # log odds of a beginning or an end that counts
SURE, BOTH = 5.0, 12.0  # log odds of the surest beginning, and with its end
BEST = 4  # tiles that these are the mean of
# Share of the tiles that hang together, where it begins or where it is mended: slices and regions
# do, while small things that come and go all over the picture do not
TOGETHER = 0.6
SAME = 0.2  # share of the tiles where damage begins that are mended, or next to such
BESIDE = 3  # tiles that are next to others
LONGEST = 10.0  # seconds from the beginning to what mends it: as long as a GOP may be
JOINED = 0.7  # seconds; of damage with less between, the steps between were not seen
FOLLOWED = 4.0  # seconds after it was mended in which more of it may be
MOST = 64  # beginnings that are remembered

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Recoded:
    """A stretch of damage.

    Attributes:
        start, end: seconds.
        odds: log odds of its beginning and of its end, together.
        tiles: that were seen to be mended.
    """

    start: float
    end: float
    odds: float
    tiles: Mask


@dataclass(frozen=True)
class _Begun:
    time: float
    odds: float
    tiles: Mask


class Recodings:
    """Follows the frames of one picture; bounded by the beginnings that it remembers."""

    def __init__(self) -> None:
        self._motions: deque[tuple[float, Float32]] = deque(maxlen=3)
        self._begun: deque[_Begun] = deque(maxlen=MOST)
        self._open: Recoded | None = None

    def look(self, time: float, motion: Float32, steps: Float32) -> list[Recoded]:
        """Take the next frame; what is over by then.

        Args:
            time: seconds.
            motion: mean change of each tile since the frame before, code values.
            steps: [2, tile rows, tile columns] of the frame before, see PictureStatistics.
        """
        self._motions.append((time, motion.copy()))
        told: list[Recoded] = []
        if self._open is not None and time > self._open.end + FOLLOWED:
            told = self.finish()
        if len(self._motions) < 3:
            return told
        (_, before), (at, now), (_, after) = self._motions
        if is_cut(before, now, after):
            self._begun.clear()  # another shot
            return told
        while self._begun and self._begun[0].time < at - LONGEST:
            self._begun.popleft()
        begun, mended = steps
        if _odds(mended) >= LIKELY:
            told += self._mend(at, mended)
        if (odds := _odds(begun)) >= LIKELY:
            self._begun.append(_Begun(at, odds, begun > 0))
        return told

    def finish(self) -> list[Recoded]:
        """What is known at the end."""
        found, self._open = self._open, None
        return [found] if found is not None and found.odds >= BOTH else []

    def _mend(self, time: float, mended: Float32) -> list[Recoded]:
        """End what began at the places that are mended; what is over by then."""
        tiles = mended > 0
        near = binary_dilation(tiles, iterations=BESIDE)
        of_it = [
            one for one in self._begun
            if np.count_nonzero(one.tiles & near) >= SAME * np.count_nonzero(one.tiles)
        ]  # fmt: skip
        if not of_it:
            return []
        surest = max(of_it, key=lambda one: one.odds)
        odds = 0.0
        if surest.odds >= SURE and max(_together(tiles), _together(surest.tiles)) >= TOGETHER:
            odds = _odds(mended) + surest.odds
        found = Recoded(of_it[0].time, time, odds, tiles)
        last, told = self._open, []
        if last is not None and found.start <= last.end + JOINED:
            found = replace(
                found,
                start=min(last.start, found.start),
                odds=max(last.odds, odds),
                tiles=last.tiles | tiles,
            )
        else:
            told = self.finish()
        self._open = found
        return told


def _together(tiles: Mask) -> float:
    """Share of the tiles that hang together, by edges and corners."""
    parts, _ = label(tiles, np.ones((3, 3), bool))
    count = np.count_nonzero(tiles)
    return float(np.bincount(parts[tiles]).max() / count) if count else 0.0


def _odds(steps: Float32) -> float:
    """Of the tiles that are the most likely ones."""
    count = min(BEST, steps.size)
    return float(np.partition(steps.ravel(), -count)[-count:].mean())
