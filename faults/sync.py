"""Sound apart from the picture: by a constant, by more and more, or from a splice on."""

from __future__ import annotations

from typing import cast

import av
import numpy as np

from faults.base import SoundFault
from faults.media import Clean
from faults.truth import Severity
from pipeline.types import Float32, Kind

_FADE = 0.005  # seconds over which sound that was put in fades in and out: no click


class _SyncFault(SoundFault):
    """Needs a picture from which sound can be apart. Offsets are positive where sound is early."""

    mixes = False  # other faults' truth would no longer be where it says

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        if not clean.has_picture:
            return "there is no picture in it"
        return super().obstacle(clean)

    def _drawn(self, name: str) -> float:
        """A value from the range of the ladder, either sign."""
        low, high = (float(self.parameters.pop(f"{name}_{end}")) for end in ("from", "to"))
        return float(self.rng.uniform(low, high) * self.rng.choice((-1, 1)))

    def _fill(self, like: Float32, count: int, rate: int) -> Float32:
        """Sound for a hole: silence, or `like`, repeated and faded. [C, count]"""
        made = np.zeros((like.shape[0], count), np.float32)
        if self.parameters["fill"] == "silence" or not like.shape[1] or not count:
            return made
        made[:] = np.resize(like, (like.shape[0], count)) if like.shape[1] < count else (
            like[:, :count]
        )  # fmt: skip
        ramp = min(round(_FADE * rate), count // 2)
        made[:, :ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
        made[:, count - ramp :] *= np.linspace(1, 0, ramp, dtype=np.float32)
        return made

    def _moved(self, sound: Float32, at: int, offset: float, rate: int) -> Float32:
        """The sound from a sample on, `offset` seconds earlier; as long as before."""
        self.parameters["fill"] = str(self.rng.choice(("silence", "sound")))
        count = min(round(abs(offset) * rate), sound.shape[1] - at)
        moved = sound.copy()
        if offset > 0:
            moved[:, at : sound.shape[1] - count] = sound[:, at + count :]
            hole = self._fill(sound[:, at : at + count], count, rate)
            moved[:, sound.shape[1] - count :] = hole
        else:
            moved[:, at + count :] = sound[:, at : sound.shape[1] - count]
            before = sound[:, max(at - count, 0) : at] if at else sound[:, -count:]
            moved[:, at : at + count] = self._fill(before, count, rate)
        return moved


class AvOffsetFault(_SyncFault):
    """All sound is early or late by a constant."""

    name = "av_offset"
    kind = Kind.AV_OFFSET
    summary = "All sound earlier or later than the picture by a constant"
    whole = True
    also = (Kind.SILENCE, Kind.DROPOUT, Kind.AV_LENGTH_MISMATCH)  # at the end that is left over
    # ITU-R BT.1359-1: detected from +45/-125 ms, accepted up to +90/-185 ms; EBU R37: emission
    # within +40/-60 ms.
    ladder = {
        Severity.VERY_SUBTLE: {"ms_from": 20, "ms_to": 45},
        Severity.SUBTLE: {"ms_from": 60, "ms_to": 125},
        Severity.NOTICEABLE: {"ms_from": 150, "ms_to": 300},
        Severity.VERY_NOTICEABLE: {"ms_from": 400, "ms_to": 2000},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        offset = round(self._drawn("ms"))
        moved = self._moved(sound, 0, offset / 1000, rate)
        self.did(0.0, self.clean.duration, offset_ms=offset)
        return moved


class AvStepFault(_SyncFault):
    """From a splice to the end sound is off by a constant."""

    name = "av_step"
    kind = Kind.AV_STEP
    summary = "Sound off the picture from a splice on"
    lengths = (3.0, 3.0)  # so much must follow the splice; the fault goes on to the end
    also = (Kind.AV_OFFSET, Kind.SILENCE, Kind.DROPOUT, Kind.CLICK, Kind.AV_LENGTH_MISMATCH)
    ladder = AvOffsetFault.ladder  # the same limits hold

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        offset = round(self._drawn("ms"))
        start = self.span(sound, rate).start
        moved = self._moved(sound, start, offset / 1000, rate)
        self.did(start / rate, self.clean.duration, offset_ms=offset)
        return moved


class AvDriftFault(_SyncFault):
    """Sound runs slower or faster than the picture."""

    name = "av_drift"
    kind = Kind.AV_DRIFT
    summary = "Sound that runs away from the picture, as from a wrong sample clock"
    whole = True
    also = (Kind.AV_OFFSET, Kind.SILENCE, Kind.DROPOUT, Kind.AV_LENGTH_MISMATCH)
    # 0.01 % is 360 ms in an hour, 0.1 % what 24 taken for 23.976 makes; proposed, after the range
    # of 0.01 to 0.5 % in research/quality.md S2.
    ladder = {
        Severity.VERY_SUBTLE: {"percent_from": 0.01, "percent_to": 0.03},
        Severity.SUBTLE: {"percent_from": 0.05, "percent_to": 0.1},
        Severity.NOTICEABLE: {"percent_from": 0.15, "percent_to": 0.25},
        Severity.VERY_NOTICEABLE: {"percent_from": 0.35, "percent_to": 0.5},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        self.parameters["fill"] = "silence"
        # samples that are made of `rate` of them: fewer, and sound runs ahead
        steps = self._drawn("percent") / 100 * rate
        made = rate - (round(steps) or (1 if steps > 0 else -1))
        drifted = np.zeros_like(sound)
        for channel in range(sound.shape[0]):
            line = resampled(sound[channel], rate, made)[: sound.shape[1]]
            drifted[channel, : line.size] = line
        share = 1 - made / rate
        length = self.clean.duration
        self.did(
            0.0,
            length,
            drift_percent=100 * share,
            drift_ms_per_hour=3_600_000 * share,
            final_offset_ms=1000 * share * length,
        )
        return drifted


def resampled(line: Float32, rate: int, to: int) -> Float32:
    """One channel at another rate (libswresample): [N] to about [N * to / rate]."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=to)
    frame = av.AudioFrame.from_ndarray(line[None], format="fltp", layout="mono")
    frame.sample_rate = rate
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return cast(Float32, np.concatenate([part.to_ndarray()[0] for part in parts]))
