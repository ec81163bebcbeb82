"""Mouths of the people in the picture, followed from frame to frame and cut out as they come.

A face is looked for in the whole frame now and then, and once found five times a second in its own
surroundings only. All streams of a process share the finder, which looks at several at once. Of
each frame the surroundings of the faces are kept until their mouths are cut out of them; the frames
themselves are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.batcher import Batcher, made_once
from models.faces import Face, FaceFinder
from models.mouths import RATE, SHARE, SIDE, cut_out, follow, is_same
from pipeline.measurements import Mouth, PictureFormat

UInt8 = npt.NDArray[np.uint8]
Planes = tuple[UInt8, UInt8, UInt8]  # luma, Cb, Cr

MOST = 2  # faces that are followed at a time, the largest
SMALLEST = 48.0  # samples of the frame: a smaller face has no mouth to speak of
LONGEST = 10.0  # seconds: then what there is of a face is handed on
SHORTEST = 0.8  # seconds of a mouth that are of use
# Seconds: always watched at the start, as long as a drift takes to tell; watched in one go after
FIRST, BURST = 40.0, 10.0
_SEARCH_EVERY, _SEARCH_SOON = 2.0, 0.8  # seconds between searches; after a face has gone
_LOOK_EVERY = 0.2  # seconds between looks at a face that is followed, as in training
_WIDE, _NEAR = 416, 112  # samples of the long side that the finder sees of a frame, of a face
# Frames that the finder sees at once, and how long one waits for others. On a CPU eight small ones
# cost two thirds of what they cost one by one, large ones more; a picture can wait for so long.
_AT_ONCE, _PATIENCE = 8, 0.05
_AROUND = 2.0  # times its size, side of the square in which a face is looked for again
_KEPT = 1.5  # times its size, side of the square that is kept of each frame
# Mean change around a mouth, in code values, that is a cut, where it is so many times the change
# before it: a head that is shaken reaches 10, but not at once.
_CUT, _SUDDEN = 15.0, 2.5
_SAMPLES = 16  # a side, of those that are compared for it
# What watching costs, in seconds of one core per second watched (a speaker who fills the picture,
# at 720p25), and what decoding does at the least per sample of luma (bench/results/speed.md: 6 to
# 13 ms for a frame of 1080p).
_COST, _DECODING, _BUDGET = 0.07, 4e-9, 0.25


@dataclass
class _Followed:
    """A face that is followed, and what is kept of the frames since it was found."""

    faces: dict[int, Face]  # by number of the frame, counted from the first that is kept
    due: float
    side: int  # of what is kept, in samples of the frame
    factor: int  # by which that is reduced
    times: list[float] = field(default_factory=list)
    parts: list[UInt8] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)  # x, y in the frame
    change: float = 0.0  # of the last frame to the one before

    @property
    def last(self) -> Face:
        """Where it was seen last."""
        return self.faces[max(self.faces)]


def _followed(face: Face, time: float) -> _Followed:
    factor = max(1, int(SHARE * face.size / SIDE))  # a mouth is not reduced below what is cut out
    return _Followed({0: face}, time + _LOOK_EVERY, round(_KEPT * face.size), factor)


class MouthMeter:
    """Follows the faces of one video stream; `take` hands over the mouths that are complete.

    Args:
        picture_format: of the frames.
        share: of the time that is watched after the first 40 s; 0: as much as costs about a
            quarter of the decoding of such a stream.
        device: of the finder.
    """

    def __init__(
        self, picture_format: PictureFormat, share: float = 0.0, device: str = "cpu"
    ) -> None:
        self.format = picture_format
        self._device = device
        if not share:
            samples = picture_format.width * picture_format.height * picture_format.frame_rate
            share = min(1.0, _BUDGET * _DECODING * samples / _COST)
        self.share = share
        self._search_due = -np.inf
        self._going: list[_Followed] = []
        self._done: list[Mouth] = []

    def add(self, time: float, planes: Callable[[], Planes]) -> None:
        """Take one frame.

        Args:
            time: seconds.
            planes: gives luma and chroma, 8 bits deep; called where the frame is looked at.
        """
        if not watched(time, self.share):
            self._end(*self._going)
            return
        if not self._going and time < self._search_due:
            return
        frame = planes()
        for one in list(self._going):
            if not 0 < time - one.times[-1] < _LOOK_EVERY:  # the clock jumped
                self._end(one)
            elif time >= one.due:
                self._look(one, time, frame)
        if len(self._going) < MOST and not 0 < self._search_due - time < _SEARCH_EVERY:
            self._search(time, frame)
        for one in list(self._going):
            self._keep(one, time, frame[0])

    def take(self) -> list[Mouth]:
        """The mouths that were completed since the last call."""
        done, self._done = self._done, []
        return done

    def finish(self) -> None:
        """End of the stream: what is followed is complete."""
        self._end(*self._going)

    def _faces(self, long_side: int, frame: Planes) -> list[Face]:
        return _finder(self._device, long_side).ask(frame)

    def _search(self, time: float, frame: Planes) -> None:
        """Look for faces in the whole frame."""
        self._search_due = time + _SEARCH_EVERY
        found = self._faces(_WIDE, frame)
        for face in sorted(found, key=lambda face: -face.size):
            known = any(is_same(one.last, face) for one in self._going)
            if face.size >= SMALLEST and not known and len(self._going) < MOST:
                self._going.append(_followed(face, time))

    def _look(self, one: _Followed, time: float, frame: Planes) -> None:
        """See where a face is now."""
        last = one.last
        corner, around = _around(frame, last)
        found = self._faces(_NEAR, around)
        near = [face for face in (_moved(face, corner) for face in found) if is_same(last, face)]
        if not near:
            self._end(one)
            self._search_due = min(self._search_due, time + _SEARCH_SOON)
            return
        face = max(near, key=lambda face: face.score)
        one.faces[len(one.times)] = face
        one.due = time + _LOOK_EVERY
        if time - one.times[0] >= LONGEST:
            self._end(one)
            self._going.append(_followed(face, time))

    def _keep(self, one: _Followed, time: float, luma: UInt8) -> None:
        """Keep the surroundings of a face, unless they are another shot's."""
        x, y = one.last.mouth
        left, top = (max(0, round(at - one.side / 2)) for at in (x, y))
        part = _reduced(luma[top : top + one.side, left : left + one.side], one.factor)
        if not part.size:
            self._end(one)
            return
        change = _change(one, part, (left, top)) if one.parts else 0.0
        if change > max(_CUT, _SUDDEN * one.change):
            self._end(one)
            self._search_due = time  # with the next frame
        else:
            one.change = change
            one.times.append(time)
            one.parts.append(part)
            one.corners.append((left, top))

    def _end(self, *ended: _Followed) -> None:
        for one in ended:
            self._going.remove(one)
            mouth = _mouth(one, self.format)
            if mouth is not None:
                self._done.append(mouth)


def watched(time: float, share: float) -> bool:
    """Whether a moment is one of those that are watched: all at first, then bursts of 10 s."""
    if time < FIRST or share >= 1:
        return True
    every = BURST / share
    return (time - FIRST) % every >= every - BURST


@made_once
def _finder(device: str, long_side: int) -> Batcher[Planes, list[Face]]:
    """One for all streams of this process."""
    finder = FaceFinder(device, long_side=long_side)
    together = _AT_ONCE if device != "cpu" or long_side == _NEAR else 1
    return Batcher(finder.find, together, _PATIENCE)


def _around(frame: Planes, face: Face) -> tuple[tuple[int, int], Planes]:
    """The part of a frame in which a face is looked for again, and x, y of its corner."""
    height, width = frame[0].shape
    side = _AROUND * face.size
    # even, so that it begins with a sample of chroma
    left = max(0, round(face.x + face.width / 2 - side / 2)) // 2 * 2
    top = max(0, round(face.y + face.height / 2 - side / 2)) // 2 * 2

    def part(plane: UInt8) -> UInt8:
        down, across = height / plane.shape[0], width / plane.shape[1]
        return plane[
            int(top / down) : int((top + side) / down) + 1,
            int(left / across) : int((left + side) / across) + 1,
        ]

    return (left, top), (part(frame[0]), part(frame[1]), part(frame[2]))


def _moved(face: Face, by: tuple[int, int]) -> Face:
    mouth = (face.mouth[0] + by[0], face.mouth[1] + by[1])
    return replace(face, x=face.x + by[0], y=face.y + by[1], mouth=mouth)


def _reduced(part: UInt8, factor: int) -> UInt8:
    """A copy, smaller by a whole factor."""
    if factor == 1:
        return part.copy()
    rows, columns = (length // factor * factor for length in part.shape)
    if not rows or not columns:
        return part[:0]
    return np.asarray(Image.fromarray(part[:rows, :columns]).reduce(factor))


def _change(one: _Followed, part: UInt8, corner: tuple[int, int]) -> float:
    """Mean change in code values to what was kept last, over a grid of what both show."""
    before = one.parts[-1]
    right, down = (
        round((now - then) / one.factor) for now, then in zip(corner, one.corners[-1], strict=True)
    )
    before = before[max(0, down) :, max(0, right) :]
    part = part[max(0, -down) :, max(0, -right) :]
    rows, columns = np.minimum(before.shape, part.shape)
    if not rows or not columns:
        return np.inf
    y, x = (np.linspace(0, length - 1, _SAMPLES).astype(int) for length in (rows, columns))
    earlier, now = (of[np.ix_(y, x)].astype(np.float32) for of in (before, part))
    return float(np.abs(earlier - now).mean())


def _mouth(one: _Followed, picture_format: PictureFormat) -> Mouth | None:
    """Pictures of the mouth of a face that was followed, at 25 a second by the nearest PTS."""
    paths = follow({number: [face] for number, face in one.faces.items()})
    if not paths:
        return None
    path = paths[0]
    times = np.array(one.times[: len(path.centres)])
    ticks = np.arange(np.ceil(times[0] * RATE), np.floor(times[-1] * RATE) + 1) / RATE
    if len(ticks) < SHORTEST * RATE:
        return None
    after = np.searchsorted(times, ticks).clip(1, len(times) - 1)
    nearest = after - (ticks - times[after - 1] <= times[after] - ticks)
    pictures = [
        cut_out(
            one.parts[n],
            (path.centres[n] - one.corners[n]) / one.factor,
            path.side / one.factor,
        )
        for n in nearest
    ]
    x, y = path.centres.mean(axis=0) / (picture_format.width, picture_format.height)
    wide, high = np.array(path.side) / (picture_format.width, picture_format.height) / 2
    return Mouth(
        float(ticks[0]),
        np.stack(pictures),
        path.face,
        (float(x - wide), float(y - high), float(x + wide), float(y + high)),
    )
