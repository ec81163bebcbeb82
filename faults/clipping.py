"""Clipping and distortion: the sound was too loud for something, or a codec had too few bits."""

from __future__ import annotations

import numpy as np
from scipy import signal

from faults.base import SoundFault
from faults.coding import CODECS, Coder
from faults.sound import PartFault, amplitude, level, seam, sounding
from faults.truth import Severity
from pipeline.types import Float32, Kind

MOST_GAIN = 24.0  # dB by which an interval is made louder; quiet ones are clipped where they are
OVERSAMPLED = 4  # so that the overtones of an analogue stage do not fold back


class ClippingFault(SoundFault):
    """Flat tops: gain too high before a converter, which cuts off what it cannot hold.

    Half of the time the gain was undone afterwards (an input that was overdriven, on a channel
    mixed to its usual level), so that the tops are below full scale and nothing but them is
    changed; otherwise the stretch from the first to the last flat top is as loud as it was made.
    The ladder is by how much the highest peak of the interval exceeds the limit (proposed; from
    6 dB on it is heard on most music). Coding happens afterwards, when the file is written.
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
        tops = np.flatnonzero((np.abs(sound[:, span]) > ceiling).any(axis=0))
        first, stop = span.start + int(tops[0]), span.start + int(tops[-1]) + 1
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
            clipped_samples=len(tops),
            raised=hot,
        )
        return sound


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
            return self._driven(part)
        del self.parameters["drive_db"]
        codec = str(self.rng.choice(CODECS))
        self.parameters["codec"] = codec
        bits = int(self.parameters["kbps_per_channel"]) * 1000
        # MP3 at such rates is MPEG-2, at half the sample rate
        half = 24_000 if codec == "mp3" and rate > 24_000 else None
        return Coder(part, rate, codec, bits, half).decode()

    def _driven(self, part: Float32) -> Float32:
        bias = float(self.rng.choice([0.0, 0.2]))  # asymmetric: even harmonics, as a tube
        self.parameters |= {"bias": bias}
        drive = amplitude(self.parameters["drive_db"])
        peak = max(float(np.abs(part).max()), 1e-6)
        fine = signal.resample_poly(part / peak, OVERSAMPLED, 1, axis=1)
        bent = np.tanh(drive * (fine + bias)) - np.tanh(drive * bias)
        bent = signal.resample_poly(bent, 1, OVERSAMPLED, axis=1)
        bent = bent - bent.mean(axis=1, keepdims=True)  # such stages are coupled without DC
        out: Float32 = (bent * amplitude(level(part) - level(bent))).astype(np.float32)
        return out
