"""Borders: letterbox, pillarbox or windowbox bars that come or go in mid-programme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.events import ladder
from pipeline.measurements import (
    Float32,
    Look,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind, Region

# Chosen by hand; checked on test scenes with bars (x264 crf 20 to 30) and 119 real clips.
BAR_LEVEL = 10.0  # code values above black up to which a line can belong to a bar
BAR_SPREAD = 1.0  # mean absolute difference of neighbours along a line of a bar
BAR_UNIFORM = 2.0  # standard deviation of the lines of a bar; a vignette is less even
EDGE_STEP = 6.0  # code values: least step from the bar to the picture beside it
EDGE_WIDTH = 4  # lines within which it rises
MAX_BAR = 0.45  # of the height or width; larger ones are a dark scene
MAX_PROFILES = 250  # frames kept while no look is clear
INTERVAL = 0.2  # seconds between looks
LONGEST = 60.0  # seconds after which borders that have not come back are a new format

Borders = tuple[int, int, int, int]  # top, bottom, left, right, in pixels


class BordersSettings(DetectorSettings):
    """Settings of the borders detector."""

    min_change: float = setting(
        0.015,
        "",
        "least change of one border, as a share of the height or width",
        "proposed: 16 lines of 1080; in the tests x264 moves the edge by at most 3 lines",
        gt=0,
        lt=1,
    )
    min_hold: float = setting(
        1.5,
        "s",
        "how long the new borders must stay before they are believed",
        "proposed: longer than fades and wipes",
        ge=0,
    )
    min_hold_lopsided: float = setting(
        5.0,
        "s",
        "the same for borders on one side only, where subtitles and set pieces look alike",
        "subtitles stay for 1 to 7 s (Netflix timed-text guide), rarely in the same lines",
        ge=0,
    )


@dataclass
class _Candidate:
    borders: Borders
    start: float
    looks: int = 1


@dataclass
class _Change:
    before: Borders
    to: _Candidate
    even: bool  # the same on opposite sides


class BordersDetector(PictureDetector):
    """Measures the bars in five looks a second and reports a change that stays.

    Borders that come back to what they were within a minute are one defect, from the first frame
    that differs to the first that does not; else the change itself is reported, at its time. A look
    counts only where every bar ends in a clear edge, which dark scenes, fades and credits do
    not give. The time is that of the frame with the largest change between two looks.
    """

    name = "borders"
    kinds = (Kind.LETTERBOX_CHANGE,)
    summary = "Letterbox or pillarbox bars come or go in mid-programme"
    Settings = BordersSettings

    def __init__(self, settings: BordersSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._current: Borders | None = None
        self._held = 0.0  # seconds for which the current borders were seen
        self._candidate: _Candidate | None = None
        self._changed: _Change | None = None  # believed, and not yet reported
        # since the last clear look: time, change down each row [H], detail of columns of tiles
        self._profiles: list[tuple[float, Float32, Float32]] = []
        self._scale = 219 / 255 if picture_format.full_range else 1.0
        self._black = 0.0 if picture_format.full_range else 16.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        found: list[Observation] = []
        times = picture.frames["time"].tolist()
        columns = picture.detail.mean(axis=1)
        profiles = list(zip(times, picture.rows, columns, strict=True))
        done = 0
        for look in picture.looks:
            stop = min(look.frame + 1, len(times))
            self._profiles += profiles[done:stop]
            done = stop
            borders = self._measure(look)
            if borders is not None:
                found += self._take(borders, look.time)
                del self._profiles[:-1]
        self._profiles += profiles[done:]
        del self._profiles[1:-MAX_PROFILES]  # a long dark scene
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        change, candidate = self._changed, self._candidate
        if change is None:
            return []
        back = candidate is not None and self._same(candidate.borders, change.before)
        return [self._observe(change, candidate.start if back and candidate else None)]

    def _measure(self, look: Look) -> Borders | None:
        """Borders in pixels; None where the picture does not tell."""
        row = (look.row_mean - self._black) * self._scale
        column = (look.column_mean - self._black) * self._scale
        flat_rows = (row <= BAR_LEVEL) & (look.row_spread * self._scale <= BAR_SPREAD)
        flat_columns = (column <= BAR_LEVEL) & (look.column_spread * self._scale <= BAR_SPREAD)
        sides = []
        for level, flat in (
            (row, flat_rows),
            (row[::-1], flat_rows[::-1]),
            (column, flat_columns),
            (column[::-1], flat_columns[::-1]),
        ):
            size = _bar(level, flat)
            if size is None:
                return None
            sides.append(size)
        top, bottom, left, right = sides
        return top, bottom, left, right

    def _take(self, borders: Borders, time: float) -> list[Observation]:
        """Take a clear measurement; returns a change once it has stayed or gone back."""
        found: list[Observation] = []
        if self._changed is not None and time - self._changed.to.start > LONGEST:
            found.append(self._observe(self._changed, None))
            self._changed = None
        if self._current is None or self._same(borders, self._current):
            self._current = self._current or borders
            self._candidate = None
            return found
        known = self._candidate
        if known is None or not self._same(borders, known.borders):
            self._candidate = _Candidate(borders, self._when(borders, time))
            return found
        known.looks += 1
        top, bottom, left, right = known.borders
        limit_y, limit_x = self._limits()
        even = abs(top - bottom) <= limit_y and abs(left - right) <= limit_x
        hold = self.settings.min_hold if even else self.settings.min_hold_lopsided
        if time - known.start < hold or known.looks < 3:
            return found
        before, self._current, self._candidate = self._current, known.borders, None
        pending, self._changed = self._changed, None
        if pending is not None and self._same(known.borders, pending.before):
            return [*found, self._observe(pending, known.start)]
        if pending is not None:
            found.append(self._observe(pending, None))
        self._changed = _Change(before, known, even)
        return found

    def _when(self, borders: Borders, time: float) -> float:
        """Time of the first frame whose lines look like those of the new borders."""
        before = self._current or borders
        limit_y, limit_x = self._limits()
        height, width = self.format.height, self.format.width
        values: list[float] = []
        for side in (0, 1):
            old, new = before[side], borders[side]
            if not values and abs(old - new) > limit_y:
                first, stop = sorted((old, new))
                if side == 1:
                    first, stop = height - stop, height - first
                lines = slice(first + 1, stop - 1)
                values = [float(rows[lines].mean()) for _, rows, _ in self._profiles]
        for side in (2, 3):
            old, new = before[side], borders[side]
            if not values and abs(old - new) > limit_x:
                first, stop = sorted((old, new))
                if side == 3:
                    first, stop = width - stop, width - first
                tiles = slice(first // 16, max(first // 16 + 1, stop // 16))
                values = [float(detail[tiles].mean()) for _, _, detail in self._profiles]
        for (when, _, _), value in zip(self._profiles, values, strict=False):
            if abs(value - values[-1]) < abs(value - values[0]):
                return when
        return time

    def _limits(self) -> tuple[float, float]:
        least = self.settings.min_change
        return max(4.0, least * self.format.height), max(4.0, least * self.format.width)

    def _same(self, a: Borders, b: Borders) -> bool:
        limit_y, limit_x = self._limits()
        return all(
            abs(one - other) <= limit
            for one, other, limit in zip(a, b, (limit_y, limit_y, limit_x, limit_x), strict=True)
        )

    def _observe(self, change: _Change, back: float | None) -> Observation:
        """Report a change; `back`: when the borders were again what they had been."""
        before, known = change.before, change.to
        top, bottom, left, right = known.borders
        height, width = self.format.height, self.format.width
        size = max(
            max(abs(top - before[0]), abs(bottom - before[1])) / height,
            max(abs(left - before[2]), abs(right - before[3])) / width,
        )
        evidence = {}
        for name, old, new in zip(
            ("top", "bottom", "left", "right"), before, known.borders, strict=True
        ):
            evidence[f"{name}_before_px"] = float(old)
            evidence[f"{name}_after_px"] = float(new)
        return Observation(
            Kind.LETTERBOX_CHANGE,
            known.start,
            known.start + INTERVAL if back is None else back,
            ladder(size, 0.02, 0.05, 0.1, 0.2),
            float(np.interp(size, [0.015, 0.05], [0.6, 0.95])) * (1.0 if change.even else 0.6),
            f"borders (top, bottom, left, right) change from {_words(before)} to "
            f"{_words(known.borders)} pixels"
            + ("" if back is None else f" for {back - known.start:.2f} s"),
            evidence,
            peak=known.start + INTERVAL / 2,
            region=Region(
                left=left / width,
                top=top / height,
                right=1 - right / width,
                bottom=1 - bottom / height,
            ),
        )


def _bar(level: Float32, flat: np.ndarray) -> int | None:
    """Length of the bar at the beginning of a profile; None where its end is not clear."""
    if flat.all():
        return None
    size = int(np.argmin(flat))
    if size > MAX_BAR * len(flat):
        return None
    inside = level[size : size + EDGE_WIDTH]
    if not size:
        return 0 if float(inside.max()) >= BAR_LEVEL else None
    bar = level[:size]
    beside = float(bar[-EDGE_WIDTH:].mean())
    clear = float(inside.max()) >= beside + EDGE_STEP and float(bar.std()) <= BAR_UNIFORM
    return size if clear else None


def _words(borders: Borders) -> str:
    return "/".join(str(side) for side in borders)
