"""Sound apart from the picture: by a constant, by more and more, or from a splice on."""

from __future__ import annotations

from typing import cast

import av
import numpy as np

from faults.base import FaultError, SoundFault
from faults.media import Clean
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

_FASTEST = 0.08  # of the speed, by which sound may drift: twice what 25 taken for 24 makes
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

    def _drawn(self) -> float:
        """Milliseconds from the ranges of the ladder, either sign: positive is early."""
        sign = int(self.rng.choice((-1, 1)))
        ranges = {
            name: float(self.parameters.pop(name)) for name in list(self.parameters) if "_" in name
        }
        side = "early" if sign > 0 else "late"
        return sign * float(self.rng.uniform(ranges[f"{side}_from"], ranges[f"{side}_to"]))

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
    # ITU-R BT.1359-1: detected from +45/-125 ms, accepted up to +90/-185 ms.
    ladder = {
        Severity.VERY_SUBTLE: {"early_from": 45, "early_to": 90, "late_from": 125, "late_to": 185},
        Severity.SUBTLE: {"early_from": 95, "early_to": 130, "late_from": 190, "late_to": 240},
        Severity.NOTICEABLE: {"early_from": 150, "early_to": 300, "late_from": 250, "late_to": 380},
        Severity.VERY_NOTICEABLE: {
            "early_from": 400, "early_to": 2000, "late_from": 400, "late_to": 2000,
        },
    }  # fmt: skip

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        offset = round(self._drawn())
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
        offset = round(self._drawn())
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
    # By how much sound is off in the end; the same limits hold. A short asset drifts fast.
    ladder = {
        **AvOffsetFault.ladder,
        Severity.VERY_NOTICEABLE: {
            "early_from": 330, "early_to": 430, "late_from": 400, "late_to": 430,
        },
    }  # fmt: skip

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        self.parameters["fill"] = "silence"
        # samples that are made of `rate` of them: fewer, and sound runs ahead
        share = self._drawn() / 1000 / max(self.clean.duration, 1e-6)
        if abs(share) > _FASTEST:
            raise FaultError("av_drift: in so short an asset sound would have to run too fast")
        steps = share * rate
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
