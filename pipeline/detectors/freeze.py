"""Freeze: the picture stops while the programme goes on, wholly or under a ticker or clock."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.detectors.arrival import fades, sampled, shown
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.events import ladder
from pipeline.measurements import Float32, Observation, PictureFormat, PictureStatistics, Segment
from pipeline.types import Kind, Region

# Chosen by hand while looking at 10 real clips with a freeze of 1 s, encoded by x264 at crf 18 to
# 30, with grain of sigma 0 to 10 added after the freeze; not swept.
HISTORY = 0.9  # seconds before a stillness that tell whether there was motion, a cut or a fade
HISTORY_FRAMES = 64  # bounds memory at high rates
EDGE = 0.22  # tickers lie in the outer parts of the height
CORNER = 0.36  # speakers and clocks in the outer parts of height and width: up to 0.3 at 0.05
ANCHOR_FRAMES = 8  # the still picture is the mean of its first frames: less noise
POP_APART = 4  # frames: a refresh of the still picture by a key frame is not followed by motion
POP_TILE = 14.0  # code values: a tile that steps by more has new content
POP_MEAN = 2.2  # code values: mean step of tiles at a key frame
SETTLING = 0.4  # seconds that an encoder may take to settle on a still picture
FADE_SPANS = (0.4, HISTORY)  # seconds before a stillness in which it may have come by a fade
# In a short freeze so many more tiles may leave the picture: an encoder settles for a part of it.
SETTLES = 2.0
SETTLING_TILE = 9.0  # code values: largest step of a tile while it does
SAME_SHOT = 0.9  # correlation of the tiles of two frames, below which there is a cut between them
SETTLING_STEP = 0.3  # mean step of its first frame, relative to the motion before
# Mean step of tiles, given the mean frame difference: in repeats 0, or 0.09 to 0.15 of it under
# grain; 0.3 to 0.6 of it where people rest (GRID and other talking heads).
QUIET_STEP = 0.03
QUIET_RATIO = 0.25
# A picture that stops changes less than before: mean step of its frames, relative to the median of
# the 0.9 s before, or of what came since another rest of RESTED seconds in it. Slow pans stay
# within the tolerance for a second, and step as they did.
STOPS, RESTED = 0.6, 0.3
# Where so large a share of the frames before was still already, a rest of less than that many
# seconds is of the programme: drawings on twos and threes, a face between two words.
OFTEN, REST = 0.25, 2.0
# A face rests for half a second, and a coarse encode stills it wholly: a freeze so short must come
# out of motion in this share of the picture, a longer one (seconds) out of less, down to
# `motion_share`. Of 24 freezes of the development split the least has 0.31, of three rests the most
# 0.18.
SHORT, SHORT_MOVES = (0.5, 1.5), 0.25
# A camera that creeps over a photograph leaves the tolerance as slowly as it moved within it: a
# stillness of less than REST must end by so many times its own mean step. Of 34 freezes of the
# development split the least has 31, a slow move 1. Grain explains steps of 0.09 to 0.15 of the
# mean frame difference. A creep that a cut or the end of the asset ends cannot be told from a
# freeze.
LEAVES, GRAIN = 1.5, 0.15
QUIET_SHARE = 0.5  # of the repeats; the others are refreshes and settling


class FreezeSettings(DetectorSettings):
    """Settings of the freeze detector."""

    min_duration: float = setting(
        0.5,
        "s",
        "shortest freeze of the whole picture",
        "a single freeze of 0.36 s is acceptable (van Kester 2011); file alarms are at 2 s",
        ge=0,
    )
    min_partial_duration: float = setting(
        2.0,
        "s",
        "shortest freeze under a moving ticker, clock or logo",
        "the file alarm of FFmpeg freezedetect, 2 s",
        ge=0,
    )
    min_still_duration: float = setting(
        30.0,
        "s",
        "shortest still that came by a cut or a fade and is reported, with low confidence; "
        "shorter ones are cards and photographs",
        "AWS MediaConnect frozen-frame alarm: 10 to 60 s",
        ge=0,
    )
    tolerance: float = setting(
        1.0,
        "8-bit code value",
        "change of the mean of a 16x16 tile that a repeated picture may show",
        "calibrated on 10 frozen real clips, x264 crf 18: 99 % of tiles stay within 1.1",
        gt=0,
    )
    noise_tolerance: float = setting(
        0.35,
        "",
        "the same, per code value of mean frame difference (grain)",
        "white noise moves a tile mean by 0.08 of it (one sigma): 4 sigma and a margin",
        ge=0,
    )
    moving_share: float = setting(
        0.006,
        "",
        "share of tiles that may leave the tolerance in a repeated picture",
        "proposed; enough on the same clips",
        ge=0,
        lt=1,
    )
    max_overlay: float = setting(
        0.3,
        "",
        "largest share of the picture that a ticker or clock moves in",
        "proposed in the field report: at least 70 % of the tiles frozen",
        ge=0,
        lt=1,
    )
    motion_share: float = setting(
        0.015,
        "",
        "share of tiles that moved in the 0.9 s before a freeze; less is a scene that rests",
        "proposed; checked on the same clips and on talking heads (GRID)",
        ge=0,
        le=1,
    )


@dataclass
class _Doubt:
    """Where a stillness seemed to end; the refresh of a still by a key frame begins alike."""

    time: float
    frames: int = 1


@dataclass
class _Still:
    """A stretch in which the picture does not leave its anchor."""

    second: float  # time of the first repeat
    anchor: Float32  # what the picture is compared with
    anchor_frames: int = 1
    origin: Float32 | None = None  # the first anchor
    frames: int = 1  # frames that show the picture
    noise: float = 0.0  # mean frame difference inside
    step: float = 0.0  # mean step of tiles inside
    quiet: int = 0  # frames in which nothing moved that noise does not explain
    moved: Float32 | None = None  # [th, tw] in how many frames each tile was away
    moved_frames: int = 0
    past: list[Float32] = field(default_factory=list)  # tile maps up to the repeated frame
    past_times: list[float] = field(default_factory=list)
    repeats: float = 0.0  # share of earlier frames that were repeats too: drawn animation
    doubt: _Doubt | None = None


@dataclass
class _Before:
    """What came before a stillness."""

    stop: float  # time of the first repeat
    step: float = 0.0  # median step of tiles from frame to frame
    moving: float = 0.0  # share of tiles that were away from the still picture
    abrupt: float = 0.0  # how far the last frames were away, relative to all; 0.4: steady motion
    cut: bool = False
    fade: bool = False
    none: bool = False  # too little came before: the asset begins with the still


class FreezeDetector(PictureDetector):
    """Compares each picture with the one that a stillness began with.

    The means of tiles hardly feel grain (their noise is a sixteenth of that of samples), but feel
    motion at once. A still counts as a freeze when there was motion before and it stopped from one
    frame to the next, without a cut or a fade: that is how cards, photographs and pauses differ.
    """

    name = "freeze"
    version = "5"
    kinds = (Kind.FREEZE, Kind.PARTIAL_FREEZE)
    summary = "The picture stands still where there was motion, with or without a moving ticker"
    Settings = FreezeSettings

    def __init__(self, settings: FreezeSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._centre = _centre(*picture_format.tiles)
        self._past: deque[Float32] = deque(maxlen=HISTORY_FRAMES)
        self._past_times: deque[float] = deque(maxlen=HISTORY_FRAMES)
        self._still: _Still | None = None
        self._last: Float32 | None = None
        self._last_motion = 0.0
        self._end = 0.0
        self._repeats = 0.0  # running share of frames in short stillnesses, over about 60 frames
        self._scratch = np.empty(picture_format.tiles, np.float32)
        self._away = np.empty(picture_format.tiles, bool)

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        luma = picture.luma
        changes = np.empty_like(luma)
        np.subtract(luma[0], luma[0] if self._last is None else self._last, out=changes[0])
        np.subtract(luma[1:], luma[:-1], out=changes[1:])
        np.abs(changes, out=changes)
        # tickers, clocks and speakers must not count: where they lie is judged apart
        steps = changes.reshape(len(luma), -1)[:, self._centre].mean(axis=1)
        times, durations = picture.frames["time"], shown(picture.frames)
        motion = picture.motion.reshape(len(luma), -1)[:, self._centre].mean(axis=1)
        found = []
        for n, time in enumerate(times):
            # a key frame differs, and the next frame does not: grain differs every time
            noise = float(min(motion[n], self._last_motion))
            seen = self._frame(
                float(time), luma[n], float(motion[n]), noise, float(steps[n]), changes[n]
            )
            if seen is not None:
                found.append(seen)
            self._past.append(luma[n])
            self._past_times.append(float(time))
            while self._past_times[0] < time - HISTORY:
                self._past.popleft()
                self._past_times.popleft()
            self._last_motion = float(motion[n])
            self._end = float(time + durations[n])
        self._last = luma[-1]
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        still = self._still
        if still is None:
            return []
        seen = self._close(still, self._end if still.doubt is None else still.doubt.time)
        return [] if seen is None else [seen]

    def _frame(
        self,
        time: float,
        luma: Float32,
        motion: float,
        noise: float,
        step: float,
        changes: Float32,
    ) -> Observation | None:
        settings, still = self.settings, self._still
        if still is None:
            self._still = _Still(time, luma)
            return None
        tolerance = settings.tolerance + settings.noise_tolerance * noise
        np.subtract(luma, still.anchor, out=self._scratch)
        np.abs(self._scratch, out=self._scratch)
        np.greater(self._scratch, np.float32(tolerance), out=self._away)
        centre = self._away.ravel()[self._centre]
        if np.count_nonzero(centre) <= settings.moving_share * centre.size:
            still.quiet += step <= QUIET_STEP + QUIET_RATIO * motion
            self._stay(still, time, luma, noise, step)
        elif still.doubt is None and self._may_be_pop(still, luma, step, changes):
            still.doubt = _Doubt(time)
            still.anchor, still.anchor_frames = luma, 1
            still.frames += 1
        else:
            sudden = still.doubt is not None and still.doubt.frames == 1
            end = still.doubt.time if sudden and still.doubt else time
            creeps = (
                not sudden
                and time - still.second < REST
                and step < LEAVES * still.step
                and still.step > GRAIN * still.noise
            )
            seen = None if creeps else self._close(still, end)
            self._repeats += (min(still.frames - 1, 12) - self._repeats * still.frames) / 60
            self._still = _Still(time, luma)
            return seen
        return None

    def _stay(self, still: _Still, time: float, luma: Float32, noise: float, step: float) -> None:
        """Take a frame that shows the still picture."""
        if still.frames == 1:
            still.second = time
            still.past, still.past_times = list(self._past), list(self._past_times)
            still.repeats = self._repeats
            still.origin = still.anchor
        still.frames += 1
        if still.anchor_frames < ANCHOR_FRAMES:
            still.anchor_frames += 1
            still.anchor = still.anchor + (luma - still.anchor) / np.float32(still.anchor_frames)
        if still.doubt is not None:
            still.doubt.frames += 1
            if still.doubt.frames > POP_APART:
                still.doubt = None
        still.noise += (noise - still.noise) / still.frames
        still.step += (step - still.step) / still.frames
        if still.frames > 3:
            if still.moved is None:
                still.moved = np.zeros_like(luma)
            still.moved += self._away
            still.moved_frames += 1

    def _may_be_pop(self, still: _Still, luma: Float32, step: float, changes: Float32) -> bool:
        """Whether a frame that left the anchor may be a refresh of the same picture."""
        if still.frames <= POP_APART or step > POP_MEAN or still.origin is None:
            return False
        if float(changes.ravel()[self._centre].max()) > POP_TILE:
            return False
        drift = np.abs(luma - still.origin).ravel()[self._centre]
        return bool(np.count_nonzero(drift > POP_TILE / 2) <= 0.01 * drift.size)

    def _close(self, still: _Still, end: float) -> Observation | None:
        """The observation of a stillness that ended at `end`, if it is a defect."""
        settings = self.settings
        if still.frames < 4 or end - still.second < settings.min_duration - SETTLING - 1e-6:
            return None
        if still.quiet < QUIET_SHARE * (still.frames - 1):
            return None
        # a card; but a clear sky was there before it stood still
        if _plain(still.anchor) and not (still.past and _plain(still.past[0])):
            return None
        tolerance = settings.tolerance + settings.noise_tolerance * still.noise
        before = _look_back(still, tolerance, self._centre)
        duration = end - before.stop
        if duration < settings.min_duration - 1e-6:
            return None
        away: Float32 | None = None
        share = 0.0
        if still.moved is not None:
            away = still.moved / np.float32(still.moved_frames)
            share = float(np.mean(away > 0.1))
        if share > settings.max_overlay:
            return None
        short = duration < settings.min_partial_duration - 1e-6
        if share <= settings.moving_share * (SETTLES if short else 1):
            away = None
        elif short:
            return None
        confidence = self._confidence(still, before, duration, partial=away is not None)
        if confidence is None:
            return None
        how = "no picture change" if still.noise < 0.5 else "no change but noise"
        rest = "" if away is None else f" but in {100 * share:.0f} % of the picture"
        return Observation(
            Kind.FREEZE if away is None else Kind.PARTIAL_FREEZE,
            before.stop,
            end,
            ladder(duration, 0.36, 1.0, 2.0, 10.0),
            confidence,
            f"{how} for {duration:.2f} s{rest}",
            {
                "duration_s": duration,
                "share_moving_before": before.moving,
                "share_moving": share,
                "frame_difference_code_value": still.noise,
            },
            peak=(before.stop + end) / 2,
            region=None if away is None else _region(away),
        )

    def _confidence(
        self, still: _Still, before: _Before, duration: float, *, partial: bool
    ) -> float | None:
        settings = self.settings
        if before.cut or before.fade or before.none:  # a card, a photograph
            return None if partial or duration < settings.min_still_duration else 0.3
        least = float(np.interp(duration, SHORT, [SHORT_MOVES, settings.motion_share]))
        if before.moving < least or still.step > STOPS * before.step:
            return None
        if still.repeats > OFTEN and duration < REST:
            return None
        least = settings.motion_share
        confidence = float(np.interp(before.moving, [least, max(0.1, 2 * least)], [0.6, 1]))
        confidence *= float(np.interp(before.abrupt, [0.05, 0.25], [0.4, 1]))
        confidence *= float(np.interp(duration, [0.4, 1.0], [0.8, 1.0]))
        return confidence


def _centre(rows: int, columns: int) -> npt.NDArray[np.intp]:
    """Flat indices of the tiles in which a partly frozen picture stands still."""

    def outer(count: int, share: float) -> npt.NDArray[np.bool_]:
        edge = int(count * share + 0.5) if count >= 5 else 0
        place = np.arange(count)
        return (place < edge) | (place >= count - edge)

    corners = outer(rows, CORNER)[:, None] & outer(columns, CORNER)
    # rounded down: few rows must not all be edges
    edge = int(rows * EDGE) if rows >= 5 else 0
    strips = np.zeros((rows, 1), bool)
    strips[:edge] = strips[rows - edge :] = True
    return np.flatnonzero(~(corners | strips))


def _look_back(still: _Still, tolerance: float, centre: npt.NDArray[np.intp]) -> _Before:
    """What came before a stillness, and when the picture stopped.

    An encoder takes some frames to settle on a picture that stopped: they count as still.
    """
    times, maps = still.past_times, [one.ravel()[centre] for one in still.past]
    changes = [np.abs(b - a) for a, b in itertools.pairwise(maps)]
    steps = [float(change.mean()) for change in changes]  # steps[n]: to maps[n + 1]
    first = len(maps) - 1  # the frame that is repeated
    since = _since_rest(steps, times)
    typical = float(np.median(since)) if since else 0.0
    for n in range(len(maps) - 2, -1, -1):
        if times[-1] - times[n] > SETTLING or float(changes[n].max()) > SETTLING_TILE:
            break
        if steps[n] <= SETTLING_STEP * typical:
            first = n
    stop = times[first + 1] if first + 1 < len(times) else still.second
    if first < 3:
        return _Before(stop, none=True)
    away = [np.abs(one - still.anchor.ravel()[centre]) for one in maps[:first]]
    excess = np.array([float(np.maximum(one - tolerance, 0).mean()) for one in away])
    mean = float(excess.mean())
    arrival = list(zip(maps[: first + 1], times, strict=False))
    jump = first - 2 + int(np.argmax(steps[first - 2 : first]))
    sudden = steps[jump] > max(6.0, 4 * float(np.median(steps[: first - 1])))
    return _Before(
        stop,
        step=typical,
        moving=float(np.mean([np.mean(one > tolerance) for one in away])),
        abrupt=float(excess[-3:].max()) / mean if mean > 0 else 0.0,
        cut=sudden and _likeness(maps[jump], maps[jump + 1]) < SAME_SHOT,
        fade=any(
            fades([one for one, when in arrival if when >= times[first] - span - 1e-6])
            for span in FADE_SPANS
        ),
    )


def _since_rest(steps: list[float], times: list[float]) -> list[float]:
    """The steps after the last earlier stillness, black say; all where there was none."""
    began, after = None, 0
    for n, step in enumerate(steps):
        if step > QUIET_STEP:
            began = None
        elif began is None:
            began = times[n]
        elif times[n + 1] - began >= RESTED:
            after = n + 1
    return steps[after:] or steps


def _likeness(one: Float32, other: Float32) -> float:
    """Correlation of two pictures: near 1 within a shot, however fast it moves."""
    a, b = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 1.0


def _plain(luma: Float32) -> bool:
    """Whether most of the picture is one flat level: black, a colour or a card with text."""
    some = sampled(luma[None])[0]
    middle = some[len(some) // 2]
    return bool(np.count_nonzero(np.abs(luma - middle) <= 2) >= 0.7 * luma.size)


def _region(away: Float32) -> Region:
    """The rows of tiles that stand still."""
    still = np.flatnonzero((away > 0.1).mean(axis=1) < 0.2)
    rows = away.shape[0]
    if not len(still):
        return Region(left=0, top=0, right=1, bottom=1)
    return Region(left=0, top=float(still[0]) / rows, right=1, bottom=float(still[-1] + 1) / rows)
