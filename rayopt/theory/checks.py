"""What the functions of this package accept."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class NotAllowed(ValueError):
    """An argument that no formula is made for.

    Attributes:
      name: of the argument.
      problem: what is wrong, with the value.
      allowed: what is expected.
    """

    def __init__(self, name: str, problem: str, allowed: str) -> None:
        self.name = name
        self.problem = problem
        self.allowed = allowed
        super().__init__(f"{name}: {problem}; expected {allowed}")

    def __reduce__(self) -> tuple[type[NotAllowed], tuple[str, str, str]]:
        return type(self), (self.name, self.problem, self.allowed)


def times_of(name: str, values: ArrayLike) -> Array:
    """Returns seconds per worker, shape (n,): above 0, infinity included.

    Raises:
      NotAllowed: no worker, NaN, a time that is not above 0, or not one number for each worker.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise NotAllowed(name, f"shape {array.shape}", "one number for each of at least one worker")
    allowed = array > 0
    if not allowed.all():
        worst = int(np.argmin(allowed))
        raise NotAllowed(name, f"{array[worst]:g} for worker {worst}", "numbers above 0 (infinity included)")
    return array


def ascending(values: ArrayLike) -> Array:
    """Returns the times tau_1 <= ... <= tau_n, shape (n,)."""
    times = times_of("times", values)
    return times if (times[1:] >= times[:-1]).all() else np.sort(times)


def probabilities_of(name: str, values: ArrayLike, workers: int) -> Array:
    """Returns one probability for each worker, shape (n,).

    Raises:
      NotAllowed: another shape, or a number outside [0, 1].
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (workers,):
        raise NotAllowed(name, f"shape {array.shape}", f"({workers},), one probability for each worker")
    allowed = (array >= 0) & (array <= 1)
    if not allowed.all():
        worst = int(np.argmin(allowed))
        raise NotAllowed(name, f"{array[worst]:g} for worker {worst}", "numbers from 0 to 1")
    return array


def positive(name: str, value: Any) -> float:
    """Returns ``value`` if it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise NotAllowed(name, repr(value), "a finite number above 0")
    return float(value)


def non_negative(name: str, value: Any) -> float:
    """Returns ``value`` if it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise NotAllowed(name, repr(value), "a finite number of at least 0")
    return float(value)


def at_least(name: str, value: Any, least: int) -> int:
    """Returns ``value`` if it is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise NotAllowed(name, repr(value), f"an integer of at least {least}")
    return int(value)


def ceiling(value: float) -> int:
    """Returns the smallest integer of at least ``value``, which may carry rounding errors: 0.1 / 0.02 is 5."""
    return math.ceil(value * (1 - 1e-12))


def scaled(seconds: float, factor: float) -> float:
    """Returns ``seconds * factor``; nothing to do takes no time, however slow the workers."""
    return 0.0 if factor == 0 else seconds * factor
