"""Combing: fields of two times woven into one progressive frame."""

from __future__ import annotations

from collections.abc import Iterator

from faults.media import Picture
from faults.span import SpanFault, ahead
from faults.truth import Severity
from pipeline.types import Kind


class CombingFault(SpanFault):
    """Takes every other line, of luma and of chroma, from a later frame.

    As when interlaced video is handled as progressive, or film with 3:2 pulldown is cut without
    taking the pulldown out. Still parts of the picture do not show it.
    """

    name = "combing"
    kind = Kind.COMBING
    summary = "Every other line from a later frame, as in interlaced video taken for progressive"
    least_difference = 1.0  # proposed
    # Proposed: share of frames (pulldown: 2 in 5), and frames between the two fields. Half a frame
    # is native; one and more stand for faster motion.
    ladder = {
        Severity.VERY_SUBTLE: {"share": 0.4, "apart": 1},
        Severity.SUBTLE: {"share": 1.0, "apart": 1},
        Severity.NOTICEABLE: {"share": 1.0, "apart": 2},
        Severity.VERY_NOTICEABLE: {"share": 1.0, "apart": 4},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        first = int(self.rng.integers(2))  # the lines that are from later: bottom or top field
        self.parameters["later_field"] = "bottom" if first else "top"
        woven = round(float(self.parameters["share"]) * 5)
        for index, (picture, later) in enumerate(ahead(pictures, int(self.parameters["apart"]))):
            if index % 5 >= woven:
                yield picture
                continue
            made = picture.copy()
            made.luma[first::2] = later.luma[first::2]
            made.cb[first::2] = later.cb[first::2]
            made.cr[first::2] = later.cr[first::2]
            yield made
