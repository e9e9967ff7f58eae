"""Roots of increasing functions, many at once, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rayopt.latency.base import Array

_AT_MOST = 200
# Newton's method doubles the digits: a step as short as this leaves an error far below it.
_TOLERANCE = 2.0**-48


def increasing_root(function: Callable[[Array], tuple[Array, Array]], low: Array, high: Array) -> Array:
    """Returns where an increasing function is 0, by Newton's method kept between shrinking bounds; shape (m,).

    A root that is found is frozen, so that its bits do not depend on the others.

    Args:
      function: takes points of shape (m,) and returns the values there and the derivatives.
      low: where the function is at most 0, shape (m,).
      high: where it is at least 0, shape (m,).
    """
    point = 0.5 * (low + high)
    tolerance = _TOLERANCE * high
    active = np.ones(len(point), dtype=np.bool_)
    for _ in range(_AT_MOST):
        value, slope = function(point)
        low = np.where(value < 0, point, low)
        high = np.where(value < 0, high, point)
        newton = point - np.divide(value, slope, out=np.full(len(point), np.inf), where=slope > 0)
        following = np.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        following = np.where(value == 0, point, following)
        moved = np.abs(following - point)
        point = np.where(active, following, point)
        active = active & (moved > tolerance)
        if not active.any():
            break
    return point
