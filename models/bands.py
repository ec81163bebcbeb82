"""Bands of the ear: what nets of sound take of a spectrum."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

BANDS = 96
_LOWEST, _HIGHEST, _BEND = 40.0, 16_000.0, 3.2  # Hz; how much denser bands lie below


def hertz(place: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Frequencies of places from 0, where the lowest band begins, to 1, where the highest ends."""
    return np.asarray(_LOWEST + (_HIGHEST - _LOWEST) * np.expm1(place * _BEND) / np.expm1(_BEND))


@cache
def edges(highest: float, count: int) -> npt.NDArray[np.int64]:
    """Bins at which bands begin, of a spectrum that has `count` up to a frequency.

    Args:
        highest: frequency of the last bin, Hz.
        count: bins.

    Returns:
        [BANDS, 2] first and last (exclusive) bin of each; a band has one bin at least, which lies
        beyond the last one where the spectrum does not reach.
    """
    begun = np.searchsorted(np.linspace(0, highest, count), hertz(np.linspace(0, 1, BANDS + 1)))
    first = np.minimum(begun[:-1], count)
    return np.asarray(np.stack([first, np.minimum(np.maximum(begun[1:], first + 1), count + 1)], 1))


def summed(values: npt.NDArray[np.float32], highest: float) -> npt.NDArray[np.float32]:
    """Sums over the bins of each band; 0 beyond the last bin.

    Args:
        values: [F, B] of bins.
        highest: frequency of the last one, Hz.

    Returns:
        [F, BANDS].
    """
    held = np.concatenate([values, np.zeros((len(values), 2), np.float32)], 1)
    # reduceat sums single bins where a band is empty: so are its edges set
    sums = np.add.reduceat(held, edges(highest, values.shape[1]).ravel(), axis=1)[:, ::2]
    return np.asarray(sums, np.float32)
