"""The sound of clean clips: passages of files, joined, and rid of what recordings bring along."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt

from corpus.sources import SHORTEST, Recipe, RejectedError
from faults.media import Clean
from pipeline.measurements import Float32

EDGE = 0.002  # seconds of fade at a cut: no click, and no hole
_JOIN = 0.05  # seconds of cross-fade between two sounds
QUIETEST = 1e-3  # mean square root of sound that counts as sound, full scale 1.0
_PEAK = 0.98  # of full scale
_SLOWEST = 5.0  # Hz
_SAME = 1e-5  # power of the difference of two channels that carry the same, in shares of theirs


def within_scale(sound: Float32) -> Float32:
    """The sound, lowered where lossy coding has taken it beyond full scale: not clipped."""
    peak = float(np.abs(sound).max(initial=0.0))
    return sound if peak <= _PEAK else (sound * (_PEAK / peak)).astype(np.float32)


def without_offset(sound: Float32, rate: int) -> Float32:
    """The sound without what cannot be heard and some recordings have: a constant, slow drift."""
    slow = butter(2, _SLOWEST, "highpass", fs=rate, output="sos")
    made: Float32 = sosfiltfilt(slow, sound, axis=1).astype(np.float32)
    return made


def one_of_two(sound: Float32) -> Float32:
    """One channel where two carry the same: that is a defect, though a common one."""
    if sound.shape[0] == 2:
        apart = np.square(sound[0] - sound[1]).mean()
        if apart <= _SAME * np.square(sound).mean():
            return sound[:1]
    return sound


def resampled(sound: Float32, rate: int, wanted: int) -> Float32:
    """The sound [C, N] at another rate, both in Hz."""
    if rate == wanted:
        return sound
    ratio = Fraction(wanted, rate)
    made: Float32 = resample_poly(sound, ratio.numerator, ratio.denominator, axis=1).astype(
        np.float32
    )
    return made


def two_channels(sound: Float32) -> Float32:
    """The first two channels of [C, N]."""
    return sound if sound.shape[0] <= 2 else np.ascontiguousarray(sound[:2])


def crossfaded(parts: Sequence[Float32], rate: int) -> Float32:
    """Sounds [C, N] one after the other, each fading into the next."""
    made = parts[0]
    for part in parts[1:]:
        count = min(round(_JOIN * rate), made.shape[1], part.shape[1])
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        mixed = made[:, made.shape[1] - count :] * (1 - ramp) + part[:, :count] * ramp
        made = np.concatenate([made[:, : made.shape[1] - count], mixed, part[:, count:]], axis=1)
    return made


def from_sounds(recipe: Recipe, rng: np.random.Generator) -> tuple[Float32, int]:
    """A passage of the sound files, without silence of its own where there is one."""
    parts = [Clean(path) for path in recipe.sounds]
    rate = parts[0].sample_rate
    alike = [
        p for p in parts if p.sample_rate == rate and p.sound.shape[0] == parts[0].sound.shape[0]
    ]
    sound = two_channels(crossfaded([_trimmed(p.sound, rate) for p in alike], rate))
    want = round(recipe.seconds * rate)
    if sound.shape[1] < SHORTEST * rate:
        raise RejectedError(f"{sound.shape[1] / rate:.1f} s of sound")
    best, best_level = sound[:, :want], -1.0
    for _ in range(12):
        start = int(rng.integers(max(sound.shape[1] - want, 0) + 1))
        part = sound[:, start : start + want]
        quietest = _quietest(part, rate)
        if quietest > best_level:
            best, best_level = part, quietest
        if quietest > 10 * QUIETEST:
            break
    if float(np.sqrt(np.square(best).mean())) < QUIETEST:
        raise RejectedError("there is nothing to hear")
    return best, rate


def _trimmed(sound: Float32, rate: int) -> Float32:
    """Without silence before and after, for files that are joined."""
    loud = np.flatnonzero(np.abs(sound).max(axis=0) > QUIETEST)
    if not loud.size:
        return sound
    around = round(0.05 * rate)
    return sound[:, max(loud[0] - around, 0) : loud[-1] + around]


def _quietest(sound: Float32, rate: int) -> float:
    """Level of the quietest half second."""
    size = rate // 2
    count = sound.shape[1] // size
    if not count:
        return 0.0
    power = np.square(sound[:, : count * size]).mean(axis=0).reshape(count, size).mean(axis=1)
    return float(np.sqrt(power.min()))


def faded(sound: Float32, count: int) -> Float32:
    """The sound, faded in and out over so many samples."""
    sound = sound.copy()
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    sound[:, :count] *= ramp
    sound[:, sound.shape[1] - count :] *= ramp[::-1]
    return sound
