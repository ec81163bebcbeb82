"""A closer look at a frame, about five times a second: what changes slowly (blur, grid, noise...).

Spatial quality does not change from frame to frame, so these statistics are sampled; what must be
seen in every frame is in pipeline/measure/frame.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.types import Float32, Look

UInt8 = npt.NDArray[np.uint8]


@njit(cache=True, nogil=True)
def _look_pass(
    plane: UInt8,
    width: int,
    height: int,
    histogram: npt.NDArray[np.int64],
    row_mean: Float32,
    row_spread: Float32,
    column_mean: Float32,
    column_spread: Float32,
    column_steps: Float32,
    row_steps: Float32,
    noise: Float32,
    fine: Float32,
    coarse: Float32,
) -> None:
    tile_rows, tile_columns = noise.shape
    padded = tile_columns * 16
    counts = np.zeros((4, 256), np.uint32)  # four tables: no store waits for the one before
    mean = np.zeros(width, np.uint32)
    spread = np.zeros(width, np.uint32)
    steps = np.zeros(width, np.uint32)
    d1 = np.zeros(padded, np.uint16)
    d4 = np.zeros(padded, np.uint16)
    nz = np.zeros(padded, np.uint16)
    edge = np.zeros(width + 2, np.int16)
    for ty in range(tile_rows):
        top = ty * 16
        bottom = min(top + 16, height)
        d1[:] = 0
        d4[:] = 0
        nz[:] = 0
        noise_rows = 0
        for y in range(top, bottom):
            row = plane[y]
            above = plane[y - 1 if y > 0 else 0]
            below = plane[y + 1 if y + 1 < height else y]
            above2 = plane[y - 2 if y > 1 else 0]
            total = np.uint32(0)
            across = np.uint32(0)
            for x in range(width):
                total += np.uint32(row[x])
                mean[x] += np.uint32(row[x])
            for x in range(0, width - 3, 4):
                counts[0, row[x]] += 1
                counts[1, row[x + 1]] += 1
                counts[2, row[x + 2]] += 1
                counts[3, row[x + 3]] += 1
            for x in range(width - width % 4, width):
                counts[0, row[x]] += 1
            for x in range(width):
                a = np.uint16(row[x])
                b = np.uint16(above[x])
                spread[x] += np.uint16(max(a, b) - min(a, b))
            for x in range(1, width):
                a = np.uint16(row[x])
                b = np.uint16(row[x - 1])
                step = np.uint16(max(a, b) - min(a, b))
                d1[x] += step
                across += np.uint32(step)
                edge[x] = np.int16(step)
            for x in range(4, width):
                a = np.uint16(row[x])
                b = np.uint16(row[x - 4])
                d4[x] += np.uint16(max(a, b) - min(a, b))
            # an isolated step: larger than the mean of its two neighbours, capped at 32
            for x in range(1, width):
                more = np.int16(2) * edge[x] - edge[x - 1] - edge[x + 1 if x + 1 < width else x]
                steps[x] += np.uint32(min(max(more, np.int16(0)), np.int16(64)))
            if y > 0:
                down = np.uint32(0)
                for x in range(width):
                    a = np.int16(row[x])
                    b = np.int16(above[x])
                    s0 = np.int16(max(a, b) - min(a, b))
                    c = np.int16(above2[x])
                    s1 = np.int16(max(b, c) - min(b, c))
                    e = np.int16(below[x])
                    s2 = np.int16(max(a, e) - min(a, e))
                    more = np.int16(2) * s0 - s1 - s2
                    down += np.uint32(min(max(more, np.int16(0)), np.int16(64)))
                row_steps[y] = np.float32(down) / np.float32(2 * width)
            else:
                row_steps[y] = 0
            if y > 0 and y + 1 < height and y % 2 == 0:  # every other row is enough for noise
                noise_rows += 1
                for x in range(1, width - 1):
                    corner = (
                        np.int16(above[x - 1])
                        + np.int16(above[x + 1])
                        + np.int16(below[x - 1])
                        + np.int16(below[x + 1])
                    )
                    side = (
                        np.int16(above[x])
                        + np.int16(below[x])
                        + np.int16(row[x - 1])
                        + np.int16(row[x + 1])
                    )
                    value = np.int16(corner - np.int16(2) * side + np.int16(4) * np.int16(row[x]))
                    nz[x] += np.uint16(min(max(value, np.int16(-value)), np.int16(4000)))
            row_mean[y] = np.float32(total) / np.float32(width)
            row_spread[y] = np.float32(across) / np.float32(max(width - 1, 1))
        for tx in range(tile_columns):
            left = tx * 16
            right = min(left + 16, width)
            a1 = np.uint32(0)
            a4 = np.uint32(0)
            an = np.uint32(0)
            for x in range(left, right):
                a1 += np.uint32(d1[x])
                a4 += np.uint32(d4[x])
                an += np.uint32(nz[x])
            count = np.float32((bottom - top) * (right - left))
            fine[ty, tx] = a1 / count
            coarse[ty, tx] = a4 / count
            # Immerkaer 1996: sigma = sqrt(pi/2) / 6 * mean |mask * Y|
            noise[ty, tx] = (
                np.float32(0.2088857) * an / np.float32(max(noise_rows, 1) * (right - left))
            )
    for x in range(width):
        column_mean[x] = np.float32(mean[x]) / np.float32(height)
        column_spread[x] = np.float32(spread[x]) / np.float32(max(height - 1, 1))
        column_steps[x] = np.float32(steps[x]) / np.float32(2 * height)
    for value in range(256):
        histogram[value] = (
            np.int64(counts[0, value])
            + np.int64(counts[1, value])
            + np.int64(counts[2, value])
            + np.int64(counts[3, value])
        )


def look(plane: UInt8, width: int, height: int, time: float, frame: int) -> Look:
    """Take a closer look at a luma plane [rows, line size] of which width x height is picture."""
    tiles = (-(-height // 16), -(-width // 16))
    taken = Look(
        time=time,
        frame=frame,
        histogram=np.empty(256, np.int64),
        row_mean=np.empty(height, np.float32),
        row_spread=np.empty(height, np.float32),
        column_mean=np.empty(width, np.float32),
        column_spread=np.empty(width, np.float32),
        column_steps=np.empty(width, np.float32),
        row_steps=np.empty(height, np.float32),
        noise=np.empty(tiles, np.float32),
        fine=np.empty(tiles, np.float32),
        coarse=np.empty(tiles, np.float32),
    )
    _look_pass(
        plane,
        width,
        height,
        taken.histogram,
        taken.row_mean,
        taken.row_spread,
        taken.column_mean,
        taken.column_spread,
        taken.column_steps,
        taken.row_steps,
        taken.noise,
        taken.fine,
        taken.coarse,
    )
    return taken
