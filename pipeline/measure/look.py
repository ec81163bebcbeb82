"""A closer look at a frame, about five times a second: what changes slowly (blur, grid, noise...).

Spatial quality does not change from frame to frame, so these statistics are sampled; what must be
seen in every frame is in pipeline/measure/frame.py. Rows are sampled too where a mean over many
remains: each statistic says which rows it reads.

Definitions, over a luma plane Y[y, x] of code values as stored:

- `histogram` [256]: number of samples of each value, rows 0, 5, 10...
- `row_mean` [H], `row_spread` [H]: mean of Y and of |Y[x]-Y[x-1]| along each row.
- `column_mean` [W] (even rows), `column_spread` [W] (odd rows): mean of Y and of |Y[y]-Y[y-1]|.
- `column_steps` [W] (even rows), `row_steps` [H]: isolated steps between neighbours, the mean of
  min(64, max(0, 2 s(x) - s(x-1) - s(x+1))) / 2 where s(x) = |Y[x]-Y[x-1]|. Edges of objects
  are spread over all columns; the edges of coding blocks stand on a grid.
- `noise` (every fourth row): Immerkaer's noise sigma per tile, sqrt(pi/2)/6 * mean |mask * Y|.
- `fine` (even rows): mean |Y[x]-Y[x-1]| per tile.
- `curve` (even rows): mean |Y[x-1]-2Y[x]+Y[x+1]| per tile. An edge that a Gaussian of sigma s
  has softened has curve/fine = 0.8/s, whatever its height; a hard step 2, white noise 1.7.
- `contour` (every fourth row and its like downwards): crossings of a tile by contours, a contour
  being a step of 2 to 9 values over 4 samples between two flat runs of 4. Up and down steps cancel,
  so that texture adds up to little and the staircase of a banded gradient adds up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.measure.sums import byte_sum
from pipeline.measurements import Float32, Look

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
    curve: Float32,
    contour: Float32,
) -> None:
    """One pass; sums run down columns in 16 bits, which the compiler vectorises."""
    tile_rows, tile_columns = noise.shape
    padded = tile_columns * 16
    counts = np.zeros((4, 256), np.uint32)  # four tables: no store waits for the one before
    mean = np.zeros(width, np.uint32)
    spread = np.zeros(width, np.uint32)
    steps = np.zeros(width, np.uint32)
    part_mean = np.zeros(width, np.uint16)
    part_spread = np.zeros(width, np.uint16)
    part_steps = np.zeros(width, np.uint16)
    d1 = np.zeros(padded, np.uint16)
    d2 = np.zeros(padded, np.uint16)
    nz = np.zeros(padded, np.uint16)
    across_contour = np.zeros(padded, np.int8)
    down_contour = np.zeros(padded, np.int8)
    edge = np.zeros(width + 1, np.uint8)  # |Y[x]-Y[x-1]| of this row; 0 beyond both ends
    vertical = np.zeros((3, width), np.uint8)  # |Y[y]-Y[y-1]| of the last three rows
    isolated = np.zeros(width, np.uint8)
    for ty in range(tile_rows):
        top = ty * 16
        bottom = min(top + 16, height)
        d1[:] = 0
        d2[:] = 0
        nz[:] = 0
        across_contour[:] = 0
        down_contour[:] = 0
        part_mean[:] = 0
        part_spread[:] = 0
        part_steps[:] = 0
        noise_rows = 0
        for y in range(top, bottom):
            row = plane[y]
            above = plane[y - 1 if y > 0 else 0]
            row_mean[y] = np.float32(byte_sum(row[:width])) / np.float32(width)
            for x in range(1, width):
                a = row[x]
                b = row[x - 1]
                edge[x] = np.uint8(max(a, b) - min(a, b))
            row_spread[y] = np.float32(byte_sum(edge)) / np.float32(max(width - 1, 1))
            now = vertical[y % 3]
            one = vertical[(y + 2) % 3]
            two = vertical[(y + 1) % 3]
            for x in range(width):
                a = row[x]
                b = above[x]
                step = np.uint8(max(a, b) - min(a, b))
                more = np.int16(np.int16(2) * np.int16(one[x]) - np.int16(two[x]) - np.int16(step))
                isolated[x] = np.uint8(min(max(more, np.int16(0)), np.int16(64)))
                now[x] = step
            if y > 0:
                row_steps[y - 1] = np.float32(byte_sum(isolated)) / np.float32(2 * width)
            if y % 2 == 1:
                for x in range(width):
                    part_spread[x] += np.uint16(now[x])
            else:
                for x in range(width):
                    part_mean[x] += np.uint16(row[x])
                for x in range(1, width):
                    d1[x] += np.uint16(edge[x])
                    more = np.int16(
                        np.int16(2) * np.int16(edge[x])
                        - np.int16(edge[x - 1])
                        - np.int16(edge[x + 1])
                    )
                    part_steps[x] += np.uint16(min(max(more, np.int16(0)), np.int16(64)))
                for x in range(1, width - 1):
                    bend = np.int16(
                        np.int16(row[x - 1]) + np.int16(row[x + 1]) - np.int16(2) * np.int16(row[x])
                    )
                    d2[x] += np.uint16(max(bend, np.int16(-bend)))
            if y % 5 == 0:
                for x in range(0, width - 3, 4):
                    counts[0, row[x]] += 1
                    counts[1, row[x + 1]] += 1
                    counts[2, row[x + 2]] += 1
                    counts[3, row[x + 3]] += 1
                for x in range(width - width % 4, width):
                    counts[0, row[x]] += 1
            if y % 4 == 1 and y + 1 < height:
                below = plane[y + 1]
                noise_rows += 1
                for x in range(1, width - 1):
                    corner = np.int16(
                        np.int16(above[x - 1])
                        + np.int16(above[x + 1])
                        + np.int16(below[x - 1])
                        + np.int16(below[x + 1])
                    )
                    side = np.int16(
                        np.int16(above[x])
                        + np.int16(below[x])
                        + np.int16(row[x - 1])
                        + np.int16(row[x + 1])
                    )
                    value = np.int16(corner - np.int16(2) * side + np.int16(4) * np.int16(row[x]))
                    nz[x] += np.uint16(max(value, np.int16(-value)))
            if y % 4 == 2 and 6 <= y < height - 6:
                first, second = plane[y - 6], plane[y - 2]
                third, fourth = plane[y + 2], plane[y + 6]
                for x in range(width):
                    a, b, c, d = first[x], second[x], third[x], fourth[x]
                    left = np.uint8(min(np.uint8(max(a, b) - min(a, b)), np.uint8(3)))
                    right = np.uint8(min(np.uint8(max(c, d) - min(c, d)), np.uint8(3)))
                    uneven = np.uint8(left + right)
                    size = np.uint8(max(b, c) - min(b, c))
                    is_step = (size >= np.uint8(uneven + np.uint8(2))) & (size <= np.uint8(9))
                    is_step &= uneven <= np.uint8(2)
                    down_contour[x] += np.int8(is_step & (c > b)) - np.int8(is_step & (c < b))
                for x in range(6, width - 6):
                    a, b, c, d = row[x - 6], row[x - 2], row[x + 2], row[x + 6]
                    left = np.uint8(min(np.uint8(max(a, b) - min(a, b)), np.uint8(3)))
                    right = np.uint8(min(np.uint8(max(c, d) - min(c, d)), np.uint8(3)))
                    uneven = np.uint8(left + right)
                    size = np.uint8(max(b, c) - min(b, c))
                    is_step = (size >= np.uint8(uneven + np.uint8(2))) & (size <= np.uint8(9))
                    is_step &= uneven <= np.uint8(2)
                    across_contour[x] += np.int8(is_step & (c > b)) - np.int8(is_step & (c < b))
        for x in range(width):
            mean[x] += np.uint32(part_mean[x])
            spread[x] += np.uint32(part_spread[x])
            steps[x] += np.uint32(part_steps[x])
        even_rows = (bottom - top + 1) // 2
        for tx in range(tile_columns):
            left = tx * 16
            across = min(left + 16, width) - left
            a1 = np.uint32(0)
            a2 = np.uint32(0)
            an = np.uint32(0)
            net_across = np.int32(0)
            net_down = np.int32(0)
            for x in range(left, left + 16):
                a1 += np.uint32(d1[x])
                a2 += np.uint32(d2[x])
                an += np.uint32(nz[x])
                net_across += np.int32(across_contour[x])
                net_down += np.int32(down_contour[x])
            fine[ty, tx] = a1 / np.float32(even_rows * across)
            curve[ty, tx] = a2 / np.float32(even_rows * across)
            # Immerkaer 1996: sigma = sqrt(pi/2) / 6 * mean |mask * Y|
            noise[ty, tx] = np.float32(0.2088857) * an / np.float32(max(noise_rows, 1) * across)
            # a contour is seen at 4 positions in each of 4 rows, or once in each of 16 columns
            contour[ty, tx] = np.float32(max(abs(net_across), abs(net_down))) / np.float32(16)
    last = vertical[(height - 1) % 3]
    before = vertical[(height + 1) % 3]
    total = np.uint32(0)
    for x in range(width):
        total += np.uint32(min(max(2 * np.int16(last[x]) - np.int16(before[x]), 0), 64))
    row_steps[height - 1] = np.float32(total) / np.float32(2 * width)
    even_rows = (height + 1) // 2
    for x in range(width):
        column_mean[x] = np.float32(mean[x]) / np.float32(even_rows)
        column_spread[x] = np.float32(spread[x]) / np.float32(max(height // 2, 1))
        column_steps[x] = np.float32(steps[x]) / np.float32(2 * even_rows)
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
        curve=np.empty(tiles, np.float32),
        contour=np.empty(tiles, np.float32),
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
        taken.curve,
        taken.contour,
    )
    return taken
