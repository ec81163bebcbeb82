"""Tearing: the top of one frame over the bottom of another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from faults.media import Picture
from faults.span import SpanFault, ahead
from faults.truth import Severity
from pipeline.types import Kind

TOP, BOTTOM = 0.15, 0.85  # shares of the height between which a tear lies
# A tear that cannot be seen is not made. It is seen where the row is off the row above it by so
# many code values more than in either frame, in so much of the width: chosen by eye.
STEP, WIDTH = 8, 0.12
NEAR = 2  # rows up and down in which an edge of either frame may be


class TearingFault(SpanFault):
    """Shows, below a row, a later frame already.

    As when a frame is read while the next one is written: captures and graphics without vertical
    synchronisation, a buffer that overruns. The row wanders from tear to tear, beginning where
    one can be seen: a tear through what stands still does not show, and is not made.
    """

    name = "tearing"
    kind = Kind.TEARING
    summary = "Frames split at a row: a later frame begins below it"
    also = (Kind.GLITCH, Kind.COMBING)
    lengths = (1.4, 2.0)
    spacing = 0.5  # seconds: torn frames closer together are one defect to a viewer
    # Proposed: torn frames, and frames between the parts.
    ladder = {
        Severity.VERY_SUBTLE: {"frames": 1, "apart": 1},
        Severity.SUBTLE: {"frames": 2, "apart": 1},
        Severity.NOTICEABLE: {"frames": 4, "apart": 2},
        Severity.VERY_NOTICEABLE: {"frames": 8, "apart": 3},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        every = int(self.rng.choice([1, 3, 4]))
        self.parameters["every"] = every
        count = int(self.parameters["frames"])
        where = self.rng.uniform()
        drift = self.rng.choice([-1, 1]) * self.rng.uniform(0.02, 0.08)  # of the height, each tear
        share = 0.5
        torn, begun = 0, 0  # frames that were torn, and the index of the first
        for index, (picture, later) in enumerate(ahead(pictures, int(self.parameters["apart"]))):
            due = torn < count and (index - begun) % every == 0
            rows = _rows_that_show(picture, later) if due or not torn else ()
            if not len(rows):
                yield picture
                continue
            height = picture.luma.shape[0]
            if not torn:
                share, begun = float(rows[int(where * len(rows))] / height), index
            wanted = (TOP + (share - TOP + drift * torn) % (BOTTOM - TOP)) * height
            split = int(min(rows, key=lambda row: abs(row - wanted)))
            self.parameters.setdefault("row", split)
            torn += 1
            made = picture.copy()
            made.luma[split:] = later.luma[split:]
            made.cb[split // 2 :] = later.cb[split // 2 :]
            made.cr[split // 2 :] = later.cr[split // 2 :]
            yield made


def _rows_that_show(picture: Picture, later: Picture) -> npt.NDArray[np.intp]:
    """Even rows from which on the later frame can be seen to begin, between TOP and BOTTOM."""
    one, other = picture.luma.astype(np.int16), later.luma.astype(np.int16)
    usual = np.maximum(np.abs(np.diff(one, axis=0)), np.abs(np.diff(other, axis=0)))
    usual = maximum_filter1d(usual, 2 * NEAR + 1, axis=0)
    shows = (np.abs(other[1:] - one[:-1]) - usual >= STEP).mean(axis=1) >= WIDTH
    height = len(one)
    rows = np.flatnonzero(shows) + 1
    between = (rows % 2 == 0) & (rows >= TOP * height) & (rows < BOTTOM * height)
    return np.asarray(rows[between])
