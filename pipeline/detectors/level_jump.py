"""Level jump: the loudness steps up or down and stays there, as between programme and advert."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.detectors.base import DetectorSettings, SoundDetector, setting
from pipeline.events import Recurring, ladder
from pipeline.measure.loudness import MOMENTARY, channel_weights, lufs
from pipeline.types import (
    Float64,
    Kind,
    Observation,
    Segment,
    SoundFormat,
    SoundStatistics,
    Spectra,
)

QUIETEST = -50.0  # LUFS; what is below belongs to the silence detector
LARGEST = 25.0  # LU; likewise
GATE = 10.0  # LU under the mean of a side: pauses do not count (BS.1770-5)
LIVELY = 0.6  # share of a side that must be above its gate
APART = 1.0  # LU between what the louder side is mostly above and the quieter side mostly below
SETTLED = 3.0  # LU by which the halves of a side may differ, in shares of the step at most a half
FINE = 0.05  # seconds; the grid on which the step is placed
AT_ONCE = 0.5  # seconds just before and just after, that must differ by
SHARE = 0.6  # of the step: a swell of 12 dB over 3 s differs by a sixth
RETURN = 120.0  # seconds within which the level may come back

# An insert that comes back is told from less context: a change of gain shifts every quantile of the
# level of every band alike, and back. Calibrated on 81 steps in 46 development clips, on those
# clips and on 76 look-alikes in them.
BAND_EDGES = 60.0 * 2.0 ** np.arange(9)  # Hz
QUANTILES = (10, 30, 50, 70, 90)  # per cent
NEVER = -80.0  # dBFS in a band: a gate or a codec may have emptied it
LEAST = 8  # quantiles of bands that must have sound
TORN = 0.1  # share of the quantiles of bands that may be silent on one side alone
CELL = 2  # spectra whose mean is one cell, of 43 ms
GRID = 0.1  # seconds between the places that are looked at
CONTEXT, LEAST_CONTEXT = 2.0, 0.9  # seconds on either side of both ends; at the ends of the sound
INSERT = 3.0, 8.0  # seconds
LEAST_INSERT = 6.8  # dB; applause that sets in and ends: 6.6
EITHER = 3.0  # dB that every edge of an insert must show by itself
UNLIKE = 2.0  # the mean deviation of the shifts from their median counts so many times
UNLIKE_SHARE = 0.28  # and is at most this share of the step: clean clips 0.3 up
CLEAR = 3.5  # dB that remain of the step then
SHARP = 0.3  # seconds beside a place in which the level must step
BESIDE = 8  # spectra compared on either side of that step
# Held notes that end at once keep coming: after so many within so many seconds, further ones are of
# the music
RECURRING, MEMORY = 2, 120.0


class LevelJumpSettings(DetectorSettings):
    """Settings of the level jump detector."""

    min_step: float = setting(
        7.5,
        "LU",
        "smallest step that does not come back within 8 s",
        "quality.md A13: 4 to 6 LU; calibrated against music, which steps by 7 LU",
        ge=2,
    )
    context: float = setting(
        4.0, "s", "sound compared on either side", "calibrated on music and speech", ge=2, le=20
    )


@dataclass(frozen=True)
class _Edge:
    """A place where the quantiles of the bands shift."""

    place: int  # cells since the beginning
    shifts: Float64  # [Q, B] dB
    heard: npt.NDArray[np.bool_]  # [Q, B]: those with sound on both sides
    step: float  # median, dB
    sharp: float  # dB, of that step, in the same direction


@dataclass(frozen=True)
class _Insert:
    start: _Edge
    end: _Edge
    step: float
    clear: float


class _Inserts:
    """Finds stretches at another gain, by the bands of the spectra."""

    def __init__(self) -> None:
        self._spectra: Float64 = np.zeros((0, 0))  # [F, B] dB, the latest
        self._dropped = 0  # cells before those
        self._next = 0  # cell that is looked at next
        self._edges: list[_Edge] = []
        self._best: _Insert | None = None
        self._cell = self._time = 0.0

    def seconds(self, edge: _Edge) -> float:
        """Time of an edge."""
        return self._time + edge.place * self._cell

    def add(self, spectra: Spectra) -> list[_Insert]:
        """The inserts that are known after these spectra."""
        if not len(spectra.power):
            return []
        if not self._cell:
            self._cell = CELL * spectra.hop
            self._time = spectra.time + (spectra.window - spectra.hop) / 2
        edges = BAND_EDGES[0.95 * spectra.frequencies[-1] >= BAND_EDGES]
        bins = np.searchsorted(spectra.frequencies, edges)
        power = np.add.reduceat(spectra.power[:, : bins[-1]], bins[:-1], axis=1)
        level = 10 * np.log10(np.maximum(power.astype(np.float64), 1e-12))
        self._spectra = np.concatenate([self._spectra, level]) if len(self._spectra) else level
        found = self._search(round(CONTEXT / self._cell))
        keep = round((CONTEXT + 1.0) / self._cell)
        old = self._next - keep - self._dropped
        if old > 0:
            self._spectra = self._spectra[old * CELL :]
            self._dropped += old
        return found

    def finish(self) -> list[_Insert]:
        """The rest of them."""
        if not self._cell:
            return []
        found = self._search(round(LEAST_CONTEXT / self._cell))
        last, self._best = self._best, None
        return found + ([last] if last is not None else [])

    def _search(self, after: int) -> list[_Insert]:
        count = len(self._spectra) // CELL
        bands = self._spectra.shape[1]
        cells = self._spectra[: count * CELL].reshape(count, CELL, bands).mean(axis=1)
        side, least = round(CONTEXT / self._cell), round(LEAST_CONTEXT / self._cell)
        hop = max(1, round(GRID / self._cell))
        found: list[_Insert] = []
        self._next = max(self._next, least)
        while self._next - self._dropped + after <= count:
            at = self._next - self._dropped
            edge = self._edge(cells[max(0, at - side) : at], cells[at : at + side])
            if edge is not None:
                self._pair(edge)
                self._edges.append(edge)
            self._next += hop
            longest = self._next - round(INSERT[1] / self._cell)
            self._edges = [edge for edge in self._edges if edge.place >= longest]
            best = self._best
            if best is not None and self._next - best.end.place > side:
                found.append(best)
                self._best = None
                self._edges = [edge for edge in self._edges if edge.place >= best.end.place]
        return found

    def _edge(self, before: Float64, after: Float64) -> _Edge | None:
        low, high = _quantiles(before), _quantiles(after)
        shifts, heard = high - low, (low > NEVER) & (high > NEVER)
        # a gain leaves nothing of what is far above where it is silent
        torn = (np.minimum(low, high) <= NEVER) & (np.maximum(low, high) > NEVER + LARGEST)
        if heard.sum() < LEAST or torn.mean() > TORN:
            return None
        step = float(np.median(shifts[heard]))
        if abs(step) < EITHER:
            return None
        near = round(SHARP / self._cell) * CELL + BESIDE
        middle = (self._next - self._dropped) * CELL
        part = self._spectra[max(0, middle - near) : middle + near + 1]
        total = np.cumsum(np.pad(part, ((1, 0), (0, 0))), axis=0)
        means = (total[BESIDE:] - total[:-BESIDE]) / BESIDE
        steps = np.median(means[BESIDE + 1 :] - means[: -BESIDE - 1], axis=1)
        sharp = float((steps * np.sign(step)).max()) if len(steps) else 0.0
        return _Edge(self._next, shifts, heard, step, sharp)

    def _pair(self, end: _Edge) -> None:
        """Look for the start that goes with an end."""
        for start in self._edges:
            seconds = (end.place - start.place) * self._cell
            heard = start.heard & end.heard
            if (
                start.step * end.step > 0
                or not INSERT[0] <= seconds <= INSERT[1]
                or heard.sum() < LEAST
            ):
                continue
            shifts = (start.shifts - end.shifts)[heard] / 2
            step = float(np.median(shifts))
            unlike = float(np.abs(shifts - step).mean())
            weaker = min(abs(start.step), abs(end.step))
            clear = min(abs(step), weaker + 2) - UNLIKE * unlike
            if (
                clear >= CLEAR
                and unlike <= UNLIKE_SHARE * abs(step)
                and LEAST_INSERT <= abs(step) <= LARGEST
                and min(start.sharp, end.sharp) >= SHARE * abs(step)
                and (self._best is None or clear > self._best.clear)
            ):
                self._best = _Insert(start, end, step, clear)


class LevelJumpDetector(SoundDetector):
    """A step of loudness that neither the seconds before nor those after explain.

    Both sides must be settled, and nearly all of the louder one above nearly all of the quieter.
    One defect reaches from a step to the step back; or over the comparison, where none comes.
    """

    name = "level_jump"
    version = "2"
    kinds = (Kind.LEVEL_JUMP,)
    summary = "Loudness steps up or down and stays there, like an advert against the programme"
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
        self._inserts = _Inserts()
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

    def _sort(self, inserts: list[_Insert], now: float) -> list[Observation]:
        """The inserts, and those of the steps that are no part of any."""
        known = [self._insert(insert) for insert in inserts]
        found = [one for one in known if not self._recurring.again(one.start)]
        self._known = [*self._known, *known][-8:]
        wait = 2 * CONTEXT + INSERT[1] + 2.0
        ready = [step for step in self._held if step.end + wait < now]
        self._held = [step for step in self._held if step.end + wait >= now]
        return found + [
            step
            for step in ready
            if not any(step.start < it.end + 1 and step.end > it.start - 1 for it in self._known)
        ]

    def _insert(self, insert: _Insert) -> Observation:
        start, end = self._inserts.seconds(insert.start), self._inserts.seconds(insert.end)
        return Observation(
            kind=Kind.LEVEL_JUMP,
            start=start,
            end=end,
            peak=start,
            severity=ladder(abs(insert.step), 6.0, 8.0, 11.0, 15.0),
            confidence=float(np.interp(insert.clear, [CLEAR, 10.0], [0.55, 0.9])),
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
                if step is not None:
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


def _quantiles(level: Float64) -> Float64:
    """[Q, B] quantiles of each band, as np.percentile has them but without its checks."""
    places = np.array(QUANTILES) / 100 * (len(level) - 1)
    below = places.astype(np.intp)
    rest = (places - below)[:, None]
    ordered = np.sort(level, axis=0)
    return ordered[below] * (1 - rest) + ordered[np.minimum(below + 1, len(level) - 1)] * rest


def _momentary(energy: Float64, window: int) -> Float64:
    """Momentary loudness that stays within the part, LUFS."""
    total = np.concatenate([[0.0], np.cumsum(energy)])
    return lufs((total[window:] - total[:-window]) / window)


def _mean(level: Float64) -> float:
    """Loudness of the mean power of levels in LUFS."""
    return float(10 * np.log10(np.mean(10 ** (level / 10))))
