"""Whole numbers packed into bits, as they travel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack(numbers: NDArray[np.integer], width: int) -> bytes:
    """Returns numbers below 2**width in ``width`` bits each, padded to whole bytes."""
    if width == 0:
        return b""
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint64)
    bits = (numbers.astype(np.uint64).reshape(-1)[:, None] >> shifts) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8)).tobytes()


def unpack(packed: bytes, width: int, count: int) -> NDArray[np.uint64]:
    """Returns the first ``count`` numbers of ``width`` bits each, shape (count,)."""
    if width == 0:
        return np.zeros(count, dtype=np.uint64)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count * width).reshape(count, width)
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint64)
    found: NDArray[np.uint64] = (bits.astype(np.uint64) << shifts).sum(axis=1, dtype=np.uint64)
    return found


def pack_elias(numbers: NDArray[np.integer]) -> bytes:
    """Returns the Elias gamma codes of numbers of at least 1, one after the other, padded to whole bytes.

    A number of b bits is b - 1 zeros and then its bits (Elias, 1975).
    """
    values = numbers.astype(np.uint64).reshape(-1)
    width = np.floor(np.log2(values)).astype(np.int64)
    ends = np.cumsum(2 * width + 1)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    for place in range(int(width.max()) + 1 if len(values) else 0):
        has = width >= place
        bits[ends[has] - 1 - place] = (values[has] >> np.uint64(place)) & np.uint64(1)
    return np.packbits(bits).tobytes()


def unpack_elias(packed: bytes, count: int) -> tuple[NDArray[np.uint64], int]:
    """Returns the first ``count`` numbers and how many bits they took."""
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8))
    ones = np.flatnonzero(bits)
    found = np.empty(count, dtype=np.uint64)
    position = place = 0
    for number in range(count):
        # The first one of the rest ends the zeros.
        while ones[place] < position:
            place += 1
        width = int(ones[place]) - position
        start, position = position + width, position + 2 * width + 1
        value = 0
        for bit in bits[start:position]:
            value = value << 1 | int(bit)
        found[number] = value
    return found, position
