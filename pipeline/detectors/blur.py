"""Blur: even the sharpest parts of the picture are soft."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from pipeline import events
from pipeline.detectors.base import DetectorSettings, PictureDetector, setting
from pipeline.detectors.history import DELAY, History
from pipeline.detectors.looks import Beside, LookRun, LookRuns, end_of
from pipeline.types import (
    Kind,
    Look,
    Observation,
    PictureFormat,
    PictureStatistics,
    Segment,
)

CALIBRATED = (
    "calibrated on 8 clips blurred with Gaussian kernels of 3 to 13 samples and encoded at CRF 20, "
    "against 91 clean clips"
)
LEAST_CONTRAST = 2.0  # code values of mean step: a tile with less says nothing of sharpness
DARKEST, BRIGHTEST = 20.0, 230.0
LEAST_TILES = 6
MOST_TILES = 0.1  # of the picture, those with the most contrast
SHARPEST = 80  # percentile of their sharpness: some sharp tiles make a picture in focus
# Frame difference over mean step in these tiles is about the movement in samples a frame; faster
# movement than this blurs by itself
FASTEST = 6.0
SOFTEST_SHARP = 0.95  # sharpness above which nothing looks blurred; a kernel of 3 leaves 0.92
STEP = 1.25  # sharpness just outside over inside, at an end that is no cut: lenses pull slower
WHOLE = 0.8  # share of an asset that is soft all through


class BlurSettings(DetectorSettings):
    """Settings of the blur detector."""

    ratio: float = setting(
        0.78, "", "sharpness relative to the asset's own sharp state from which it is blurred",
        CALIBRATED, gt=0, lt=1,
    )  # fmt: skip
    soft: float = setting(
        0.55, "", "sharpness (0.8 / sigma of an edge in samples) that is soft in any asset",
        CALIBRATED, gt=0,
    )  # fmt: skip
    min_duration: float = setting(
        0.9, "s", "shortest blur reported", "calibrated: shorter ones are moves and focus pulls"
    )
    min_soft_duration: float = setting(
        2.0, "s", "shortest soft interval reported where nothing sharper is known", CALIBRATED
    )


class BlurDetector(PictureDetector):
    """Follows the softness of the sharpest edges, five times a second.

    Sharpness is the ratio of second to first differences in the tiles with the most contrast. It
    does not change with contrast (fades, fog), and one sharp subject before a soft background is
    enough. A sudden drop against the asset's own sharp state is a blur, within a shot; a softer
    shot is none. An asset that is soft all through (scaled up, say) gives one finding of low
    severity and confidence: it may be meant. Judged ten seconds late. Ends are right within 0.1 s.
    """

    name = "blur"
    kinds = (Kind.BLUR,)
    summary = "The whole picture is soft or out of focus"
    Settings = BlurSettings

    def __init__(self, settings: BlurSettings, picture_format: PictureFormat) -> None:
        super().__init__(settings, picture_format)
        frame = 1 / picture_format.frame_rate
        self._drops = LookRuns(settings.min_duration, 1.0, frame)
        self._softs = LookRuns(settings.min_soft_duration, 1.0, frame)
        self._known = History(0.0, 4.0)
        self._waiting: deque[tuple[float, float]] = deque()
        self._beside = Beside()
        self._end = 0.0

    def update(self, picture: PictureStatistics, segment: Segment) -> Iterable[Observation]:
        """As in PictureDetector."""
        found: list[Observation] = []
        self._end = end_of(picture)
        self._beside.watch(picture)
        for look in picture.looks:
            value = sharpness(look, picture.luma[look.frame], picture.motion[look.frame])
            if value is not None:  # a picture without contrast changes nothing
                self._known.add(value)
                self._waiting.append((look.time, value))
                self._beside.add(look.time, value)
        while self._waiting and self._waiting[0][0] < self._end - DELAY:
            found += self._judge(*self._waiting.popleft())
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        found: list[Observation] = []
        while self._waiting:
            found += self._judge(*self._waiting.popleft())
        found += self._dropped(self._drops.finish(self._end))
        softs = self._softs.finish(self._end)
        whole = [run for run in softs if run.end - run.start >= WHOLE * self._end]
        return found + [self._observe_soft(run) for run in whole]

    def _judge(self, time: float, sharp: float) -> list[Observation]:
        usual = self._known.quantile(0.8)
        dropped = sharp <= self.settings.ratio * usual
        soft = not dropped and sharp <= self.settings.soft
        evidence = {"sharpness": sharp, "usual_sharpness": usual}
        self._softs.add(time, soft, -sharp, evidence)
        return self._dropped(self._drops.add(time, dropped, -sharp, evidence))

    def _dropped(self, runs: list[LookRun]) -> list[Observation]:
        # a drop that lasts is the asset's own softness, seen after a title with sharp letters
        return [
            self._observe(run)
            for run in runs
            if run.end - run.start <= self._end / 2
            and -run.mean_value <= SOFTEST_SHARP
            and self._step(run) >= STEP
        ]

    def _step(self, run: LookRun) -> float:
        """How much sharper it is just beside the run than in it, at the ends that are no cuts."""
        return max(self._beside.of(run), default=0.0) / max(-run.mean_value, 1e-6)

    def _observe(self, run: LookRun) -> Observation:
        sharp, usual = -run.mean_value, max(run.evidence["usual_sharpness"], 1e-6)
        ratio, length = sharp / usual, run.end - run.start
        return Observation(
            Kind.BLUR,
            run.start,
            run.end,
            # what Gaussian kernels of 3, 5, 7 and 9 leave of real clips
            severity=events.ladder(sharp, 0.92, 0.77, 0.68, 0.60),
            confidence=float(np.clip(0.4 + 2.0 * (self.settings.ratio - ratio), 0.3, 0.9)),
            summary=(
                f"the sharpest edges are {1 / max(ratio, 1e-6):.1f} times as wide as usual in this "
                f"asset (sharpness {sharp:.2f} against {usual:.2f}) for {length:.1f} s"
            ),
            evidence={
                "sharpness": sharp,
                "usual_sharpness": usual,
                "edge_sigma_px": 0.8 / max(sharp, 0.05),
                "duration_s": length,
            },
            peak=run.peak,
        )

    def _observe_soft(self, run: LookRun) -> Observation:
        sharp, length = -run.mean_value, run.end - run.start
        sigma = 0.8 / max(sharp, 0.05)
        return Observation(
            Kind.BLUR,
            run.start,
            run.end,
            severity=min(events.ladder(sharp, 0.55, 0.4, 0.3, 0.2), 0.5),
            confidence=0.35,
            summary=(
                f"soft: the sharpest edges are as wide as if blurred by {sigma:.1f} pixels, for "
                f"{length:.1f} s; nothing in this asset is much sharper"
            ),
            evidence={"sharpness": sharp, "edge_sigma_px": sigma, "duration_s": length},
            peak=run.peak,
        )


def sharpness(look: Look, luma: np.ndarray, motion: np.ndarray) -> float | None:
    """Sharpness of the sharpest tiles with contrast; None where nothing can be said."""
    # independent noise adds in quadrature: 1.13 sigma to first, 1.95 sigma to second differences
    noise = look.noise[::2, ::2].ravel()
    sigma = float(np.partition(noise, noise.size // 10)[noise.size // 10])
    fine = np.sqrt(np.maximum(look.fine**2 - (1.13 * sigma) ** 2, 0))
    curve = np.sqrt(np.maximum(look.curve**2 - (1.95 * sigma) ** 2, 0))
    usable = (luma > DARKEST) & (luma < BRIGHTEST) & (fine > LEAST_CONTRAST)
    count = int(usable.sum())
    if count < LEAST_TILES:
        return None
    steps, curves, moved = fine[usable], curve[usable], motion[usable]
    most = max(LEAST_TILES, int(MOST_TILES * fine.size))
    if count > most:
        chosen = np.argpartition(steps, -most)[-most:]
        steps, curves, moved = steps[chosen], curves[chosen], moved[chosen]
    if float(moved.mean()) > FASTEST * float(steps.mean()):
        return None
    return float(np.percentile(curves / steps, SHARPEST))
