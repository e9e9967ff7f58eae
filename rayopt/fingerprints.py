"""Hashes of x along a run, by which a replay is checked."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 1000
LARGEST_BYTES = 2**20
"""A larger x takes milliseconds to hash: it is only where it must be."""


class Fingerprint(NamedTuple):
    """The hash of x at one moment.

    Attributes:
      time: fleet seconds.
      updates: k.
      arrivals: how many had been received.
      sha256: of the bytes of x, in hexadecimal digits.
    """

    time: float
    updates: int
    arrivals: int
    sha256: str


class Fingerprints:
    """Hashes at history rows, thinned out so that a long run has at most a thousand.

    Args:
      taken: those of the run up to now, if it goes on from a checkpoint.
      stride: as the attribute.

    Attributes:
      taken: in order.
      stride: only every so many rows are hashed.
    """

    def __init__(self, taken: list[Fingerprint] | None = None, stride: int = 1) -> None:
        self.taken = taken or []
        self.stride = stride
        self._rows = 0

    def offer(self, x: NDArray[np.float64], time: float, updates: int, arrivals: int, must: bool = False) -> None:
        """Hashes x at a history row, or not; ``must`` is for the first, the last, and that of a checkpoint."""
        self._rows += 1
        if not must and (x.nbytes > LARGEST_BYTES or self._rows % self.stride):
            return
        if len(self.taken) >= MOST:
            self.taken = self.taken[::2]
            self.stride *= 2
        self.taken.append(Fingerprint(time, updates, arrivals, fingerprint(x)))


def fingerprint(x: NDArray[np.float64]) -> str:
    """Returns the SHA-256 of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(x).data).hexdigest()
