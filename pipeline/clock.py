"""The presentation clock: container timestamps to seconds from the start of the asset.

Timestamps wrap (MPEG-TS after 26.5 hours), jump where programmes were joined, and miss frames. A
jump moves the clock of all streams by the same amount, so that picture and sound keep their
relation; each stream passes to the new clock when its own timestamps do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from pipeline.measurements import Note

JUMP = (
    10.0  # seconds forward that are a new clock, not missing media; as FFmpeg's dts_delta_threshold
)
LEAP = 0.25  # seconds forward that are one, too, where a discontinuity is announced
WRAP = 2**33 / 90_000  # seconds until MPEG-TS and MPEG-PS timestamps start again
SOUND_GAP = 0.020  # seconds; smaller steps are rounding and jitter of the container
SOUND_BACK = 0.050  # seconds; likewise backwards: Vorbis frames may be 3 ms, their times rounder
FIRST = 60.0  # seconds; a first timestamp further from the declared start is taken for absurd
OVERLAP = 2.0  # seconds that a stream may reach into a new clock before the others
EPOCHS = 4  # newest clocks that a stream may pass to
STEADY = 3  # frames of sound without a gap before one counts: some decoders lose a share of each
FOLLOW = 0.05  # share of the difference by which a sound clock follows its timestamps


@dataclass
class _Track:
    epoch: int
    raw: float  # unwrapped, of the last item
    last: float  # presentation time of the last item
    expected: float  # when the next one is due
    steady: int = 0  # items since the last gap
    catching_up: bool = False  # just passed to a new clock, and still before `expected`


@dataclass
class Placed:
    """Where an item belongs."""

    time: float
    notes: list[Note] = field(default_factory=list)
    late: float = 0.0  # seconds of it that lie before what was already handed on


class Clock:
    """Places the items of all streams of one asset on one time line."""

    def __init__(
        self,
        origin: float,
        wraps: frozenset[int] = frozenset(),
        announced: Callable[[float], bool] | None = None,
    ) -> None:
        """Start at container time `origin`; the streams in `wraps` have 33-bit timestamps.

        `announced` tells of a timestamp whether its stream may jump there.
        """
        self._offsets = [-origin]
        self._announced = announced
        self._wraps = wraps
        self._tracks: dict[int, _Track] = {}
        self._newest: float | None = None  # raw, of any stream that wraps
        self.reach = 0.0  # end of the latest item so far

    def expected(self, stream: int) -> float:
        """When the next item of a stream is due; the reach of the asset before its first."""
        track = self._tracks.get(stream)
        return self.reach if track is None else track.expected

    def guess(self, stream: int, raw: float | None) -> float:
        """The presentation time of a packet, without remembering it."""
        track = self._tracks.get(stream)
        if track is None or raw is None:
            return self.expected(stream)
        time = self._unwrap(stream, raw) + self._offsets[track.epoch]
        return time if abs(time - track.expected) < JUMP else track.expected

    def presentation(self, raw: float) -> float:
        """The presentation time of a timestamp of any stream, by the newest clock."""
        if self._newest is not None:
            raw += WRAP * round((self._newest - raw) / WRAP)
        return raw + self._offsets[-1]

    def raw(self, time: float) -> float:
        """The timestamp that a presentation time has by the newest clock, before it wraps."""
        raw = time - self._offsets[-1]
        return raw % WRAP if self._wraps else raw

    def picture(self, stream: int, raw: float | None, duration: float) -> Placed:
        """Place a frame of `duration` seconds; `raw` is its timestamp in seconds.

        A frame that is `late` was overtaken by the clock and must not be handed on.
        """
        placed = self._place(stream, raw, duration)
        track = self._tracks[stream]
        if placed.late <= duration / 2:  # rounding
            placed.late = 0.0
            if placed.time <= track.last:  # equal or slightly disordered
                placed.time = track.last + duration / 100
            self._advance(track, placed.time, duration)
        return placed

    def sound(self, stream: int, raw: float | None, duration: float) -> Placed:
        """Place `duration` seconds of samples, and note a gap before them.

        The first `late` seconds of them must not be handed on; `time` is of what remains.
        """
        placed = self._place(stream, raw, max(duration, SOUND_BACK))
        track = self._tracks[stream]
        step = placed.time - track.expected
        if placed.late <= 0:
            if step > SOUND_GAP:
                if track.steady >= STEADY:
                    said = f"{step:.3f} s of sound are missing"
                    placed.notes.append(Note("gap", track.expected, stream, said, step))
                track.steady = 0
            else:
                track.steady += 1
                placed.time = track.expected + FOLLOW * step
        if placed.late > 0:
            placed.time = track.expected
        self._advance(track, placed.time, duration - placed.late)
        return placed

    def _advance(self, track: _Track, time: float, duration: float) -> None:
        track.last = time
        track.expected = time + max(duration, 0.0)
        self.reach = max(self.reach, track.expected)

    def _unwrap(self, stream: int, raw: float) -> float:
        if stream not in self._wraps:
            return raw
        track = self._tracks.get(stream)
        near = self._newest if track is None else track.raw
        return raw if near is None else raw + WRAP * round((near - raw) / WRAP)

    def _place(self, stream: int, raw: float | None, back: float) -> Placed:
        track = self._tracks.get(stream)
        if raw is None:
            if track is None:
                self._tracks[stream] = _Track(
                    len(self._offsets) - 1,
                    self.reach - self._offsets[-1],
                    float("-inf"),
                    self.reach,
                )
                return Placed(self.reach)
            return Placed(track.expected)
        raw = self._unwrap(stream, raw)
        if stream in self._wraps:
            self._newest = raw
        if track is None:
            return Placed(self._begin(stream, raw))
        track.raw = raw
        time = raw + self._offsets[track.epoch]
        if track.catching_up:
            track.catching_up = time < track.expected
            if -OVERLAP <= time - track.expected < 0:
                return Placed(time, late=track.expected - time)
        leaps = time - track.expected > LEAP and self._is_announced(raw)
        if not leaps and time - track.expected <= JUMP and time >= track.last - back:
            return Placed(time)
        for epoch in range(max(track.epoch + 1, len(self._offsets) - EPOCHS), len(self._offsets)):
            moved = raw + self._offsets[epoch]
            if -OVERLAP <= moved - track.expected <= JUMP:
                track.epoch = epoch
                track.catching_up = moved < track.expected
                return Placed(moved, late=max(track.expected - moved, 0.0))
        step = time - track.expected
        self._offsets.append(track.expected - raw)
        track.epoch = len(self._offsets) - 1
        if self._is_announced(raw):
            return Placed(track.expected)
        said = f"timestamps jump {'forward' if step > 0 else 'back'} by {abs(step):.3f} s"
        return Placed(track.expected, [Note("jump", track.expected, stream, said, step)])

    def _is_announced(self, raw: float) -> bool:
        return self._announced is not None and self._announced(raw)

    def _begin(self, stream: int, raw: float) -> float:
        time = raw + self._offsets[-1]
        if not -1.0 <= time <= self.reach + FIRST:
            self._offsets.append(self.reach - raw)
            time = self.reach
        self._tracks[stream] = _Track(len(self._offsets) - 1, raw, float("-inf"), time)
        return time


class Cadence:
    """Learns the frame interval of a video stream, and sees where frames are missing.

    A gap counts only in a stream that was steady before it and is so after it: screen recordings
    and phones leave frames out at will.
    """

    WINDOW = 48  # intervals remembered
    LEARN = 12  # intervals before anything is said
    RATE = 24  # exact intervals that are a frame rate: a cut may come a second after the start
    CONFIRM = 3  # intervals after a gap, most of which must be as before
    STEADY = 0.9  # share of intervals that agree with the median
    ROUNDING = 0.0011  # seconds; Matroska and FLV round to milliseconds
    JITTER = 0.15  # of the interval: cameras that stamp frames by their own clock
    EXACT_GAP, JITTERY_GAP = 1.5, 3.2  # intervals between two frames that are a gap
    OTHER_RATE = 0.1  # relative difference that makes another frame rate

    def __init__(self, stream: int, tick: float) -> None:
        self._stream = stream
        self._exact = max(1.5 * tick, self.ROUNDING)
        self._steps: deque[float] = deque(maxlen=self.WINDOW)
        self._last: float | None = None
        self._known = 0  # frames since the interval was worked out
        self.interval: float | None = None  # seconds, None: not steady
        self._is_exact = False
        self._rate: float | None = None  # the exact rate last seen, frames per second
        self._pending: list[tuple[Note, float, list[float]]] = []

    def add(self, time: float) -> list[Note]:
        """Take the time of the next frame; returns what is now certain."""
        if self._last is None:
            self._last = time
            return []
        step, before = time - self._last, self._last
        self._last = time
        notes = self._settle(step) if self._pending else []
        interval = self.interval
        if interval is not None and step > 1.4 * interval:
            slack = self._exact if self._is_exact else 0.0
            limit = self.EXACT_GAP if self._is_exact else self.JITTERY_GAP
            if step + slack > limit * interval and step < JUMP:
                missing = step - interval
                said = f"{missing:.3f} s of picture ({missing / interval:.1f} frames) are missing"
                note = Note("gap", before + interval, self._stream, said, missing)
                self._pending.append((note, interval, []))
        self._steps.append(step)
        self._known += 1
        if self._known >= 6 and len(self._steps) >= self.LEARN:
            self._known = 0
            notes += self._learn(time)
        return notes

    def restart(self, time: float) -> None:
        """The clock jumped: the step to this frame says nothing."""
        self._last = time

    def finish(self) -> list[Note]:
        """End of the stream: gaps that nothing has contradicted."""
        return [
            note
            for note, interval, after in self._pending
            if after and self._agrees(interval, after)
        ]

    def _agrees(self, interval: float, after: list[float]) -> bool:
        tolerance = max(self._exact, self.JITTER * interval)
        return 3 * sum(abs(s - interval) <= tolerance for s in after) >= 2 * len(after)

    def _settle(self, step: float) -> list[Note]:
        notes, waiting = [], []
        for note, interval, after in self._pending:
            after.append(step)
            if len(after) < self.CONFIRM:
                waiting.append((note, interval, after))
            elif self._agrees(interval, after):
                notes.append(note)
        self._pending = waiting
        return notes

    def _learn(self, now: float) -> list[Note]:
        steps = list(self._steps)
        middle = median(steps)
        needed = self.STEADY * len(steps)
        self._is_exact = sum(abs(s - middle) <= self._exact for s in steps) >= needed
        loose = max(self._exact, self.JITTER * middle)
        steady = self._is_exact or sum(abs(s - middle) <= loose for s in steps) >= needed
        self.interval = middle if steady else None
        if not self._is_exact or len(steps) < self.RATE or middle <= 0:
            return []
        # the mean is finer than the rounded steps
        like = [abs(s - middle) <= self._exact for s in steps]
        mean = sum(s for s, same in zip(steps, like, strict=True) if same) / sum(like)
        rate, before = 1 / mean, self._rate
        self._rate = rate
        if before is None or abs(rate / before - 1) <= self.OTHER_RATE:
            return []
        since = now - sum(steps[like.index(True) :])
        said = f"frame rate changes from {before:.3f} to {rate:.3f} frames per second"
        return [Note("format_change", since, self._stream, said, rate)]
