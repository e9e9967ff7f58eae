"""Estimates of what is not known of a problem: the noise of its gradients and its smoothness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least
from rayopt.core.keys import NormalVectors, Stream, below, subkey

Array = NDArray[np.float64]

_NORMAL_QUANTILE = 1.959963984540054
# The truncation error of a central difference of a smooth gradient is its square, the rounding error its inverse.
_DIFFERENCE = 1e-5


class Measurable(Protocol):
    """What an estimate asks of a problem (see ``rayopt.problems.base.Problem``)."""

    dimension: int

    @property
    def distinct_workers(self) -> int: ...
    def start_point(self) -> Array: ...
    def full_gradient(self, x: Array) -> Array: ...
    def shard(self, worker: int) -> Any: ...
    @property
    def components(self) -> int | None: ...
    def component_gradient(self, x: Array, indices: Any, weights: Array | None = None) -> Array: ...


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
      value: the estimate.
      error: its standard error, 0 if it is exact.
    """

    value: float
    error: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval: 1.96 standard errors."""
        return _NORMAL_QUANTILE * self.error

    def __str__(self) -> str:
        return f"{self.value:.4g}" if self.error == 0 else f"{self.value:.4g} ± {self.half_width:.2g}"


def noise_variance(problem: Measurable, x: Any, tasks: int, seed: int) -> Estimate:
    """Returns the mean of ||g - grad f_i(x)||^2 over tasks of random workers i and its standard error."""
    point = _point(problem, x)
    at_least("tasks", tasks, 2)
    workers, samples = Stream(at_least("seed", seed, 0), "noise workers"), Stream(seed, "noise")
    distinct = problem.distinct_workers
    of_worker: dict[int, list[int]] = {}
    for number in range(tasks):
        of_worker.setdefault(below(subkey(workers.key(0, number), 0), distinct), []).append(number)
    squares = np.empty(tasks)
    with np.errstate(over="ignore", invalid="ignore"):
        for worker, numbers in of_worker.items():
            shard = problem.shard(worker)
            mean = shard.full_gradient(point)
            for number in numbers:
                sample = shard.draw(worker, samples.key(worker, number))
                difference = shard.gradient(point, sample) - mean
                squares[number] = difference @ difference
    return Estimate(float(squares.mean()), float(squares.std(ddof=1) / math.sqrt(tasks)))


def smoothness(problem: Measurable, x: Any, starts: int, iterations: int, seed: int) -> Estimate:
    """Returns the largest ||H v|| that power iteration finds at x, and the spread over its starts.

    H v is a central difference of the full gradient along v.
    """
    point = _point(problem, x)
    at_least("starts", starts, 2)
    at_least("iterations", iterations, 1)
    directions, stream = NormalVectors(), Stream(at_least("seed", seed, 0), "smoothness")
    step = _DIFFERENCE * max(1.0, float(np.linalg.norm(point)))
    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(starts):
            v = directions.draw(stream.key(0, start), problem.dimension)
            norm = float(np.linalg.norm(v))
            for _ in range(iterations):
                v = v / norm
                v = (problem.full_gradient(point + step * v) - problem.full_gradient(point - step * v)) / (2 * step)
                norm = float(np.linalg.norm(v))
                if norm == 0:
                    break
            found.append(norm)
    return Estimate(max(found), float(np.std(found, ddof=1)))


def component_curvature(
    problem: Measurable, x: Any, centred: bool, starts: int, iterations: int, sample: int, seed: int
) -> Estimate:
    """Returns L_+ at x, or L_pm if ``centred``: the root of the largest eigenvalue of a mean of squared Hessians.

    The matrix is (1/m) sum_j A_j^2, less the square of the mean if centred, of the Hessians A_j of the components. Each
    start draws components of its own, or takes all if they are no more than ``sample``, and a random direction for
    power iteration; A_j v is a central difference along v.

    Raises:
      InvalidInput: an argument is out of its range, or the problem is not a finite sum.
    """
    point, m = _point(problem, x), problem.components
    if m is None:
        raise InvalidInput("problem", "it is not a finite sum", "a problem with components")
    at_least("starts", starts, 2)
    at_least("iterations", iterations, 1)
    at_least("sample", sample, 2)
    directions, stream = NormalVectors(), Stream(at_least("seed", seed, 0), "component curvature")
    step = _DIFFERENCE * max(1.0, float(np.linalg.norm(point)))

    def product(component: int, v: Array) -> Array:
        norm = float(np.linalg.norm(v))
        if norm == 0:
            return v
        ahead, behind = (problem.component_gradient(point + side * step / norm * v, [component]) for side in (1, -1))
        found: Array = (ahead - behind) * (norm / (2 * step))
        return found

    found = np.empty(starts)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(starts):
            chosen = range(m)
            divisor = m
            if m > sample:
                chosen = [below(subkey(stream.key(1, start), place), m) for place in range(sample)]  # type: ignore[assignment]
                divisor = sample - 1 if centred else sample
            v = directions.draw(stream.key(0, start), problem.dimension)
            eigenvalue = float(np.linalg.norm(v))
            for _ in range(iterations):
                if eigenvalue == 0:
                    break
                v = v / eigenvalue
                products = [product(component, v) for component in chosen]
                mean = np.mean(products, axis=0) if centred else 0.0
                v = np.sum(
                    [product(component, each - mean) for component, each in zip(chosen, products, strict=True)], axis=0
                )
                v /= divisor
                eigenvalue = float(np.linalg.norm(v))
            found[start] = math.sqrt(eigenvalue)
    return Estimate(float(found.mean()), float(found.std(ddof=1) / math.sqrt(starts)))


def _point(problem: Measurable, x: Any) -> Array:
    """Returns the point as float64, x^0 by default, or raises InvalidInput."""
    point = np.asarray(problem.start_point() if x is None else x, dtype=np.float64)
    if point.shape != (problem.dimension,) or not np.isfinite(point).all():
        shown = f"shape {point.shape}" if np.isfinite(point).all() else "it is not finite"
        raise InvalidInput("x", shown, f"finite numbers of shape ({problem.dimension:,},)")
    return point
