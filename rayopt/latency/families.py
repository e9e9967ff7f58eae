"""The families of durations: fixed, and drawn for every task from a distribution.

A random duration is base + scale * Q(U) with U uniform, addressed by (seed, worker, task number).
Where the distribution allows, Q inverts the survival function, so that the tail keeps all its digits.
Infinite parameters are dead workers. Units are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from rayopt.errors import InvalidInput, at_least
from rayopt.keys import Stream
from rayopt.latency.base import Array, BoundFixed, BoundLatency, BoundRandom, Latency
from rayopt.latency.values import ValuesLike, describe, parse, resolve, to_config

# exp(600) seconds are 1e260, for ever; beyond, times the median, float64 overflows.
_LARGEST_EXPONENT = 600.0


@dataclass(frozen=True, repr=False)
class Family(Latency):
    """A latency whose fields are all numbers, lists, formulas or permuted values.

    Attributes:
      positive: the fields that may not be 0.
      finite: the fields that may not be infinite.
    """

    positive: ClassVar[frozenset[str]] = frozenset()
    finite: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for key, raw in self._parameters().items():
            object.__setattr__(self, key, parse(key, raw, **self._limits(key)))

    def resolve(self, workers: int, stream: Stream) -> tuple[Array, ...]:
        """Returns one array of shape (workers,) for each field, in the order of the fields."""
        at_least("workers", workers, 1)
        parameters = self._parameters().items()
        return tuple(resolve(key, value, workers, stream.seed, **self._limits(key)) for key, value in parameters)

    def to_config(self) -> dict[str, Any]:
        """Returns the name and the parameters."""
        return {"name": self.name, **{key: to_config(value) for key, value in self._parameters().items()}}

    def _parameters(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _limits(self, key: str) -> dict[str, bool]:
        return {"positive": key in self.positive, "finite": key in self.finite}

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={describe(value)}' for key, value in self._parameters().items())})"


@dataclass(frozen=True, repr=False)
class Fixed(Family):
    """The same duration for every task of a worker.

    Args:
      times: seconds; infinite for a worker that never answers; 0 for a link that is free.

    Example:
      >>> from rayopt.keys import Stream
      >>> Fixed("sqrt(i)").bind(4, Stream(0, "compute")).duration(worker=3, number=0, start=0.0)
      2.0

    References:
      Tyurin and Richtárik, "Optimal Time Complexities of Parallel Stochastic Optimization Methods
      Under a Fixed Computation Model", 2023, https://arxiv.org/abs/2305.12387.
    """

    name: ClassVar[str] = "fixed"
    paper: ClassVar[str] = "Rennala SGD, arXiv 2305.12387"

    times: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        (times,) = self.resolve(workers, stream)
        return BoundFixed(self, workers, stream, times)


@dataclass(frozen=True, repr=False)
class Zero(Family):
    """No time at all: communication that is free. Computation always takes time."""

    name: ClassVar[str] = "zero"

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
class LogNormal(Family):
    """A base plus a log-normal draw: base + median * exp(shape * N(0, 1)).

    The mean is base + median * exp(shape^2 / 2); it grows out of all proportion to the median.

    Args:
      median: of the log-normal draw in seconds, above 0.
      shape: standard deviation of its logarithm, without unit, at least 0 and finite; above about 80 a draw
        can be 0, which needs a base above 0.
      base: seconds, at least 0.

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285: median 1, shape 1, 10, 100.
    """

    name: ClassVar[str] = "lognormal"
    paper: ClassVar[str] = "MindFlayer SGD, arXiv 2410.04285"
    positive: ClassVar[frozenset[str]] = frozenset({"median"})
    finite: ClassVar[frozenset[str]] = frozenset({"shape"})

    median: ValuesLike
    shape: ValuesLike
    base: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        from scipy.special import ndtri

        median, shape, base = self.resolve(workers, stream)

        def quantile(u: Any, worker: Any) -> Any:
            return np.exp(np.minimum(shape[worker] * ndtri(u), _LARGEST_EXPONENT))

        with np.errstate(over="ignore"):
            return BoundRandom(self, workers, stream, base, median, quantile, mean=np.exp(shape**2 / 2))


@dataclass(frozen=True, repr=False)
class Uniform(Family):
    """A uniform draw between two bounds.

    Args:
      low: seconds, at least 0.
      high: seconds, above 0 and at least ``low``.
    """

    name: ClassVar[str] = "uniform"
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
