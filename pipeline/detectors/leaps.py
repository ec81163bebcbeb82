"""Frames that are missing where only a part of the picture moves, as in that of a speaker.

The curve of the whole picture has no spike there. But some tiles leap at once, and nets tell from
what they did before and do after whether that is a motion of which frames are missing.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import numpy.typing as npt

from models.dropped import FAR, LEAST, NEAR, SHARE, Tiles, figures, leaping, net
from pipeline import events
from pipeline.detectors.motion import Motion
from pipeline.measurements import Observation
from pipeline.types import Kind

# Log odds, chosen on 136 damaged files, 11 minutes of clean clips and 129 files of look-alikes and
# other damage, each judged by nets that were not fitted on its source: 78 found (69 by the rules
# for jumps) and nothing else reported (4.5: 88, and one place of one clip, whose own motion makes
# half a step there and then a double one; 4: 96 and four places).
LIKELY = 5.0
WAITED = 1.5  # times the usual time since the frame before: the picture has moved for as long
MOST = 16.0  # frames that are estimated to be missing; motion across many frames tells no more


def find_leap(motion: Motion, index: int, still: npt.NDArray[np.bool_]) -> Observation | None:
    """Some tiles leap to frame `index`, and nets say that frames are missing before it.

    Args:
        motion: of T frames.
        index: of the frame, in `motion`.
        still: `motion.still()` [T].
    """
    first, stop = max(index - FAR - 1, 0), min(index + FAR + 1, len(motion))
    at = index - first
    if at < NEAR + 2 or stop - index < NEAR + 1:
        return None
    if still[index - 2 : index].any() or still[index + 1 : index + 3].any():
        return None  # an end of what is held
    if np.count_nonzero(motion.moved[index] >= LEAST) < SHARE * motion.moved[index].size:
        return None  # as most frames: nothing to compare
    moved = np.stack(list(islice(motion.moved, index - NEAR, index + NEAR + 1)))
    leaps = leaping(moved)
    share = float(leaps.mean())
    if share < SHARE:
        return None
    steps = np.diff(motion.time[first:stop])
    usual = float(np.median(steps))
    if steps[at - 1] > WAITED * usual:
        return None
    maps = (motion.luma, motion.cb, motion.cr, motion.moved)
    tiles = Tiles(*(np.stack(list(islice(one, first, stop))) for one in maps))
    odds = net().of(figures(tiles, at))
    if odds < LIKELY:
        return None
    before = np.median(np.delete(moved, NEAR, axis=0)[:, leaps], axis=0).mean()
    ratio = float(moved[NEAR][leaps].mean() / max(float(before), 0.5))
    missing = min(ratio - 1, MOST)
    now = float(motion.time[index])
    return Observation(
        Kind.DROPPED_FRAMES,
        start=now,
        end=float(motion.time[index + 1]),
        severity=events.ladder(missing, 1, 3, 7, 12),
        confidence=float(np.clip(0.5 + 0.1 * (odds - LIKELY), 0.5, 0.9)),
        summary=(
            f"a part of the picture leaps by {ratio:.1f} times its steps before and after and goes "
            "on from there: frames are missing"
        ),
        evidence={"log_odds": odds, "frames_missing_estimate": missing, "share_of_tiles": share},
        peak=now,
    )
