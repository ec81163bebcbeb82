"""Tearing: the top of one frame over the bottom of another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from faults.media import Picture
from faults.span import SpanFault, ahead, difference
from faults.truth import Severity
from pipeline.types import Kind

TOP, BOTTOM = 0.15, 0.85  # shares of the height between which a tear lies
SHOWS = 0.5  # code values of mean difference below which a tear cannot be seen, and is not made


class TearingFault(SpanFault):
    """Shows, below a row, a later frame already.

    As when a frame is read while the next one is written: captures and graphics without vertical
    synchronisation, a buffer that overruns. The row wanders from tear to tear, beginning
    where there is motion: a tear through what stands still does not show.
    """

    name = "tearing"
    kind = Kind.TEARING
    summary = "Frames split at a row: a later frame begins below it"
    least_difference = 1.0  # proposed
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
        for index, (picture, later) in enumerate(ahead(pictures, int(self.parameters["apart"]))):
            torn, rest = divmod(index, every)
            if rest or torn >= count:
                yield picture
                continue
            height = picture.luma.shape[0]
            if not torn:
                share = _through_motion(picture, later, where)
                self.parameters["row"] = round(share * height / 2) * 2
            split = round((TOP + (share - TOP + drift * torn) % (BOTTOM - TOP)) * height / 2) * 2
            made = picture.copy()
            made.luma[split:] = later.luma[split:]
            made.cb[split // 2 :] = later.cb[split // 2 :]
            made.cr[split // 2 :] = later.cr[split // 2 :]
            yield made if difference(picture, made) >= SHOWS else picture


def _through_motion(picture: Picture, later: Picture, where: float) -> float:
    """Share of the height of a row, drawn by `where` from those with the most motion."""
    height = picture.luma.shape[0]
    first, stop = round(TOP * height), round(BOTTOM * height)
    change = np.abs(picture.luma.astype(np.int16) - later.luma)[first:stop].mean(axis=1)
    order = np.argsort(-change, kind="stable")[: max(len(change) // 3, 1)]
    return float((first + order[int(where * len(order))]) / height)
