"""Instruments, played and synthesised: notes, chords, drums."""

from __future__ import annotations

import numpy as np

from faults.lookalikes.synthesis import MadeSound, add, envelope, harmonic, panned
from pipeline.measurements import Float64
from pipeline.types import Kind


def vibrato(count: int, rate: int, frequency: float, cents: float, speed: float) -> Float64:
    """A pitch that swings about a frequency."""
    swing = np.sin(2 * np.pi * speed * np.arange(count) / rate)
    out: Float64 = frequency * 2 ** (cents / 1200 * swing)
    return out


def square(pitch: Float64, rate: int) -> Float64:
    """A square wave as a chip makes it: hard edges on the grid of samples."""
    out: Float64 = np.where(np.cumsum(pitch) / rate % 1 < 0.5, 1.0, -1.0)
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
            add(out, int(start * rate), panned(note, channels, self.rng))
        return out


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
                    add(hit, int(late * rate), hand)
            else:
                tone = self.rng.uniform(1500, min(2600, 0.2 * rate))
                hit = 0.05 * self.rng.normal(0, 1, len(time)) * np.exp(-time / 0.003)
                for ratio, weight in ((1, 0.4), (1.48, 0.25), (1.93, 0.15)):  # of a wooden shell
                    ring = np.exp(-time / self.rng.uniform(0.004, 0.009))
                    hit += weight * np.sin(2 * np.pi * ratio * tone * time) * ring
                hit *= np.minimum(time / 0.0004, 1)
            if self.rng.random() < 0.8:
                add(out, int(start * rate), panned(hit * fall, channels, self.rng))
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
            add(out, at, panned(voice, channels, self.rng))
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
            add(out, int(at * rate), panned(tone, channels, self.rng))
            at += length / rate - 0.1  # the finger damps one string when the next one sounds
        return out


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
            add(out, at, panned(note_of, channels, self.rng))
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
                add(out, at, panned(pipe, channels, self.rng))
            at += length
        return out
