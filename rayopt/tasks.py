"""What a worker computes. A task is immutable by convention and carries its version of x."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Oracle(Protocol):
    """What a task needs of a problem (see ``rayopt.problems.base.Problem``)."""

    def draw(self, worker: int, key: int, count: int = 1) -> Any: ...
    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any: ...
    def gradient(self, x: Array, sample: Any, checkpoint: Any = None) -> Array: ...
    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array: ...


class Gradient:
    """The mean of ``count`` stochastic gradients at x.

    Args:
      x: the point, shape (dimension,) or (G, dimension); never changed afterwards.
      version: the number k of the iterate x^k.
      count: how many stochastic gradients.

    Attributes:
      cost: the task's duration in units of one stochastic gradient.
    """

    __slots__ = ("cost", "count", "version", "x")

    def __init__(self, x: Array, version: int, count: int = 1) -> None:
        self.x = x
        self.version = version
        self.count = count
        self.cost = count

    @property
    def group(self) -> tuple[Any, ...]:
        """Tasks of one group are summed in one product."""
        return (Gradient, id(self.x), self.count)

    def draw(self, problem: Oracle, worker: int, key: int) -> Any:
        """Returns the sample of the task, a function of its key alone."""
        return problem.draw(worker, key, self.count)

    def draw_many(self, problem: Oracle, workers: NDArray[np.integer], keys: NDArray[np.uint64]) -> Any:
        """Returns :meth:`draw` of many tasks of this group, stacked on the first axis."""
        return problem.draw_many(workers, keys, self.count)

    def evaluate(self, problem: Oracle, sample: Any, checkpoint: Any = None) -> Array:
        """Returns the gradient on a sample, the shape of x."""
        return problem.gradient(self.x, sample, checkpoint)

    def evaluate_sum(self, problem: Oracle, samples: Any, weights: Array | None) -> Array:
        """Returns sum_j weights[j] * evaluate(samples[j]) in one product, the shape of x."""
        return problem.gradient_sum(self.x, samples, weights)
