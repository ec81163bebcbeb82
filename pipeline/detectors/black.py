"""Black: no picture at all, or none but a small logo, clock or ticker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.detectors.arrival import sampled, shown
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.events import Run, Runs, ladder
from pipeline.measurements import Float32, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind

HISTORY = 1.0  # seconds of mean luma kept, to tell a fade from a sudden loss
FADE_LEFT = 0.6  # share of the programme's light left just before black, below which it faded
EDGE = 0.25  # logos, clocks and tickers lie in the outer quarters of the height; titles do not
GRAPHIC = 6.0  # least mean detail of a logo or ticker tile; dim lamps of a night scene lie below
GAP = 0.1  # seconds: a shorter interruption is a glitch in the black, not its end


class BlackSettings(DetectorSettings):
    """Settings of the black detector."""

    min_duration: float = setting(
        0.5,
        "s",
        "shortest black; ordinary fades through black are shorter, and a few black frames are a "
        "glitch",
        "proposed; FFmpeg blackdetect alarms at 2 s; a fade of 12+4+12 frames is black for 0.24 s",
        ge=0,
    )
    max_level: float = setting(
        36.0,
        "8-bit code value",
        "highest mean level of a flat picture that is still black (16 is nominal black)",
        "FFmpeg blackdetect pixel_black_th 0.10: 16 + 0.1 * 219 = 38, less 2 for noise",
        ge=0,
    )
    min_share: float = setting(
        0.9,
        "",
        "share of tiles that are black; the rest may be a logo, clock or ticker",
        "TAG event 49, black with logo: at least 90 % of the picture",
        gt=0.5,
        le=1,
    )
    max_spread: float = setting(
        1.2,
        "8-bit code value",
        "standard deviation of the means of black tiles; more is a dark scene",
        "measured on test scenes dimmed by 0.02/0.05/0.1/0.2: 0.5/1.0/2.0/4.0; under 0.06 is black",
        ge=0,
    )
    edge_tolerance: float = setting(
        0.2,
        "s",
        "black that begins within this time of the start, or lasts to the end, is customary there",
        "proposed",
        ge=0,
    )


@dataclass
class _Context:
    """What surrounds a run of black frames."""

    start: float
    first: bool  # from the first frame on
    faded: bool
    share: float = 1.0  # least share of black tiles
    level: float = 0.0
    old_overlay: bool = True  # the remaining graphics were there before


class BlackDetector(PictureDetector):
    """Frames of which almost all tiles are dark, flat and equal.

    Equal matters more than dark: a lifted black (level 26, say) is flat, a night scene is not.
    """

    name = "black"
    kinds = (Kind.BLACK,)
    summary = "No picture: black from edge to edge, or with nothing in it but a logo or ticker"
    Settings = BlackSettings

    def __init__(self, settings: BlackSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._runs = Runs(settings.min_duration, GAP)
        self._light: deque[tuple[float, float]] = deque()  # (time, mean luma) before the run
        self._before: Float32 | None = None  # detail map of the last frame that was not black
        self._contexts: list[_Context] = []  # of the runs that are open or not yet handed over
        self._started = False
        self._last_black = -np.inf
        rows, columns = picture_format.tiles
        middle = (np.arange(rows) + 0.5) / rows
        inside = (middle > EDGE) & (middle < 1 - EDGE) & (rows >= 4)
        self._inside = np.repeat(inside[:, None], columns, axis=1)

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        frames, settings = picture.frames, self.settings
        times, durations = frames["time"], shown(frames)
        black = np.zeros(len(frames), dtype=bool)
        # a white logo on a tenth of the picture adds 22 to the mean: brighter frames need no look
        dim = frames["luma"] <= settings.max_level + 24
        for n in range(len(frames)):
            if dim[n]:
                share, level, graphics = self._measure(picture, n)
                black[n] = share >= settings.min_share
            if black[n]:
                if times[n] > self._last_black + GAP + 1e-6:
                    self._contexts.append(self._begin(float(times[n]), level))
                known = self._contexts[-1]
                known.level = level
                if share < known.share:
                    known.share = share
                    known.old_overlay = self._was_there(graphics)
                self._last_black = float(times[n] + durations[n])
            else:
                self._before = picture.detail[n]
                self._light.append((float(times[n]), float(frames["luma"][n])))
            self._started = True
        while self._light and self._light[0][0] < times[-1] - HISTORY:
            self._light.popleft()
        ended = self._runs.feed(times, durations, black)
        found = [self._observe(run, self._context(run), to_end=False) for run in ended]
        if not black[-1] and times[-1] > self._last_black + GAP:
            self._contexts.clear()
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        last_light = self._light[-1][0] if self._light else -np.inf
        to_end = self._last_black > last_light + self.settings.edge_tolerance
        return [self._observe(run, self._context(run), to_end) for run in self._runs.finish()]

    def _context(self, run: Run) -> _Context:
        """The context that was noted when the run began; earlier ones are done with."""
        while len(self._contexts) > 1 and self._contexts[0].start < run.start - 1e-6:
            self._contexts.pop(0)
        return self._contexts[0] if self._contexts else _Context(run.start, False, False)

    def _measure(self, picture: PictureStatistics, n: int) -> tuple[float, float, np.ndarray]:
        """Share of black tiles, their level, and which tiles hold graphics; 0 where not black."""
        settings = self.settings
        luma, detail = picture.luma[n], picture.detail[n]
        dark = luma <= settings.max_level + 3
        count = np.count_nonzero(dark)
        if count < settings.min_share * dark.size:
            return 0.0, 0.0, dark
        some = sampled(luma[None])[0]
        level = float(some[len(some) // 2])
        black = np.abs(luma - level) <= 3
        if level > settings.max_level or np.count_nonzero(black) < settings.min_share * black.size:
            return 0.0, 0.0, dark
        spread, texture = float(luma[black].std()), float(detail[black].mean())
        # noise is the same everywhere; structure is not
        black &= detail <= 1.5 + 1.7 * texture
        share = float(np.count_nonzero(black)) / black.size
        rest = ~black
        if spread > settings.max_spread or texture > 14 or share < settings.min_share:
            return 0.0, 0.0, rest
        if share < 1:
            graphics = rest & (np.abs(luma - level) > 1)
            inside = np.count_nonzero(graphics & self._inside)
            if inside > 0.05 * np.count_nonzero(graphics) or (
                graphics.any() and float(detail[graphics].mean()) < GRAPHIC
            ):
                return 0.0, 0.0, rest
        else:
            graphics = rest
        chroma = max(
            abs(float(picture.cb[n][black].mean()) - 128),
            abs(float(picture.cr[n][black].mean()) - 128),
        )
        if chroma > 12:  # a dark blue screen is a solid colour
            return 0.0, 0.0, rest
        return share, level, graphics

    def _begin(self, time: float, level: float) -> _Context:
        light = [value for when, value in self._light if when >= time - HISTORY]
        first = not self._started or (not light and time <= self.settings.edge_tolerance)
        faded = False
        if len(light) >= 3:
            top = max(light) - level
            faded = top > 4 and light[-2] - level < FADE_LEFT * top
        return _Context(start=time, first=first, faded=faded)

    def _was_there(self, graphics: np.ndarray) -> bool:
        if self._before is None or not graphics.any():
            return True
        return bool(np.mean(self._before[graphics] >= GRAPHIC / 2) > 0.6)

    def _observe(self, run: Run, context: _Context, to_end: bool) -> Observation:
        duration = run.end - run.start
        # files: 2 s is the common alarm; MVAD grades 4 to 16 frames as very subtle to very visible
        severity = ladder(duration, 0.2, 0.5, 1.0, 2.0)
        confidence = float(np.interp(duration, [0.16, 1.0], [0.8, 1.0]))
        words = [f"black for {duration:.2f} s at level {context.level:.0f}"]
        if context.share < 0.995:
            words.append(f"but for graphics on {100 * (1 - context.share):.0f} % of the picture")
            confidence *= 0.9 if context.old_overlay else 0.6
        if context.faded:
            words.append("after a fade")
            confidence *= 0.7
        if context.first != to_end:  # the customary leader or tail; all black is another matter
            words.append("at the beginning" if context.first else "at the end")
            severity = ladder(duration, 2.0, 5.0, 10.0, 30.0)
            confidence *= 0.7
        return Observation(
            Kind.BLACK,
            run.start,
            run.end,
            severity,
            confidence,
            ", ".join(words),
            {
                "duration_s": duration,
                "level_code_value": context.level,
                "share_of_picture": context.share,
            },
            peak=(run.start + run.end) / 2,
        )
