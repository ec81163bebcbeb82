"""Sums of bytes in compiled passes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

_BLOCK = 120  # words of which each 16-bit lane holds the sum: 120 * 2 * 255 < 2**16


@njit(cache=True, nogil=True)
def byte_sum(values: npt.NDArray[np.uint8]) -> np.uint32:
    """Sum of contiguous bytes [N], N * 255 < 2**32.

    Eight at a time within 64-bit words: compilers widen each byte to the accumulator instead, which
    costs four times as much.
    """
    whole = len(values) // 8
    words = values[: whole * 8].view(np.uint64)
    pairs, quads = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
    total = np.uint64(0)
    for start in range(0, whole, _BLOCK):
        lanes = np.uint64(0)
        part = words[start : min(start + _BLOCK, whole)]
        for i in range(len(part)):  # from 0: an index that may be negative is not vectorised
            word = part[i]
            lanes += (word & pairs) + ((word >> np.uint64(8)) & pairs)
        lanes = (lanes & quads) + ((lanes >> np.uint64(16)) & quads)
        total += (lanes & np.uint64(0xFFFFFFFF)) + (lanes >> np.uint64(32))
    for i in range(whole * 8, len(values)):
        total += np.uint64(values[i])
    return np.uint32(total)
