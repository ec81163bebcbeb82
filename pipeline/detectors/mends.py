"""What key frames mend: damage of which no decoder told.

Many decoders conceal what they cannot read and say nothing, and repeat the damage until a key frame
comes. That one replaces all that is wrong at once: some tiles change by a lot in this one frame,
hardly before and hardly after, while the rest of the picture stays as it was. In an intact stream a
key frame shows what the frame before it showed, and at a cut nearly the whole picture changes.

A key frame may be damaged itself: then it does the same, and the next one mends it.

Subtitles and graphics change a part of the picture at once as well, at any frame: where that
happens and no key frame mends it, changes at key frames tell nothing for a while.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.measurements import Float32, FrameFlag

# All proposed, and chosen on 172 streams of H.264 and HEVC in MP4, most of them damaged, and on 32
# minutes each of clean encodes and of look-alikes in H.264, HEVC and MPEG-2 with 12 to 250 frames a
# GOP, all of development sources: of 34 stretches of which no decoder told 10 are found, and one is
# reported that is none, a cut between two pictures that are alike in half of their area.
SPIKE = 3.0  # code values by which a tile changes more than before and after
LEAST, MOST = 0.015, 0.6  # share of the picture; above, another picture has come
SMALL = 0.08  # share below which the change must be STRONG and not only CLEAR
CLEAR, STRONG = 12.0, 20.0  # code values by which the tiles spike, on average
# Largest changes in units of that of the tiles: of these in the next frame, of all others in this
# one, and of these in any of the frames 2 to 8 after it
AFTER, BESIDE, RESTLESS = 0.12, 0.12, 0.4
WATCHED = (2, 8)
# Share of the longest GOP of those around, from which on one is as long as the encoder wants them:
# key frames that come earlier are set where the picture changes
FULL = 0.9
# Share of the most that the whole picture moves in STEPS frames, below which the last of them is a
# repeat: of animation on threes any third frame changes at once
STILL, STEPS = 0.1, 8
AROUND = 8  # GOPs
SHORTEST, LONGEST = 0.25, 10.0  # seconds of a GOP; codecs of key frames alone repeat no damage
FRAMES = 250  # of one GOP that are kept
# Share of the change, by which an earlier frame must be closer to the mended picture than the last
# damaged one is, to be the intact one; and how much farther than the closest that one may be
CLOSER, CLOSE = 0.6, 0.2
RISEN = 4.0  # code values by which the tiles move more at once, where that is all that is seen
SAME = 0.3  # share of the tiles by which two frames change the same place
BY_ITSELF, MOST_OTHERS = 60.0, 16  # seconds for which changes at other frames count, and how many
STRONGEST = 30.0  # code values that one tile counts for


@dataclass(frozen=True)
class Mended:
    """Damage that a key frame has ended.

    Attributes:
        start, end: seconds.
        share: of the picture, that the key frame changed.
        tiles: which.
        step: code values by which they changed, on average.
        seen: the beginning is known: a key frame, or a frame that is as the mended picture.
    """

    start: float
    end: float
    share: float
    tiles: npt.NDArray[np.bool_]
    step: float
    seen: bool


@dataclass(frozen=True)
class Frame:
    """What is looked at of a frame.

    Attributes:
        time, end: seconds.
        flags: FrameFlag.
        motion: mean change of each tile since the frame before, code values.
        luma: mean of each tile, code values.
    """

    time: float
    end: float
    flags: int
    motion: Float32
    luma: Float32

    @property
    def key(self) -> bool:
        """Whether it is a key frame."""
        return bool(self.flags & FrameFlag.KEY)


@dataclass(frozen=True)
class _Change:
    """A part of the picture that changed in one step.

    Attributes:
        time: seconds.
        tiles: which.
        weights: of the tiles, 1 in all.
        moved: code values, of the tiles.
    """

    time: float
    tiles: npt.NDArray[np.bool_]
    weights: Float32
    moved: float

    def is_where(self, other: _Change) -> bool:
        """Whether both change the same place."""
        both = np.count_nonzero(self.tiles & other.tiles)
        return bool(both >= SAME * min(self.tiles.sum(), other.tiles.sum()))


@dataclass
class _Spike:
    """A key frame that changed a part of the picture."""

    change: _Change
    length: float  # seconds since the key frame before
    onset: float
    seen: bool  # when it began
    risen: bool  # the tiles moved more at once at the onset, if no more was seen
    lengths: list[float]  # seconds, of the GOPs before
    changes: list[_Change]  # in the GOP that it ends, at other frames
    damaged: _Spike | None = None  # the first of the key frames before, which this one mends
    frames: int = 0  # since then
    restless: float = 0.0  # code values


class Mends:
    """Follows the key frames of one picture; bounded by the frames of a GOP."""

    def __init__(self) -> None:
        self._last: deque[Frame] = deque(maxlen=2)
        # of the frames since the one before the last key frame: time, luma, motion
        self._gop: deque[tuple[float, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]
        self._gop = deque(maxlen=FRAMES)
        self._moves: deque[float] = deque(maxlen=STEPS)  # code values, mean of each frame
        self._changes: deque[_Change] = deque(maxlen=MOST_OTHERS)  # since the last key frame
        self._others: deque[_Change] = deque(maxlen=MOST_OTHERS)  # that no key frame mended
        self._key: float | None = None
        self._lengths: deque[float] = deque(maxlen=AROUND)
        self._open: _Spike | None = None

    def look(self, frame: Frame, following: Frame | None) -> Mended | None:
        """Take the next frame, of which the one after it is known; what that decides."""
        told = None
        self._watch(frame)
        change = self._changed(frame, following)
        if frame.key:
            if self._key is not None:
                length = frame.time - self._key
                spike = self._spike(frame, change, length)
                told = self._decide(length, spike)
                self._lengths.append(length)
                self._open = spike
            if self._open is None:
                self._others += self._changes
            self._changes.clear()
            while len(self._gop) > 1:
                self._gop.popleft()
            self._key = frame.time
        elif change is not None:
            self._changes.append(change)
        if self._open is not None and frame.time > self._open.change.time + LONGEST:
            told, self._open = self._decide(LONGEST, None), None
        self._gop.append((frame.time, _bytes(frame.luma), _bytes(frame.motion)))
        self._moves.append(float(frame.motion.mean()))
        # copies: views would keep the maps of a whole segment
        self._last.append(replace(frame, motion=frame.motion.copy(), luma=frame.luma.copy()))
        return told

    def finish(self) -> Mended | None:
        """What is known at the end."""
        return self._decide(None, None)

    def _watch(self, frame: Frame) -> None:
        spike = self._open
        if spike is None:
            return
        spike.frames += 1
        if WATCHED[0] <= spike.frames <= WATCHED[1]:
            moved = float((frame.motion * spike.change.weights).sum())
            spike.restless = max(spike.restless, moved)

    def _changed(self, frame: Frame, following: Frame | None) -> _Change | None:
        """Whether a part of the picture changes in one step, from one calm state to another."""
        if following is None or len(self._last) < 2:
            return None
        earlier, last = self._last
        height = frame.motion - np.maximum(last.motion, following.motion)
        tiles = height > SPIKE
        if not np.count_nonzero(tiles) >= LEAST * tiles.size:
            return None
        step = np.abs(frame.luma - last.luma)
        next_step = np.abs(following.luma - frame.luma)
        tiles &= step - np.maximum(np.abs(last.luma - earlier.luma), next_step) > SPIKE
        share = np.count_nonzero(tiles) / tiles.size
        if not LEAST <= share <= MOST:
            return None
        weights = np.where(tiles, np.minimum(height, STRONGEST), 0).astype(np.float32)
        weights /= weights.sum()
        changed = float((step * weights).sum())
        if (
            float((height * weights).sum()) < (STRONG if share < SMALL else CLEAR)
            or float((next_step * weights).sum()) > AFTER * changed
            or float(step[~tiles].mean()) > BESIDE * changed
        ):
            return None
        return _Change(frame.time, tiles, weights, float((frame.motion * weights).sum()))

    def _spike(self, frame: Frame, change: _Change | None, length: float) -> _Spike | None:
        """Whether what a key frame changes may be damage."""
        if change is None or not SHORTEST <= length <= LONGEST:
            return None
        if self._moves[-1] < STILL * max(self._moves):
            return None
        while self._others and self._others[0].time < frame.time - BY_ITSELF:
            self._others.popleft()
        if any(change.is_where(other) for other in self._others):
            return None
        onset, seen, risen = self._onset(frame, change.weights)
        earlier = list(self._lengths), list(self._changes)
        return _Spike(change, length, onset, seen, risen, *earlier)

    def _onset(self, frame: Frame, weights: Float32) -> tuple[float, bool, bool]:
        """When the damage began that a key frame mends, whether that was seen, or so it seems.

        After the last frame that is as the mended picture; or where the tiles moved most suddenly.
        """
        times = [time for time, _, _ in self._gop]
        away = np.array([(np.abs(luma - frame.luma) * weights).sum() for _, luma, _ in self._gop])
        closest = float(away.min())
        if closest < CLOSER * away[-1]:
            limit = closest + CLOSE * (away[-1] - closest)
            intact = int(np.flatnonzero(away <= limit)[-1])
            return times[min(intact + 1, len(times) - 1)], True, True
        moved = np.array([(motion * weights).sum() for _, _, motion in self._gop])
        rises = np.diff(moved, prepend=moved[0])
        return times[int(rises.argmax())], False, bool(rises.max() >= RISEN)

    def _decide(self, following: float | None, spike: _Spike | None) -> Mended | None:
        """Whether the open one is damage, now that the length of the GOP after it is known.

        The next key frame, `spike`, may be what mends it.
        """
        one = self._open
        if one is None:
            return None
        if self._is_damage(one, following):
            if spike is not None and not one.seen and spike.change.is_where(one.change):
                spike.damaged = one.damaged or one  # the first, however many follow
                return None
            if one.risen or one.damaged is not None:
                return _mended(one)
        self._others += [*one.changes, one.change]
        # what it would have mended may be damage by itself
        before = one.damaged
        return None if before is None or not before.risen else _mended(before)

    @staticmethod
    def _is_damage(one: _Spike, following: float | None) -> bool:
        lengths = one.lengths if following is None else [*one.lengths, following]
        regular = bool(lengths) and one.length >= FULL * max(lengths)
        return regular and one.restless <= RESTLESS * one.change.moved


def _mended(one: _Spike) -> Mended:
    start, seen = one.onset, one.seen
    if one.damaged is not None:
        start, seen = one.damaged.change.time, True
    change = one.change
    return Mended(start, change.time, float(change.tiles.mean()), change.tiles, change.moved, seen)


def _bytes(values: Float32) -> npt.NDArray[np.uint8]:
    made: npt.NDArray[np.uint8] = np.minimum(values + 0.5, 255).astype(np.uint8)
    return made
