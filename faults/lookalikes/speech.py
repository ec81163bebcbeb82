"""Speech: plosives, conversations, close microphones."""

from __future__ import annotations

import numpy as np
from scipy import signal

from faults.lookalikes.synthesis import MadeSound, add, envelope, panned
from faults.sound import amplitude
from pipeline.measurements import Float64
from pipeline.types import Kind


def glottal(pitch: Float64, rate: int) -> Float64:
    """The flow through vocal folds (Rosenberg 1971: open 60 % of the time), differentiated."""
    turn = np.cumsum(pitch) / rate % 1
    opening = 0.5 * (1 - np.cos(np.pi * turn / 0.4))
    closing = np.cos(np.pi / 2 * (turn - 0.4) / 0.2)
    flow = np.where(turn < 0.4, opening, np.where(turn < 0.6, closing, 0.0))
    out: Float64 = np.diff(flow, prepend=0.0)
    return out


def _resonant(source: Float64, formants: Float64, rate: int) -> Float64:
    out = np.zeros(len(source))
    for frequency in formants[formants < 0.45 * rate]:
        b, a = signal.iirpeak(frequency, frequency / 90, rate)
        out += signal.lfilter(b, a, source)
    return out


def speech(
    count: int, rate: int, rng: np.random.Generator, pitch: float = 120.0, stops: bool = False
) -> Float64:
    """Syllables of a voice: vowels through three formants, fricatives, pauses between phrases.

    With `stops` every syllable begins with a plosive: a closure of 40 to 90 ms, then a burst.
    """
    out = np.zeros(count)
    at = int(0.05 * rate)
    phrase = int(rng.integers(4, 9))
    while at < count:
        length = int(rng.uniform(0.12, 0.28) * rate)
        part = np.arange(length)
        glide = pitch * (1 + 0.15 * np.cos(np.pi * part / length)) * rng.uniform(0.9, 1.1)
        pulses = glottal(glide, rate)
        formants = np.array(
            [rng.uniform(280, 800), rng.uniform(900, 2200), rng.uniform(2300, 3200)]
        )
        vowel = _resonant(pulses + 0.01 * rng.normal(0, 1, length), formants, rate)
        vowel /= max(float(np.abs(vowel).max()), 1e-9)
        vowel *= envelope(length, rate, 0.005 if stops else 0.03, 0.04) * rng.uniform(0.5, 1)
        if stops:
            burst = int(0.012 * rate)
            noise = rng.normal(0, 0.15, burst) * np.exp(-np.arange(burst) / (0.004 * rate))
            at += int(rng.uniform(0.04, 0.09) * rate)
            add(out, at, noise)
            at += burst
        elif rng.random() < 0.5:
            hiss = np.diff(rng.normal(0, 0.04, int(rng.uniform(0.05, 0.12) * rate)), prepend=0.0)
            add(out, at, hiss * np.hanning(len(hiss)))
            at += int(0.8 * len(hiss))
        add(out, at, vowel)
        at += length
        phrase -= 1
        if not phrase:
            at += int(rng.uniform(0.25, 0.6) * rate)
            phrase = int(rng.integers(4, 9))
    return out


class Stops(MadeSound):
    """Speech full of plosives, whose closures are as silent as the room."""

    name = "stops"
    summary = "Speech with closures of 40 to 90 ms before plosives"
    hall = 0.2, -20.0
    resembles = (Kind.DROPOUT, Kind.CLICK, Kind.SILENCE, Kind.DISTORTION)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        voice = speech(count, rate, self.rng, self.rng.uniform(95, 220), stops=True)
        return panned(voice, channels, self.rng)


class Speakers(MadeSound):
    """A conversation: one near the microphone, one 8 to 11 dB quieter, turn by turn."""

    name = "speakers"
    summary = "Two speakers, one of them 10 dB quieter"
    hall = 0.3, -16.0
    resembles = (Kind.LEVEL_JUMP, Kind.SILENCE, Kind.DROPOUT)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        near = panned(speech(count, rate, self.rng, 115), channels, self.rng)
        far = panned(speech(count, rate, self.rng, 205), channels, self.rng)
        near, far = near / level_of(near), far / level_of(far)
        quieter = amplitude(-self.rng.uniform(8, 11))
        out = np.zeros((channels, count))
        at, first = 0, True
        while at < count:
            length = int(self.rng.uniform(1.2, 3.0) * rate)
            stop = min(at + length, count)
            part = envelope(stop - at, rate, 0.05, 0.08)
            out[:, at:stop] = (near if first else quieter * far)[:, at:stop] * part
            at, first = stop + int(self.rng.uniform(0.1, 0.35) * rate), not first
        return out


def level_of(sound: Float64) -> float:
    """RMS, never zero."""
    return max(float(np.sqrt(np.square(sound).mean())), 1e-9)


class LipNoise(MadeSound):
    """A speaker too close to the microphone: breath that thumps it, and the smacking of lips."""

    name = "lip_noise"
    summary = "Close speech with plosive thumps and lip noise"
    hall = 0.15, -24.0
    resembles = (Kind.CLICK, Kind.DC_OFFSET, Kind.DROPOUT, Kind.HUM)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        voice = speech(count, rate, self.rng, self.rng.uniform(95, 200))
        voice /= max(float(np.abs(voice).max()), 1e-9)
        for _ in range(int(0.8 * count / rate) + 1):
            length = int(self.rng.uniform(0.04, 0.1) * rate)
            time = np.arange(length) / rate
            thump = np.sin(2 * np.pi * self.rng.uniform(20, 60) * time) * np.exp(-time / 0.02)
            thump *= envelope(length, rate, 0.004, 0.02) * self.rng.uniform(0.3, 0.9)
            add(voice, int(self.rng.integers(count)), thump)
        for _ in range(int(1.5 * count / rate) + 1):
            # a smack is a few milliseconds of ringing in the mouth, 35 to 45 dB below the voice
            time = np.arange(int(0.008 * rate)) / rate
            tone = min(self.rng.uniform(1200, 4000), 0.4 * rate)
            smack = np.sin(2 * np.pi * tone * time) * np.exp(-time / 0.0015)
            smack *= np.minimum(time / 0.0003, 1) * amplitude(-self.rng.uniform(35, 45))
            add(voice, int(self.rng.integers(count)), smack)
        return panned(voice, channels, self.rng)
