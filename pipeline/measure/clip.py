"""Flat tops: where the peaks of a wave have been cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft
from numba import njit

from pipeline.measurements import Float32

SHORTEST = 3  # samples in a flat top (quality.md A7)
QUIET = 0.01  # of full scale: below, the steps of 16-bit samples look like flat tops
SQUARE = 0.5  # of the peak: a rise within two samples that is an edge of a square wave
# What is cut off for the most part, by the root of the mean square as a share of what half a
# percent of the samples exceeds. In 6 h of music, speech and effects 33 of 107 000 stretches have
# such waves and steps, and those are cut off.
SPREAD = 0.62  # of the samples, at least: noise has 0.36, a sine 0.71
STEPS = (0.15, 0.4)  # of the steps from sample to sample: square waves have less, sines 0.71
STILL, MOST_STILL = 0.03, 0.5  # steps of no size, and their share away from the tops: a staircase
PERIODIC = 0.85  # autocorrelation up to half a block: a square wave, and not sound that was cut
TOP, MIDDLE = 0.85, 0.7  # of the height: what is near the ceiling, and what is away from it
# Median step at the top over that away from it, at most: a bass that a limiter has squared still
# carries at its top what was played with it. Chosen on development files: 502 blocks that were
# clipped (one, in an MP3, has more than 0.49) and 20 of such a bass (0.52 and more).
LIES_STILL = 0.5


@njit(cache=True, nogil=True)
def flat_tops(
    samples: Float32,
    length: int,
    beyond: float,
    shelf_share: float,
    steeper: float,
    found: npt.NDArray[np.int32],
    ceiling: Float32,
) -> None:
    """Count the peaks near the largest magnitude of each block, and how many of them are flat.

    A peak is a stretch above a shelf near the top of the block. The height of a round one over the
    shelf follows from how steeply it is entered and left and how long it lasts: slope * length / 4
    for a parabola. A top that has been cut off is far lower than its sides promise, whether it is
    level, or rippled by a codec, or attenuated later.

    Args:
        samples: [C, N].
        length: samples in a block, N is a multiple of it.
        beyond: share of the samples of a block that lies above what is called its top.
        shelf_share: height of the shelf, of the top.
        steeper: how many times steeper than those of a round peak the sides of a flat one are.
        found: [C, blocks, 3] receives round peaks, flat ones, and edges of square waves.
        ceiling: [C, blocks] receives the top.
    """
    channels, blocks = ceiling.shape
    counts = np.zeros(256, np.int64)
    for channel in range(channels):
        for block in range(blocks):
            first = block * length
            stop = first + length
            top = np.float32(0)
            for n in range(first, stop):
                top = max(top, abs(samples[channel, n]))
            ceiling[channel, block] = top
            if top < QUIET:
                continue
            counts[:] = 0
            scale = 255.99 / top
            for n in range(first, stop):
                counts[int(abs(samples[channel, n]) * scale)] += 1
            above, level = 0, 256
            while above < max(length * beyond, 1):
                level -= 1
                above += counts[level]
            top = np.float32((level + 1) / scale)
            ceiling[channel, block] = top
            shelf = np.float32(shelf_share) * top
            n = first + 2
            while n < stop - 2:
                value = samples[channel, n]
                if abs(value) < shelf:
                    n += 1
                    continue
                sign = 1.0 if value > 0 else -1.0
                start = n
                peak = np.float32(0)
                while n < stop - 2 and sign * samples[channel, n] >= shelf:
                    peak = max(peak, abs(samples[channel, n]))
                    n += 1
                count = n - start
                rise = sign * (samples[channel, start] - samples[channel, start - 2]) / 2
                fall = sign * (samples[channel, n - 1] - samples[channel, n + 1]) / 2
                if rise * 2 > SQUARE * top and fall * 2 > SQUARE * top:
                    found[channel, block, 2] += 1
                elif count < SHORTEST:
                    found[channel, block, 0] += 1
                else:
                    promised = shelf + min(rise, fall) * count / 4
                    if promised - shelf > steeper * (peak - shelf):
                        found[channel, block, 1] += 1
                    else:
                        found[channel, block, 0] += 1


def driven(samples: Float32, length: int) -> dict[int, tuple[int, float]]:
    """Blocks whose loudest channel is cut off for the most part.

    Args:
        samples: [C, N].
        length: samples in a block; what is left over is not looked at.

    Returns:
        By block: how often the wave was cut off, and how high it is.
    """
    found: dict[int, tuple[int, float]] = {}
    count = samples.shape[1] // length
    blocks = samples[:, : count * length].reshape(samples.shape[0], count, length)
    power = np.einsum("cbn,cbn->cb", blocks, blocks) / length
    rare = int(0.995 * length)
    for block, channel in enumerate(power.argmax(axis=0)):
        spread = float(np.sqrt(power[channel, block]))
        wave = blocks[channel, block]
        if spread < QUIET or np.abs(wave).max() * SPREAD > 1.8 * spread:
            continue  # a lossy codec may let peaks stick out by half
        size = np.abs(wave)
        height = float(np.partition(size, rare)[rare])
        if spread < SPREAD * height:
            continue
        step = np.abs(np.diff(wave))
        large = float(np.partition(step, rare)[rare])
        if not STEPS[0] <= np.sqrt(np.square(step).mean()) / max(large, 1e-9) <= STEPS[1]:
            continue
        away = size[1:] < MIDDLE * height
        if (step[away] < STILL * large).mean() > MOST_STILL:
            continue
        above = size > TOP * height
        flat = above[1:] & above[:-1]
        if flat.any() and np.median(step[flat]) > LIES_STILL * np.median(step[away]):
            continue
        wave = wave - wave.mean()
        same = scipy.fft.irfft(np.square(np.abs(scipy.fft.rfft(wave, 2 * length))))[: length // 2]
        first = max(int(np.argmax(same < 0)), 1)
        if same[first:].max() > PERIODIC * same[0]:
            continue
        found[block] = int((above[2:] & above[1:-1] & ~above[:-2]).sum()), height
    return found
