"""Clipping and distortion: the sound was too loud for something, or a codec had too few bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal

from faults.base import FaultError, SoundFault
from faults.coding import CODECS, Coder
from faults.sound import PartFault, amplitude, clusters, level, seam, sounding
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

MOST_GAIN = 24.0  # dB by which an interval is made louder; quiet ones are clipped where they are
LOWEST = -36.0  # dBFS; sound of which nothing is above is too quiet for a stage that clips
TOP = 3  # samples in a flat top (quality.md A7)
# Flat tops of an interval, and within 0.5 s of each other: fewer are not heard
FEWEST, BESIDE = 6, 3
OVERSAMPLED = 4  # so that the overtones of an analogue stage do not fold back


class ClippingFault(SoundFault):
    """Flat tops: gain too high before a converter, which cuts off what it cannot hold.

    Half of the time the gain was undone afterwards (an input that was overdriven, on a channel
    mixed to its usual level), so that the tops are below full scale and nothing but them is
    changed; otherwise the stretch from the first to the last flat top is as loud as it was made.
    A stretch begins and ends with several tops, and has six: where one peak alone reaches the
    limit, nobody hears that. The ladder is by how much the highest peak of the interval exceeds the
    limit (proposed; from 6 dB on it is heard on most music). Coding happens afterwards, when the
    file is written.
    """

    name = "clipping"
    kind = Kind.CLIPPING
    summary = "Gain too high: peaks are cut off flat"
    lengths = (1.5, 4.0)
    also = (Kind.DISTORTION, Kind.LEVEL_JUMP)
    ladder = {
        Severity.VERY_SUBTLE: {"over_db": 3.0},
        Severity.SUBTLE: {"over_db": 6.0},
        Severity.NOTICEABLE: {"over_db": 10.0},
        Severity.VERY_NOTICEABLE: {"over_db": 15.0},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        span = sounding(sound, self.span(sound, rate), rate)
        peak = float(np.abs(sound[:, span]).max())
        ceiling = peak / amplitude(self.parameters["over_db"])
        if ceiling < amplitude(LOWEST):
            raise FaultError("it is too quiet there to be cut off")
        tops = self._tops(np.abs(sound[:, span]) > ceiling)
        groups = [group for group in clusters(tops, rate) if len(group) >= BESIDE]
        count = sum(len(group) for group in groups)
        if count < FEWEST:
            raise FaultError("too few peaks reach the limit for anyone to hear it")
        first, stop = span.start + groups[0][0][0], span.start + groups[-1][-1][1]
        clipped = int((np.abs(sound[:, first:stop]) > ceiling).any(axis=0).sum())
        hot = bool(self.rng.random() < 0.5) and ceiling > amplitude(-MOST_GAIN)
        if not hot:
            sound[:, first:stop] = np.clip(sound[:, first:stop], -ceiling, ceiling)
        else:
            # the level changes over 5 ms on either side
            edge = round(0.005 * rate)
            first, stop = max(first - edge, 0), min(stop + edge, sound.shape[1])
            raised = 1 + seam(stop - first, edge) * (1 / ceiling - 1)
            sound[:, first:stop] = np.clip(sound[:, first:stop] * raised, -1, 1)
        self.did(
            first / rate,
            stop / rate,
            ceiling_dbfs=0.0 if hot else 20 * float(np.log10(ceiling)),
            clipped_samples=clipped,
            flat_tops=count,
            raised=hot,
        )
        return sound

    @staticmethod
    def _tops(over: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Where TOP samples and more are over the limit, in any channel."""
        within = np.ones((over.shape[0], over.shape[1] - TOP + 1), bool)
        for n in range(TOP):
            within &= over[:, n : n + within.shape[1]]
        edges = np.flatnonzero(np.diff(within.any(axis=0), prepend=False, append=False))
        return [(int(a), int(b) + TOP - 1) for a, b in edges.reshape(-1, 2)]


class DistortionFault(PartFault):
    """A stage that is driven too hard, or a codec with far too few bits.

    "overdrive" bends the wave (tanh, oversampled, symmetric or not) at the loudness it had;
    "codec" is MP3, AAC or Opus at 16 to 40 kb/s for stereo, back in time with the original. The
    ladder is proposed: a full sine gets 6 % of third harmonic at 0 dB of drive and 17 % at 6 dB.
    """

    name = "distortion"
    kind = Kind.DISTORTION
    summary = "Overdrive that rounds the peaks, or the artefacts of a codec with too few bits"
    lengths = (1.5, 4.0)
    also = (Kind.CLIPPING, Kind.BANDWIDTH_LOSS)
    ladder = {
        Severity.VERY_SUBTLE: {"drive_db": 0.0, "kbps_per_channel": 20},
        Severity.SUBTLE: {"drive_db": 6.0, "kbps_per_channel": 16},
        Severity.NOTICEABLE: {"drive_db": 13.0, "kbps_per_channel": 12},
        Severity.VERY_NOTICEABLE: {"drive_db": 22.0, "kbps_per_channel": 8},
    }

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        if self.rng.random() < 0.5:
            del self.parameters["kbps_per_channel"]
            bias = float(self.rng.choice([0.0, 0.2]))  # asymmetric: even harmonics, as a tube
            self.parameters |= {"bias": bias}
            return driven(part, self.parameters["drive_db"], bias)
        del self.parameters["drive_db"]
        codec = str(self.rng.choice(CODECS))
        self.parameters["codec"] = codec
        bits = int(self.parameters["kbps_per_channel"]) * 1000
        # MP3 at such rates is MPEG-2, at half the sample rate
        half = 24_000 if codec == "mp3" and rate > 24_000 else None
        return Coder(part, rate, codec, bits, half).decode()


def driven(part: Float32, decibels: float, bias: float) -> Float32:
    """What a stage makes of sound that is `decibels` too loud for it, as loud as it was.

    Args:
        part: [C, N].
        decibels: of the highest peak over the level at which the stage bends by 24 %.
        bias: 0: symmetric; else even harmonics as well, as of a tube.
    """
    drive = amplitude(decibels)
    peak = max(float(np.abs(part).max()), 1e-6)
    fine = signal.resample_poly(part / peak, OVERSAMPLED, 1, axis=1)
    bent = np.tanh(drive * (fine + bias)) - np.tanh(drive * bias)
    bent = signal.resample_poly(bent, 1, OVERSAMPLED, axis=1)
    bent = bent - bent.mean(axis=1, keepdims=True)  # such stages are coupled without DC
    out: Float32 = (bent * amplitude(level(part) - level(bent))).astype(np.float32)
    return out
