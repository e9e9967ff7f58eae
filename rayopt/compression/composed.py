"""One compressor after another."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rayopt.compression.base import Array, Compressor
from rayopt.compression.sparse import Sparsifier
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import subkey
from rayopt.core.tasks import FLOAT_BITS


class Composition(Compressor):
    """A sparsifier, whose kept coordinates a second compressor sends; omega + 1 = (omega_1 + 1)(omega_2 + 1) [code].

    Args:
      first: the sparsifier, whose support the server shares: RandK, PermK, Bernoulli.
      second: an unbiased compressor of what is kept.

    Raises:
      InvalidInput: the first is not a sparsifier of that kind, or one of them is biased.

    Examples:
      >>> from rayopt.compression import Natural, RandK
      >>> Composition(RandK(10), Natural()).bits(1000), round(Composition(RandK(10), Natural()).omega(1000), 3)
      (90, 111.5)
    """

    name: ClassVar[str] = "composition"

    def __init__(self, first: Compressor, second: Compressor) -> None:
        if not isinstance(first, Sparsifier) or not first.unbiased:
            raise InvalidInput("compressor.first", f"{first!r} has no support that the seed tells",
                               "rand_k, perm_k or bernoulli")  # fmt: skip
        self.first, self.second = first, second
        if not self.second.unbiased:
            raise InvalidInput("compressor.second", f"{self.second!r} is biased", "an unbiased compressor")
        self.common = self.first.common  # type: ignore[misc]

    def of(self, worker: int, workers: int) -> Compressor:
        return Composition(self.first.of(worker, workers), self.second)

    def omega(self, dimension: int) -> float:
        kept = max(round(self.first.floats(dimension)), 1)
        return (1 + self.first.omega(dimension)) * (1 + self.second.omega(kept)) - 1

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return self.second.bits(max(round(self.first.floats(dimension)), 1), float_bits)

    def check(self, dimension: int) -> None:
        self.first.check(dimension)
        self.second.check(max(round(self.first.floats(dimension)), 1))

    def key_of(self, key: int, message: int) -> int:
        return self.first.key_of(key, message)

    def _second_key(self, key: int) -> int:
        return subkey(key & (2**64 - 1), 7)

    def _kept(self, x: Array, kept: NDArray[np.intp], key: int) -> Array:
        """Returns the kept coordinates as the second compressor takes them, in the dtype of x."""
        return self.first.compress(x, key)[..., kept].astype(x.dtype, copy=False)

    def compress(self, x: Array, key: int) -> Array:
        """Returns the second compressor's value of the kept coordinates at their places, in a vector of zeros."""
        kept = self.first.support(key, x.shape[-1])
        found = np.zeros(x.shape)
        if len(kept):
            found[..., kept] = self.second.compress(self._kept(x, kept, key), self._second_key(key))
        return found

    def encode(self, x: Array, key: int) -> bytes:
        kept = self.first.support(key, x.shape[-1])
        if not len(kept):
            return b""
        return self.second.encode(self._kept(x, kept, key), self._second_key(key))

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        kept = self.first.support(key, shape[-1])
        found = np.zeros(shape)
        if len(kept):
            found[..., kept] = self.second.decode(message, self._second_key(key), (*shape[:-1], len(kept)), dtype)
        return found


class ErrorFeedback:
    """Error feedback: what a biased compressor leaves out is added to the next vector (EF14, Seide et al. 2014).

    .. math:: m^k = C(e^k + v^k), \\quad e^{k+1} = e^k + v^k - m^k

    Args:
      compressor: C.
      dimension: of the vectors, or their shape (G, dimension).

    Examples:
      >>> from rayopt.compression import TopK
      >>> memory = ErrorFeedback(TopK(1), 2)
      >>> memory.compress(np.array([3.0, 2.0]), key=0).tolist(), memory.error.tolist()
      ([3.0, 0.0], [0.0, 2.0])
    """

    def __init__(self, compressor: Compressor, dimension: int | tuple[int, ...]) -> None:
        self.compressor = compressor
        self.error = np.zeros(dimension)

    def compress(self, x: Array, key: int) -> Array:
        """Returns m^k and keeps e^{k+1}."""
        wanted = self.error + x
        sent = self.compressor.compress(wanted, key)
        self.error = wanted - sent
        return sent
