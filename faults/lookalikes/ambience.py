"""The sound of places: a car, rain, an audience, the sea, a hall."""

from __future__ import annotations

import numpy as np
from scipy import signal

from faults.lookalikes.synthesis import MadeSound, add, envelope, harmonic, panned, room
from faults.sound import level
from pipeline.measurements import Float64
from pipeline.types import Kind


class Engine(MadeSound):
    """A motor from inside the car: lines that follow its speed, and the noise of the road."""

    name = "engine"
    summary = "A drone of changing pitch around 50 Hz"
    resembles = (Kind.HUM, Kind.HISS, Kind.TEST_TONE, Kind.DC_OFFSET)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        knots = np.arange(int(count / rate) + 3)
        speed = 52 + np.cumsum(self.rng.normal(0, 4, len(knots)))
        time = np.arange(count) / rate
        pitch = np.interp(time, knots, np.clip(speed, 35, 75))
        pitch *= 1 + 0.004 * np.sin(2 * np.pi * 7 * time)  # no two turns are alike
        drone = harmonic(pitch, np.array([1, 0.8, 0.3, 0.5, 0.1, 0.3]), rate)
        share = float(np.exp(-2 * np.pi * 300 / rate))
        road = room(channels, count, rate, self.rng, 0)
        road = signal.lfilter([1 - share], [1, -share], road, axis=1) * (pitch / 52) ** 2
        b, a = signal.butter(1, 20, "high", fs=rate)  # microphones pass no DC
        road = signal.lfilter(b, a, road, axis=1)
        mixed: Float64 = panned(drone, channels, self.rng) + 0.8 * road
        return mixed


class Rain(MadeSound):
    """Rain that comes and goes: noise with single drops in it."""

    name = "rain"
    summary = "Rain that swells and ceases"
    resembles = (Kind.HISS, Kind.CLICK, Kind.SILENCE, Kind.LEVEL_JUMP)
    peak = 0.35

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        time = np.arange(count) / rate
        period, begin = self.rng.uniform(6, 12), self.rng.uniform(0, 2 * np.pi)
        swell = 1 + 0.6 * np.sin(2 * np.pi * time / period + begin)
        out = self.rng.normal(0, 0.05, (channels, count)) * swell
        drops = self.rng.integers(0, count, int(60 * count / rate))
        for at in drops:
            drop = np.arange(int(0.006 * rate)) / rate
            tone = min(self.rng.uniform(1500, 7000), 0.4 * rate)
            splash = np.sin(2 * np.pi * tone * drop) * np.exp(-drop / 0.0012)
            splash *= np.minimum(drop / 0.0004, 1) * self.rng.exponential(0.1) * swell[at]
            add(out, int(at), panned(splash, channels, self.rng))
        b, a = signal.butter(1, min(6000, 0.4 * rate), fs=rate)
        shaped: Float64 = signal.lfilter(b, a, out, axis=1)
        return shaped


class Applause(MadeSound):
    """An audience that begins to clap and stops: thousands of hands."""

    name = "applause"
    summary = "Applause that rises and dies away"
    hall = 1.0, -8.0
    resembles = (Kind.HISS, Kind.CLICK, Kind.DISTORTION, Kind.LEVEL_JUMP)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        time = np.arange(int(0.03 * rate)) / rate
        hands = []
        for _ in range(40):
            b, a = signal.iirpeak(min(self.rng.uniform(700, 2600), 0.4 * rate), 1.5, rate)
            clap = self.rng.normal(0, 1, len(time)) * np.exp(-time / 0.004)
            hands.append(signal.lfilter(b, a, clap * np.minimum(time / 0.0005, 1)))
        # 300 people, who clap three times a second each when all of them do
        places = np.interp(
            self.rng.uniform(0, 1, int(600 * count / rate)), [0, 0.1, 0.9, 1], [0, 0.25, 0.75, 1]
        )
        for place in places:
            hand = hands[int(self.rng.integers(len(hands)))] * self.rng.uniform(0.1, 1)
            add(out, int(place * count), panned(hand, channels, self.rng))
        return out


class Sea(MadeSound):
    """Waves on a beach: noise that rises over seconds and becomes brighter as it does."""

    name = "sea"
    summary = "Breaking waves"
    resembles = (Kind.HISS, Kind.SILENCE, Kind.LEVEL_JUMP, Kind.BANDWIDTH_LOSS)
    peak = 0.5

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        noise = self.rng.normal(0, 1, (channels, count))
        dull = room(channels, count, rate, self.rng, 0)
        time = np.arange(count) / rate
        period = self.rng.uniform(4, 6)
        phase = (time / period + self.rng.uniform()) % 1
        wave = np.interp(phase, [0, 0.35, 0.45, 1], [0.03, 0.3, 1, 0.03])
        return dull * np.sqrt(wave) * 0.3 + noise * wave**2 * 0.3


class WideAmbience(MadeSound):
    """Two microphones far apart in a hall: channels that have nothing in common."""

    name = "wide_ambience"
    summary = "Decorrelated ambience, some of it in opposite phase"
    hall = 1.5, -6.0
    resembles = (Kind.PHASE_INVERSION, Kind.DEAD_CHANNEL, Kind.HISS)
    peak = 0.4

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        for _ in range(int(5 * count / rate) + 1):
            length = int(self.rng.uniform(0.8, 2.5) * rate)
            at = int(self.rng.integers(-length // 2, count))
            frequency = 110 * 2 ** (self.rng.integers(0, 36) / 12)
            for channel in range(channels):  # each hears other reflections
                pitch = np.full(length, frequency * (1 + self.rng.normal(0, 0.002)))
                tone = harmonic(pitch, self.rng.normal(0, 1, 6) * 0.6 ** np.arange(6.0), rate)
                tone *= envelope(length, rate, 0.2, 0.4) * self.rng.uniform(0.3, 1)
                skip = max(-at, 0)
                add(out[channel], max(at, 0), tone[skip:])
        return out + room(channels, count, rate, self.rng, level(out) - 38)
