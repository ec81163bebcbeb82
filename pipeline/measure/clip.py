"""Flat tops: where the peaks of a wave have been cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.types import Float32

SHORTEST = 3  # samples in a flat top (quality.md A7)
QUIET = 0.01  # of full scale: below, the steps of 16-bit samples look like flat tops
SQUARE = 0.5  # of the peak: a rise within two samples that is an edge of a square wave


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
