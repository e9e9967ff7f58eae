"""Bisection over integers and over the float64 numbers, many searches at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_INFINITY = 0x7FF0000000000000
"""The bits of infinity: the float64 numbers of at least 0 have the order of their bits."""


def count_while(holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]], size: int, stop: int) -> NDArray[np.int64]:
    """Returns for each of ``size`` searches how many of 0, ..., stop - 1 satisfy a condition; shape (size,).

    Args:
      holds: the condition as a function of one integer per search, shape (size,). It holds up to some integer
        of each search, and from there on does not.
      size: how many searches.
      stop: the end of the range, above 0.

    Example:
      >>> squares = np.array([9, 10])
      >>> count_while(lambda root: root * root <= squares, 2, 100).tolist()
      [4, 4]
    """
    low = np.zeros(size, dtype=np.int64)
    high = np.full(size, stop, dtype=np.int64)
    while (low < high).any():
        middle = low + (high - low) // 2
        # A search that is over may stand at ``stop``, where the condition need not be defined.
        held = holds(np.minimum(middle, stop - 1)) & (low < high)
        low = np.where(held, middle + 1, low)
        high = np.where(held, high, middle)
    return low


def first_float(fails: Callable[[NDArray[np.float64]], NDArray[np.bool_]], size: int) -> NDArray[np.float64]:
    """Returns the smallest number of at least 0 that does not fail, infinity if all finite ones do; shape (size,).

    Args:
      fails: true up to some number of each search and false from there on; takes and gives shape (size,).
      size: how many searches.
    """
    return count_while(lambda bits: fails(bits.view(np.float64)), size, _INFINITY).view(np.float64)


def last_float(holds: Callable[[NDArray[np.float64]], NDArray[np.bool_]], size: int) -> NDArray[np.float64]:
    """Returns the largest number of at least 0 for which a condition holds, -1 if there is none; shape (size,).

    Args:
      holds: true up to some number of each search and false from there on; takes and gives shape (size,).
      size: how many searches.
    """
    count = count_while(lambda bits: holds(bits.view(np.float64)), size, _INFINITY + 1)
    return np.where(count > 0, np.maximum(count - 1, 0).view(np.float64), -1.0)
