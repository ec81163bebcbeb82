"""Glitch: one to three frames that do not belong there, whole or in a part of the picture.

The frame before and the frame after agree with each other and not with what is between them: on
the means of tiles, of luma and chroma, what is between lies outside of the range of both. Light
that is added for an instant (a camera flash, lightning) keeps the edges of the scene where they
are; a foreign or damaged frame does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.tiles import correlation
from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, Unchanging, setting
from pipeline.measurements import Float32, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind, Region

# Tile maps that are compared, and their weights in the sum; detail is large and varies.
PLANES = (("luma", 1.0), ("cb", 1.0), ("cr", 1.0), ("detail", 0.5))
LONGEST = 3  # frames; research, V8: one to three foreign or damaged frames
AROUND = 12  # frames on each side in which the same must not happen all the time
HOT = 8.0  # code values of motion in a tile, and
PULSE = 1.4  # its ratio to that of the frames around, that make the tile worth a look
UNIFORM = 3.0  # mean detail, and deviation of the tile means, of a frame of one colour
EDGES_STAY = 0.45  # correlation of detail maps from which the scene is still there in the flash
TONES_STAY = 0.75  # correlation of luma maps, likewise: what was bright is brightest still
ADDED = 0.9  # share of the changed tiles that became brighter in a flash
NIGHT = 45.0  # mean luma below which a scene shows too few edges to compare
BLACK = 24.0  # highest mean luma of a black frame (16 is nominal black)
LOCAL = 0.3  # share of the picture below which a moving object may be the cause
BURNT = 215.0  # mean luma of a tile in which a flash leaves nothing to see
FILLED = 0.3  # least share of its box that a foreign area fills; rain and confetti are scattered
OFTEN = 2  # frames around, with as much change back and forth, that make it the scene's motion
LONGEST_TIME = 0.13  # seconds: three frames at 24 Hz; longer is content
STROBE = 1.0  # seconds


class GlitchSettings(DetectorSettings):
    """Settings of the glitch detector."""

    min_deviation: float = setting(
        14.0,
        "code values",
        "how far a tile lies outside the range of the frames before and after, luma and chroma "
        "added, to count as foreign",
        "calibrated on 169 clips and on damage put into ten of them",
        gt=0,
    )
    min_share: float = setting(
        0.006,
        "share of the picture",
        "smallest foreign area",
        "calibrated: 50 tiles of 1080p, a few macroblock rows; below, small fast objects",
        gt=0,
        lt=1,
    )
    max_difference: float = setting(
        0.35,
        "",
        "difference of the frames before and after, as a share of the deviation between them",
        "research, V8: d(t-1,t) and d(t,t+1) much larger than d(t-1,t+1)",
        gt=0,
        lt=1,
    )
    max_recurrences: int = setting(
        2,
        "",
        "further events of light within a second from which they are a strobe, no glitch",
        "flashes of more than 3 Hz belong to the flashing detector (ITU-R BT.1702)",
        ge=0,
    )


@dataclass(frozen=True)
class _Frame(Unchanging):
    time: float
    end: float
    luma: Float32
    cb: Float32
    cr: Float32
    detail: Float32
    level: float  # mean luma
    rise: npt.NDArray[np.bool_] | None  # tiles that changed much more than a frame before
    fall: npt.NDArray[np.bool_] | None  # tiles that changed much more than a frame later


@dataclass
class _Event:
    observation: Observation
    blank: bool  # one colour: one of many may be a strobe


class GlitchDetector(PictureDetector):
    """Looks at each frame at which the picture changes and, soon after, changes back."""

    name = "glitch"
    version = "2"
    kinds = (Kind.GLITCH,)
    summary = (
        "One to three frames that are foreign, damaged, black or white, in the whole picture or a "
        "part of it; camera flashes and fast cutting are not reported"
    )
    Settings = GlitchSettings

    def __init__(self, settings: GlitchSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: GlitchSettings = settings
        self._frames: deque[_Frame] = deque()
        self._limit: Float32 | None = None
        self._last_motion: Float32 | None = None
        self._next = 1  # index in _frames of the next frame to judge
        self._pulses: deque[int] = deque(maxlen=AROUND)  # tiles that pulse, in the last frames
        self._until = -np.inf  # end of the last glitch
        self._events: list[_Event] = []
        self._strobe = -np.inf  # start of the last flash of a strobe

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        rows = picture.frames
        motion = picture.motion
        limit = motion * np.float32(PULSE) + np.float32(HOT)
        rise = np.empty(motion.shape, np.bool_)
        rise[0] = False if self._limit is None else motion[0] > self._limit
        np.greater(motion[1:], limit[:-1], out=rise[1:])
        fall = motion[:-1] > limit[1:]
        if self._frames and self._last_motion is not None:
            self._frames[-1] = replace(self._frames[-1], fall=self._last_motion > limit[0])
        self._limit, self._last_motion = limit[-1], motion[-1]
        for n in range(len(rows)):
            time = float(rows["time"][n])
            self._frames.append(
                _Frame(
                    time,
                    time + float(rows["duration"][n]),
                    picture.luma[n],
                    picture.cb[n],
                    picture.cr[n],
                    picture.detail[n],
                    float(rows["luma"][n]),
                    rise[n] if rise[n].any() else None,
                    fall[n] if n < len(fall) else None,
                )
            )
        self._judge(len(self._frames) - AROUND)
        return self._release(self._frames[self._next - 1].time if self._frames else -np.inf)

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        if self._frames and self._last_motion is not None:
            # nothing more moves
            self._frames[-1] = replace(self._frames[-1], fall=self._last_motion > HOT)
        self._judge(len(self._frames))
        return self._release(np.inf)

    def _judge(self, stop: int) -> None:
        """Judge frames up to `stop`, which have their context; forget what is no longer needed."""
        frames = self._frames
        for index in range(self._next, stop):
            if frames[index].rise is not None and frames[index].time >= self._until - 1e-6:
                self._look(index)
        self._next = max(self._next, stop, 1)
        while self._next > AROUND + 1:
            frames.popleft()
            self._next -= 1

    def _look(self, first: int) -> None:
        """Whether a glitch begins with frame `first`."""
        frames = self._frames
        rise = frames[first].rise
        restless = sorted(self._pulses)[len(self._pulses) // 2] if len(self._pulses) > 6 else 0
        self._pulses.append(0)
        for length in range(1, LONGEST + 1):
            stop = first + length
            if stop >= len(frames) or frames[stop].time - frames[first].time > LONGEST_TIME:
                return
            fall = frames[stop].fall
            if rise is None or fall is None:
                continue
            pulse = int(np.count_nonzero(rise & fall))
            self._pulses[-1] = max(self._pulses[-1], pulse)
            if pulse < max(self.settings.min_share * rise.size / 2, restless):
                continue
            event = self._blank(first, stop) or self._foreign(first, stop)
            if event is not None:
                self._events.append(event)
                self._until = frames[stop].time
                return

    def _blank(self, first: int, stop: int) -> _Event | None:
        """Black frames from `first` up to `stop` that came and went at once."""
        frames = self._frames
        for index in range(first, stop):
            frame = frames[index]
            if frame.level > BLACK or frame.detail.mean() > UNIFORM:
                return None
        around = [frames[i].level for i in range(max(first - 6, 0), first)]
        beyond = [frames[i].level for i in range(stop, min(stop + 6, len(frames)))]
        for levels, nearest in ((around, around[-1]), (beyond, beyond[0])):
            lit = float(np.median(levels))
            if len(levels) < 3 or lit < BLACK + 8 or nearest - 16 < 0.75 * (lit - 16):
                return None  # the light faded, or there was none
        before, after = frames[first - 1], frames[stop]
        deviation = (before.level + after.level) / 2 - frames[first].level
        same = float(np.abs(after.luma - before.luma).mean()) < 0.5 * deviation
        count = stop - first
        return _Event(
            Observation(
                Kind.GLITCH,
                start=frames[first].time,
                end=frames[stop].time,
                severity=events.ladder(count * min(deviation / 40, 1), 0.3, 0.6, 1, 3),
                confidence=0.95 if same else 0.65,
                summary=f"{count} black frame{'s' if count > 1 else ''} in the programme",
                evidence={
                    "frames": float(count),
                    "share_of_picture": 1.0,
                    "deviation": deviation,
                    "level": frames[first].level,
                },
                peak=frames[first].time,
            ),
            blank=True,
        )

    def _foreign(self, first: int, stop: int) -> _Event | None:
        """Frames from `first` up to `stop` that differ from both neighbours, which agree."""
        frames, settings = self._frames, self.settings
        before, after = frames[first - 1], frames[stop]
        outside, widest = self._outside(first, stop)
        foreign = outside >= settings.min_deviation
        if foreign.mean() < settings.min_share or (
            foreign.sum() < 0.5 * (widest >= settings.min_deviation).sum()
        ):
            return None
        part, cluster = _largest(foreign)
        share = float(cluster.mean())
        if share < settings.min_share or cluster[part].mean() < FILLED:
            return None
        deviation = float(outside[cluster].mean())
        difference = float(
            sum(
                np.abs(getattr(after, plane) - getattr(before, plane))[cluster].mean() * weight
                for plane, weight in PLANES
            )
        )
        allowed = settings.max_difference * (0.5 if share < LOCAL else 1) * deviation
        if difference > allowed:
            return None
        score = float(outside[cluster].sum())
        recurring = self._around(first, stop, score)
        if recurring > OFTEN:
            return None
        middle = frames[(first + stop - 1) // 2]
        kind = _light(before, middle, after, part, cluster)
        if kind is None or self._burnt_out(first, stop, part, cluster):
            return None
        if kind == "darker" and (recurring or self._between_flashes(first, stop, cluster)):
            return None
        doubt = difference / allowed
        confidence = float(
            np.clip(0.98 - 0.35 * doubt - 4 * settings.min_deviation / deviation / 40, 0.3, 0.98)
        )
        count = stop - first
        rows, columns = foreign.shape
        whole = share > 0.7
        region = None
        if not whole:
            region = Region(
                left=part[1].start / columns,
                top=part[0].start / rows,
                right=part[1].stop / columns,
                bottom=part[0].stop / rows,
            )
        place = "the whole picture" if whole else f"{100 * share:.1f} % of the picture"
        return _Event(
            Observation(
                Kind.GLITCH,
                start=frames[first].time,
                end=frames[stop].time,
                severity=events.ladder(
                    share * min(deviation / 40, 1.5) * (0.7 + 0.3 * count), 0.004, 0.03, 0.15, 0.5
                ),
                confidence=confidence * (0.7 if kind == "darker" else 1),
                summary=(
                    f"{count} frame{'s differ' if count > 1 else ' differs'} in {place} by "
                    f"{deviation:.0f} code values from the frames before and after, which agree "
                    f"within {difference:.0f}"
                ),
                evidence={
                    "frames": float(count),
                    "share_of_picture": share,
                    "deviation": deviation,
                    "difference_before_after": difference,
                },
                peak=middle.time,
                region=region,
            ),
            blank=kind == "blank",
        )

    def _burnt_out(
        self, first: int, stop: int, part: tuple[slice, slice], cluster: npt.NDArray[np.bool_]
    ) -> bool:
        """Whether this is a flash so bright that only its last light shows the scene again."""
        before, last, after = (self._frames[index] for index in (first - 1, stop - 1, stop))
        return (
            stop - first > 1
            and float(cluster.mean()) >= LOCAL
            and float((last.luma - before.luma)[cluster].mean()) > 0
            and _light(before, last, after, part, cluster) is None
        )

    def _between_flashes(self, first: int, stop: int, cluster: npt.NDArray[np.bool_]) -> bool:
        """Whether a darker moment is as dark as the scene soon before or after was: light came."""
        frames = self._frames
        if first - 1 < LONGEST or stop + LONGEST >= len(frames):
            return False
        dark, lit, before, after = (
            float(frames[index].luma[cluster].mean())
            for index in (first, first - 1, first - 1 - LONGEST, stop + LONGEST)
        )
        return min(before, after) < (dark + lit) / 2

    def _outside(self, first: int, stop: int) -> tuple[Float32, Float32]:
        """How far tiles lie outside the range of the frames around: least and most, [th, tw]."""
        before, after = self._frames[first - 1], self._frames[stop]
        least = np.full(before.luma.shape, np.inf, np.float32)
        most = np.zeros(before.luma.shape, np.float32)
        for index in range(first, stop):
            away = np.zeros_like(most)
            for plane, weight in PLANES:
                a, b = getattr(before, plane), getattr(after, plane)
                here = getattr(self._frames[index], plane)
                away += np.maximum(here - np.maximum(a, b), 0) * np.float32(weight)
                away += np.maximum(np.minimum(a, b) - here, 0) * np.float32(weight)
            np.minimum(least, away, out=least)
            np.maximum(most, away, out=most)
        return least, most

    def _around(self, first: int, stop: int, score: float) -> int:
        """How many of the frames around change back and forth about as much."""
        count, length = 0, stop - first
        for index in range(max(first - AROUND, 1), min(first + AROUND, len(self._frames) - length)):
            if index + length < first or index > stop:
                outside, _ = self._outside(index, index + length)
                foreign = outside >= self.settings.min_deviation
                count += float(outside[foreign].sum()) > 0.4 * score
        return count

    def _release(self, now: float) -> list[Observation]:
        """Hand over what can no longer turn out to be one flash of a strobe."""
        out: list[Observation] = []
        while self._events and self._events[0].observation.start < now - STROBE:
            first = self._events[0]
            near = [
                event
                for event in self._events
                if event.observation.start <= first.observation.start + STROBE
            ]
            if first.blank and sum(e.blank for e in near) > self.settings.max_recurrences:
                for event in near:  # all of them, and the next second is counted from the last
                    if event.blank and event is not near[-1]:
                        self._events.remove(event)
                self._strobe = near[-1].observation.start
                continue
            self._events.pop(0)
            if first.blank and first.observation.start - self._strobe <= STROBE:
                self._strobe = first.observation.start
                continue
            out.append(first.observation)
        return out


def _largest(mask: npt.NDArray[np.bool_]) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    """The largest connected part of a mask of tiles: its box, and its own mask."""
    from scipy.ndimage import find_objects, label  # noqa: PLC0415  (only where something is found)

    labels, count = label(mask, structure=np.ones((3, 3), int))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    at = int(sizes.argmax())
    return find_objects(labels)[at - 1], labels == at


def _light(
    before: _Frame,
    frame: _Frame,
    after: _Frame,
    part: tuple[slice, slice],
    cluster: npt.NDArray[np.bool_],
) -> str | None:
    """What changed: "content", "blank" (one colour), "darker", or None for added light."""
    step = frame.luma - (before.luma + after.luma) / 2
    brighter = float((step[cluster] > 0).mean())
    share = float(cluster.mean())
    if 1 - ADDED < brighter < ADDED:
        return "content"
    # tile means, not detail: a coder leaves traces of the frame before on a frame of one colour
    spread, usual = float(frame.luma[cluster].std()), float(before.luma[cluster].std())
    blank = spread < UNIFORM and usual > 2 * spread
    if blank and share > 0.5:
        return "blank"
    was, now = before.luma[part].ravel(), frame.luma[part].ravel()
    edges_stay = (
        correlation(np.log1p(before.detail[part]), np.log1p(frame.detail[part])) > EDGES_STAY
        or correlation(was, now) > TONES_STAY
        or float(now[was >= np.percentile(was, 75)].mean()) > BURNT
    )
    if brighter >= ADDED:
        local = share < LOCAL  # sparks and muzzle flashes hide what is behind them
        night = float(before.luma[cluster].mean()) < NIGHT
        return None if edges_stay or local or night else "content"
    return ("darker" if share > 0.7 else None) if edges_stay else "content"
