"""Clicks: impulses of a few samples."""

from __future__ import annotations

import numpy as np

from faults.base import SoundFault
from faults.sound import amplitude, clusters, level
from faults.truth import Severity
from pipeline.types import Float32, Kind

LOCAL = 0.025  # seconds on either side of an impulse whose level it is relative to
QUIETEST = -45.0  # dBFS that the sound is taken to have at least: an impulse must be heard
LONGEST = 20  # samples
HIGHEST = 0.98  # of full scale
APART = 0.03  # seconds between impulses


class ClickFault(SoundFault):
    """Impulses: a bad splice, word-clock slips, static, scratches, a relay.

    Each is 1 to 20 samples long: flat, decaying or swinging to and fro; of either sign; in one
    channel or in all. The height is relative to the level within 25 ms of it and ends at full
    scale. Impulses less than 0.5 s apart are one event to a listener and one truth. The ladder is
    proposed; 30 dB over the prediction error, which Essentia's ClickDetector asks for, is reached
    with about 0 dB over tonal sound and 15 dB over noise.
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
        starts: list[int] = []
        for _ in range(20 * self.parameters["impulses"]):
            at = int(self.rng.integers(span.start, max(span.stop - LONGEST, span.start + 1)))
            if all(abs(at - other) >= APART * rate for other in starts):
                starts.append(at)
            if len(starts) == self.parameters["impulses"]:
                break
        made: dict[tuple[int, int], float] = {}
        for start in sorted(starts):
            shape = self._shape()[: sound.shape[1] - start]
            beside = round(LOCAL * rate)
            near = clean[channels, max(start - beside, 0) : start + beside]
            height = amplitude(max(level(near), QUIETEST) + self.parameters["height_db"])
            here = slice(start, start + len(shape))
            sound[channels, here] = np.clip(
                clean[channels, here] + min(height, 1.0) * shape, -HIGHEST, HIGHEST
            )
            added = float(np.abs(sound[:, here] - clean[:, here]).max())
            made[start, start + len(shape)] = max(added, 1e-6)
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
