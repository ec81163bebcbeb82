"""What a mix does to a programme: pauses, fades, dark and loud masters."""

from __future__ import annotations

import numpy as np
from scipy import signal

from faults.lookalikes.base import SoundLookalike
from faults.lookalikes.synthesis import room
from faults.sound import amplitude, level
from pipeline.measurements import Float32
from pipeline.types import Kind


class Pause(SoundLookalike):
    """An artist's pause: the sound dies away into the tone of the room, and begins again."""

    name = "pause"
    summary = "The sound fades into room tone for two seconds"
    resembles = (Kind.SILENCE, Kind.DROPOUT, Kind.LEVEL_JUMP, Kind.DEAD_CHANNEL)

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundLookalike."""
        count = sound.shape[1]
        length = min(self.rng.uniform(1.6, 2.4), 0.4 * count / rate)
        start = self.rng.uniform(0.2, 0.9 - length * rate / count) * count / rate
        away, again = self.rng.uniform(0.25, 0.7), self.rng.uniform(0.03, 0.12)
        time = np.arange(count) / rate
        dying = 10 ** (-3 * np.clip((time - start) / away, 0, 1) ** 1.2)  # a tail of 60 dB
        coming = np.clip((time - start - length) / again, 0, 1) ** 2
        gain = np.where(time < start + length, dying, np.maximum(coming, 1e-3))
        quiet = room(sound.shape[0], count, rate, self.rng, level(sound) - 42)
        out: Float32 = (sound * gain + quiet).astype(np.float32)
        return out


class Fade(SoundLookalike):
    """The programme fades in from nothing at its start and out to nothing at its end."""

    name = "fade"
    summary = "Fade in and fade out, to digital zero"
    resembles = (Kind.SILENCE, Kind.LEVEL_JUMP, Kind.DROPOUT)

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundLookalike."""
        count = sound.shape[1]
        longest = min(2.5 * rate, count / 3)
        begin, end = (int(share * longest) for share in self.rng.uniform(0.3, 1, 2))
        gain = np.ones(count)
        gain[:begin] = np.linspace(0, 1, begin) ** 2
        gain[count - end :] = np.linspace(1, 0, end) ** 2
        out: Float32 = (sound * gain).astype(np.float32)
        return out


class WarmMusic(SoundLookalike):
    """An old record or a dark mix: the treble falls away gently, all through."""

    name = "warm_music"
    summary = "The programme with 12 dB an octave less from 2.5 kHz on"
    resembles = (Kind.BANDWIDTH_LOSS, Kind.HISS)

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundLookalike."""
        corner = min(self.rng.uniform(2000, 3500), 0.3 * rate)
        b, a = signal.butter(2, corner, fs=rate)
        dull = signal.lfilter(b, a, sound, axis=1)
        dull += room(sound.shape[0], sound.shape[1], rate, self.rng, level(sound) - 50)
        out: Float32 = dull.astype(np.float32)
        return out


class LoudMusic(SoundLookalike):
    """A loud master: compressed, and its peaks rounded by a limiter with a soft knee.

    The limiter follows the peaks within a millisecond and lets none be flat.
    """

    name = "loud_music"
    summary = "The programme 10 to 14 dB louder, limited near full scale without flat tops"
    resembles = (Kind.CLIPPING, Kind.DISTORTION, Kind.LEVEL_JUMP)
    excused = (Kind.LOUDNESS, Kind.TRUE_PEAK)

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundLookalike."""
        peak = max(float(np.abs(sound).max()), 1e-6)
        raised = sound / peak * amplitude(self.rng.uniform(10, 14))
        # level over 2 ms before and after, so that the gain moves slower than the wave
        window = max(3, int(0.004 * rate)) | 1
        highest = np.abs(raised).max(axis=0)
        held = np.lib.stride_tricks.sliding_window_view(
            np.pad(highest, window // 2, mode="edge"), window
        ).max(axis=1)
        smooth = signal.windows.hann(window + 2)[1:-1]
        held = np.convolve(
            np.pad(held, window // 2, mode="edge"), smooth / smooth.sum(), mode="valid"
        )
        ceiling = amplitude(self.rng.uniform(-0.8, -0.3))
        gain = 1 / (1 + held**4) ** 0.25  # a knee of about 6 dB, never above 1
        out: Float32 = np.clip(raised * gain * ceiling, -1, 1).astype(np.float32)
        return out
