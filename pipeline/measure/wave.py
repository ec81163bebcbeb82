"""Figures of the wave itself: how its samples are spread, which bent and cut waves change."""

from __future__ import annotations

import numpy as np

from pipeline.measurements import WAVE_BINS, Float32

_FAINT = 1e-6  # amplitude: what is fainter has no figures of its own


def wave_figures(windows: Float32) -> Float32:
    """Of the loudest channel in each window.

    Args:
        windows: [C, F, S] samples.

    Returns:
        [F, 4 + WAVE_BINS]: level (log10 of the RMS); crest factor (log10 of peak to RMS); kurtosis
        (natural logarithm); skewness; and the shares of the samples between minus and plus the
        peak, in so many bins of one width.
    """
    power = np.einsum("cfs,cfs->cf", windows, windows) / np.float32(windows.shape[2])
    loudest = power.argmax(axis=0)
    wave = windows[loudest, np.arange(windows.shape[1])]
    rms = np.sqrt(np.maximum(power.max(axis=0), _FAINT**2))
    peak = np.maximum(np.maximum(wave.max(axis=1), -wave.min(axis=1)), _FAINT)
    squared = wave * wave
    third = np.einsum("fs,fs->f", squared, wave) / wave.shape[1]
    fourth = np.einsum("fs,fs->f", squared, squared) / wave.shape[1]
    place = ((wave / peak[:, None] + 1) * (WAVE_BINS / 2)).astype(np.int64)
    place = np.minimum(place, WAVE_BINS - 1) + WAVE_BINS * np.arange(len(wave))[:, None]
    counts = np.bincount(place.ravel(), minlength=WAVE_BINS * len(wave))
    made = np.empty((len(wave), 4 + WAVE_BINS), np.float32)
    made[:, 0] = np.log10(rms)
    made[:, 1] = np.log10(peak / rms)
    made[:, 2] = np.log(np.maximum(fourth / rms**4, 1.0))
    made[:, 3] = third / rms**3
    made[:, 4:] = counts.reshape(-1, WAVE_BINS) / wave.shape[1]
    return made
