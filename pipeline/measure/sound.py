"""The pass over every decoded sample: energy, peak, mean and loudness in blocks of about 10 ms."""

from __future__ import annotations

import numpy as np

from pipeline.measure.loudness import LoudnessMeter
from pipeline.measure.spectrum import SpectrumMeter
from pipeline.measurements import Float32, SoundFormat, SoundStatistics


class SoundMeter:
    """Measures one audio stream as it comes; `take` hands over whole blocks, the rest waits."""

    def __init__(self, sound_format: SoundFormat) -> None:
        self.format = sound_format
        self._time = 0.0
        self._parts: list[Float32] = []
        self._held = 0
        self._spectrum = SpectrumMeter(sound_format)
        self._loudness = LoudnessMeter(sound_format)

    def add(self, samples: Float32, time: float) -> None:
        """Take float32 [C, N] samples, contiguous with those before; `time` is of the first."""
        if not self._held:
            self._time = time
        self._parts.append(samples)
        self._held += samples.shape[1]

    @property
    def end(self) -> float:
        """Time just after the last sample held."""
        return self._time + self._held / self.format.rate

    def take(self, everything: bool = False) -> SoundStatistics | None:
        """Statistics of the whole blocks held; with `everything`, a last short block is padded."""
        block = self.format.block
        if not self._held or (self._held < block and not everything):
            return None
        samples = np.concatenate(self._parts, axis=1) if len(self._parts) > 1 else self._parts[0]
        whole = samples.shape[1] // block * block
        rest = samples[:, whole:]
        if everything and rest.shape[1]:
            last = np.repeat(rest[:, -1:], block - rest.shape[1], axis=1)
            samples = np.concatenate([samples, last], axis=1)
            whole += block
            rest = samples[:, whole:]
        samples = samples[:, :whole]
        blocks = samples.reshape(samples.shape[0], -1, block)
        weighted, momentary, short_term = self._loudness.measure(samples)
        taken = SoundStatistics(
            format=self.format,
            time=self._time,
            samples=samples,
            energy=np.einsum("cmn,cmn->cm", blocks, blocks) / np.float32(block),
            peak=np.maximum(blocks.max(axis=2), -blocks.min(axis=2)),
            mean=blocks.mean(axis=2, dtype=np.float32),
            weighted=weighted,
            momentary=momentary,
            short_term=short_term,
            spectra=self._spectrum.measure(samples, self._time),
        )
        self._time += whole / self.format.rate
        self._parts = [rest.copy()] if rest.shape[1] else []
        self._held = rest.shape[1]
        return taken
