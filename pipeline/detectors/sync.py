"""Sync: whether the sound is with the lips of who speaks, and by how much it is off.

Mouths come from `pipeline/measure/mouths.py`; the net of `models/sync.py` says for each moment of
a mouth how well the sound around it goes with it. Half seconds of that are kept as curves over
lags and read in `lags.py` at the end of the asset, as one lag, a change or a drift. Sound that has
no clear place is abstained on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from pipeline.detectors.base import DetectorSettings, StreamDetector, setting
from pipeline.detectors.lags import BIN, MOST, STEP, Stretch, reading, stretches
from pipeline.events import ladder
from pipeline.measurements import Mouth, Observation, Segment, SoundStatistics
from pipeline.types import Asset, AvSync, AvSyncMoment, Kind, Region

if TYPE_CHECKING:
    from models.sync import Calibration

_MOMENT = 10  # curves of a moment of the track
_REACH = MOST * STEP  # seconds of sound either side of a mouth
_KEPT = 30.0  # seconds of sound: a mouth is handed on after 10 s, and waits for 2 s of sound
_EDGE = 0.05  # seconds of sound more, so that resampling has no edge in it
_QUIET = 10 ** (-55 / 10)  # mean square: nobody speaks
_FEW = 0.5  # share of the sound around a mouth that must be there
_DRIFTS = 0.045  # seconds: a smaller change nobody detects (BT.1359-1)
_MOST_CURVES = 7200  # an hour of watching: then what there is is read, so that memory is bounded


class SyncSettings(DetectorSettings):
    """What is out of sync, and how much is watched."""

    early_ms: float = setting(
        90.0, "ms", "sound earlier than this is out of sync", "ITU-R BT.1359-1: acceptable", ge=0
    )
    late_ms: float = setting(
        185.0, "ms", "sound later than this is out of sync", "ITU-R BT.1359-1: acceptable", ge=0
    )
    confidence: float = setting(
        0.8, "", "least confidence of an answer; less is abstained on",
        "models/weights/sync.md: reliability", ge=0, le=1,
    )  # fmt: skip
    share: float = setting(
        0.0, "", "share of the time in which lips are watched after the first 40 s; 0: as much as "
        "costs about a quarter of decoding", "bench/results/speed.md", ge=0, le=1,
    )  # fmt: skip


@dataclass
class _Curve:
    """Half a second of one mouth."""

    scores: npt.NDArray[np.float64]  # [2 * MOST + 1]
    clearness: float  # of the mouth that it is of
    mouth: Mouth


@dataclass
class _Sound:
    """The last seconds of the track, mixed to one channel, where they are known."""

    stretches: deque[tuple[float, int, npt.NDArray[np.float32]]] = field(default_factory=deque)
    end: float = -np.inf

    def add(self, sound: SoundStatistics) -> None:
        self.stretches.append((sound.time, sound.format.rate, sound.samples.mean(axis=0)))
        self.end = sound.time + sound.samples.shape[1] / sound.format.rate
        while self.stretches[0][0] < self.end - _KEPT:
            self.stretches.popleft()

    def cut(self, start: float, count: int, rate: int) -> tuple[npt.NDArray[np.float32], float]:
        """Samples at a rate from `start` on, silent where nothing is known; share that is known."""
        from scipy.signal import resample_poly  # noqa: PLC0415 - half a second, only for mouths

        made = np.zeros(count, np.float32)
        known = 0
        for own_rate, parts in self._runs(start - _EDGE, start + count / rate + _EDGE):
            ratio = Fraction(rate, own_rate)
            whole = np.concatenate([samples for _, samples in parts])
            at_rate = resample_poly(whole, ratio.numerator, ratio.denominator)
            first = round((parts[0][0] - start) * rate)
            low, high = max(0, first), min(count, first + len(at_rate))
            if high > low:
                made[low:high] = at_rate[low - first : high - first]
                known += high - low
        return made, known / count

    def _runs(
        self, start: float, end: float
    ) -> Iterator[tuple[int, list[tuple[float, npt.NDArray[np.float32]]]]]:
        """Contiguous stretches of one rate that touch an interval."""
        run: list[tuple[float, npt.NDArray[np.float32]]] = []
        rate, reached = 0, -np.inf
        for time, own_rate, samples in self.stretches:
            if time + len(samples) / own_rate < start or time > end:
                continue
            if run and (own_rate != rate or abs(time - reached) > 1e-3):
                yield rate, run
                run = []
            run.append((time, samples))
            rate, reached = own_rate, time + len(samples) / own_rate
        if run:
            yield rate, run


class SyncDetector(StreamDetector):
    """Gathers curves of mouths as they come, and reads them at the end."""

    name = "sync"
    version = "3"
    kinds = (Kind.AV_OFFSET, Kind.AV_DRIFT, Kind.AV_STEP)
    summary = "Sound that is not with the lips of who speaks: off throughout, drifting or stepping."
    Settings = SyncSettings

    def __init__(self, settings: SyncSettings, asset: Asset) -> None:
        super().__init__(settings, asset)
        self._track = next((audio.stream for audio in asset.audio if audio.examined), None)
        self._sound = _Sound()
        self._waiting: list[Mouth] = []
        self._curves: dict[int, _Curve] = {}  # by half second
        self._calibration: Calibration | None = None
        self._mouths = self._quiet = 0
        self._end = 0.0
        self._answers: list[_Answer] = []
        self._moments: list[AvSyncMoment] = []
        self._standing: list[Observation] = []
        self._read_at = 0  # curves
        self._offset: float | None = None  # of the last standing answer, ms

    def update(self, segment: Segment) -> Iterator[Observation]:
        """Take the next segment: mouths are judged once the sound around them is there."""
        for sound in segment.sound:
            if sound.format.stream == self._track:
                self._sound.add(sound)
        self._waiting += segment.mouths
        self._end = max(self._end, segment.end)
        reached = self._sound.end - _REACH - _EDGE
        for mouth in list(self._waiting):
            if _end_of(mouth) <= reached or _end_of(mouth) < self._end - _KEPT / 2:
                self._waiting.remove(mouth)
                self._judge(mouth)
        if len(self._curves) >= _MOST_CURVES:
            yield from self._read()

    def standing(self) -> Iterable[Observation]:
        """What the curves so far say; read anew where there are more of them."""
        if len(self._curves) != self._read_at:
            kept = dict(self._curves), list(self._answers), list(self._moments)
            self._standing = list(self._read())
            self._offset = next(
                (-1000 * a.stretch.reading.lag for a in reversed(self._answers) if a.sure), None
            )
            self._curves, self._answers, self._moments = kept
            self._read_at = len(self._curves)
        return self._standing

    def finish(self) -> Iterator[Observation]:
        """Read what was gathered."""
        for mouth in self._waiting:
            self._judge(mouth)
        self._waiting.clear()
        yield from self._read()

    def av_offset_ms(self) -> float | None:
        """As in Detector."""
        return None if self._offset is None else round(self._offset, 1)

    def av_sync(self) -> AvSync | None:
        """The verdict on the asset; None where it lacks picture or sound."""
        if self._track is None or not any(video.examined for video in self.asset.video):
            return None
        answered = [answer for answer in self._answers if answer.sure]
        if not answered:
            return AvSync(state="abstained", reason=self._reason(), track=self._moments)
        worst = max(answered, key=lambda answer: (answer.out, answer.seconds))
        seconds = sum(answer.seconds for answer in answered)
        said = worst.stretch.reading
        return AvSync(
            state="out_of_sync" if worst.out else "in_sync",
            offset_ms=round(-1000 * said.lag, 1),
            interval_ms=(round(-1000 * said.high, 1), round(-1000 * said.low, 1)),
            confidence=round(said.confidence, 3),
            share_answered=round(min(1.0, seconds / max(self._end, BIN)), 4),
            track=self._moments,
        )

    def _reason(self) -> Literal["no_face", "no_sound", "unclear"]:
        if not self._mouths:
            return "no_face"
        if self._quiet == self._mouths:
            return "no_sound"
        return "unclear"  # a voice off screen, music, or too little speech

    def _judge(self, mouth: Mouth) -> None:
        """Curves of one mouth; where two were seen at a time, the clearer one's are kept."""
        from models.sync import (  # noqa: PLC0415 - torch takes two seconds
            HOP,
            PER_PICTURE,
            SAMPLE_RATE,
            STACK,
            WINDOW,
            Take,
            shared,
        )

        scorer = shared(MOST)
        self._calibration = scorer.calibration
        self._mouths += 1
        count = (len(mouth.pictures) + 2 * MOST) * HOP * PER_PICTURE + WINDOW
        start = mouth.time - _REACH - WINDOW / 2 / SAMPLE_RATE
        sound, known = self._sound.cut(start, count, SAMPLE_RATE)
        if known < _FEW or float(np.square(sound).mean()) < _QUIET:
            self._quiet += 1
            return
        scores = scorer.scores(Take(mouth.pictures, sound)).astype(np.float64)
        times = mouth.time + (np.arange(len(scores)) + STACK // 2) * STEP
        bins = np.floor(times / BIN).astype(int)
        clearness = reading(scores.sum(axis=0), scorer.calibration).clearness
        for number in np.unique(bins):
            other = self._curves.get(int(number))
            if other is None or other.clearness < clearness:
                own = scores[bins == number].sum(axis=0)
                self._curves[int(number)] = _Curve(own, clearness, mouth)

    def _read(self) -> Iterator[Observation]:
        """What the curves gathered so far say; they are gone then."""
        calibration = self._calibration
        if calibration is None or not self._curves:
            return
        numbers = sorted(self._curves)
        kept = [self._curves[number] for number in numbers]
        times = (np.array(numbers) + 0.5) * BIN
        curves = np.stack([curve.scores for curve in kept])
        self._curves.clear()
        self._moments += _moments(times, kept, calibration, self.settings.confidence)
        found = [
            self._answer(stretch, times, kept) for stretch in stretches(times, curves, calibration)
        ]
        self._answers += found
        for answer in found:
            if answer.out:
                yield answer.observation()
        for before, after in pairwise(answer for answer in found if answer.sure):
            if abs(after.at_start - before.at_end) >= _DRIFTS:
                yield _step(before, after)

    def _answer(
        self, stretch: Stretch, times: npt.NDArray[np.float64], kept: Sequence[_Curve]
    ) -> _Answer:
        own = slice(stretch.first, stretch.last)
        start, end = times[own][0] - BIN / 2, times[own][-1] + BIN / 2
        if stretch.since is not None:
            start = min(stretch.since, end)
        change = stretch.slope * (end - start)
        lag = stretch.reading.lag
        sure = stretch.reading.confidence >= self.settings.confidence
        ends = (lag - change / 2, lag + change / 2)
        early, late = -1000 * min(ends), 1000 * max(ends)
        drifts = abs(change) >= _DRIFTS
        wrong = early > self.settings.early_ms or late > self.settings.late_ms or drifts
        return _Answer(
            stretch, start, end, *ends, sure, sure and wrong, drifts,
            len(kept[own]) * BIN, max(kept[own], key=lambda curve: curve.clearness).mouth,
        )  # fmt: skip


@dataclass(frozen=True)
class _Answer:
    """A stretch in seconds of the asset."""

    stretch: Stretch
    start: float
    end: float
    at_start: float  # seconds by which sound is late
    at_end: float
    sure: bool
    out: bool  # of sync
    drifts: bool
    seconds: float  # that were watched
    mouth: Mouth  # the clearest

    def observation(self) -> Observation:
        """What is wrong with it."""
        said = self.stretch.reading
        offset = -1000 * max(self.at_start, self.at_end, key=abs)
        evidence = {
            "offset_ms": round(-1000 * said.lag, 1),
            "offset_low_ms": round(-1000 * said.high, 1),
            "offset_high_ms": round(-1000 * said.low, 1),
            "watched_s": self.seconds,
        }
        severity = ladder(abs(offset), 30, 90, 200, 400)
        if not self.drifts:
            word = "early" if offset > 0 else "late"
            return self._observation(
                Kind.AV_OFFSET, severity, f"sound is {abs(offset):.0f} ms {word}", evidence
            )
        evidence["drift_ms_per_minute"] = round(-60_000 * self.stretch.slope, 2)
        evidence["offset_start_ms"] = round(-1000 * self.at_start, 1)
        evidence["offset_end_ms"] = round(-1000 * self.at_end, 1)
        said_so = (
            f"sound drifts from {-1000 * self.at_start:+.0f} to {-1000 * self.at_end:+.0f} ms "
            f"(+: early), {abs(evidence['drift_ms_per_minute']):.0f} ms a minute"
        )
        return self._observation(Kind.AV_DRIFT, severity, said_so, evidence)

    def _observation(
        self, kind: Kind, severity: float, said: str, evidence: dict[str, float]
    ) -> Observation:
        return Observation(
            kind=kind,
            start=self.start,
            end=self.end,
            severity=severity,
            confidence=self.stretch.reading.confidence,
            summary=said,
            evidence=evidence,
            peak=min(max(self.mouth.time, self.start), self.end),
            region=_region(self.mouth),
        )


def _step(before: _Answer, after: _Answer) -> Observation:
    """It lasts while sound is off, or further off than before."""
    change = -1000 * (after.at_start - before.at_end)
    lasts = after.out or abs(after.at_start) > abs(before.at_end)
    return Observation(
        kind=Kind.AV_STEP,
        start=after.start,
        end=after.end if lasts else after.start,
        severity=ladder(abs(change), 30, 90, 200, 400),
        confidence=min(before.stretch.reading.confidence, after.stretch.reading.confidence),
        summary=(
            f"the offset of the sound steps from {-1000 * before.at_end:+.0f} "
            f"to {-1000 * after.at_start:+.0f} ms (+: early)"
        ),
        evidence={
            "step_ms": round(change, 1),
            "offset_before_ms": round(-1000 * before.at_end, 1),
            "offset_after_ms": round(-1000 * after.at_start, 1),
        },
    )


def _moments(
    times: npt.NDArray[np.float64],
    kept: Sequence[_Curve],
    calibration: Calibration,
    least: float,
) -> Iterable[AvSyncMoment]:
    """The offset over time: one value for about each 5 s that were watched."""
    for first in range(0, len(kept), _MOMENT):
        own = kept[first : first + _MOMENT]
        said = reading(np.sum([curve.scores for curve in own], axis=0), calibration)
        mouth = max(own, key=lambda curve: curve.clearness).mouth
        yield AvSyncMoment(
            start=float(times[first] - BIN / 2),
            end=float(times[first + len(own) - 1] + BIN / 2),
            offset_ms=round(-1000 * said.lag, 1),
            interval_ms=(round(-1000 * said.high, 1), round(-1000 * said.low, 1)),
            confidence=round(said.confidence, 3),
            answered=said.confidence >= least,
            mouth=_region(mouth),
        )


def _end_of(mouth: Mouth) -> float:
    return mouth.time + len(mouth.pictures) * STEP


def _region(mouth: Mouth) -> Region:
    left, top, right, bottom = (round(min(max(share, 0.0), 1.0), 4) for share in mouth.place)
    return Region(left=left, top=top, right=right, bottom=bottom)
