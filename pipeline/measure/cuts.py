"""Where one shot ends and another begins, told from the motion of tiles."""

from __future__ import annotations

import numpy as np

from pipeline.measurements import Float32

# Proposed: this share of the tiles changes by so many code values more than before and after
_SHARE, _MORE = 0.75, 4.0


def is_cut(before: Float32, now: Float32, after: Float32) -> bool:
    """Whether nearly all of the picture changes at once.

    Args:
        before: mean change of each tile in the frame before, code values, [tile rows, columns].
        now: likewise, of the frame that is asked about.
        after: likewise, of the one after it.
    """
    return float((now - np.maximum(before, after) > _MORE).mean()) >= _SHARE
