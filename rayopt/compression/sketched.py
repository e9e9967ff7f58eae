"""Sketches and rotations: compressors that mix coordinates before they send few numbers of them."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from rayopt.compression.base import Array, Compressor, rows_of
from rayopt.compression.packing import pack, unpack
from rayopt.compression.quantised import draws
from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.keys import NormalVectors, subkey, subkeys
from rayopt.core.tasks import FLOAT_BITS


class CORE(Compressor):
    """CORE: (1/k) sum_l g_l <g_l, v> with k Gaussian vectors g_l of the shared seed; omega = (d + 1) / k [code].

    Args:
      k: how many numbers are sent, at least 1.

    Raises:
      InvalidInput: k is not an integer of at least 1.
    """

    name: ClassVar[str] = "core"
    paper: ClassVar[str] = "Yue et al. 2023, arXiv 2306.02949"

    def __init__(self, k: int) -> None:
        self.k = at_least("compressor.k", k, 1)
        self._normal = NormalVectors()

    def omega(self, dimension: int) -> float:
        return (dimension + 1) / self.k

    def floats(self, dimension: int) -> float:
        return float(self.k)

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return float_bits * self.k

    def _sent(self, x: Array, key: int) -> Array:
        """Returns <g_l, v> for each point, shape (G, k)."""
        found = np.empty((len(rows_of(x)), self.k), dtype=x.dtype)
        for number in range(self.k):
            direction = self._normal.draw(subkey(key, number), x.shape[-1])
            found[:, number] = [row @ direction for row in rows_of(x)]
        return found

    def _received(self, sent: Array, key: int, shape: tuple[int, ...]) -> Array:
        found = np.zeros((len(sent), shape[-1]))
        for number in range(self.k):
            found += sent[:, number : number + 1] * self._normal.draw(subkey(key, number), shape[-1])
        found /= self.k
        return found.reshape(shape)

    def compress(self, x: Array, key: int) -> Array:
        return self._received(self._sent(x, key), key, x.shape)

    def encode(self, x: Array, key: int) -> bytes:
        return self._sent(x, key).tobytes()

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        return self._received(np.frombuffer(message, dtype=dtype).reshape(-1, self.k), key, shape)


class RotatedQuantisation(Compressor):
    """A random rotation, then stochastic uniform quantisation between the least and the largest coordinate.

    The vector is padded to a power of two D and rotated, v <- H S v / sqrt(D), by random signs S and the Walsh-Hadamard
    matrix H; b bits hold one of 2^b levels, rounded at random without bias [memory]. After the rotation the range of
    the coordinates is of order sqrt(log D / D) ||v|| with high probability; the bound that always holds is
    omega = D / (2^b - 1)^2 [derived: a range of at most 2 ||v||, and a variance of a quarter of a step's square].

    Args:
      bits_per_coordinate: b, from 1 to 32.

    Raises:
      InvalidInput: b is out of its range.
    """

    name: ClassVar[str] = "rotated_quantisation"
    paper: ClassVar[str] = "Konecny et al. 2016, arXiv 1610.05492"

    def __init__(self, bits_per_coordinate: int) -> None:
        self.bits_per_coordinate = at_least("compressor.bits_per_coordinate", bits_per_coordinate, 1)
        if bits_per_coordinate > 32:
            raise InvalidInput("compressor.bits_per_coordinate", str(bits_per_coordinate), "an integer from 1 to 32")

    def omega(self, dimension: int) -> float:
        return padded(dimension) / (2**self.bits_per_coordinate - 1) ** 2

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        """Returns two floats, the ends of the range, and b bits for each of D coordinates."""
        return 2 * float_bits + self.bits_per_coordinate * padded(dimension)

    def _levels(self, x: Array, key: int) -> tuple[Array, Array, Array]:
        """Returns the least coordinate and the step of each row, shapes (G, 1), and the levels, shape (G, D)."""
        rotated = rotate(rows_of(x), key)
        least = rotated.min(axis=1, keepdims=True)
        most = 2**self.bits_per_coordinate - 1
        step = ((rotated.max(axis=1, keepdims=True) - least) / most).astype(x.dtype)
        least = least.astype(x.dtype)
        scaled = (rotated - least) / np.where(step > 0, step, 1.0)
        floor = np.floor(scaled)
        levels = floor + (draws(subkey(key, 1), rotated.shape[1]) < scaled - floor)
        # Ends that were rounded to float32 may lie inside the range.
        return least, step, np.clip(levels, 0, most)

    def _values(self, least: Array, step: Array, levels: Array, key: int, shape: tuple[int, ...]) -> Array:
        return rotate_back(least + step * levels, key, shape[-1]).reshape(shape)

    def compress(self, x: Array, key: int) -> Array:
        return self._values(*self._levels(x, key), key, x.shape)

    def encode(self, x: Array, key: int) -> bytes:
        least, step, levels = self._levels(x, key)
        return np.hstack([least, step]).tobytes() + pack(levels.astype(np.uint64), self.bits_per_coordinate)

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        points, size = math.prod(shape[:-1]), padded(shape[-1])
        ends = np.frombuffer(message, dtype=dtype, count=2 * points).reshape(points, 2)
        levels = unpack(message[ends.nbytes :], self.bits_per_coordinate, points * size).reshape(points, size)
        return self._values(ends[:, :1], ends[:, 1:], levels.astype(np.float64), key, shape)


def padded(dimension: int) -> int:
    """Returns the least power of two of at least the dimension."""
    return 1 << max(dimension - 1, 0).bit_length()


def rotate(rows: Array, key: int) -> Array:
    """Returns H S v / sqrt(D) of each row v padded with zeros, shape (G, D)."""
    found = np.zeros((len(rows), padded(rows.shape[1])))
    found[:, : rows.shape[1]] = rows
    found *= _signs(key, found.shape[1])
    return _walsh_hadamard(found)


def rotate_back(rotated: Array, key: int, dimension: int) -> Array:
    """Returns the rows that :func:`rotate` would turn into these, shape (G, dimension)."""
    return (_walsh_hadamard(rotated.copy()) * _signs(key, rotated.shape[1]))[:, :dimension]


def _signs(key: int, size: int) -> Array:
    found: Array = (subkeys(np.array([subkey(key, 0)], dtype=np.uint64), size)[0] >> np.uint64(63)) * 2.0 - 1.0
    return found


def _walsh_hadamard(rows: Array) -> Array:
    """Returns H v / sqrt(D) of each row, in its place, in D log D steps."""
    size = rows.shape[1]
    width = 1
    while width < size:
        pairs = rows.reshape(len(rows), -1, 2, width)
        first, second = pairs[:, :, 0].copy(), pairs[:, :, 1]
        pairs[:, :, 0] += second
        pairs[:, :, 1] = first - second
        width *= 2
    rows /= math.sqrt(size)
    return rows
