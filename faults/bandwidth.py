"""Bandwidth loss: the high frequencies are cut off."""

from __future__ import annotations

import numpy as np
from scipy import signal

from faults.base import FaultError
from faults.coding import Coder
from faults.media import Clean
from faults.sound import PartFault
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

TELEPHONE = 300.0, 3400.0  # Hz, ITU-T G.712
FAINT = -75.0  # dBFS above the cut: nothing that anybody could miss
HIGHEST = 10_000.0  # Hz, the highest cut of the ladder
STOP = 80.0  # dB by which filters of resamplers cut, about


class BandwidthLossFault(PartFault):
    """Sound that came through something narrower: a wrong sample rate, a telephone, a codec.

    A steep low-pass as of a resampler; the band of the telephone with the lowest cut; or the
    low-pass and then MP3 or AAC at as few bits as it takes, as contributions over bad lines have
    it, which may lose more than the filter. The ladder has the narrowband and the wideband of ITU-T
    (G.712: 3.4 kHz, G.722: 7 kHz); 10 and 5 kHz are proposed. quality.md A14 proposes to report
    cuts below 12 kHz.
    """

    name = "bandwidth_loss"
    kind = Kind.BANDWIDTH_LOSS
    summary = "Nothing above 10 to 3.4 kHz"
    edge = 0.01
    lengths = (3.2, 5.5)
    also = (Kind.DISTORTION,)
    ladder = {
        Severity.VERY_SUBTLE: {"cutoff_hz": HIGHEST, "kbps_per_channel": 40},
        Severity.SUBTLE: {"cutoff_hz": 7000.0, "kbps_per_channel": 28},
        Severity.NOTICEABLE: {"cutoff_hz": 5000.0, "kbps_per_channel": 20},
        Severity.VERY_NOTICEABLE: {"cutoff_hz": TELEPHONE[1], "kbps_per_channel": 16},
    }

    @classmethod
    def obstacle(cls, clean: Clean) -> str | None:
        """As in Fault."""
        why = super().obstacle(clean)
        if why is not None:
            return why
        if clean.sample_rate < 2.2 * HIGHEST or _above(clean.sound, clean.sample_rate) < FAINT:
            return f"it has nothing above {HIGHEST / 1000:g} kHz"
        return None

    def change(self, part: Float32, rate: int) -> Float32:
        """As in PartFault."""
        cutoff = float(self.parameters["cutoff_hz"])
        bits = int(self.parameters.pop("kbps_per_channel")) * 1000
        forms = ["filter", "mp3", "aac"] + (["telephone"] if cutoff == TELEPHONE[1] else [])
        form = str(self.rng.choice(forms))
        self.parameters["form"] = form
        width = float(self.rng.uniform(0.04, 0.12)) * cutoff  # from pass band to stop band
        taps, beta = signal.kaiserord(STOP, width / (rate / 2))
        taps = min(taps, part.shape[1]) // 2 * 2 + 1
        # the cut is where 6 dB are lost, in the middle of the fall
        passed = (TELEPHONE[0], cutoff) if form == "telephone" else cutoff
        kernel = signal.firwin(
            taps, passed, window=("kaiser", beta), fs=rate, pass_zero=form != "telephone"
        )
        out = signal.oaconvolve(part, kernel[None], mode="same", axes=1).astype(np.float32)
        lost = 10 * np.log10(max(float(np.square(part - out).mean()), 1e-12))
        if lost < FAINT:
            raise FaultError(f"there is nothing above {cutoff / 1000:g} kHz to lose")
        if form in ("mp3", "aac"):
            self.parameters["kbps_per_channel"] = bits // 1000
            half = 24_000 if form == "mp3" and rate > 24_000 else None
            out = Coder(out, rate, form, bits, half).decode()
        result: Float32 = out
        return result


def _above(sound: Float32, rate: int) -> float:
    """Level above the highest cut, dBFS of the loudest channel."""
    frequency, density = signal.welch(sound, rate, nperseg=min(2048, sound.shape[1]), axis=1)
    power = density[:, frequency > 1.05 * HIGHEST].sum(axis=1) * frequency[1]
    return float(10 * np.log10(max(float(power.max()), 1e-12)))
