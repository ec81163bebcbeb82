"""Level jump: the loudness steps up or down and stays there, as between programme and advert."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.detectors.inserts import CONTEXT, LARGEST, LIKELY, LONGEST, Insert, Inserts
from pipeline.events import Recurring, ladder
from pipeline.measure.loudness import MOMENTARY, channel_weights, lufs
from pipeline.measurements import Float64, Observation, Segment, SoundFormat, SoundStatistics
from pipeline.types import Kind

QUIETEST = -50.0  # LUFS; what is below belongs to the silence detector
GATE = 10.0  # LU under the mean of a side: pauses do not count (BS.1770-5)
LIVELY = 0.6  # share of a side that must be above its gate
APART = 1.0  # LU between what the louder side is mostly above and the quieter side mostly below
SETTLED = 3.0  # LU by which the halves of a side may differ, in shares of the step at most a half
FINE = 0.05  # seconds; the grid on which the step is placed
AT_ONCE = 0.5  # seconds just before and just after, that must differ by
SHARE = 0.6  # of the step: a swell of 12 dB over 3 s differs by a sixth
RETURN = 120.0  # seconds within which the level may come back

# Held notes that end at once keep coming: after so many within so many seconds, further ones are of
# the music
RECURRING, MEMORY = 2, 120.0


class LevelJumpSettings(DetectorSettings):
    """Settings of the level jump detector."""

    min_step: float = setting(
        7.5,
        "LU",
        "smallest step that does not come back within 7.5 s",
        "quality.md A13: 4 to 6 LU; calibrated against music, which steps by 7 LU",
        ge=2,
    )
    context: float = setting(
        4.0, "s", "sound compared on either side", "calibrated on music and speech", ge=2, le=20
    )


class LevelJumpDetector(SoundDetector):
    """A step of loudness that neither the seconds before nor those after explain.

    Both sides must be settled, and nearly all of the louder one above nearly all of the quieter.
    One defect reaches from a step to the step back; or over the comparison, where none comes. That
    it is a step of gain, and no music that sets in, nets tell (`models/level_jump.py`): all bands
    step alike, and at once. They find inserts that come back within 7.5 s by themselves.
    """

    name = "level_jump"
    version = "5"
    kinds = (Kind.LEVEL_JUMP,)
    summary = "Loudness steps up or down and stays there, like an advert against the programme"
    slow_to_ask = True
    Settings = LevelJumpSettings

    settings: LevelJumpSettings

    def __init__(self, settings: LevelJumpSettings, sound_format: SoundFormat) -> None:
        super().__init__(settings, sound_format)
        self._weights = channel_weights(sound_format)
        self._block = sound_format.block / sound_format.rate
        self._energy: Float64 = np.zeros(0)  # weighted sum over channels, per block
        self._time = 0.0  # of the first block kept
        self._judged = 0
        self._open: Observation | None = None
        self._inserts = Inserts()
        self._held: list[Observation] = []  # steps that may be ends of an insert
        self._known: list[Observation] = []  # the inserts
        self._recurring = Recurring(RECURRING, MEMORY)

    def update(self, sound: SoundStatistics, segment: Segment) -> Iterable[Observation]:
        """As in SoundDetector."""
        if not len(self._energy):
            self._time = sound.time
        summed = self._weights @ sound.weighted.astype(np.float64)
        self._energy = np.concatenate([self._energy, summed])
        side = round(self.settings.context / self._block)
        inserts = self._inserts.add(sound.spectra)
        self._held += self._search(side)
        found = self._sort(inserts, self._time + len(self._energy) * self._block)
        old = self._judged - side - round(1.0 / self._block)
        if old > 0:
            self._energy = self._energy[old:]
            self._judged -= old
            self._time += old * self._block
        return found

    def finish(self) -> Iterable[Observation]:
        """As in Detector."""
        last, self._open = self._open, None
        self._held += [last] if last is not None else []
        return self._sort(self._inserts.finish(), np.inf)

    def _sort(self, inserts: list[Insert], now: float) -> list[Observation]:
        """The inserts, and those of the steps that are no part of any."""
        known = [self._insert(insert) for insert in inserts]
        found = [one for one in known if not self._recurring.again(one.start)]
        self._known = [*self._known, *known][-8:]
        wait = 2 * CONTEXT + LONGEST + 2.0
        ready = [step for step in self._held if step.end + wait < now]
        self._held = [step for step in self._held if step.end + wait >= now]
        return found + [
            step
            for step in ready
            if not any(step.start < it.end + 1 and step.end > it.start - 1 for it in self._known)
        ]

    def _insert(self, insert: Insert) -> Observation:
        start, end = insert.start, insert.end
        return Observation(
            kind=Kind.LEVEL_JUMP,
            start=start,
            end=end,
            peak=start,
            severity=ladder(abs(insert.step), 6.0, 8.0, 11.0, 15.0),
            confidence=float(np.interp(insert.odds, [LIKELY, 5.0], [0.55, 0.9])),
            summary=(
                f"{abs(insert.step):.1f} dB {'louder' if insert.step > 0 else 'quieter'} from one "
                f"moment to the next, in all bands alike, and back after {end - start:.1f} s"
            ),
            evidence={"step_lu": insert.step, "duration_s": end - start},
        )

    def _search(self, side: int) -> list[Observation]:
        """Judge every tenth of a second that has its context."""
        total = np.concatenate([[0.0], np.cumsum(self._energy)])
        hop = max(1, round(0.1 / self._block))
        found: list[Observation] = []
        at = max(self._judged, side)
        while at + side <= len(self._energy):
            self._judged = at + hop
            before = (total[at] - total[at - side]) / side
            after = (total[at + side] - total[at]) / side
            rough = float(lufs(np.array(after)) - lufs(np.array(before)))
            if abs(rough) >= 0.75 * self.settings.min_step:
                place = self._place(at, side)
                step = self._step(place, side)
                time = self._time + place * self._block
                if step is not None and self._inserts.is_gain(time, step[1] > step[0]):
                    found += self._report(place, *step)
                    self._judged = place + side
            at = self._judged
            if at < side:
                break
        return found

    def _place(self, at: int, side: int) -> int:
        """The block at which levels divide best into two, near `at`."""
        cell = max(1, round(FINE / self._block))
        first = max(at - side, 0)
        count = (min(at + side, len(self._energy)) - first) // cell
        level = self._energy[first : first + count * cell].reshape(count, cell).mean(axis=1)
        level = np.maximum(lufs(level), QUIETEST - 10)
        total = np.cumsum(level)
        n = np.arange(1, count)
        left, right = total[:-1] / n, (total[-1] - total[:-1]) / (count - n)
        gain = (left - right) ** 2 * n * (count - n)
        gain[: count // 8] = 0
        gain[-(count // 8) :] = 0
        return int(first + (int(np.argmax(gain)) + 1) * cell)

    def _step(self, place: int, side: int) -> tuple[float, float, float] | None:
        """Loudness before and after, and how far apart the two sides are; None: no clean step."""
        if place < side or place + side > len(self._energy):
            return None
        sides = self._energy[place - side : place], self._energy[place : place + side]
        levels = [_momentary(part, round(MOMENTARY / self._block)) for part in sides]
        gated = []
        for level in levels:
            loud = level[level > _mean(level) - GATE]
            if len(loud) < LIVELY * len(level):
                return None
            gated.append(loud)
        before, after = _mean(gated[0]), _mean(gated[1])
        step = after - before
        if not self.settings.min_step <= abs(step) <= LARGEST or min(before, after) < QUIETEST:
            return None
        louder, quieter = (gated[1], gated[0]) if step > 0 else (gated[0], gated[1])
        apart = float(np.percentile(louder, 20) - np.percentile(quieter, 90))
        if apart < APART:
            return None
        if not self._at_once(place, step):
            return None
        for level in gated:  # neither side is on its way
            half = len(level) // 2
            if abs(_mean(level[half:]) - _mean(level[:half])) > min(SETTLED, abs(step) / 2):
                return None
        return before, after, apart

    def _at_once(self, place: int, step: float) -> bool:
        """Whether the loudest moments just beside a place show most of the step."""
        near, window = round(AT_ONCE / self._block), max(1, round(0.1 / self._block))
        before, after = (
            float(_momentary(self._energy[first : first + near], window).max())
            for first in (place - near, place)
        )
        return float((after - before) * np.sign(step)) >= SHARE * abs(step)

    def _report(self, place: int, before: float, after: float, apart: float) -> list[Observation]:
        time, step = self._time + place * self._block, after - before
        last, self._open = self._open, None
        if last is not None:
            back = last.evidence["step_lu"] * step < 0
            similar = abs(last.evidence["step_lu"] + step) < 0.4 * abs(step)
            if back and similar and time - last.start < RETURN:
                return [
                    Observation(
                        kind=last.kind,
                        start=last.start,
                        end=time,
                        peak=last.start,
                        severity=last.severity,
                        confidence=min(last.confidence + 0.1, 0.95),
                        summary=f"{last.summary}, and back after {time - last.start:.1f} s",
                        evidence=last.evidence,
                    )
                ]
        self._open = Observation(
            kind=Kind.LEVEL_JUMP,
            start=time,
            end=time + self.settings.context,
            peak=time,
            severity=ladder(abs(step), 6.0, 8.0, 11.0, 15.0),
            confidence=float(np.interp(apart, [APART, 6.0], [0.45, 0.75])),
            summary=(
                f"{abs(step):.1f} LU {'louder' if step > 0 else 'quieter'} from one moment to the "
                f"next: {before:.1f} LUFS before, {after:.1f} after"
            ),
            evidence={"step_lu": step, "before_lufs": before, "after_lufs": after},
        )
        return [last] if last is not None else []


def _momentary(energy: Float64, window: int) -> Float64:
    """Momentary loudness that stays within the part, LUFS."""
    total = np.concatenate([[0.0], np.cumsum(energy)])
    return lufs((total[window:] - total[:-window]) / window)


def _mean(level: Float64) -> float:
    """Loudness of the mean power of levels in LUFS."""
    return float(10 * np.log10(np.mean(10 ** (level / 10))))
