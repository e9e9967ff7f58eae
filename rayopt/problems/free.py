"""An oracle that costs nothing, to measure everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import at_least
from rayopt.core.memory import check_fits
from rayopt.problems.base import VECTORS, Array, Checkpoint, Problem


class Free(Problem):
    """Constant zero, f(x) = 0: gradients that take no time, to measure the fleet and the method.

    A gradient is one cached, read-only array of zeros for each shape of x.

    Args:
      dimension: number of coordinates of x, at least 1.

    Raises:
      InvalidInput: ``dimension`` is not a positive integer.
    """

    name: ClassVar[str] = "free"
    convex = True
    exact = True

    def __init__(self, dimension: int = 1) -> None:
        self.dimension = at_least("dimension", dimension, 1)
        check_fits("dimension", self.dimension, VECTORS * self.dimension * 8)
        self.noise_variance = 0.0
        self.minimum = 0.0
        self._zeros: dict[tuple[int, ...], Array] = {}

    def start_point(self) -> Array:
        return np.zeros(self.dimension)

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        return key

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        return keys

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        zeros = self._zeros.get(x.shape)
        if zeros is None:
            zeros = self._zeros[x.shape] = np.broadcast_to(0.0, x.shape)
        return zeros

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        return self.full_gradient(x)

    def value(self, x: Array) -> Any:
        return 0.0 if x.ndim == 1 else np.zeros(x.shape[:-1])

    def full_gradient(self, x: Array) -> Array:
        return self.gradient(x, None)

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        return {name: self.value(x) for name in (self.metric_names if names is None else names)}
