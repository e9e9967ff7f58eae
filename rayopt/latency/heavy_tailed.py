"""Durations with heavy tails, drawn for every task: the mean says little, or is infinite.

Quantile functions take the survival probability where the upper tail would lose digits otherwise. Where
float64 ends, a draw is infinite: a task that never ends, and not NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rayopt.core.keys import Stream
from rayopt.latency.base import BoundLatency, BoundRandom
from rayopt.latency.family import Family
from rayopt.latency.values import ValuesLike

_MINDFLAYER = "MindFlayer SGD, arXiv 2410.04285"
# exp(600) seconds are 1e260, for ever; beyond, times the median, float64 overflows.
_LARGEST_EXPONENT = 600.0


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
    paper: ClassVar[str] = _MINDFLAYER
    example: ClassVar[str] = "{name: lognormal, median: 1, shape: 10, base: sqrt(i)}"
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
class LogCauchy(Family):
    """A base plus a log-Cauchy draw: base + median * exp(shape * C), C standard Cauchy.

    The law is that of exp(Cauchy(location, shape)) with location = log(median). The tail is so heavy that no
    power of the duration has a mean; draws beyond float64 are infinite.

    Args:
      median: of the log-Cauchy draw in seconds, above 0 and finite.
      shape: scale of the Cauchy draw, without unit, at least 0 and finite.
      base: seconds; above 0 unless ``shape`` is tiny, as a log-Cauchy draw can be 0 in float64.

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285: shape 1, 10, 100.
    """

    name: ClassVar[str] = "log_cauchy"
    paper: ClassVar[str] = _MINDFLAYER
    example: ClassVar[str] = "{name: log_cauchy, median: 1, shape: 10, base: sqrt(i)}"
    positive: ClassVar[frozenset[str]] = frozenset({"median"})
    finite: ClassVar[frozenset[str]] = frozenset({"median", "shape"})

    median: ValuesLike
    shape: ValuesLike
    base: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        median, shape, base = self.resolve(workers, stream)

        def quantile(u: Any, worker: Any) -> Any:
            # The Cauchy draw is the cotangent of pi * u, taken from the nearer end.
            draw = 1.0 / np.tan(np.pi * np.minimum(u, 1.0 - u))
            return _exp(shape[worker] * np.where(u < 0.5, draw, -draw))

        mean = np.where(shape > 0, np.inf, 1.0)
        return BoundRandom(self, workers, stream, base, median, quantile, mean)


@dataclass(frozen=True, repr=False)
class Cauchy(Family):
    """A base plus the absolute value of a Cauchy draw: base + abs(Cauchy(location, scale)).

    The mean is infinite.

    Args:
      scale: half the distance of the quartiles of the Cauchy draw in seconds, above 0 and finite.
      base: seconds, at least 0.
      location: median of the Cauchy draw (not of its absolute value) in seconds, at least 0 and finite.

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285.
    """

    name: ClassVar[str] = "cauchy"
    paper: ClassVar[str] = _MINDFLAYER
    example: ClassVar[str] = "{name: cauchy, scale: 1, base: sqrt(i)}"
    positive: ClassVar[frozenset[str]] = frozenset({"scale"})
    finite: ClassVar[frozenset[str]] = frozenset({"scale", "location"})

    scale: ValuesLike
    base: ValuesLike = 0.0
    location: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        scale, base, location = self.resolve(workers, stream)
        norm = np.hypot(1.0, location / scale)

        def quantile(u: Any, worker: Any) -> Any:
            # P(abs(X) <= x) = p is a quadratic equation in x once the two arcus tangens are added:
            # t x^2 + 2 x = t norm^2 with t = tan(pi p). Each end has the root that loses no digits.
            own = norm[worker]
            t = np.tan(np.pi * np.minimum(u, 1.0 - u))
            root = np.hypot(1.0, t * own)
            return np.where(u < 0.5, (1.0 + root) / t, t * own * (own / (1.0 + root)))

        return BoundRandom(self, workers, stream, base, scale, quantile, math.inf)


@dataclass(frozen=True, repr=False)
class Levy(Family):
    """A base plus a Lévy draw: base + scale / N(0, 1)^2.

    The mean is infinite; the tail falls like the inverse square root of the duration.

    Args:
      scale: seconds, above 0; the median of the draw is about 2.2 times as long.
      base: seconds, at least 0.

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285.
    """

    name: ClassVar[str] = "levy"
    paper: ClassVar[str] = _MINDFLAYER
    example: ClassVar[str] = "{name: levy, scale: 1, base: sqrt(i)}"
    positive: ClassVar[frozenset[str]] = frozenset({"scale"})

    scale: ValuesLike
    base: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        from scipy.special import erfinv

        scale, base = self.resolve(workers, stream)
        return BoundRandom(self, workers, stream, base, scale, lambda u, worker: 0.5 / erfinv(u) ** 2, math.inf)


@dataclass(frozen=True, repr=False)
class Pareto(Family):
    """A base plus a Pareto draw: the tail falls like a power, P(draw > x) = (minimum / x)^shape.

    The mean is base + minimum * shape / (shape - 1), infinite for a shape of at most 1.

    Args:
      minimum: the least draw in seconds, above 0.
      shape: without unit, above 0 and finite; the smaller, the heavier the tail.
      base: seconds, at least 0.
    """

    name: ClassVar[str] = "pareto"
    example: ClassVar[str] = "{name: pareto, minimum: sqrt(i), shape: 1.5}"
    positive: ClassVar[frozenset[str]] = frozenset({"minimum", "shape"})
    finite: ClassVar[frozenset[str]] = frozenset({"shape"})

    minimum: ValuesLike
    shape: ValuesLike
    base: ValuesLike = 0.0

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        minimum, shape, base = self.resolve(workers, stream)
        mean = np.divide(shape, shape - 1.0, out=np.full(workers, np.inf), where=shape > 1.0)
        return BoundRandom(
            self, workers, stream, base, minimum, lambda u, worker: _exp(-np.log(u) / shape[worker]), mean
        )


def _exp(exponent: Any) -> Any:
    """Returns exp, infinite from where a number of seconds could overflow, without a warning."""
    return np.where(exponent < _LARGEST_EXPONENT, np.exp(np.minimum(exponent, _LARGEST_EXPONENT)), np.inf)
