"""Quantisation: all coordinates, few bits each."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rayopt.compression.base import Array, Compressor, rows_of
from rayopt.compression.packing import pack, pack_elias, unpack, unpack_elias
from rayopt.core.errors import at_least
from rayopt.core.keys import subkeys, uniforms
from rayopt.core.tasks import FLOAT_BITS

LEAST_EXPONENT = -126
"""Of natural compression: 8 bits hold 2**-126 to 2**128, and 0."""


def draws(key: int, count: int) -> Array:
    """Returns uniform numbers in (0, 1) for each coordinate, shape (count,)."""
    return uniforms(subkeys(np.array([key], dtype=np.uint64), count)[0])


class Natural(Compressor):
    """Natural compression: each coordinate is rounded to a power of two at random; omega = 1/8, 9 bits [code][memory].

    A number t goes to sign(t) 2^floor(log2 |t|) with probability (2^ceil - |t|) / 2^floor, else to the next power. Nine
    bits hold a sign and an exponent; magnitudes below 2^-126 are rounded at random to 0 or 2^-126.
    """

    name: ClassVar[str] = "natural"
    paper: ClassVar[str] = "Horvath et al. 2019, arXiv 1905.10988"

    def omega(self, dimension: int) -> float:
        return 1 / 8

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return 9 * dimension

    def _codes(self, x: Array, key: int) -> NDArray[np.int64]:
        """Returns the exponents, counted from 1; 0 stands for the number 0. Shape (G, dimension)."""
        magnitudes = np.abs(rows_of(x))
        fraction, exponent = np.frexp(magnitudes)
        # |t| = fraction 2^exponent, fraction in [1/2, 1): between 2^(exponent - 1) and 2^exponent.
        up = draws(key, x.shape[-1]) < 2 * fraction - 1
        codes = exponent.astype(np.int64) - LEAST_EXPONENT + up
        small = magnitudes < 2.0**LEAST_EXPONENT
        # The small ones alone: others times that overflow in float32.
        own = np.broadcast_to(draws(key, x.shape[-1]), codes.shape)[small]
        codes[small] = own < magnitudes[small] * 2.0**-LEAST_EXPONENT
        return np.minimum(codes, 255)

    def _values(self, codes: NDArray[np.integer], signs: NDArray[np.bool_]) -> Array:
        found = np.where(codes == 0, 0.0, np.ldexp(1.0, codes.astype(np.int64) + LEAST_EXPONENT - 1))
        return np.where(signs, -found, found)

    def compress(self, x: Array, key: int) -> Array:
        return self._values(self._codes(x, key), np.signbit(rows_of(x))).reshape(x.shape)

    def encode(self, x: Array, key: int) -> bytes:
        return pack((self._codes(x, key) << 1 | np.signbit(rows_of(x))).reshape(-1), 9)

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        found = unpack(message, 9, math.prod(shape)).astype(np.int64)
        return self._values(found >> 1, (found & 1).astype(bool)).reshape(shape)


class QSGD(Compressor):
    """QSGD's quantiser: ||v|| sign(v_j) l_j / s, where l_j rounds s |v_j| / ||v|| to a neighbouring level at random.

    omega = min(d / s^2, sqrt(d) / s) [memory]. The norm is sent as a float, a level as the Elias gamma code of l + 1
    and its sign if it is not 0; :meth:`bits` bounds the expected size [derived].

    Args:
      levels: s, at least 1.

    Raises:
      InvalidInput: ``levels`` is not an integer of at least 1.
    """

    name: ClassVar[str] = "qsgd"
    paper: ClassVar[str] = "Alistarh et al. 2017, arXiv 1610.02132"

    def __init__(self, levels: int) -> None:
        self.levels = at_least("compressor.levels", levels, 1)

    def omega(self, dimension: int) -> float:
        return min(dimension / self.levels**2, math.sqrt(dimension) / self.levels)

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        """Returns a bound of the expected size, a float + d + 2 d log2(1 + s / sqrt(d)) + min(d, s sqrt(d)).

        The code of level l has 2 floor(log2(l + 1)) + 1 bits and a sign; the mean of s |v_j| / ||v|| over the
        coordinates is at most s / sqrt(d), and the logarithm is concave.
        """
        root = math.sqrt(dimension)
        codes = dimension + 2 * dimension * math.log2(1 + self.levels / root)
        return float_bits + math.ceil(codes + min(dimension, self.levels * root))

    def _levels(self, x: Array, key: int) -> tuple[Array, NDArray[np.int64]]:
        """Returns the norms of the rows, shape (G,), and their levels, shape (G, dimension)."""
        rows = rows_of(x)
        # Squares of float32 overflow before a norm does.
        norms = np.array([np.linalg.norm(row.astype(np.float64, copy=False)) for row in rows], dtype=x.dtype)
        scaled = np.abs(rows) * (self.levels / np.where(norms > 0, norms, 1.0))[:, None]
        floor = np.floor(scaled)
        return norms, (floor + (draws(key, x.shape[-1]) < scaled - floor)).astype(np.int64)

    def _values(self, norms: Array, levels: NDArray[np.integer], signs: NDArray[np.bool_]) -> Array:
        found = levels * (norms / self.levels)[:, None]
        return np.where(signs & (levels > 0), -found, found)

    def compress(self, x: Array, key: int) -> Array:
        return self._values(*self._levels(x, key), np.signbit(rows_of(x))).reshape(x.shape)

    def encode(self, x: Array, key: int) -> bytes:
        norms, levels = self._levels(x, key)
        signs = np.signbit(rows_of(x))[levels > 0]
        return norms.tobytes() + pack_elias(levels.reshape(-1) + 1) + np.packbits(signs).tobytes()

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        points = math.prod(shape[:-1])
        norms = np.frombuffer(message, dtype=dtype, count=points)
        codes = message[norms.nbytes :]
        found, bits = unpack_elias(codes, math.prod(shape))
        levels = found.astype(np.int64) - 1
        signs = np.zeros(len(levels), dtype=bool)
        packed = np.frombuffer(codes[-(-bits // 8) :], dtype=np.uint8)
        signs[levels > 0] = np.unpackbits(packed, count=int(np.count_nonzero(levels)))
        rows = (points, shape[-1])
        return self._values(norms, levels.reshape(rows), signs.reshape(rows)).reshape(shape)
