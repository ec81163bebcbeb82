"""How sound is made from nothing: tones, envelopes, places in the stereo image, rooms."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from scipy import signal

from faults.lookalikes.base import SoundLookalike
from faults.sound import amplitude
from pipeline.measurements import Float32, Float64

ROOM = -66.0  # dBFS of the quiet of a room, as a microphone hears it
PEAK = 0.7  # of full scale, what made sound is brought to


class MadeSound(SoundLookalike):
    """Sound that is made from nothing and takes the place of the programme."""

    peak: ClassVar[float] = PEAK
    # Seconds in which the reverberation of the place falls by 60 dB, and its level against the
    # direct sound in dB; None: a dry studio, or no place at all.
    hall: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def make(self, channels: int, count: int, rate: int) -> Float64:
        """The sound [channels, count], at any level."""

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundLookalike."""
        channels, count = sound.shape
        made = self.make(channels, count, rate)
        if self.hall is not None:
            made = reverberant(made, rate, self.rng, *self.hall)
        made = self.peak * made / max(float(np.abs(made).max()), 1e-9)
        made += room(channels, count, rate, self.rng)
        out: Float32 = np.clip(made, -1, 1).astype(np.float32)
        return out


def room(
    channels: int, count: int, rate: int, rng: np.random.Generator, dbfs: float = ROOM
) -> Float64:
    """Noise of a quiet room: it falls by 6 dB an octave from 500 Hz on."""
    share = float(np.exp(-2 * np.pi * 500 / rate))
    noise = signal.lfilter([1 - share], [1, -share], rng.normal(0, 1, (channels, count)), axis=1)
    noise *= amplitude(dbfs) / max(float(np.sqrt(np.square(noise).mean())), 1e-12)
    out: Float64 = noise
    return out


def reverberant(
    sound: Float64, rate: int, rng: np.random.Generator, seconds: float, dbfs: float
) -> Float64:
    """The sound in a place: decaying noise as impulse response, of its own in every channel."""
    time = np.arange(max(2, int(seconds * rate))) / rate
    tail = rng.normal(0, 1, (sound.shape[0], len(time))) * 10 ** (-3 * time / seconds)
    tail *= time > 0.004  # the first walls are a metre or two away
    tail *= amplitude(dbfs) / np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    out: Float64 = sound + signal.oaconvolve(sound, tail, axes=1)[:, : sound.shape[1]]
    return out


def panned(mono: Float64, channels: int, rng: np.random.Generator) -> Float64:
    """One voice in all channels, at a place of its own: levels differ by up to 6 dB."""
    gains = 10 ** (rng.uniform(-6, 0, (channels, 1)) / 20)
    out: Float64 = gains * mono[None]
    return out


def envelope(
    count: int, rate: int, attack: float, release: float, decay: float = np.inf
) -> Float64:
    """From 0 to 1 in `attack` seconds, by 60 dB down in the last `release`; `decay` between."""
    time = np.arange(count) / rate
    rise = np.minimum(time / attack, 1)
    fall = np.clip(1 - (count / rate - time) / release, 0, 1)
    out: Float64 = np.sin(np.pi / 2 * rise) ** 2 * 10 ** (-3 * fall) * np.exp(-time / decay)
    return out


def harmonic(pitch: Float64, weights: Float64, rate: int) -> Float64:
    """A tone whose frequency is `pitch` at each sample, with overtones below 0.45 of the rate."""
    turns = 2 * np.pi * np.cumsum(pitch) / rate
    out = np.zeros(len(pitch))
    for number, weight in enumerate(weights, 1):
        if number * pitch.max() < 0.45 * rate:
            out += weight * np.sin(number * turns)
    return out


def add(out: Float64, at: int, part: Float64) -> None:
    """Add a part to [N] or [C, N], as far as it fits."""
    fits = max(min(part.shape[-1], out.shape[-1] - at), 0)
    out[..., at : at + fits] += part[..., :fits]
