"""Tearing: a frame of which one part, from some row on, is from another time.

At the tear two times meet: one row differs from the row above it far more than its neighbours do,
in this frame only. And the motion on one side is not the motion on the other: against the frame
before and the frame after, the torn part stands still, or moves by several steps at once.

The frame of the other time tells as well, where it is up to three frames away (tear_matches.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.tear_matches import Match, find_matches, near_rows
from pipeline.measurements import (
    Float32,
    Float64,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)
from pipeline.types import Kind, Region

BEFORE, AFTER = 4, 5  # frames around a frame that make its context
EDGE = 8  # rows at the top and bottom of the picture where no tear is looked for
LOW_RATE = 15.0  # frames a second below which motion is too uneven from frame to frame
STANDS = 1.8  # log ratio of motion on both sides from which one of them stands still
OUTSTANDING = 0.25  # share of the step from which tears near by may be left out of the comparison
APART = 0.28  # the same, from which both sides move by different steps
# Share of the step from which a row is enough where both sides move: hair and shoulders of speakers
# who turn their heads reach 0.61 (7 minutes of development clips, and damaged copies of them)
CLEAR_SHARE = 0.62
# The more the row stands out (share of the step), the less the log ratio must exceed what it varies
# by in the frames around; where every other frame is torn it varies as much as at the tear.
WANDER = ((0.5, 0.0), (0.38, 1.5), (0.3, 3.0))
# Motion of the torn part to and from the frame, both, against the frames around: there it moves by
# several steps at most; foreign blocks come and go at once, with 1.5 where the scene moves as much
# and up to 100 elsewhere (11 clips). No tear found in 30 clips is lost by it.
FOREIGN = 3.0
CUT = 6.0  # motion of a frame against the frames around from which it is a cut
# A tear through a cut: share of the step, and correlation of the profile of the torn rows with that
# of the same rows in a frame that follows
ACROSS_SHARE, SAME_ROWS = 0.5, 0.9
# Share of the step by which another row of the frame may stand out. Torn frames of 32 development
# files stay below 0.27; where many small things move, their edges line up by chance in several rows
# (confetti: 0.3 and more in 36 of 40 frames).
ALONE = 0.3
DIRECTED = 0.7  # share of a change of luma that has one sign: light, not content
FLOOR = 0.1  # code values of motion that are nothing
JOINED = 0.5  # seconds between torn frames that are one defect to a viewer
# Several frames that may be torn, each at a row of its own, tell together: how far the row must
# stand out in each and in the mean (share of the step; the second where they are SERIES_MANY), the
# step, and how many frames. The chin of a speaker has a mean of 0.47 in four frames.
SERIES_SHARE, SERIES_MEAN, SERIES_STEP = 0.38, (0.5, 0.45), 1.2
SERIES_MANY = 6
SERIES_LEAST, SERIES_MOST = 4, 20
LONGEST = 250  # frames that may be torn, of one defect; then the next begins


class TearingSettings(DetectorSettings):
    """Settings of the tearing detector."""

    min_step: float = setting(
        1.0,
        "code values",
        "mean difference across the tear, beyond that of the rows and frames around, where one "
        "side of the tear stands still",
        "calibrated on 119 clips and on tears put into eight of them",
        gt=0,
    )
    min_clear_step: float = setting(
        2.5, "code values", "the same, where both sides move", "calibrated likewise", gt=0
    )
    min_share: float = setting(
        0.15,
        "",
        "the difference beyond that around, as a share of all difference across the tear",
        "calibrated likewise; 0.3 and more where both sides move",
        gt=0,
        lt=1,
    )
    min_motion: float = setting(
        1.0, "code values", "motion on both sides in the frames around", "calibrated likewise", gt=0
    )


@dataclass
class _Torn:
    """A frame that may be torn."""

    start: float
    end: float
    row: int
    step: float
    share: float
    seen: Observation | None  # where it is by itself
    matched: bool = False  # found by the frame that its torn part is of, not by its row


class TearingDetector(PictureDetector):
    """Looks for a row that stands out, in one frame, and compares the motion on both its sides.

    Where one frame after the other is torn, no motion is as usual, and the rows tell by themselves.
    Torn frames less than half a second apart are one defect.
    """

    name = "tearing"
    version = "6"
    kinds = (Kind.TEARING,)
    summary = "Parts of two frames in one, split at a row, while the picture moves"
    Settings = TearingSettings

    def __init__(self, settings: TearingSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self.settings: TearingSettings = settings
        rows = picture_format.tiles[0]
        self._works = (
            picture_format.height >= 4 * EDGE
            and rows >= 6
            and picture_format.frame_rate >= LOW_RATE
        )
        self._profiles = np.zeros((0, picture_format.height), np.float32)
        self._motion = np.zeros((0, rows), np.float32)  # mean of each tile row
        self._luma = np.zeros((0, *picture_format.tiles), np.float32)
        self._times = np.zeros((0, 2))  # start and end of each frame
        self._judged = 1
        self._series: list[_Torn] = []

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        if not self._works:
            return []
        starts = picture.frames["time"]
        times = np.stack((starts, starts + picture.frames["duration"]), axis=1)
        self._profiles = np.concatenate((self._profiles, picture.rows))
        self._motion = np.concatenate((self._motion, picture.motion.mean(axis=2)))
        self._luma = np.concatenate((self._luma, picture.luma))
        self._times = np.concatenate((self._times, times))
        found = self._judge(len(self._times) - AFTER)
        surplus = max(self._judged - BEFORE - 1, 0)
        self._profiles, self._motion = self._profiles[surplus:], self._motion[surplus:]
        self._luma, self._times = self._luma[surplus:], self._times[surplus:]
        self._judged -= surplus
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._judge(len(self._times) - 1) + self._conclude() if self._works else []

    def _judge(self, stop: int) -> list[Observation]:
        if stop <= self._judged:
            return []
        first = self._judged
        # one frame more on each side: the path of a moving edge is followed over three
        excess = _excess(self._profiles[first - 1 : stop + 1])
        rows = excess.argmax(axis=1)
        steps = excess[np.arange(len(rows)), rows]
        found = []
        matches = find_matches(self._luma, first, stop, excess[1:-1])
        for at in range(1, len(rows) - 1):
            torn = None
            if steps[at] > self.settings.min_step and _is_alone(excess[at], int(rows[at])):
                torn = self._by_row(rows, steps, at)
            match = matches.get(first - 1 + at)
            if match is not None and (torn is None or torn.seen is None):
                torn = self._by_match(first - 1 + at, match, excess[at], doubtful=torn)
            if torn is None:
                continue
            if self._is_over(torn.start) or len(self._series) >= LONGEST:
                found += self._conclude()
            self._series.append(torn)
        if self._is_over(float(self._times[stop - 1, 0])):
            found += self._conclude()
        self._judged = stop
        return found

    def _by_row(self, rows: np.ndarray, steps: np.ndarray, at: int) -> _Torn | None:
        """The torn frame of which a row stands out; at: index of it among those of `rows`."""
        index, row, step = self._judged - 1 + at, int(rows[at]), float(steps[at])
        seen = None if self._glides(rows, steps, at) else self._check(index, row, step)
        share = step / max(float(self._profiles[index, row]), 1e-6)
        if seen is None and (share < SERIES_SHARE or step < SERIES_STEP):
            return None
        start, end = (float(value) for value in self._times[index])
        return _Torn(start, end, row, step, share, seen)

    def _by_match(
        self, index: int, match: Match, excess: Float64, *, doubtful: _Torn | None
    ) -> _Torn:
        """The torn frame of which another frame shows a part; doubtful: what its row says."""
        rows = near_rows(match.tile)
        row = rows.start + int(excess[rows].argmax())
        step = float(excess[row])
        share = step / max(float(self._profiles[index, row]), 1e-6)
        start, end = (float(value) for value in self._times[index])
        part, height = "below" if match.lower else "above", self.format.height
        seen = Observation(
            Kind.TEARING,
            start=start,
            end=end,
            severity=events.ladder(step, 1, 3, 6, 12),
            confidence=float(np.clip(0.4 + 0.2 * match.ratio, 0.3, 0.95)),
            summary=(
                f"{part} row {row} is what the frame {abs(match.lag)} "
                f"{'later' if match.lag > 0 else 'earlier'} shows there, and nothing like the "
                "frames beside it"
            ),
            evidence={
                "row": float(row),
                "step_code_values": step,
                "step_share": share,
                "match_log_ratio": match.ratio,
                "frames_away": float(match.lag),
            },
            peak=start,
            region=Region(
                left=0,
                top=row / height if match.lower else 0,
                right=1,
                bottom=1 if match.lower else row / height,
            ),
        )
        if doubtful is not None:
            return replace(doubtful, seen=seen)
        return _Torn(start, end, row, step, share, seen, matched=True)

    def _is_over(self, time: float) -> bool:
        """Whether a torn frame at that time would be another defect."""
        return bool(self._series) and time - self._series[-1].end > JOINED

    def _conclude(self) -> list[Observation]:
        """Tell of the torn frames that are one defect."""
        every, self._series = self._series, []
        alone = [torn.seen for torn in every if torn.seen is not None]
        series = [torn for torn in every if not torn.matched]
        share = float(np.mean([torn.share for torn in series])) if series else 0.0
        if (
            not SERIES_LEAST <= len(series) <= SERIES_MOST
            or share < SERIES_MEAN[len(series) >= SERIES_MANY]
            or max(torn.step for torn in series) < self.settings.min_clear_step
        ):
            return _joined(alone)
        worst = max(series, key=lambda torn: torn.step)
        rows = sorted(torn.row for torn in series)
        height = self.format.height
        matched = [torn.seen for torn in every if torn.matched and torn.seen is not None]
        together = [
            Observation(
                Kind.TEARING,
                start=series[0].start,
                end=series[-1].end,
                severity=events.ladder(worst.step, 1, 3, 6, 12),
                confidence=float(np.clip(0.4 + 0.5 * share + 0.03 * len(series), 0.3, 0.95)),
                summary=(
                    f"in {len(series)} frames a row, between {rows[0]} and {rows[-1]}, is off the "
                    f"row above it by up to {worst.step:.1f} code values more than in the frames "
                    "around"
                ),
                evidence={
                    "frames": float(len(series)),
                    "row": float(worst.row),
                    "step_code_values": worst.step,
                    "step_share": share,
                },
                peak=worst.start,
                region=Region(left=0, top=rows[0] / height, right=1, bottom=1),
            )
        ]
        return _joined(sorted(together + matched, key=lambda one: one.start))

    def _glides(self, rows: np.ndarray, steps: np.ndarray, index: int) -> bool:
        """Whether the row is one station of an edge on its way: a wipe, rolling credits."""
        before, here, after = (int(rows[at]) for at in (index - 1, index, index + 1))
        alike = min(steps[index - 1], steps[index + 1]) > 0.4 * steps[index]
        return bool(alike and abs(before - 2 * here + after) <= 3)

    def _check(self, index: int, row: int, step: float) -> Observation | None:
        """Whether the motion above and below `row` of frame `index` is of different times."""
        settings, motion = self.settings, self._motion
        tile = row // PictureFormat.TILE
        reach = max(motion.shape[1] // 4, 2)
        above = slice(max(tile - reach, 0), tile)
        below = slice(tile + 1, tile + 1 + reach)
        usual = [
            at
            for at in range(index - BEFORE + 1, index + AFTER)
            if 0 < at < len(motion) and at not in (index, index + 1)
        ]
        if tile < 1 or tile + 1 >= motion.shape[1] or len(usual) < 3:
            return None
        up = motion[:, above].mean(axis=1) + FLOOR
        down = motion[:, below].mean(axis=1) + FLOOR
        whole = motion.mean(axis=1) + FLOOR
        at = [index, index + 1]
        share = step / max(float(self._profiles[index, row]), 1e-6)
        if whole[at].max() > CUT * np.median(whole[usual]):
            return self._check_cut(index, row, step, share, (up, down))
        if min(float(np.median(up[usual])), float(np.median(down[usual]))) < settings.min_motion:
            return None
        tilt = np.log(down / up)
        base = float(np.median(tilt[usual]))
        apart = float(np.abs(tilt[at] - base).max())
        wander = float(np.abs(tilt[usual] - base).max())
        clear = step >= settings.min_clear_step and apart > APART and share >= CLEAR_SHARE
        needed = next((needed for least, needed in WANDER if share >= least), np.inf)
        # another tear near by makes a few of the frames around wander as much, but not most
        mostly = float(np.median(np.abs(tilt[usual] - base)))
        outstanding = step >= settings.min_clear_step and share >= OUTSTANDING
        stands = apart >= STANDS and (
            (share >= settings.min_share and apart > 3 * wander)
            or (outstanding and apart > 3 * mostly)
        )
        if not stands and not (clear and apart > needed * wander):
            return None
        if self._lit(index, above) or self._lit(index, below):
            return None
        changes = [
            float(np.abs(np.log(side[at] / np.median(side[usual]))).max()) for side in (up, down)
        ]
        lower = changes[1] >= changes[0]
        torn = down if lower else up
        if float(torn[at].min()) > FOREIGN * float(np.median(torn[usual])):
            return None
        return self._torn(index, row, step, share, apart, lower)

    def _check_cut(
        self, index: int, row: int, step: float, share: float, sides: tuple[Float32, Float32]
    ) -> Observation | None:
        """Whether one side is still of the shot before, and the other of what comes after it."""
        if step < self.settings.min_clear_step or share < ACROSS_SHARE:
            return None
        up, down = (float(side[index]) for side in sides)
        lower = down > up
        if max(up, down) < CUT * min(up, down):
            return None
        part = slice(row + 1, None) if lower else slice(None, row)
        here = self._profiles[index, part]
        later = self._profiles[index + 1 : index + 1 + AFTER, part]
        if not any(_alike(here, other) for other in later):
            return None
        return self._torn(index, row, step, share, float(abs(np.log(down / up))), lower)

    def _torn(
        self, index: int, row: int, step: float, share: float, apart: float, lower: bool
    ) -> Observation:
        """A torn frame; `lower`: the part below the row is of another time."""
        height = self.format.height
        start, end = (float(value) for value in self._times[index])
        return Observation(
            Kind.TEARING,
            start=start,
            end=end,
            severity=events.ladder(step, 1, 3, 6, 12),
            confidence=float(
                np.clip(0.4 + 0.3 * min(apart / STANDS, 1) + 0.3 * min(share / 0.5, 1), 0.3, 0.95)
            ),
            summary=(
                f"row {row} is off the row above it by {step:.1f} code values more than in the "
                f"frames around, and the motion {'below' if lower else 'above'} it is of another "
                "time"
            ),
            evidence={
                "row": float(row),
                "step_code_values": step,
                "step_share": share,
                "motion_log_ratio": apart,
            },
            peak=start,
            region=Region(
                left=0,
                top=row / height if lower else 0,
                right=1,
                bottom=1 if lower else row / height,
            ),
        )

    def _lit(self, index: int, rows: slice) -> bool:
        """Whether these tile rows only became brighter or darker for a frame: a flash."""
        luma = self._luma[:, rows].mean(axis=2)
        after = luma[min(index + 1, len(luma) - 1)]
        step = luma[index] - (luma[index - 1] + after) / 2
        moved = self._motion[index : index + 2, rows].mean(axis=1).max()
        return bool(abs(float(step.mean())) > DIRECTED * float(moved) + FLOOR)


def _is_alone(excess: Float64, row: int) -> bool:
    """Whether no other row of the frame stands out as that one does; excess [H]."""
    others = max(excess[: max(row - 2, 0)].max(initial=0), excess[row + 3 :].max(initial=0))
    return bool(others < ALONE * excess[row])


def _alike(one: Float32, other: Float32) -> bool:
    """Whether two profiles are of the same rows of a shot; a plain picture tells nothing."""
    if min(float(np.ptp(one)), float(np.ptp(other))) <= 0:
        return False
    return float(np.corrcoef(one, other)[0, 1]) >= SAME_ROWS


def _joined(found: list[Observation]) -> list[Observation]:
    """One for those of them that are less than JOINED apart."""
    parts: list[list[Observation]] = []
    for one in found:
        if parts and one.start - max(other.end for other in parts[-1]) <= JOINED:
            parts[-1].append(one)
        else:
            parts.append([one])
    return [whole for part in parts for whole in _as_one(part)]


def _as_one(found: list[Observation]) -> list[Observation]:
    """Torn frames of which each is certain by itself: the worst of them stands for all."""
    if len(found) < 2:
        return found
    worst = max(found, key=lambda one: one.severity)
    count = int(sum(one.evidence.get("frames", 1) for one in found))
    return [
        replace(
            worst,
            start=found[0].start,
            end=max(one.end for one in found),
            confidence=max(one.confidence for one in found),
            summary=f"{count} torn frames; at worst {worst.summary}",
            evidence={**worst.evidence, "frames": float(count)},
        )
    ]


def _excess(profiles: Float32) -> Float64:
    """How far each row stands out from the rows and the frames around, [T, H].

    The first and the last frame have no neighbour on one side, and count with the other.
    """
    near = np.zeros_like(profiles)
    beside = np.maximum(profiles[:, 1:-3], profiles[:, 3:-1])
    np.maximum(beside, np.maximum(profiles[:, :-4], profiles[:, 4:]), out=near[:, 2:-2])
    wide = profiles.copy()
    wide[:, 2:-2] = np.maximum(beside, profiles[:, 2:-2])
    near[1:] = np.maximum(near[1:], wide[:-1])
    near[:-1] = np.maximum(near[:-1], wide[1:])
    excess = (profiles - near).astype(np.float64)
    excess[:, :EDGE] = excess[:, -EDGE:] = 0
    return excess
