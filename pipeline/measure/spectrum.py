"""Short-time power spectra of sound, measured once for all detectors that look at frequencies."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import scipy.fft

from pipeline.measure.wave import wave_figures
from pipeline.measurements import CROSS_BANDS, WAVE_BINS, Float32, SoundFormat, Spectra

WINDOW_SECONDS = 0.043  # 2048 samples at 48 kHz: bins of 23 Hz, shorter than a syllable
CHUNK = 64  # windows transformed at a time, bounds memory
SIDES = (("FL", "FR"), ("BL", "BR"), ("SL", "SR"))


def channel_pairs(sound_format: SoundFormat) -> tuple[tuple[int, int], ...]:
    """Indices of the left and right channels that belong together; (0, 1) where not named."""
    if sound_format.channels < 2:
        return ()
    try:
        names = [channel.name for channel in av.AudioLayout(sound_format.layout).channels]
    except ValueError:  # a layout that FFmpeg has no name for
        names = []
    pairs = tuple(
        (names.index(left), names.index(right))
        for left, right in SIDES
        if left in names and right in names
    )
    if pairs and len(names) == sound_format.channels:
        return pairs
    return ((0, 1),) if sound_format.channels == 2 else ()


class SpectrumMeter:
    """Half-overlapping Hann windows over one contiguous stream of samples.

    Windows go on across the stretches it is fed with; what the last window did not use up waits.
    """

    def __init__(self, sound_format: SoundFormat) -> None:
        rate = sound_format.rate
        self._rate = rate
        self._size = max(16, 2 ** round(np.log2(rate * WINDOW_SECONDS)))
        self._hop = self._size // 2
        window = np.hanning(self._size + 1)[:-1]
        self._window = (window / np.sqrt((window**2).sum() * self._size / 2)).astype(np.float32)
        self._frequencies = np.arange(self._size // 2 + 1, dtype=np.float64) * (rate / self._size)
        self._bands = np.maximum(np.searchsorted(self._frequencies, CROSS_BANDS), 1)
        self._pairs = channel_pairs(sound_format)
        self._rest = np.zeros((sound_format.channels, 0), dtype=np.float32)

    def measure(self, samples: Float32, time: float) -> Spectra:
        """Spectra of the windows that end in float32 [C, N] samples, the first one at `time`."""
        first = time - self._rest.shape[1] / self._rate
        samples = np.concatenate([self._rest, samples], axis=1)
        count = max(0, (samples.shape[1] - self._size) // self._hop + 1)
        self._rest = samples[:, count * self._hop :].copy()
        power = np.zeros((count, len(self._frequencies)), dtype=np.float32)
        cross = np.zeros((count, len(self._pairs), 3, len(CROSS_BANDS)), dtype=np.float32)
        wave = np.zeros((count, 4 + WAVE_BINS), dtype=np.float32)
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            part = samples[:, start * self._hop : (stop - 1) * self._hop + self._size]
            windows = np.lib.stride_tricks.sliding_window_view(part, self._size, axis=1)
            windows = windows[:, :: self._hop]
            wave[start:stop] = wave_figures(windows)
            spectrum = scipy.fft.rfft(windows * self._window, axis=2)
            each = spectrum.real**2 + spectrum.imag**2
            power[start:stop] = each.mean(axis=0)
            for index, (left, right) in enumerate(self._pairs):
                a, b = spectrum[left], spectrum[right]
                both = a.real * b.real + a.imag * b.imag
                for row, values in enumerate((each[left], each[right], both)):
                    cross[start:stop, index, row] = self._sums(values)
        power[:, 0] /= 2  # counted once, unlike the others, whose mirror image is not kept
        power[:, -1] /= 2
        return Spectra(
            time=first,
            hop=self._hop / self._rate,
            window=self._size / self._rate,
            frequencies=self._frequencies,
            power=power,
            pairs=self._pairs,
            cross=cross,
            wave=wave,
        )

    def _sums(self, values: Float32) -> Float32:
        edges = [*self._bands, values.shape[1]]
        sums = [values[:, low:high].sum(axis=1) for low, high in pairwise(edges)]
        return np.stack(sums, axis=1)
