"""Loudness as ITU-R BS.1770-5 has it: K-weighting, channel weights, moving windows, true peak.

The weighting runs once over every sample; the moving windows of EBU Tech 3341 (momentary 400 ms,
short-term 3 s) and all gating are sums of its 10 ms blocks.
"""

from __future__ import annotations

import av
import numpy as np
from numba import njit

from pipeline.measurements import Float32, Float64, SoundFormat

OFFSET = -0.691  # LUFS of a mean square of 1 after weighting (BS.1770-5, annex 1)
FLOOR_LUFS = -120.0  # what stands for silence
MOMENTARY = 0.4  # seconds (EBU Tech 3341)
SHORT_TERM = 3.0
SURROUND_WEIGHT = 1.41  # +1.5 dB for sound from the side and behind (BS.1770-5, table 3)
_SURROUND = {"BL", "BR", "SL", "SR", "BC", "WL", "WR"}
_LFE = {"LFE", "LFE2"}
TRUE_PEAK_TAPS = 16  # of each of the three filters between two samples
PHASES = 3  # with the samples themselves: oversampling by four (BS.1770-5, annex 2)


def channel_names(sound_format: SoundFormat) -> list[str]:
    """FFmpeg's name of each channel, for instance FL, FR, FC, LFE, BL, BR; "" where unnamed."""
    try:
        names = [channel.name for channel in av.AudioLayout(sound_format.layout).channels]
    except ValueError:  # a layout that FFmpeg has no name for
        names = []
    return names if len(names) == sound_format.channels else [""] * sound_format.channels


def channel_weights(sound_format: SoundFormat) -> Float64:
    """Weight of each channel in the loudness sum, [C]: 1, 1.41 for surrounds, 0 for LFE."""
    weights = [
        0.0 if name in _LFE else SURROUND_WEIGHT if name in _SURROUND else 1.0
        for name in channel_names(sound_format)
    ]
    return np.array(weights, np.float64)


def lufs(mean_square: Float64) -> Float64:
    """Loudness of weighted mean squares that are summed over channels, not below FLOOR_LUFS."""
    least = 10 ** ((FLOOR_LUFS - OFFSET) / 10)
    return OFFSET + 10 * np.log10(np.maximum(mean_square, least))


def k_weighting(rate: int) -> Float64:
    """The two filters of BS.1770 at any sample rate, [2, 5]: b0 b1 b2 a1 a2 of each.

    The Recommendation gives the coefficients for 48 kHz; these are the analogue prototypes behind
    them (a shelf of +4 dB above 1.7 kHz and a high-pass at 38 Hz), transformed bilinearly.
    """
    k = np.tan(np.pi * min(1681.974450955533, 0.45 * rate) / rate)
    q, gain = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = gain**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (gain + middle * k / q + k * k) / a0,
        2 * (k * k - gain) / a0,
        (gain - middle * k / q + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    k = np.tan(np.pi * min(38.13547087602444, 0.45 * rate) / rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass = [1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, high_pass], np.float64)


@njit(cache=True, nogil=True)
def _weighted_energy(
    samples: Float32, block: int, filters: Float64, state: Float64, energy: Float32
) -> None:
    """Mean square of every block after both filters; `state` [C, 4] goes on from call to call."""
    channels, blocks = energy.shape
    b0, b1, b2, a1, a2 = filters[0]
    c0, c1, c2, d1, d2 = filters[1]
    for channel in range(channels):
        s1, s2, t1, t2 = state[channel]
        position = 0
        for m in range(blocks):
            total = 0.0
            for _ in range(block):
                x = np.float64(samples[channel, position])
                position += 1
                y = b0 * x + s1
                s1 = b1 * x - a1 * y + s2
                s2 = b2 * x - a2 * y
                z = c0 * y + t1
                t1 = c1 * y - d1 * z + t2
                t2 = c2 * y - d2 * z
                total += z * z
            energy[channel, m] = total / block
            if abs(s1) + abs(s2) + abs(t1) + abs(t2) < 1e-15:  # numbers near zero are slow
                s1 = s2 = t1 = t2 = 0.0
        state[channel, 0], state[channel, 1] = s1, s2
        state[channel, 2], state[channel, 3] = t1, t2


@njit(cache=True, nogil=True)
def _oversampled_peak(
    samples: Float32, block: int, taps: Float32, wanted: Float32, peak: Float32
) -> None:
    """Largest magnitude between the samples of each wanted block; `samples` has taps-1 more."""
    channels, blocks = peak.shape
    phases, length = taps.shape
    sums = np.empty(block, np.float32)
    for channel in range(channels):
        for m in range(blocks):
            if not wanted[m]:
                continue
            first = m * block
            largest = np.float32(0)
            for phase in range(phases):
                sums[:] = 0
                for tap in range(length):
                    weight = taps[phase, tap]
                    for n in range(block):
                        sums[n] += weight * samples[channel, first + tap + n]
                for n in range(block):
                    largest = max(largest, abs(sums[n]))
            peak[channel, m] = largest


class LoudnessMeter:
    """The weighting filters and the two moving windows over one contiguous stream of blocks."""

    def __init__(self, sound_format: SoundFormat) -> None:
        self.format = sound_format
        seconds = sound_format.block / sound_format.rate
        self._filters = k_weighting(sound_format.rate)
        self._state = np.zeros((sound_format.channels, 4))
        self._weights = channel_weights(sound_format)
        self._lengths = [max(1, round(length / seconds)) for length in (MOMENTARY, SHORT_TERM)]
        self._past = np.full(self._lengths[-1], np.nan)  # weighted sums; nan before the start

    def measure(self, samples: Float32) -> tuple[Float32, Float32, Float32]:
        """The next whole blocks, [C, M * block] samples.

        Returns:
            Weighted mean square [C, M]; momentary and short-term loudness in LUFS [M], of the
            windows that end with each block, nan where the stream is too young for the window.
        """
        block = self.format.block
        weighted = np.empty((samples.shape[0], samples.shape[1] // block), np.float32)
        _weighted_energy(samples, block, self._filters, self._state, weighted)
        sums = np.concatenate([self._past, self._weights @ weighted.astype(np.float64)])
        self._past = sums[-self._lengths[-1] :]
        known = np.cumsum(np.concatenate([[0.0], np.nan_to_num(sums)]))
        missing = np.cumsum(np.concatenate([[0], np.isnan(sums)]))
        count = weighted.shape[1]
        windows = []
        for length in self._lengths:
            stop = np.arange(len(sums) - count, len(sums)) + 1
            means = np.maximum(known[stop] - known[stop - length], 0) / length
            level = np.where(missing[stop] == missing[stop - length], lufs(means), np.nan)
            windows.append(level.astype(np.float32))
        return weighted, windows[0], windows[1]


class TruePeakMeter:
    """Peaks between the samples, of one contiguous stream of blocks.

    The interpolating filters reach half their length into what comes next, so that the last half
    millisecond or less of a stream is judged by its samples alone.
    """

    def __init__(self, sound_format: SoundFormat) -> None:
        self.format = sound_format
        centre = np.arange(TRUE_PEAK_TAPS) - (TRUE_PEAK_TAPS / 2 - 1)
        window = np.kaiser(4 * TRUE_PEAK_TAPS + 1, 6.0)
        rows = []
        for phase in range(1, PHASES + 1):
            taps = np.sinc(centre - phase / 4) * window[4 - phase :: 4][:TRUE_PEAK_TAPS]
            rows.append(taps / taps.sum())
        self._taps = np.array(rows, np.float32)
        self.gain = float(np.abs(self._taps).sum(axis=1).max())  # true peak / sample peak, at most
        self._past = np.zeros((sound_format.channels, TRUE_PEAK_TAPS - 1), np.float32)

    def measure(self, samples: Float32, sample_peak: Float32, floor: float) -> Float32:
        """True peak of each block, [C, M], linear.

        Args:
            samples: [C, M * block], the next ones.
            sample_peak: [C, M].
            floor: blocks that cannot reach it keep their sample peak, which saves the work.
        """
        joined = np.concatenate([self._past, samples], axis=1)
        self._past = joined[:, -(TRUE_PEAK_TAPS - 1) :].copy()
        # a filter may reach into the block before
        reach = sample_peak.max(axis=0)
        reach = np.maximum(reach, np.concatenate([[np.abs(joined[:, :15]).max()], reach[:-1]]))
        between = np.zeros(sample_peak.shape, np.float32)
        wanted = (reach * self.gain > floor).astype(np.float32)
        _oversampled_peak(joined, self.format.block, self._taps, wanted, between)
        return np.maximum(sample_peak, between)
