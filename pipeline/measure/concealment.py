"""What sound shows every 5 ms of packets that were lost: levels, steps, and that it repeats itself.

A decoder without a packet fades, or goes on with the last period of a voice, or plays the last
frame again.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numba import njit

from models.bands import summed
from models.packet_loss import CELL, COARSE, FIGURES, REGIONS, REPEATS, SILENT
from pipeline.measurements import Float32

_PACKETS = 1024, 1152  # samples in a frame of AAC, and of MP3
_PACKET = 0.02  # seconds in a packet of Opus
# Hz, nearly: the rate at which periods are looked for. In slopes all frequencies tell: what a voice
# repeats by itself it does not in the treble
_SMALL = 12_000.0
_ALIKE = 0.012  # seconds that are compared with those a period before
_PERIODS = 0.002, 0.015  # seconds; libopus goes on with periods of 2.1 to 15 ms
_FLOOR = np.float32(10 ** (SILENT / 10))
_FAINT = np.float32(1e-11)  # square of a step that is none


@njit(cache=True, nogil=True, fastmath=True)
def _products(one: Float32, other: Float32) -> np.float32:
    total = np.float32(0)
    for n in range(len(one)):
        total += one[n] * other[n]
    return total


@njit(cache=True, nogil=True, fastmath=True)
def _repeats(slopes: Float32, first: int, cell: int, lags: np.ndarray, out: Float32) -> None:
    """Of each cell from a sample on: correlation of its slopes with those of `lags` samples before.

    And dB of the largest square of the second difference, and of the mean of those squares.
    """
    count = len(lags)
    for n in range(len(out)):
        start = first + n * cell
        own = slopes[start : start + cell]
        energy = _products(own, own)
        for place in range(count):
            other = slopes[start - lags[place] : start - lags[place] + cell]
            both = energy * _products(other, other) + _FAINT * _FAINT
            out[n, place] = _products(own, other) / np.sqrt(both)
        before = slopes[start - 1 : start - 1 + cell]
        largest, total = np.float32(0), np.float32(0)
        for at in range(cell):
            bend = own[at] - before[at]
            largest = max(largest, bend * bend)
            total += bend * bend
        out[n, count] = 10 * np.log10(largest + _FAINT)
        out[n, count + 1] = 10 * np.log10(total / cell + _FAINT)


@njit(cache=True, nogil=True, fastmath=True)
def _period(
    small: Float32, starts: np.ndarray, size: int, shortest: int, longest: int, out: Float32
) -> None:
    """The best correlation of `size` samples with those a period before, and that period.

    Of each of `starts`; the period in shares of the longest.
    """
    for n in range(len(starts)):
        start = starts[n]
        own = small[start : start + size]
        energy = _products(own, own)
        first = start - shortest
        # in float64, for what is added and taken away again must leave nothing
        before = np.float64(_products(small[first : first + size], small[first : first + size]))
        best, where = np.float32(0), 0
        for lag in range(shortest, longest + 1):
            first = start - lag
            other = small[first : first + size]
            both = energy * max(before, 0.0) + _FAINT * _FAINT
            alike = min(_products(own, other) / np.sqrt(both), 1.0)
            if alike > best:
                best, where = alike, lag
            before += np.float64(small[first - 1]) ** 2 - np.float64(small[first + size - 1]) ** 2
        out[n, 0], out[n, 1] = best, where / longest


class ConcealmentMeter:
    """Measures cells of one contiguous stream of samples, whatever stretches it comes in.

    Args:
        rate: of the sound, Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self.cell = max(4, round(rate * CELL))  # samples
        self._lags = np.array([*_PACKETS, round(rate * _PACKET)])
        self._factor = max(1, round(rate / _SMALL))
        small = rate / self._factor
        self._shortest, self._longest = (max(1, round(small * one)) for one in _PERIODS)
        self._size = round(small * _ALIKE)
        of_periods = self._factor * (self._longest + self._size)
        self._before = max(int(self._lags.max()) + 2, 3 * self.cell, of_periods)
        self._after = max(self.cell, self._factor * (self._size + 1) // 2)
        window = np.hanning(2 * self.cell + 1)[:-1]
        self._window = (window / np.sqrt((window**2).sum() * self.cell)).astype(np.float32)
        each = summed(np.eye(self.cell + 1, dtype=np.float32), rate / 2)  # of single bins
        self._bands = each.reshape(self.cell + 1, COARSE, -1).sum(axis=2)
        self._regions = np.searchsorted(np.linspace(0, rate / 2, self.cell + 1), REGIONS)
        self._rest: Float32 = np.zeros(self._before, np.float32)

    def measure(self, samples: Float32, *, last: bool = False) -> Float32:
        """Figures [F, FIGURES] of the cells that are known after float32 samples [C, N].

        The first cell begins with the first sample. With `last`, what follows is taken as silence.
        """
        mean = samples.mean(axis=0, dtype=np.float32)
        held = np.concatenate([self._rest, mean])
        count = max(0, (len(held) - self._before - (0 if last else self._after)) // self.cell)
        if last:
            held = np.pad(held, (0, self._after))
        else:  # so that it does not matter what stretches the sound comes in
            count -= count % (2 * self._factor)
        out = np.zeros((count, FIGURES), np.float32)
        if count:
            self._spectra(held, out)
            repeats = np.zeros((count, REPEATS), np.float32)
            slopes = np.diff(held, prepend=held[:1])
            self._periods(slopes, repeats[:, :2])
            _repeats(slopes, self._before, self.cell, self._lags, repeats[:, 2:])
            out[:, -REPEATS:] = repeats
        self._rest = held[count * self.cell :].copy()
        return out

    def _spectra(self, held: Float32, out: Float32) -> None:
        first = self._before - 2 * self.cell - self.cell // 2
        windows = np.lib.stride_tricks.sliding_window_view(held[first:], 2 * self.cell)
        windows = windows[:: self.cell][: len(out) + 2]
        spectrum = scipy.fft.rfft(windows * self._window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        out[:, :COARSE] = 10 * np.log10(np.maximum(power[2:] @ self._bands, _FLOOR))
        level = 10 * np.log10(power + _FLOOR)
        change = np.abs(level[2:] - level[:-2])
        for n, (low, high) in enumerate(zip(self._regions[:-1], self._regions[1:], strict=True)):
            if high > low:
                out[:, COARSE + n] = change[:, low:high].mean(axis=1)

    def _periods(self, slopes: Float32, out: Float32) -> None:
        """Of every other cell; the next one has the same."""
        whole = len(slopes) // self._factor * self._factor
        small = slopes[:whole].reshape(-1, self._factor).mean(axis=1)
        middle = self._before + self.cell * (np.arange(0, len(out), 2) + 0.5)
        starts = (middle / self._factor - self._size / 2).astype(np.int64)
        found = np.zeros((len(starts), 2), np.float32)
        _period(small, starts, self._size, self._shortest, self._longest, found)
        out[:] = np.repeat(found, 2, axis=0)[: len(out)]
