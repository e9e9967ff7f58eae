"""The draws of compressed replies, addressed by seed, worker, task and message."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rayopt.compression.base import Array
from rayopt.core.keys import Stream
from rayopt.core.tasks import Gradient


class Draws:
    """Compresses, encodes and decodes the replies of tasks; one key for each, wherever it is done.

    Args:
      seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self._own = Stream(seed, "compressor")
        self._concert = Stream(seed, "compressors in concert")

    def key(self, task: Gradient, worker: int, number: int) -> int:
        """Returns the key of a task's reply: of the worker's task, or of the iterate if all act in concert."""
        return self._concert.key(0, task.version) if task.compressor.common else self._own.key(worker, number)

    def _of(self, task: Gradient, worker: int, number: int, message: int) -> int:
        found: int = task.compressor.key_of(self.key(task, worker, number), message)
        return found

    def compress(self, value: Array, task: Gradient, worker: int, number: int, message: int) -> Array:
        """Returns what arrives of a value, the shape and dtype of x."""
        found: Array = task.compressor.compress(_as_x(value, task), self._of(task, worker, number, message))
        return _as_x(found, task)

    def encode(self, value: Array, task: Gradient, worker: int, number: int, message: int) -> NDArray[np.uint8]:
        """Returns what travels of a value, as bytes."""
        key = self._of(task, worker, number, message)
        return np.frombuffer(task.compressor.encode(_as_x(value, task), key), dtype=np.uint8)

    def decode(self, sent: NDArray[np.uint8], task: Gradient, worker: int, number: int, message: int) -> Array:
        """Returns :meth:`compress` from what :meth:`encode` made, bit for bit."""
        key = self._of(task, worker, number, message)
        # Compressors of other packages need not know more than 64 bits.
        dtype = () if task.x.dtype == np.float64 else (task.x.dtype,)
        return _as_x(task.compressor.decode(np.ascontiguousarray(sent).tobytes(), key, task.x.shape, *dtype), task)

    def sum(self, value: Array, task: Gradient, worker: int, number: int, count: int) -> Array:
        """Returns the sum of the first ``count`` messages of a value, the shape of x."""
        found: Array = task.compressor.sum(value, self.key(task, worker, number), np.arange(count))
        return found.astype(value.dtype, copy=False)


def _as_x(value: Array, task: Gradient) -> Array:
    """Returns a vector in the dtype of x."""
    return value.astype(task.x.dtype, copy=False)
