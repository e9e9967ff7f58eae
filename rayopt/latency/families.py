"""Durations that are fixed, or drawn for every task from a distribution with a light tail.

A random duration is base + scale * Q(U) with U uniform, addressed by (seed, worker, task number).
Where the distribution allows, Q inverts the survival function, so that the tail keeps all its digits.
Infinite parameters are dead workers. Units are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.keys import Stream
from rayopt.latency.base import BoundFixed, BoundLatency, BoundRandom
from rayopt.latency.family import Family
from rayopt.latency.values import ValuesLike


@dataclass(frozen=True, repr=False)
class Fixed(Family):
    """The same duration for every task of a worker.

    Args:
      times: seconds; infinite for a worker that never answers; 0 for a link that is free.

    Example:
      >>> from rayopt.core.keys import Stream
      >>> Fixed("sqrt(i)").bind(4, Stream(0, "compute")).duration(worker=3, number=0, start=0.0)
      2.0

    References:
      Tyurin and Richtárik, "Optimal Time Complexities of Parallel Stochastic Optimization Methods
      Under a Fixed Computation Model", 2023, https://arxiv.org/abs/2305.12387.
    """

    name: ClassVar[str] = "fixed"
    paper: ClassVar[str] = "Rennala SGD, arXiv 2305.12387"
    example: ClassVar[str] = "{name: fixed, times: sqrt(i)}"

    times: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        (times,) = self.resolve(workers, stream)
        return BoundFixed(self, workers, stream, times)


@dataclass(frozen=True, repr=False)
class Zero(Family):
    """No time at all: communication that is free. Computation always takes time."""

    name: ClassVar[str] = "zero"
    example: ClassVar[str] = "{name: zero}"

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run, all 0."""
        return BoundFixed(self, at_least("workers", workers, 1), stream, np.zeros(workers))


@dataclass(frozen=True, repr=False)
class HalfNormal(Family):
    """A base plus the absolute value of a normal draw: base + abs(N(0, scale^2)).

    The mean is base + scale * sqrt(2 / pi).

    Args:
      base: seconds, at least 0.
      scale: standard deviation of the normal draw (not of the duration) in seconds, at least 0.

    References:
      Maranjyan, Tyurin and Richtárik, "Ringmaster ASGD: The First Asynchronous SGD with Optimal Time
      Complexity", 2025, https://arxiv.org/abs/2501.16168: base i, scale sqrt(i).
    """

    name: ClassVar[str] = "half_normal"
    paper: ClassVar[str] = "Ringmaster ASGD, arXiv 2501.16168"
    example: ClassVar[str] = "{name: half_normal, base: i, scale: sqrt(i)}"

    base: ValuesLike
    scale: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        from scipy.special import ndtri

        base, scale = self.resolve(workers, stream)
        mean = math.sqrt(2 / math.pi)
        return BoundRandom(self, workers, stream, base, scale, lambda u, worker: -ndtri(0.5 * u), mean)


@dataclass(frozen=True, repr=False)
class Exponential(Family):
    """A base plus an exponential draw.

    The mean of the duration is base + mean.

    Args:
      mean: of the exponential draw in seconds, above 0.
      base: seconds, at least 0.

    References:
      Maranjyan, Saad, Richtárik and Orabona, "ATA: Adaptive Task Allocation for Efficient Resource
      Management in Distributed Machine Learning", 2025, https://arxiv.org/abs/2502.00775: mean and base 29 i.
    """

    name: ClassVar[str] = "exponential"
    paper: ClassVar[str] = "ATA, arXiv 2502.00775"
    example: ClassVar[str] = "{name: exponential, mean: 29 * i, base: 29 * i}"
    positive: ClassVar[frozenset[str]] = frozenset({"mean"})

    mean: ValuesLike
    base: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        mean, base = self.resolve(workers, stream)
        return BoundRandom(self, workers, stream, base, mean, lambda u, worker: -np.log(u), 1.0)


@dataclass(frozen=True, repr=False)
class Gamma(Family):
    """A base plus a gamma draw: the time of ``shape`` exponential stages of mean ``scale``.

    The mean is base + shape * scale.

    Args:
      shape: without unit, above 0 and finite; below about 0.06 a draw can be 0, which needs a base above 0.
      scale: seconds, above 0.
      base: seconds, at least 0.
    """

    name: ClassVar[str] = "gamma"
    paper: ClassVar[str] = "ATA, arXiv 2502.00775"
    example: ClassVar[str] = "{name: gamma, shape: 2, scale: sqrt(i), base: 0.5}"
    positive: ClassVar[frozenset[str]] = frozenset({"shape", "scale"})
    finite: ClassVar[frozenset[str]] = frozenset({"shape"})

    shape: ValuesLike
    scale: ValuesLike
    base: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        from scipy.special import gammainccinv

        shape, scale, base = self.resolve(workers, stream)
        return BoundRandom(
            self, workers, stream, base, scale, lambda u, worker: gammainccinv(shape[worker], u), mean=shape
        )


@dataclass(frozen=True, repr=False)
class Uniform(Family):
    """A uniform draw between two bounds.

    Args:
      low: seconds, at least 0.
      high: seconds, above 0 and at least ``low``.
    """

    name: ClassVar[str] = "uniform"
    example: ClassVar[str] = "{name: uniform, low: 1, high: 1 + i}"
    positive: ClassVar[frozenset[str]] = frozenset({"high"})

    low: ValuesLike
    high: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        low, high = self.resolve(workers, stream)
        if (low > high).any():
            worst = int(np.argmax(low > high))
            raise InvalidInput("low", f"{low[worst]:g} for worker {worst}", f"at most its high, {high[worst]:g}")
        # Two infinite bounds are a dead worker; inf - inf would make it NaN.
        width = np.subtract(high, low, out=np.zeros(workers), where=low < high)
        return BoundRandom(self, workers, stream, low, width, lambda u, worker: u, 0.5)
