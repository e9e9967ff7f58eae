"""What a compressor is: a random map of vectors that is cheap to send, with its variance and its size."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import subkey
from rayopt.core.tasks import FLOAT_BITS

Array = NDArray[Any]


class Compressor:
    """A map C of vectors that is drawn anew for every message.

    An unbiased compressor has E C(v) = v and E||C(v) - v||^2 <= omega ||v||^2; a contractive one has
    E||C(v) - v||^2 <= (1 - alpha) ||v||^2. All draws are addressed by a key: the same key, the same message.

    Every method that takes ``x`` accepts shape (dimension,) or (G, dimension). The rows are independent points, which
    are compressed with the same draws, so that a member of a grid has the bits of its own run.

    Attributes:
      name: what a workload file calls it.
      paper: where it is from.
      unbiased: whether E C(v) = v.
      common: whether all workers of a round must share the draws.
      travels: whether anything is sent, so that it takes time.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    unbiased: ClassVar[bool] = True
    common: ClassVar[bool] = False
    travels: ClassVar[bool] = True

    def omega(self, dimension: int) -> float:
        """Returns the bound of E||C(v) - v||^2 / ||v||^2 of an unbiased compressor.

        Raises:
          InvalidInput: the compressor is biased.
        """
        raise InvalidInput("compressor", f"{self!r} is biased and has no omega", "an unbiased compressor")

    def alpha(self, dimension: int) -> float:
        """Returns alpha in (0, 1], where E||C(v) - v||^2 <= (1 - alpha) ||v||^2.

        An unbiased compressor is one after it is divided by 1 + omega: alpha = 1 / (1 + omega).
        """
        return 1 / (1 + self.omega(dimension))

    def floats(self, dimension: int) -> float:
        """Returns how many floats a message has: its bits in units of 64 where it is made of something else."""
        return self.bits(dimension) / FLOAT_BITS

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        """Returns the bits of a message.

        Args:
          dimension: d, of the vector that is compressed.
          float_bits: 64, or 32 for a problem in float32.
        """
        raise NotImplementedError

    def check(self, dimension: int) -> None:
        """Raises InvalidInput if vectors of this dimension cannot be compressed."""

    def of(self, worker: int, workers: int) -> Compressor:
        """Returns what worker ``worker`` of ``workers`` uses; all use the same if they need not act in concert."""
        return self

    def compress(self, x: Array, key: int) -> Array:
        """Returns C(x) with the draws of this key, dense, the shape of x, a new array."""
        raise NotImplementedError

    def encode(self, x: Array, key: int) -> bytes:
        """Returns what travels of C(x): the draws that the server shares by the key are no part of it.

        Floats travel in the dtype of x.
        """
        raise NotImplementedError

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        """Returns C(x) from what travelled.

        Args:
          message: what :meth:`encode` made.
          key: of the draws.
          shape: of x.
          dtype: of x.
        """
        raise NotImplementedError

    # ---- several messages of one value ----

    def key_of(self, key: int, message: int) -> int:
        """Returns the key of one message of a task."""
        return subkey(key, message)

    def sum(self, x: Array, key: int, messages: Sequence[int] | NDArray[np.integer]) -> Array:
        """Returns the sum of these messages of one value x, the shape of x.

        Args:
          x: the value.
          key: of the task.
          messages: numbers of messages from 0.
        """
        total = np.zeros(x.shape)
        for message in messages:
            total += self.compress(x, self.key_of(key, int(message)))
        return total

    # ---- what a workload file says ----

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that make an equal compressor."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping of a workload file."""
        found: dict[str, Any] = {"name": self.name}
        for key, value in self.parameters.items():
            if value is not None:
                found[key] = value.to_config() if isinstance(value, Compressor) else value
        return found

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items() if value is not None)
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class Identity(Compressor):
    """No compression: C(v) = v, d floats, omega = 0."""

    name = "identity"

    def omega(self, dimension: int) -> float:
        return 0.0

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return float_bits * dimension

    def floats(self, dimension: int) -> float:
        return float(dimension)

    def compress(self, x: Array, key: int) -> Array:
        return x.copy()

    def sum(self, x: Array, key: int, messages: Sequence[int] | NDArray[np.integer]) -> Array:
        return x * float(len(messages))

    def encode(self, x: Array, key: int) -> bytes:
        return np.ascontiguousarray(x).tobytes()

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        return np.frombuffer(message, dtype=dtype).reshape(shape).copy()


class Stays(Identity):
    """Nothing is sent: what is computed is needed only where it is."""

    name = "stays"
    travels = False

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return 0

    def floats(self, dimension: int) -> float:
        return 0.0


class Kept(Stays):
    """Nothing is sent: the worker keeps what it has computed, and sends the mean of all of it later."""

    name = "kept"


def at_most_dimension(name: str, count: int, dimension: int) -> None:
    """Raises InvalidInput if more coordinates are to be kept than there are."""
    if count > dimension:
        raise InvalidInput(
            f"compressor.{name}", f"{count:,} of {dimension:,} coordinates", f"an integer from 1 to {dimension:,}"
        )


def index_bits(dimension: int) -> int:
    """Returns ceil(log2 d), the bits of the index of a coordinate."""
    return max(math.ceil(math.log2(dimension)), 1) if dimension > 1 else 0


def rows_of(x: Array) -> Array:
    """Returns the points of x as rows, shape (G, dimension)."""
    return x.reshape(-1, x.shape[-1])
