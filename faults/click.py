"""Clicks: impulses of a few samples."""

from __future__ import annotations

import numpy as np

from faults.base import FaultError, SoundFault
from faults.sound import amplitude, clusters, level, thirds
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

LOCAL = 0.025  # seconds on either side of an impulse whose level it is relative to
QUIETEST = -45.0  # dBFS that the sound is taken to have at least: an impulse must be heard
LONGEST = 20  # samples
HIGHEST = 0.98  # of full scale
APART = 0.03  # seconds between impulses
EAR = 0.008  # seconds; the window of an ear, about, in which sound hides an impulse
LOWEST_BAND, HIGHEST_BAND = 500.0, 14_000.0  # Hz, of the thirds of an octave that are compared
FLOOR = -75.0  # dBFS; white noise that all sound has at least: an impulse must be heard


class ClickFault(SoundFault):
    """Impulses: a bad splice, word-clock slips, static, scratches, a relay.

    Each is 1 to 20 samples long: flat, decaying or swinging to and fro; of either sign; in one
    channel or in all. The height is relative to the level within 25 ms of it and ends at full
    scale; where the sound would hide the impulse it is higher, so that it stands out by as much in
    some third of an octave within 8 ms. Where there is no room for that, as in loud noise, nobody
    would hear it, and it lies elsewhere. Impulses less than 0.5 s apart are one event to a listener
    and one truth. The ladder is proposed; 30 dB over the prediction error, which Essentia's
    ClickDetector asks for, is reached with about 0 dB over tonal sound and 15 dB over noise.
    """

    name = "click"
    kind = Kind.CLICK
    summary = "Impulses of 1 to 20 samples"
    lengths = (0.3, 2.0)
    ladder = {
        Severity.VERY_SUBTLE: {"height_db": 2.0, "impulses": 1},
        Severity.SUBTLE: {"height_db": 7.0, "impulses": 2},
        Severity.NOTICEABLE: {"height_db": 12.0, "impulses": 5},
        Severity.VERY_NOTICEABLE: {"height_db": 18.0, "impulses": 12},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        span = self.span(sound, rate)
        channels = list(range(sound.shape[0]))
        if len(channels) > 1 and self.rng.random() < 0.5:
            channels = [int(self.rng.integers(2))]  # left or right
        self.parameters["channels"] = tuple(channels)
        clean = sound.copy()
        made: dict[tuple[int, int], float] = {}
        for _ in range(20 * self.parameters["impulses"]):
            at = int(self.rng.integers(span.start, max(span.stop - LONGEST, span.start + 1)))
            shape = self._shape()[: sound.shape[1] - at]
            if any(abs(at - start) < APART * rate for start, _ in made):
                continue
            beside = round(LOCAL * rate)
            near = clean[channels, max(at - beside, 0) : at + beside]
            over = self.parameters["height_db"]
            height = max(level(near), QUIETEST) + over
            height = min(amplitude(max(height, over - stands_out(shape, near, rate))), 1.0)
            here = slice(at, at + len(shape))
            sound[channels, here] = np.clip(
                clean[channels, here] + height * shape, -HIGHEST, HIGHEST
            )
            added = sound[channels, here] - clean[channels, here]
            if min(stands_out(one, near, rate) for one in added) < over - 1:
                sound[:, here] = clean[:, here]
                continue
            made[at, at + len(shape)] = float(np.abs(added).max())
            if len(made) == self.parameters["impulses"]:
                break
        if not made:
            raise FaultError("a click would not be heard there")
        for group in clusters(list(made), rate):
            self.did(
                group[0][0] / rate,
                group[-1][1] / rate,
                impulses=len(group),
                height_dbfs=20 * float(np.log10(max(made[one] for one in group))),
            )
        return sound

    def _shape(self) -> Float32:
        """One impulse with a peak of 1."""
        length = int(self.rng.integers(1, LONGEST + 1))
        n = np.arange(length)
        form = int(self.rng.integers(3))
        shape = np.ones(length)
        if form == 1:
            shape = np.exp(-3 * n / length)
        elif form == 2:
            shape = np.exp(-3 * n / length) * np.cos(np.pi * n / self.rng.uniform(1, 4))
        signed: Float32 = (shape * self.rng.choice([-1, 1])).astype(np.float32)
        return signed


def stands_out(impulse: Float32, near: Float32, rate: int) -> float:
    """By how much an impulse [N] exceeds the sound [C, M] around it, dB.

    Of the thirds of an octave the one where it does so most; within `EAR`.
    """
    size = round(EAR * rate)
    window = np.hanning(size + 2)[1:-1]
    parts = np.lib.stride_tricks.sliding_window_view(near, min(size, near.shape[1]), axis=1)
    heard = np.fft.rfft(parts[:, :: size // 4] * window[: parts.shape[2]], size, axis=2)
    sound = np.square(np.abs(heard)).mean(axis=(0, 1))
    sound += amplitude(FLOOR) ** 2 * np.square(window).sum()
    own = np.square(np.abs(np.fft.rfft(impulse, size)))
    frequency = np.fft.rfftfreq(size, 1 / rate)
    most = 1e-12
    for band in thirds(frequency, LOWEST_BAND, min(HIGHEST_BAND, 0.45 * rate)):
        if band.any():
            most = max(most, float(own[band].sum() / sound[band].sum()))
    return float(10 * np.log10(most))
