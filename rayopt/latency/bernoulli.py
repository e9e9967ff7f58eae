"""Durations with two values, drawn for every task: now and then a task is delayed, or never ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.latency.base import BoundLatency, BoundRandom
from rayopt.latency.family import Family
from rayopt.latency.values import ValuesLike

_MINDFLAYER = "MindFlayer SGD, arXiv 2410.04285"


@dataclass(frozen=True, repr=False)
class InfiniteBernoulli(Family):
    """A task takes its base, or never ends: base + 0 with some probability, else infinity.

    A worker whose task never ends is lost to a method that does not give up or cancel.

    Args:
      base: seconds, above 0.
      probability: that a task ends, from 0 to 1 (the p of the paper's code).

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285.
    """

    name: ClassVar[str] = "infinite_bernoulli"
    paper: ClassVar[str] = _MINDFLAYER
    example: ClassVar[str] = "{name: infinite_bernoulli, base: sqrt(i), probability: 0.9}"
    positive: ClassVar[frozenset[str]] = frozenset({"base"})
    probabilities: ClassVar[frozenset[str]] = frozenset({"probability"})

    base: ValuesLike
    probability: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        base, probability = self.resolve(workers, stream)

        def quantile(u: Any, worker: Any) -> Any:
            return np.where(u < probability[worker], 0.0, np.inf)

        mean = np.where(probability == 1.0, 0.0, np.inf)
        return BoundRandom(self, workers, stream, base, np.ones(workers), quantile, mean)


@dataclass(frozen=True, repr=False)
class AlphaBernoulli(Family):
    """A task takes its base, or alpha times as long: base + 0 with some probability, else base + (alpha - 1) base.

    The mean is base * (probability + (1 - probability) * alpha).

    Args:
      base: seconds, above 0.
      alpha: how many times as long a delayed task takes, at least 1 and finite.
      probability: that a task is not delayed, from 0 to 1 (the p of the paper's code).

    References:
      Maranjyan, Omar and Richtárik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous
      and Random Worker Compute Times", 2024, https://arxiv.org/abs/2410.04285.
    """

    name: ClassVar[str] = "alpha_bernoulli"
    paper: ClassVar[str] = _MINDFLAYER
    example: ClassVar[str] = "{name: alpha_bernoulli, base: sqrt(i), alpha: 10, probability: 0.9}"
    positive: ClassVar[frozenset[str]] = frozenset({"base"})
    finite: ClassVar[frozenset[str]] = frozenset({"alpha"})
    probabilities: ClassVar[frozenset[str]] = frozenset({"probability"})

    base: ValuesLike
    alpha: ValuesLike
    probability: ValuesLike

    def bind(self, workers: int, stream: Stream) -> BoundLatency:
        """Returns the durations of one run."""
        base, alpha, probability = self.resolve(workers, stream)
        if (alpha < 1.0).any():
            worst = int(np.argmin(alpha))
            raise InvalidInput("alpha", f"{alpha[worst]:g} for worker {worst}", "finite numbers of at least 1")

        def quantile(u: Any, worker: Any) -> Any:
            return np.where(u < probability[worker], 0.0, 1.0)

        # A dead worker has no delay to multiply: infinity times 0 would make it NaN.
        delay = np.multiply(alpha - 1.0, base, out=np.zeros(workers), where=np.isfinite(base))
        return BoundRandom(self, workers, stream, base, delay, quantile, 1.0 - probability)
