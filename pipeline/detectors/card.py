"""Substitute pictures: one plain colour, colour bars, or a slate in place of the programme."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.arrival import STRAIGHT, sampled, shown
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.events import Run, Runs, ladder
from pipeline.measurements import (
    Float32,
    Float64,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind

GAP = 0.1  # seconds: a shorter interruption is a glitch in the card, not its end
PLAIN_SHARE = 0.97  # of the tiles have the colour; the rest may be a small logo
PLAIN_DETAIL = 3.0  # mean |dx| + |dy| of a plain tile, noise included
PLAIN_SPREAD = 1.2  # code values; clear sky spreads by 3 and more from horizon to zenith
BLACK_LEVEL = 36.0  # below it a grey is black, which has its own detector
GREY = 12.0  # chroma within which a colour is a grey
FADE_STEP = 0.6  # share of the difference to the card that the last frame before it still has
# The same at a cut: so many times as far from the card as the last frame is the one before that
# where it comes by a fade, and the last one lies on the way. One that moves is about as far.
FADES = 1.4
# Seconds that an encoder takes to settle on a still picture after a cut to it.
SETTLING = 0.2
SLATE_SHARE = 0.6  # of the tiles of a slate are its plain background
SLATE_MOTION = 0.3  # mean frame difference of a slate, code values
# A tile of a slate that moves: a speaker beside a slide is 6 % of the tiles (7 clips), key
# frames refresh letters in single frames.
SLATE_TILE_MOTION = 1.0  # code values
SLATE_MOVING = 0.01  # share of the tiles
# A speaker who hardly moves is told over seconds: tiles leave the picture that there was as soon as
# the encoder had settled. Of 36 slates at most 0.4 % of the tiles, beside slow inserts 5 % and more
SLATE_DRIFT, SLATE_SETTLES = 1.5, 0.5  # code values, seconds
CUT = 12.0  # least mean change at a cut to or from a slate: of luma and half that of Cb and of Cr

# Cb, Cr minus 128 of the 75 % bars in 8-bit limited range (BT.801, SMPTE EG 1), left to right:
# yellow, cyan, green, magenta, red, blue; after white or grey. BT.601, then BT.709.
BARS = np.array(
    [
        [[-84, 14], [28, -84], [-56, -70], [56, 70], [-28, 84], [84, -14]],
        [[-84, 8], [19, -84], [-65, -76], [65, 76], [-19, 84], [84, -8]],
    ],
    dtype=np.float64,
)
# (left, right, bars): where white, the six colours and perhaps black lie across the picture
LAYOUTS = ((0.0, 1.0, 7), (0.0, 1.0, 8), (0.125, 0.875, 7), (0.125, 0.875, 8))
BAR_ANGLE = 0.94  # least cosine between the chroma of a bar and its nominal
BAR_SIZE = (0.6, 1.6)  # its magnitude relative to nominal: 75 and 100 % bars, and a little loss
BAR_ROWS = 0.55  # bars reach down to here at least (SMPTE: 2/3); idents may cover some of them
BAR_COVER = 0.6  # share of those rows of tiles in which all six colours are right


class CardSettings(DetectorSettings):
    """Settings of the card detector."""

    min_solid_duration: float = setting(
        0.5,
        "s",
        "shortest plain colour; fades through white are shorter",
        "proposed, as for black; a test fade of 12+4+12 frames is plain white for 0.24 s",
        ge=0,
    )
    min_bars_duration: float = setting(
        0.12,
        "s",
        "shortest colour bars; fewer frames are a glitch",
        "Telestream reports them from one frame on; three frames at 25 fps belong to `glitch`",
        ge=0,
    )
    min_slate_duration: float = setting(
        3.0,
        "s",
        "shortest slate; title cards that belong to a programme are shorter or fade",
        "proposed; broadcast title cards stay 2 to 3 s",
        ge=0,
    )


@dataclass
class _Cut:
    """A frame that differs from the one before as after a cut."""

    time: float
    faded: bool  # the frame before it was on the way to it


@dataclass
class _Entry:
    """How a run began."""

    start: float
    first: bool
    cut: _Cut | None
    faded: bool


class _Track:
    """One kind's runs, each with how it began."""

    def __init__(self, min_duration: float) -> None:
        self._runs = Runs(min_duration, GAP)
        self._entries: list[_Entry] = []
        self.until = -np.inf

    def feed(
        self, times: Float64, durations: Float64, holds: np.ndarray, entries: list[_Entry]
    ) -> list[tuple[Run, _Entry]]:
        for entry in entries:
            if entry.start > self.until + GAP + 1e-6:
                self._entries.append(entry)
        if holds.any():
            last = int(np.flatnonzero(holds)[-1])
            self.until = float(times[last] + durations[last])
        return self._match(self._runs.feed(times, durations, holds))

    def finish(self) -> list[tuple[Run, _Entry]]:
        return self._match(self._runs.finish())

    def _match(self, runs: list[Run]) -> list[tuple[Run, _Entry]]:
        matched = []
        for run in runs:
            while len(self._entries) > 1 and self._entries[1].start <= run.start + 1e-6:
                self._entries.pop(0)
            unknown = _Entry(run.start, first=False, cut=None, faded=False)
            matched.append((run, self._entries[0] if self._entries else unknown))
        return matched


class CardDetector(PictureDetector):
    """Looks at the means of tiles: all alike, or the six colours of bars in their order.

    A slate is more careful: hard in, hard out, three seconds without any motion, and most of the
    picture one plain colour.
    """

    name = "card"
    version = "3"
    kinds = (Kind.SOLID_COLOR, Kind.COLOR_BARS, Kind.SLATE)
    summary = "A plain colour, colour bars or a slate in place of the programme"
    Settings = CardSettings

    def __init__(self, settings: CardSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._tracks = {
            Kind.SOLID_COLOR: _Track(settings.min_solid_duration),
            Kind.COLOR_BARS: _Track(settings.min_bars_duration),
            Kind.SLATE: _Track(settings.min_slate_duration),
        }
        self._first = True
        self._recent: deque[float] = deque(maxlen=12)  # mean luma of the last frames
        # luma, Cb and Cr of the last two frames
        self._last: deque[tuple[Float32, Float32, Float32]] = deque(maxlen=2)
        # the last cuts: a run is known to have ended only GAP after its end, perhaps in the next
        # segment
        self._cuts: deque[_Cut] = deque(maxlen=64)
        self._slate_since: float | None = None
        self._slate_seen = -np.inf  # the last frame that was like a slate
        self._slate_first: Float32 | None = None  # luma of a slate that has settled
        self._color = (0.0, 128.0, 128.0)
        self._now = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        times, durations = picture.frames["time"], shown(picture.frames)
        self._cuts.extend(self._cuts_in(picture))
        solid = self._solid(picture)
        bars = self._bars(picture)
        slate = self._slate(picture) & ~solid & ~bars
        found: list[Observation] = []
        for kind, holds in (
            (Kind.SOLID_COLOR, solid),
            (Kind.COLOR_BARS, bars),
            (Kind.SLATE, slate),
        ):
            entries = [self._entry(picture, n) for n in _beginnings(holds)]
            track = self._tracks[kind]
            for run, entry in track.feed(times, durations, holds, entries):
                # its last frames may be those of a key frame that draws the letters anew
                cut = self._cut_at(run.end + GAP, GAP)
                found += self._observe(kind, run, entry, leaves=cut, to_end=False)
        self._first = False
        self._recent.extend(float(value) for value in picture.frames["luma"])
        self._last.extend(zip(picture.luma[-2:], picture.cb[-2:], picture.cr[-2:], strict=True))
        self._now = float(times[-1] + durations[-1])
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        for kind, track in self._tracks.items():
            for run, entry in track.finish():
                to_end = track.until > self._now - GAP
                leaves = _Cut(run.end, faded=False)
                found += self._observe(kind, run, entry, leaves=leaves, to_end=to_end)
        return found

    def _solid(self, picture: PictureStatistics) -> np.ndarray:
        """Which frames are one plain colour, not black; bool [T]."""
        holds: np.ndarray = picture.frames["detail"] <= PLAIN_DETAIL + 0.5
        if not holds.any():
            return holds
        some = sampled(picture.luma)
        levels = some[:, some.shape[1] // 2]
        holds &= (np.abs(some - levels[:, None]) <= 4).mean(axis=1) >= 0.95 * PLAIN_SHARE
        tint = np.maximum(np.abs(picture.frames["cb"] - 128), np.abs(picture.frames["cr"] - 128))
        holds &= (levels > BLACK_LEVEL) | (tint > 0.9 * GREY)
        for n in np.flatnonzero(holds):
            luma, cb, cr = picture.luma[n], picture.cb[n], picture.cr[n]
            level, blue, red = float(levels[n]), float(cb.mean()), float(cr.mean())
            color = max(abs(blue - 128), abs(red - 128))
            alike = (
                (np.abs(luma - level) <= 4)
                & (np.abs(cb - blue) <= 4)
                & (np.abs(cr - red) <= 4)
                & (picture.detail[n] <= PLAIN_DETAIL)
            )
            holds[n] = (
                (level > BLACK_LEVEL or color > GREY)
                and np.count_nonzero(alike) >= PLAIN_SHARE * alike.size
                and all(float(one[alike].std()) <= PLAIN_SPREAD for one in (luma, cb, cr))
            )
            if holds[n]:
                self._color = (level, blue, red)
        return holds

    def _bars(self, picture: PictureStatistics) -> np.ndarray:
        """Which frames are colour bars; bool [T]."""
        rows, columns = self.format.tiles
        holds = np.zeros(len(picture.frames), dtype=bool)
        if columns < 10 or not self.format.chroma:
            return holds
        deep = max(1, round(rows * BAR_ROWS))
        for left, right, bars in LAYOUTS:
            places = (left + (np.arange(1, 7) + 0.5) / bars * (right - left)) * self.format.width
            at = np.minimum((places / self.format.TILE).astype(int), columns - 1)
            cb = picture.cb[:, :deep, at] - 128.0
            cr = picture.cr[:, :deep, at] - 128.0
            size = np.sqrt(cb * cb + cr * cr)
            for nominal in BARS:
                length = np.sqrt((nominal**2).sum(axis=1))
                along = (cb * nominal[:, 0] + cr * nominal[:, 1]) / length
                right_color = (
                    (along >= BAR_ANGLE * size)
                    & (size >= BAR_SIZE[0] * length)
                    & (size <= BAR_SIZE[1] * length)
                )
                holds |= right_color.all(axis=2).mean(axis=1) >= BAR_COVER
        return holds

    def _slate(self, picture: PictureStatistics) -> np.ndarray:
        """Which frames may belong to a slate: still, and mostly one plain colour; bool [T]."""
        frames = picture.frames
        holds: np.ndarray = frames["motion"] <= SLATE_MOTION
        # the first frame of a slate differs from the programme before it
        holds[:-1] |= holds[1:]
        holds &= frames["detail"] <= 30
        if not holds.any():
            self._slate_since = None
            return holds
        for n, time in enumerate(map(float, frames["time"])):
            # a cut, perhaps from one slate to another; not where a key frame draws letters anew
            if frames["motion"][n] > SLATE_MOTION or time > self._slate_seen + GAP:
                self._slate_since = None
            holds[n] = holds[n] and self._like_a_slate(picture, n)
            if holds[n]:
                self._slate_seen = time
                holds[n] = self._stays(time, picture.luma[n])
        return holds

    def _like_a_slate(self, picture: PictureStatistics, n: int) -> bool:
        frames = picture.frames
        plain = picture.detail[n] <= PLAIN_DETAIL
        if np.count_nonzero(plain) < SLATE_SHARE * plain.size:
            return False
        # the first frame of a slate moves against the programme before it
        still = picture.motion[n if frames["motion"][n] <= SLATE_MOTION else n + 1]
        moving = np.count_nonzero(still > SLATE_TILE_MOTION)
        alike = plain & (np.abs(picture.luma[n] - _ground(picture.luma[n], plain)) <= 2)
        text = picture.detail[n] > 10
        return bool(
            np.count_nonzero(alike) >= SLATE_SHARE * alike.size
            and moving <= SLATE_MOVING * still.size
            and np.count_nonzero(text) >= 0.01 * text.size
        )

    def _stays(self, time: float, luma: Float32) -> bool:
        """Whether a frame of a slate still shows what it showed at first."""
        if self._slate_since is None:
            self._slate_since = time
        if self._slate_first is None or time <= self._slate_since + SLATE_SETTLES:
            self._slate_first = luma
            return True
        moved = np.count_nonzero(np.abs(luma - self._slate_first) > SLATE_DRIFT)
        return bool(moved <= SLATE_MOVING * luma.size)

    def _entry(self, picture: PictureStatistics, n: int) -> _Entry:
        frames = picture.frames
        start = float(frames["time"][n])
        cut = self._cut_at(start, SETTLING)
        if cut is not None:
            return _Entry(start, self._first and n == 0, cut, cut.faded)
        before = [*self._recent, *(float(value) for value in frames["luma"][:n])][-12:]
        faded = False
        if len(before) >= 4:
            level = float(frames["luma"][n])
            most = max(abs(value - level) for value in before)
            faded = most > 8 and abs(before[-1] - level) < FADE_STEP * most
        return _Entry(start, self._first and n == 0, None, faded)

    def _cuts_in(self, picture: PictureStatistics) -> list[_Cut]:
        """The cuts in a segment."""
        earlier, found = len(self._last), []
        maps = [*self._last, *zip(picture.luma, picture.cb, picture.cr, strict=True)]
        for n in map(int, np.flatnonzero(picture.frames["motion"] >= CUT / 3)):
            at = earlier + n
            if at == 0:
                continue
            luma, cb, cr = (_apart(a, b) for a, b in zip(maps[at], maps[at - 1], strict=True))
            if luma + (cb + cr) / 2 >= CUT:
                faded = at > 1 and _fades(maps[at - 2][0], maps[at - 1][0], maps[at][0])
                found.append(_Cut(float(picture.frames["time"][n]), faded))
        return found

    def _cut_at(self, time: float, before: float = 0.0) -> _Cut | None:
        """The cut to the frame at `time`, or the last one in the seconds before it."""
        near = 0.4 / self.format.frame_rate
        cuts = [cut for cut in self._cuts if -near - before <= cut.time - time <= near]
        return cuts[-1] if cuts else None

    def _observe(
        self, kind: Kind, run: Run, entry: _Entry, *, leaves: _Cut | None, to_end: bool
    ) -> list[Observation]:
        start, end = run.start, run.end
        duration = end - start
        level, blue, red = self._color
        evidence = {"duration_s": duration}
        if kind is Kind.SOLID_COLOR:
            evidence |= {"luma_code_value": level, "cb_code_value": blue, "cr_code_value": red}
            what = f"one plain colour (Y {level:.0f}, Cb {blue:.0f}, Cr {red:.0f})"
            confidence = float(np.interp(duration, [0.2, 1.0], [0.7, 0.97]))
            confidence *= 0.6 if entry.faded else 1.0
        elif kind is Kind.COLOR_BARS:
            what = "colour bars"
            confidence = 0.97
        else:
            if entry.first or entry.faded or entry.cut is None or leaves is None:
                return []
            start, end = entry.cut.time, leaves.time
            duration = end - start
            evidence = {"duration_s": duration}
            what = "a still card, hard in and out, mostly one plain colour"
            confidence = float(np.interp(duration, [3.0, 10.0], [0.4, 0.7]))
        severity = ladder(duration, 0.1, 0.3, 1.0, 2.0)
        where = ""
        if entry.first and not to_end:  # a leader: customary in masters
            severity, where = min(severity, 0.3), " at the beginning"
        return [
            Observation(
                kind,
                start,
                end,
                severity,
                confidence,
                f"{what} for {duration:.2f} s{where}",
                evidence,
                peak=(start + end) / 2,
            )
        ]


def _fades(first: Float32, second: Float32, third: Float32) -> bool:
    """Whether the second of three maps lies on the way from the first to the third."""
    whole, rest = _apart(first, third), _apart(second, third)
    return whole > FADES * rest and whole > STRAIGHT * (_apart(first, second) + rest)


def _apart(one: Float32, other: Float32) -> float:
    """Mean difference of two maps of tiles."""
    return float(np.abs(one - other).mean())


def _ground(luma: Float32, plain: np.ndarray) -> Float32:
    """The background of a slate [th, 1]: the median of each row of tiles, smooth from row to row.

    One level, or a shade from top to bottom: a straight line through the rows.
    """
    rows = np.flatnonzero(plain.mean(axis=1) > 0.3)
    levels = np.array([np.median(luma[row, plain[row]]) for row in rows])
    if len(rows) < 3:
        return np.full((len(luma), 1), np.median(luma[plain]), np.float32)
    slope, level = np.polyfit(rows, levels, 1)
    line: Float32 = (level + slope * np.arange(len(luma))[:, None]).astype(np.float32)
    return line


def _beginnings(holds: np.ndarray) -> np.ndarray:
    """Indices at which `holds` becomes true, the first included."""
    return np.flatnonzero(np.diff(holds.astype(np.int8), prepend=0) > 0)
