"""Hashes of x along a run, by which a replay is checked."""

from __future__ import annotations

import hashlib
from itertools import cycle
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
      alarms: how many had been received.
      sha256: of the bytes of x, in hexadecimal digits.
      is_kept: whether it is that of the begin, the end or a checkpoint.
    """

    time: float
    updates: int
    arrivals: int
    alarms: int
    sha256: str
    is_kept: bool = False


class Fingerprints:
    """Hashes at checkpoints, the begin and the end, all kept; and at history rows, thinned out to at most a thousand.

    Args:
      taken: those of the run so far, if it continues from a checkpoint.
      stride: as the attribute.

    Attributes:
      taken: in order.
      stride: only every so many rows are hashed.
    """

    def __init__(self, taken: list[Fingerprint] | None = None, stride: int = 1) -> None:
        self.taken = taken or []
        self.stride = stride
        self._rows = 0
        self._regular = sum(not found.is_kept for found in self.taken)

    def offer(
        self, x: NDArray[np.float64], time: float, updates: int, arrivals: int, alarms: int, must: bool = False
    ) -> None:
        """Hashes x at a history row, or not; ``must`` is for what is kept."""
        if not must:
            self._rows += 1
            if x.nbytes > LARGEST_BYTES or self._rows % self.stride:
                return
            if self._regular >= MOST:
                self._thin()
            self._regular += 1
        self.taken.append(Fingerprint(time, updates, arrivals, alarms, fingerprint(x), must))

    def _thin(self) -> None:
        every_second = cycle((True, False))
        self.taken = [found for found in self.taken if found.is_kept or next(every_second)]
        self._regular = (self._regular + 1) // 2
        self.stride *= 2


def fingerprint(x: NDArray[np.float64]) -> str:
    """Returns the SHA-256 of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(x).data).hexdigest()
