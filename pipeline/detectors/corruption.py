"""Block corruption: what a decoder had to conceal, from there to the key frame that mends it.

A decoder that has lost data goes on with what it has, and every frame that refers to it repeats the
damage. The errors say when that begins. The end is seen in the picture: a key frame replaces all
that is wrong at once, while intact tiles hardly change. How much changes is how much was damaged.
Where a decoder tells of no error, what a key frame mends is all the evidence: see `mends`. Where
the picture was encoded again, there is neither: see `recoded`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.mends import SPIKE, Frame, Mended, Mends
from pipeline.detectors.recoded import Recoded, Recodings
from pipeline.measurements import (
    Float32,
    FrameFlag,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind, Region

LAG = 0.5  # seconds by which errors may be told after frames of their time (reordered frames)
JOINED = 0.3  # seconds; damage with less between is one defect, as in faults/comparison.py
CUT = 0.85  # share of the picture that changes where a cut mends it: nothing is known of the damage
UNKNOWN = 0.5  # severity where the end of the damage was not seen
MOST_ERRORS = 1000  # that wait for their frames
MOST_TOLD = 16  # stretches that are remembered
ERRORS = ("decode_error", "corrupt_packet")


class CorruptionSettings(DetectorSettings):
    """Settings of the corruption detector."""

    min_area: float = setting(
        0.005, "", "share of the picture that a key frame must mend for damage to have shown",
        "calibrated on development sources: 0.01 and more in all of 23 damaged streams",
        ge=0, le=1,
    )  # fmt: skip
    longest: float = setting(
        10.0, "s", "after the last error, when no key frame comes: as long as a GOP may be",
        "x264 sets a key frame every 250 frames at least", gt=0,
    )  # fmt: skip
    encoded_again: bool = setting(
        False, "", "whether a net is asked about damage that was encoded again: 25 ms a second",
        "off until more is known of its false alarms: see models/weights/mends.md",
    )  # fmt: skip


@dataclass
class _Damage:
    """Damage that goes on, or that has just been mended."""

    start: float
    last: float  # time of the last error
    errors: float
    decoding: bool  # the decoder told of an error: a hole between packets alone harms no picture
    end: float | None = None
    mended: float | None = None  # share of the picture; None: not seen
    tiles: npt.NDArray[np.bool_] | None = field(default=None, repr=False)


class CorruptionDetector(PictureDetector):
    """Follows the errors of the picture's stream, key frames, and what a net says of steps."""

    name = "block_corruption"
    version = "5"
    kinds = (Kind.BLOCK_CORRUPTION,)
    summary = (
        "Blocks are misplaced, stale or garbage, from data that the decoder lost, also where it "
        "says nothing, to the key frame that mends it; where asked (`encoded_again`), also such "
        "damage that was encoded again, if a net sees it begin and be mended."
    )
    Settings = CorruptionSettings

    def __init__(self, settings: CorruptionSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: CorruptionSettings = settings
        self._frames: deque[Frame] = deque()  # not looked at yet
        # time, number, and whether the decoder told it; not looked at yet
        self._errors: deque[tuple[float, float, bool]] = deque()
        self._before: Float32 | None = None  # motion of the frame that was looked at last
        self._damage: _Damage | None = None
        self._mends = Mends()
        self._recodings = Recodings()
        self._told: deque[tuple[float, float]] = deque(maxlen=MOST_TOLD)  # starts and ends
        self._end = 0.0
        self._reached = 0.0  # seconds up to which the asset was examined, with frames or without

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        for row, motion, luma in zip(picture.frames, picture.motion, picture.luma, strict=True):
            time, self._end = float(row["time"]), float(row["time"] + row["duration"])
            self._frames.append(Frame(time, self._end, int(row["flags"]), motion, luma))
        self._hear(segment)
        found = self._look(self._end - LAG)
        times = picture.frames["time"]
        for time, motion, steps in zip(times, picture.motion, picture.steps, strict=False):
            for one in self._recodings.look(float(time), motion, steps):
                found += self._of_recoded(one)
        return found

    def without_picture(self, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._hear(segment)
        return ()

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found = self._look(np.inf)
        damage = self._damage
        if damage is not None and damage.end is None:
            # of a picture that comes no more, the last damaged frame stands
            lost = [time for time, _, decoding in self._errors if decoding and time < self._reached]
            damage.end = max(self._end, damage.last, *lost)
        return [
            *found,
            *self._tell(),
            *self._of_mended(self._mends.finish()),
            *(told for one in self._recodings.finish() for told in self._of_recoded(one)),
        ]

    def standing(self) -> Iterable[Observation]:
        """Nothing: whether damage shows is known when it is mended."""
        return ()

    def _hear(self, segment: Segment) -> None:
        self._reached = segment.end
        heard = [
            (note.time, max(note.value, 1.0), note.what == "decode_error")
            for note in segment.notes
            if note.what in ERRORS and note.stream == self.format.stream
        ]
        if heard:  # bounded: timestamps may be far ahead of all frames
            self._errors = deque(sorted([*self._errors, *heard])[:MOST_ERRORS])

    def _look(self, until: float) -> list[Observation]:
        """Look at the frames before a time, of which the next must be known."""
        found: list[Observation] = []
        while self._frames and self._frames[0].time < until:
            frame = self._frames.popleft()
            following = self._frames[0] if self._frames else None
            found += self._take_errors(frame)
            damage = self._damage
            if damage is not None:
                if damage.end is not None and frame.time >= damage.end + JOINED:
                    found += self._tell()
                elif damage.end is None and frame.time > damage.last:
                    self._mend(damage, frame, following.motion if following else None)
            found += self._of_mended(self._mends.look(frame, following))
            self._before = frame.motion
        return found

    def _take_errors(self, frame: Frame) -> list[Observation]:
        """Begin damage or go on with it; tells of what was mended long before the error."""
        due: list[tuple[float, float, bool]] = []
        while self._errors and self._errors[0][0] < frame.end:
            due.append(self._errors.popleft())
        if frame.flags & FrameFlag.CORRUPT:
            due.append((frame.time, 1.0, True))
        found: list[Observation] = []
        for time, count, decoding in due:
            damage = self._damage
            if damage is not None and damage.end is not None and time >= damage.end + JOINED:
                found += self._tell()
                damage = None
            if damage is None:
                self._damage = _Damage(time, time, count, decoding)
                continue
            damage.decoding |= decoding
            damage.errors += count
            if damage.end is None or time >= damage.end:  # else it is told late
                damage.last = max(damage.last, time)
                damage.end = None  # what was mended is damaged again
        return found

    def _mend(self, damage: _Damage, frame: Frame, following: Float32 | None) -> None:
        """End the damage where a key frame comes, or long after the last error."""
        if frame.key:
            damage.end = frame.time
            if self._before is None or following is None:
                return
            spike = frame.motion - np.maximum(self._before, following) > SPIKE
            share = float(spike.mean())
            if share < CUT and share >= (damage.mended or 0.0):
                damage.mended, damage.tiles = share, spike
        elif frame.time > damage.last + self.settings.longest:
            damage.end = frame.time

    def _tell(self) -> list[Observation]:
        damage, self._damage = self._damage, None
        if damage is None or damage.end is None or damage.end <= damage.start:
            return []
        if not damage.decoding:
            return []
        share, length = damage.mended, damage.end - damage.start
        if share is not None and share < self.settings.min_area:
            return []
        self._told.append((damage.start, damage.end))
        evidence = {"decoding_errors": damage.errors, "duration_s": length}
        if share is None:
            said = "a share of the picture that nothing tells"
            severity, confidence = UNKNOWN, 0.6
        else:
            said = f"{100 * share:.2g} % of the picture, by what the key frame mends"
            severity = _severity(share)
            confidence = 0.75 if share < 0.02 else 0.9
            evidence["share_of_picture"] = share
        return [
            Observation(
                Kind.BLOCK_CORRUPTION,
                start=damage.start,
                end=damage.end,
                severity=severity,
                confidence=confidence,
                summary=f"blocks are corrupt for {length:.2f} s after decoding errors, over {said}",
                evidence=evidence,
                peak=min(damage.last, damage.end),
                region=_region(damage.tiles),
            )
        ]

    def _of_mended(self, mended: Mended | None) -> list[Observation]:
        """Damage of which the decoder told nothing."""
        if mended is None or self._is_told(mended):
            return []
        share, length = mended.share, mended.end - mended.start
        self._told.append((mended.start, mended.end))
        return [
            Observation(
                Kind.BLOCK_CORRUPTION,
                start=mended.start,
                end=mended.end,
                severity=_severity(share),
                confidence=0.7 if mended.seen else 0.55,
                summary=(
                    f"blocks are corrupt for {length:.2f} s though the decoder told of no error: "
                    f"the key frame after them mends {100 * share:.2g} % of the picture at once"
                ),
                evidence={
                    "share_of_picture": share,
                    "mended_by_code_values": mended.step,
                    "duration_s": length,
                },
                peak=(mended.start + mended.end) / 2,
                region=_region(mended.tiles),
            )
        ]

    def _of_recoded(self, recoded: Recoded) -> list[Observation]:
        """Damage that was encoded again."""
        if self._is_told(recoded):
            return []
        share, length = float(recoded.tiles.mean()), recoded.end - recoded.start
        self._told.append((recoded.start, recoded.end))
        return [
            Observation(
                Kind.BLOCK_CORRUPTION,
                start=recoded.start,
                end=recoded.end,
                severity=_severity(share),
                confidence=0.6,
                summary=(
                    f"blocks are corrupt for {length:.2f} s, as far as the picture tells: "
                    f"{100 * share:.2g} % of it was mended at once at the end"
                ),
                evidence={
                    "share_of_picture": share,
                    "log_odds": recoded.odds,
                    "duration_s": length,
                },
                peak=(recoded.start + recoded.end) / 2,
                region=_region(recoded.tiles),
            )
        ]

    def _is_told(self, mended: Mended | Recoded) -> bool:
        """Whether the errors of the decoder tell of it, or will."""
        damage = self._damage
        if damage is not None and damage.decoding and damage.start < mended.end:
            return True
        return any(start < mended.end and mended.start < end for start, end in self._told)


def _severity(share: float) -> float:
    """Of the share of the picture that a key frame mended.

    A mended tile is one that had drifted, too: about twice those whose damage shows.
    """
    return events.ladder(share, 0.01, 0.1, 0.25, 0.5)


def _region(tiles: npt.NDArray[np.bool_] | None) -> Region | None:
    return None if tiles is None or not tiles.any() else Region.around(tiles)
