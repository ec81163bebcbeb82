"""Hiss: broadband noise under the programme."""

from __future__ import annotations

import numpy as np
import scipy.fft
from scipy import signal

from faults.base import FaultError
from faults.sound import PartFault, amplitude, programme_level, thirds
from faults.truth import Severity
from pipeline.measurements import Float32, Float64
from pipeline.types import Kind

FAINTEST = -62.0  # dBFS; nobody hears softer noise at the usual volume
# The noise is heard where it exceeds, by so many dB, what a third of an octave has in one fifth of
# the time; a programme that has as much noise itself hides it.
EXCEEDS, MOMENTS = 6.0, 20.0
LOWEST, HIGHEST = 1000.0, 14_000.0  # Hz, of the thirds of an octave
WINDOW = 0.04  # seconds


class HissFault(PartFault):
    """A microphone amplifier at full gain, tape, a noisy line.

    White or pink noise, of its own in every channel. The ladder is the ratio of the programme
    (RMS of the stretch without its pauses) to the noise; quality.md A6 proposes 30 dB as the
    threshold and noise at 0 to 40 dB for tests. A programme under which the noise is not heard, as
    it is soft or noise itself, has no hiss.
    """

    name = "hiss"
    kind = Kind.HISS
    summary = "White or pink noise under the programme"
    lengths = (2.5, 5.5)
    ladder = {
        Severity.VERY_SUBTLE: {"snr_db": 32.0},
        Severity.SUBTLE: {"snr_db": 25.0},
        Severity.NOTICEABLE: {"snr_db": 18.0},
        Severity.VERY_NOTICEABLE: {"snr_db": 10.0},
    }

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        colour = str(self.rng.choice(["white", "pink"]))
        noise = self.rng.normal(0, 1, part.shape)
        if colour == "pink":
            noise = _pink(noise, rate)
        floor = programme_level(part, rate) - self.parameters["snr_db"]
        self.parameters |= {"colour": colour, "level_dbfs": floor}
        noise *= amplitude(floor) / np.sqrt(np.square(noise).mean())
        if floor < FAINTEST or _exceeds(noise, part, rate) < EXCEEDS:
            raise FaultError("the noise would not be heard there")
        part += noise.astype(np.float32)
        return part


def _pink(noise: Float64, rate: int) -> Float64:
    """The noise with 3 dB less an octave, above 20 Hz."""
    spectrum = scipy.fft.rfft(noise, axis=1)
    frequency = np.arange(spectrum.shape[1]) * rate / noise.shape[1]
    spectrum *= 1 / np.sqrt(np.maximum(frequency, 20.0))
    out: Float64 = scipy.fft.irfft(spectrum, noise.shape[1], axis=1)
    return out


def _exceeds(noise: Float64, part: Float32, rate: int) -> float:
    """By how much a noise is over the quiet moments of a sound, dB, where it is so most."""
    size = 2 ** round(np.log2(WINDOW * rate))
    frequency, _, power = signal.spectrogram(part, rate, nperseg=size)
    power = power.mean(axis=0)
    own = signal.welch(noise, rate, nperseg=size)[1].mean(axis=0)
    most = 1e-12
    for band in thirds(frequency, LOWEST, min(HIGHEST, 0.42 * rate)):
        quiet = np.percentile(power[band].sum(axis=0), MOMENTS)
        most = max(most, float(own[band].sum() / max(quiet, 1e-15)))
    return float(10 * np.log10(most))
