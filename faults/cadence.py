"""Cadence: frames of a motion shown twice, and frames that are missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from faults.base import FaultError, PictureFault
from faults.media import Picture
from faults.span import SpanFault, difference, step_by_tile
from faults.truth import Severity
from pipeline.types import Kind

# Frames that are held or missing show where so large a share of the tiles is so far, in code
# values, from where it should be; missing ones where that is so many of the steps around as well.
# Chosen by eye.
AROUND = 4  # frames on either side
LEAST_STEP, LONGER, SHARE = 6.0, 2.0, 0.02
CUT_STEP, CUT = 12.0, 5.0  # code values, and steps of the others, of a step that is a cut


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
        seen: list[bool] = []  # of each repeat, whether it shows
        for index, picture in enumerate(pictures):
            if shown is not None and left == 0 and index >= round(due):
                left = held
                due += max(mean * self.rng.uniform(0.7, 1.3), held + 1)
            if left and shown is not None:
                left -= 1
                seen.append(bool((step_by_tile(shown, picture) >= LEAST_STEP).mean() >= SHARE))
                yield picture.showing(shown)
            else:
                shown = picture
                yield picture
        if seen and np.mean(seen) < 0.5:
            raise FaultError("repeated_frames: too little moves there for anyone to see it")


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
        earlier: deque[Picture] = deque(maxlen=AROUND)
        missing: list[Picture] = []
        later: list[Picture] = []
        moved = 0.0
        for picture in pictures:
            if picture.time >= self.order.start - 1e-6 and len(missing) < count and earlier:
                moved += picture.duration
                missing.append(picture)
                continue
            if not missing:
                earlier.append(picture)
                yield picture
                continue
            shown = replace(picture, time=picture.time - moved)
            if not self.truths:
                self.did(
                    shown.time,
                    shown.time + shown.duration,
                    seconds=moved,
                    difference=difference(earlier[-1], shown),
                )
            if len(later) < AROUND:
                later.append(picture)
                if len(later) == AROUND:
                    self._look(earlier, missing, later)
            yield shown
        if 0 < len(later) < AROUND:
            self._look(earlier, missing, later)

    def _look(
        self, earlier: Iterable[Picture], missing: Sequence[Picture], later: Sequence[Picture]
    ) -> None:
        if not jumps(list(earlier), missing, later):
            raise FaultError("dropped_frames: nothing jumps there for anyone to see it")


def jumps(earlier: Sequence[Picture], missing: Sequence[Picture], later: Sequence[Picture]) -> bool:
    """Whether a viewer can see that frames are missing between two runs of frames."""
    whole = [difference(*pair) for pair in pairwise([earlier[-1], *missing, later[0]])]
    if max(whole) > CUT_STEP and max(whole) > CUT * float(np.median(whole)):
        return False  # a cut is among them, and comes earlier now
    steps = [step_by_tile(*pair) for run in (earlier, later) for pair in pairwise(run)]
    least = np.maximum(LEAST_STEP, LONGER * np.max(steps, axis=0))
    return bool((step_by_tile(earlier[-1], later[0]) >= least).mean() >= SHARE)
