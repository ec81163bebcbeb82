"""Cadence: frames of a motion shown twice, and frames that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from faults.base import PictureFault
from faults.media import Picture
from faults.span import SpanFault, difference
from faults.truth import Severity
from pipeline.types import Kind


class RepeatedFramesFault(SpanFault):
    """Shows frames a second time in place of the next one, at irregular distances.

    A live encoder or capture card whose input comes too late repeats what it has; a frame-rate
    conversion without interpolation does it too. What follows is on time.
    """

    name = "repeated_frames"
    kind = Kind.REPEATED_FRAMES
    summary = "Frames in motion shown twice or three times in place of those that follow"
    also = (Kind.DROPPED_FRAMES, Kind.FREEZE)
    lengths = (3.2, 5.0)  # one repeat a second is heard of after three
    # Proposed, as the share of frames that are repeats: 24 pictures in 25 frames, 10 % lost,
    # 24 in 30, 20 in 30.
    ladder = {
        Severity.VERY_SUBTLE: {"share": 0.04},
        Severity.SUBTLE: {"share": 0.1},
        Severity.NOTICEABLE: {"share": 0.2},
        Severity.VERY_NOTICEABLE: {"share": 0.333},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        share = float(self.parameters["share"])
        # two at a time only where they are frequent: else there were two events in all
        held = 2 if self.rng.random() < 0.3 and share >= 0.1 else 1
        self.parameters["repeats_each"] = held
        mean = held / share  # frames from one repeat to the next
        shown = self.before
        left, due = 0, 0.0
        for index, picture in enumerate(pictures):
            if shown is not None and left == 0 and index >= round(due):
                left = held
                due += max(mean * self.rng.uniform(0.7, 1.3), held + 1)
            if left and shown is not None:
                left -= 1
                yield picture.showing(shown)
            else:
                shown = picture
                yield picture


class DroppedFramesFault(PictureFault):
    """Takes frames out of a motion; what follows moves up in time, the sound does not.

    As when an encoder or a splice loses frames and numbers what it has without a gap. The truth is
    the join: one frame long, from where the motion jumps.
    """

    name = "dropped_frames"
    kind = Kind.DROPPED_FRAMES
    summary = "Frames missing from a motion, which jumps; later frames come earlier"
    also = (Kind.AV_STEP, Kind.AV_OFFSET, Kind.AV_LENGTH_MISMATCH)
    mixes = False
    lengths = (0.0, 0.0)
    # MVAD supplement: 4, 8, 12, 16 frames.
    ladder = {
        Severity.VERY_SUBTLE: {"frames": 4},
        Severity.SUBTLE: {"frames": 8},
        Severity.NOTICEABLE: {"frames": 12},
        Severity.VERY_NOTICEABLE: {"frames": 16},
    }

    def pictures(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in PictureFault."""
        count = int(self.parameters["frames"])
        before: Picture | None = None
        dropped, moved = 0, 0.0
        for picture in pictures:
            if picture.time >= self.order.start - 1e-6 and dropped < count and before is not None:
                moved += picture.duration
                dropped += 1
                continue
            if not dropped or before is None:
                before = picture
                yield picture
                continue
            shown = replace(picture, time=picture.time - moved)
            if not self.truths:
                self.did(
                    shown.time,
                    shown.time + shown.duration,
                    seconds=moved,
                    difference=difference(before, shown),
                )
            yield shown
