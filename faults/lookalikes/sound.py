"""Look-alikes in sound: what programmes rightly do and what resembles a defect."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from scipy import signal

from faults.lookalikes.base import SoundLookalike
from faults.sound import amplitude, level
from pipeline.types import Float32, Float64, Kind

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


def vibrato(count: int, rate: int, frequency: float, cents: float, speed: float) -> Float64:
    """A pitch that swings about a frequency."""
    swing = np.sin(2 * np.pi * speed * np.arange(count) / rate)
    out: Float64 = frequency * 2 ** (cents / 1200 * swing)
    return out


def square(pitch: Float64, rate: int) -> Float64:
    """A square wave as a chip makes it: hard edges on the grid of samples."""
    out: Float64 = np.where(np.cumsum(pitch) / rate % 1 < 0.5, 1.0, -1.0)
    return out


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
            _add(out, at, noise)
            at += burst
        elif rng.random() < 0.5:
            hiss = np.diff(rng.normal(0, 0.04, int(rng.uniform(0.05, 0.12) * rate)), prepend=0.0)
            _add(out, at, hiss * np.hanning(len(hiss)))
            at += int(0.8 * len(hiss))
        _add(out, at, vowel)
        at += length
        phrase -= 1
        if not phrase:
            at += int(rng.uniform(0.25, 0.6) * rate)
            phrase = int(rng.integers(4, 9))
    return out


def _add(out: Float64, at: int, part: Float64) -> None:
    """Add a part to [N] or [C, N], as far as it fits."""
    fits = max(min(part.shape[-1], out.shape[-1] - at), 0)
    out[..., at : at + fits] += part[..., :fits]


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


class Staccato(MadeSound):
    """Short notes of bowed or blown instruments, with the room between them."""

    name = "staccato"
    summary = "Short notes with rests between them"
    hall = 0.5, -14.0
    resembles = (Kind.DROPOUT, Kind.SILENCE, Kind.CLICK)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        beat = self.rng.uniform(0.16, 0.3)
        for start in np.arange(0.1, count / rate, beat):
            if self.rng.random() < 0.12:
                continue
            length = int(beat * self.rng.uniform(0.4, 0.7) * rate)
            pitch = 196 * 2 ** (self.rng.integers(0, 20) / 12)
            note = harmonic(np.full(length, pitch), 0.7 ** np.arange(12.0), rate)
            note *= envelope(length, rate, 0.012, 0.03) * self.rng.uniform(0.5, 1)
            _add(out, int(start * rate), panned(note, channels, self.rng))
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


class Drums(MadeSound):
    """Kick, snare, claps and castanets: the hardest attacks that there are."""

    name = "drums"
    summary = "Kick, snare, claps and castanets, without reverberation"
    resembles = (Kind.CLICK, Kind.DROPOUT, Kind.CLIPPING, Kind.SILENCE)
    peak = 0.9

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        time = np.arange(int(0.3 * rate)) / rate
        fall = np.minimum((0.3 - time) / 0.02, 1)
        beat = self.rng.uniform(0.11, 0.16)
        for number, start in enumerate(np.arange(0.1, count / rate, beat)):
            place = number % 8
            if place in (0, 5):
                hit = np.sin(2 * np.pi * (50 * time + 2 * (1 - np.exp(-time / 0.02))))
                hit *= np.exp(-time / 0.08)
            elif place in (2, 6):
                hit = 0.5 * self.rng.normal(0, 0.4, len(time)) * np.exp(-time / 0.05)
                hit += 0.4 * np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.04)
            elif place == 3:  # several hands
                hit = np.zeros(len(time))
                for late in self.rng.uniform(0, 0.02, 4):
                    hand = self.rng.normal(0, 0.3, len(time)) * np.exp(-time / 0.006)
                    _add(hit, int(late * rate), hand)
            else:
                tone = self.rng.uniform(1500, min(2600, 0.2 * rate))
                hit = 0.05 * self.rng.normal(0, 1, len(time)) * np.exp(-time / 0.003)
                for ratio, weight in ((1, 0.4), (1.48, 0.25), (1.93, 0.15)):  # of a wooden shell
                    ring = np.exp(-time / self.rng.uniform(0.004, 0.009))
                    hit += weight * np.sin(2 * np.pi * ratio * tone * time) * ring
                hit *= np.minimum(time / 0.0004, 1)
            if self.rng.random() < 0.8:
                _add(out, int(start * rate), panned(hit * fall, channels, self.rng))
        return out


class Chiptune(MadeSound):
    """Game music: square waves that are switched on and off, with nothing at all between."""

    name = "chiptune"
    summary = "Square waves that are gated hard"
    resembles = (Kind.DROPOUT, Kind.CLIPPING, Kind.CLICK, Kind.DISTORTION, Kind.SILENCE)
    peak = 0.4

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        time = np.arange(count) / rate
        beat = self.rng.uniform(0.11, 0.18)
        note = (time / beat).astype(int)
        out = np.zeros((channels, count))
        for root, scale in ((110, (0, 0, 7, 0, 5, 0)), (440, (0, 4, 7, 12, 7, 4))):
            shift = self.rng.integers(0, 5, note[-1] + 1)
            steps = np.array(scale)[np.arange(note[-1] + 1) % 6] + shift
            pitch = root * 2.0 ** (steps[note] / 12)
            gate = time % beat < self.rng.uniform(0.5, 0.8) * beat
            out += panned(square(pitch, rate) * gate, channels, self.rng)
        return out


class SquareLead(MadeSound):
    """A synthesiser's square waves, far below full scale: tops that are flat by nature."""

    name = "square_lead"
    summary = "Held square and pulse waves at low level"
    resembles = (Kind.CLIPPING, Kind.DISTORTION, Kind.TEST_TONE, Kind.HUM)
    peak = 0.25

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        at = 0
        while at < count:
            length = int(self.rng.uniform(0.4, 1.1) * rate)
            frequency = 130.8 * 2 ** (self.rng.choice([0, 2, 4, 7, 9, 12]) / 12)
            pitch = vibrato(length, rate, frequency, self.rng.uniform(2, 15), 5.5)
            voice = square(pitch, rate) + 0.5 * square(pitch * 1.003, rate)
            voice *= envelope(length, rate, 0.01, 0.08, 2.0)
            _add(out, at, panned(voice, channels, self.rng))
            at += length
        return out


class Bass(MadeSound):
    """A bass guitar on the notes around 50 and 60 Hz, plucked, with some vibrato."""

    name = "bass"
    summary = "Bass notes beside the mains frequencies and their multiples"
    hall = 0.2, -24.0
    resembles = (Kind.HUM, Kind.DC_OFFSET, Kind.TEST_TONE, Kind.DROPOUT)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        at = 0.1
        while at < count / rate:
            length = int(self.rng.uniform(0.35, 1.4) * rate)
            # G1 49.0, G#1 51.9, A#1 58.3 and B1 61.7 Hz, and their octaves
            note = 49.0 * 2 ** (self.rng.choice([0, 1, 3, 4, 12, 15]) / 12)
            pitch = vibrato(length, rate, note, self.rng.uniform(3, 20), self.rng.uniform(3, 6))
            tone = harmonic(pitch, 0.55 ** np.arange(8.0), rate)
            tone *= envelope(length, rate, 0.008, 0.12, self.rng.uniform(0.4, 1.0))
            _add(out, int(at * rate), panned(tone, channels, self.rng))
            at += length / rate - 0.1  # the finger damps one string when the next one sounds
        return out


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
            _add(out, int(at), panned(splash, channels, self.rng))
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
            _add(out, int(place * count), panned(hand, channels, self.rng))
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
                _add(out[channel], max(at, 0), tone[skip:])
        return out + room(channels, count, rate, self.rng, level(out) - 38)


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


class Flute(MadeSound):
    """A flute or someone who whistles: nearly pure tones, with vibrato and breath."""

    name = "flute"
    summary = "Single tones with vibrato, held for up to three seconds"
    hall = 1.2, -12.0
    resembles = (Kind.TEST_TONE, Kind.HUM, Kind.HISS)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        at = int(0.1 * rate)
        while at < count:
            length = int(self.rng.uniform(0.4, 3.0) * rate)
            note = 587.3 * 2 ** (self.rng.choice([0, 2, 4, 5, 7, 9, 10]) / 12)
            cents, speed = self.rng.uniform(12, 40), self.rng.uniform(4.5, 6)
            pitch = vibrato(length, rate, note, cents, speed)
            tone = harmonic(pitch, np.array([1, 0.06, 0.02]), rate)
            swell = 1 + 0.15 * np.sin(2 * np.pi * speed * np.arange(length) / rate)
            breath = np.diff(self.rng.normal(0, 0.004, length), prepend=0.0)
            note_of = (tone * swell + breath) * envelope(length, rate, 0.05, 0.09)
            _add(out, at, panned(note_of, channels, self.rng))
            at += length + int(self.rng.uniform(0.02, 0.2) * rate)
        return out


class Organ(MadeSound):
    """Chords of a pipe organ, which stay as steady as a machine for as long as they are held."""

    name = "organ"
    summary = "Chords that are held for three to five seconds without any change"
    hall = 2.0, -8.0
    resembles = (Kind.TEST_TONE, Kind.HUM, Kind.LEVEL_JUMP)

    def make(self, channels: int, count: int, rate: int) -> Float64:
        """As in MadeSound."""
        out = np.zeros((channels, count))
        at = 0
        while at < count:
            length = int(self.rng.uniform(3, 5) * rate)
            root = 65.4 * 2 ** (self.rng.choice([0, 2, 5, 7, 9]) / 12)  # from C2
            for step in (0, 12, 16, 19, 24, 36):
                # each rank of pipes is a little off; principals have many overtones, and wind
                pitch = np.full(length, root * 2 ** (step / 12) * (1 + self.rng.normal(0, 3e-4)))
                pipe = harmonic(pitch, np.arange(1.0, 25.0) ** -1.3, rate)
                pipe += self.rng.normal(0, 0.003, length)
                pipe *= envelope(length, rate, 0.06, 0.12)
                _add(out, at, panned(pipe, channels, self.rng))
            at += length
        return out


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
            _add(voice, int(self.rng.integers(count)), thump)
        for _ in range(int(1.5 * count / rate) + 1):
            # a smack is a few milliseconds of ringing in the mouth, 35 to 45 dB below the voice
            time = np.arange(int(0.008 * rate)) / rate
            tone = min(self.rng.uniform(1200, 4000), 0.4 * rate)
            smack = np.sin(2 * np.pi * tone * time) * np.exp(-time / 0.0015)
            smack *= np.minimum(time / 0.0003, 1) * amplitude(-self.rng.uniform(35, 45))
            _add(voice, int(self.rng.integers(count)), smack)
        return panned(voice, channels, self.rng)
