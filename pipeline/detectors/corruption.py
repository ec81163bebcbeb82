"""Block corruption: misplaced, stale or garbage blocks, as the corruption net sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.frames import frame_score
from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.types import (
    Float32,
    Kind,
    Observation,
    PictureFormat,
    PictureStatistics,
    Region,
    Score,
    Segment,
)

CALIBRATED = "calibrated on the development sources: models/weights/corruption.md"
KEPT = 6.0  # seconds of motion maps in which beginnings and ends are looked for
SHOWN = 0.5  # probability from which on a tile counts as corrupt
CLEAR = 2.0  # code values by which the motion of damaged tiles rises where damage begins or ends
SHARE = 0.5  # of the clearest rise between two scores, which the first or last frame must reach


class CorruptionSettings(DetectorSettings):
    """Settings of the corruption detector."""

    threshold: float = setting(
        0.6, "probability", "mean probability of the four most corrupt tiles of 16x16 samples from "
        "which on a frame is damaged", CALIBRATED, gt=0, lt=1,
    )  # fmt: skip
    sure: float = setting(
        0.9, "probability", "likewise, from which on a single frame is enough; else two must be "
        "damaged", CALIBRATED, gt=0, lt=1,
    )  # fmt: skip
    release: float = setting(
        0.4, "probability", "likewise, below which damage has ended", CALIBRATED, gt=0, lt=1
    )


@dataclass
class _Damage:
    """Damage that goes on."""

    after: float | None  # the last frame before that was found intact
    first: float
    area: npt.NDArray[np.bool_]  # where it began
    last: float
    area_last: npt.NDArray[np.bool_]
    worst: Score
    worst_share: float = 0.0
    scores: list[float] = field(default_factory=list)


class CorruptionDetector(PictureDetector):
    """Follows the frames that a net has scored, see pipeline/measure/scores.py.

    Between two scored frames damage begins, and ends, where the damaged tiles change most abruptly:
    a few tiles are overwritten, and a key frame mends them.
    """

    name = "block_corruption"
    kinds = (Kind.BLOCK_CORRUPTION,)
    by_scores = True
    summary = "Blocks are misplaced, stale or garbage, also where that was encoded again (learned)"
    Settings = CorruptionSettings

    def __init__(self, settings: CorruptionSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        self._open: _Damage | None = None
        self._intact: float | None = None  # the last frame that was found intact
        self._recent: deque[tuple[float, npt.NDArray[np.float16]]] = deque()  # time, rise of motion
        self._before: Float32 | None = None  # motion of the last frame
        self._errors: deque[float] = deque(maxlen=1000)  # seconds, of the transport and decoders
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        self._remember(picture)
        self._errors += [
            note.time for note in segment.notes if note.what in ("decode_error", "corrupt_packet")
        ]
        found: list[Observation] = []
        for score in picture.scores:
            value = frame_score(score.corruption)
            limit = self.settings.threshold if self._open is None else self.settings.release
            if value >= limit:
                self._go_on(score, value)
                continue
            if self._open is not None:
                end = self._edge(self._open.area_last, self._open.last, score.time, last=True)
                found += self._close(self._open, end)
            self._intact = score.time
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        return self._close(self._open, self._end) if self._open is not None else []

    def _remember(self, picture: PictureStatistics) -> None:
        before = picture.motion[:1] if self._before is None else self._before[None]
        rise = picture.motion - np.concatenate([before, picture.motion[:-1]])
        rise -= np.median(rise, axis=(1, 2), keepdims=True)
        self._before = picture.motion[-1].copy()
        times = picture.frames["time"]
        self._recent.extend(zip(times.tolist(), rise.astype(np.float16), strict=True))
        self._end = float(times[-1] + picture.frames["duration"][-1])
        while self._recent[0][0] < self._end - KEPT:
            self._recent.popleft()

    def _go_on(self, score: Score, value: float) -> None:
        area = _area(score.corruption)
        share = float((score.corruption >= SHOWN).mean())
        if self._open is None:
            self._open = _Damage(self._intact, score.time, area, score.time, area, score)
        damage = self._open
        damage.last, damage.area_last = score.time, area
        damage.scores.append(value)
        if share >= damage.worst_share:
            damage.worst, damage.worst_share = score, share

    def _edge(
        self, area: npt.NDArray[np.bool_], after: float | None, until: float, *, last: bool
    ) -> float:
        """The frame after one time, up to another, in which the tiles change most abruptly.

        Of several that do, the last or the first.
        """
        between = [
            (time, float(rise[area].mean(dtype=np.float32)))
            for time, rise in self._recent
            if (after is None or time > after + 1e-6) and time <= until + 1e-6
        ]
        if not between:
            return until
        clearest = max(value for _, value in between)
        if clearest < CLEAR:
            start = between[0][0] if after is None else after
            return start if after is None else (start + until) / 2
        clear = [time for time, value in between if value >= SHARE * clearest]
        return clear[-1] if last else clear[0]

    def _close(self, damage: _Damage, end: float) -> list[Observation]:
        self._open = None
        best = max(damage.scores)
        if len(damage.scores) < 2 and best < self.settings.sure:
            return []
        start = self._edge(damage.area, damage.after, damage.first, last=False)
        end = max(end, damage.last + 1 / self.format.frame_rate)
        errors = sum(start - 0.5 <= time <= end + 0.1 for time in self._errors)
        share, length = damage.worst_share, end - start
        return [
            Observation(
                Kind.BLOCK_CORRUPTION,
                start=start,
                end=end,
                severity=max(0.25, events.ladder(share, 0.002, 0.01, 0.05, 0.2)),
                confidence=min(0.99, best * (0.9 if len(damage.scores) < 2 else 1.0)
                               + (0.1 if errors else 0.0)),
                summary=(
                    f"corrupt blocks over {100 * share:.2g} % of the picture at worst, for "
                    f"{length:.2f} s" + (", with decoding errors" if errors else "")
                ),
                evidence={
                    "share_of_picture": share,
                    "probability": best,
                    "duration_s": length,
                    "frames_scored": len(damage.scores),
                    "decoding_errors": errors,
                },
                peak=damage.worst.time,
                region=_region(_area(damage.worst.corruption)),
                heat=damage.worst.corruption,
            )
        ]  # fmt: skip


def _area(map_: Float32) -> npt.NDArray[np.bool_]:
    """The corrupt tiles; where there is none, the most probable."""
    area = map_ >= SHOWN
    return area if area.any() else map_ >= map_.max()


def _region(area: npt.NDArray[np.bool_]) -> Region:
    rows, columns = area.shape
    down, across = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    return Region(
        left=across[0] / columns,
        top=down[0] / rows,
        right=(across[-1] + 1) / columns,
        bottom=(down[-1] + 1) / rows,
    )
