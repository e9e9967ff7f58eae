"""The contract of a problem: a stochastic gradient oracle, split over workers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core.html import object_html
from rayopt.core.tasks import float_bits_of
from rayopt.problems import estimate
from rayopt.problems.estimate import Estimate

Array = NDArray[np.float64]
Checkpoint = Callable[[], None]
DTYPES = ("float64", "float32")
PASS_BYTES = 2**22
"""Of the points at which gradients are evaluated together."""
VECTORS = 4
"""Vectors of the length of x that the smallest run holds: x, the next x, a gradient and a sample."""


class Problem:
    """A function f with a stochastic gradient oracle whose samples are addressed by keys.

    Every method that takes ``x`` accepts shape (dimension,) or (G, dimension): the rows
    are independent points (members of a step-size grid) and the result carries the same
    leading axis.

    Attributes:
      dimension: number of coordinates of x.
      dtype: "float64" or "float32", of x, of gradients and of checkpoints.
      convex: whether f is convex; None if it is not known.
      exact: whether every stochastic gradient is the gradient of f, so that no sample need be drawn.
      homogeneous: whether all workers sample from one distribution.
      skew: how far the workers' data are from one distribution, 0 if they have one; None if it is not known.
      smoothness: L, the Lipschitz constant of the gradient, or None if it is not known.
      noise_variance: sigma^2, a bound of E||g - grad f||^2, or None if it is not known.
      minimum: inf f, or None if it is not known.
      distance: R_0, the distance of :meth:`start_point` from a minimiser, or None if it is not known.
      lipschitz: M, a bound of the norm of every stochastic gradient, or None if it is not known.
      mean_smoothness: L_+ of a finite sum, (1/m) sum_j ||grad f_j(x) - grad f_j(y)||^2 <= L_+^2 ||x - y||^2, or None.
      hessian_variance: L_pm of a finite sum, the same less ||grad f(x) - grad f(y)||^2 <= L_pm^2 ||x - y||^2, or None.
      metric_names: what :meth:`metrics` can compute.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    dimension: int
    dtype: str = "float64"
    convex: bool | None = None
    exact: bool = False
    homogeneous: bool = True
    smoothness: float | None = None
    noise_variance: float | None = None
    minimum: float | None = None
    distance: float | None = None
    lipschitz: float | None = None
    mean_smoothness: float | None = None
    hessian_variance: float | None = None

    @property
    def metric_names(self) -> tuple[str, ...]:
        names = ("value", "grad_norm_sq")
        return names if self.minimum is None else (*names, "gap")

    @property
    def shard_sizes(self) -> NDArray[np.integer] | None:
        """Rows of data of each worker after :meth:`split`, shape (workers,); None if all have the same, or none."""
        return None

    @property
    def skew(self) -> float | None:
        return 0.0 if self.homogeneous else None

    @property
    def distinct_workers(self) -> int:
        """How many workers have a distribution of their own: 1 if they share one, else the number of workers."""
        if self.homogeneous:
            return 1
        raise NotImplementedError

    @property
    def float_bits(self) -> int:
        """Bits of a float of x, as it travels."""
        return float_bits_of(self.dtype)

    @property
    def parameter_shapes(self) -> list[list[int]]:
        """Shapes of the parameters that stand in x one after the other; one vector by default."""
        return [[self.dimension]]

    @property
    def note(self) -> str:
        """What a reader of results on the problem must know, a sentence or ""."""
        return ""

    def __repr__(self) -> str:
        """Says how the problem was made, without arrays."""
        shown = [
            f"{name}={value!r}"
            for name, value in self.to_config().items()
            if name != "name" and (isinstance(value, bool | int | float | str | Mapping) or is_dataclass(value))
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows of a problem: how it was made, and its dimension and metrics."""
        made = {name: value for name, value in self.to_config().items() if name != "name"}
        if source := getattr(self, "source", ""):
            made["data"] = source
        return object_html(self, {**made, "dimension": self.dimension, "metrics": ", ".join(self.metric_names)})

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file; for one made from arrays, what else is known of it."""
        maker = getattr(type(self), "from_config", type(self))
        values = {key: getattr(self, key, None) for key in inspect.signature(maker).parameters}
        return {"name": self.name, **{key: value for key, value in values.items() if value is not None}}

    def start_point(self) -> Array:
        """Returns x0, shape (dimension,)."""
        raise NotImplementedError

    def split(self, workers: int, seed: int) -> Problem:
        """Returns this problem with its data divided over so many workers."""
        return self

    def shard(self, worker: int) -> Problem:
        """Returns what travels to one worker: the same oracle, over that worker's data alone."""
        return self

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        """Returns the sample of one task: that of ``count`` stochastic gradients."""
        raise NotImplementedError

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        """Returns :meth:`draw` of many tasks at once, stacked on the first axis, the same bits."""
        raise NotImplementedError

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        """Returns the mean stochastic gradient of one task, a new array of the shape of x.

        Args:
          x: shape (dimension,) or (G, dimension).
          sample: as :meth:`draw` made it.
          checkpoint: called between the chunks of a long computation; may raise to end it.
        """
        raise NotImplementedError

    def gradients(self, points: Sequence[Array], samples: Sequence[Any]) -> Sequence[Array]:
        """Returns the stochastic gradient at each point on its own sample, a new array each, the shape of x.

        A problem that evaluates many at once is faster; its values may differ by rounding from those of one alone.

        Args:
          points: each of shape (dimension,).
          samples: one for each, as :meth:`draw` made it for one stochastic gradient.
        """
        return [self.gradient(x, sample) for x, sample in zip(points, samples, strict=True)]

    statistics_size: int = 0
    """Number of running statistics (of batch normalisation) that gradients bring besides; 0 if none."""

    def start_statistics(self) -> tuple[Array, Array]:
        """Returns the running statistics as they are at first, and the momentum of each, shape (statistics_size,)."""
        raise NotImplementedError

    def gradient_and_statistics(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        """Returns :meth:`gradient`, the statistics of its rows and a 1 side by side: sums and means take all along.

        The shape is that of x, with dimension + statistics_size + 1 in place of dimension.
        """
        raise NotImplementedError

    def gradients_and_statistics(self, points: Sequence[Array], samples: Sequence[Any]) -> Sequence[Array]:
        """Returns :meth:`gradient_and_statistics` at each point on its own sample, as :meth:`gradients` does."""
        return [self.gradient_and_statistics(x, sample) for x, sample in zip(points, samples, strict=True)]

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        """Returns sum_j weights[j] * gradient(x, samples[j]) (weights 1 by default) in one product."""
        raise NotImplementedError

    @property
    def components(self) -> int | None:
        """m, the number of components of a finite sum f = (1/m) sum_j f_j; None if f is none."""
        return None

    def component_gradient(self, x: Array, indices: Any, weights: Array | None = None) -> Array:
        """Returns sum_j weights[j] * grad f_{indices[j]}(x), the shape of x.

        Args:
          x: shape (dimension,) or (G, dimension).
          indices: numbers from 0 to m - 1, which may repeat, shape (count,).
          weights: shape (count,); 1 each by default.

        Raises:
          NotImplementedError: f is not a finite sum.
        """
        raise NotImplementedError(f"{type(self).__name__} is not a finite sum")

    def component_difference(self, x: Array, y: Array, indices: Any, weights: Array | None = None) -> Array:
        """Returns sum_j weights[j] * (grad f_j(x) - grad f_j(y)) over ``indices``, the shape of x."""
        return self.component_gradient(x, indices, weights) - self.component_gradient(y, indices, weights)

    def value(self, x: Array) -> Any:
        """Returns f(x): a float, or shape (G,)."""
        raise NotImplementedError

    def full_gradient(self, x: Array) -> Array:
        """Returns grad f(x), the shape of x."""
        raise NotImplementedError

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Returns {name: float or shape (G,)} for the names asked (all of ``metric_names`` by default)."""
        names = self.metric_names if names is None else names
        found: dict[str, Any] = {}
        if "value" in names or "gap" in names:
            value = self.value(x)
            if "value" in names:
                found["value"] = value
            if "gap" in names and self.minimum is not None:
                found["gap"] = value - self.minimum
        if "grad_norm_sq" in names:
            gradient = self.full_gradient(x)
            found["grad_norm_sq"] = squared_norm(gradient)
        return found

    def estimate_noise_variance(self, x: Array | None = None, tasks: int = 1000, seed: int = 0) -> Estimate:
        """Returns E||g - grad f_i(x)||^2 of one stochastic gradient, the mean over the workers i.

        It is ``noise_variance`` if that is known, else the mean over tasks of workers chosen at random with
        its standard error. Of a heterogeneous problem, call it after :meth:`split`.

        Args:
          x: the point, shape (dimension,); the start point by default. Elsewhere the noise may be another.
          tasks: how many stochastic gradients to draw, at least 2.
          seed: of the samples.

        Raises:
          InvalidInput: an argument is out of its range.
        """
        if self.noise_variance is not None:
            return Estimate(self.noise_variance, 0.0)
        return estimate.noise_variance(self, x, tasks, seed)

    def estimate_smoothness(
        self, x: Array | None = None, starts: int = 3, iterations: int = 20, seed: int = 0
    ) -> Estimate:
        """Returns an estimate of L, from below.

        It is ``smoothness`` if that is known, else the largest curvature at x that power iteration finds
        from random starts: at most the curvature at x, which is at most L. Its error is the standard
        deviation over the starts; it measures how far they agree, and nothing about other points.

        Args:
          x: the point, shape (dimension,); the start point by default.
          starts: random directions to start from, at least 2.
          iterations: of each, two full gradients an iteration.
          seed: of the directions.

        Raises:
          InvalidInput: an argument is out of its range.
        """
        if self.smoothness is not None:
            return Estimate(self.smoothness, 0.0)
        return estimate.smoothness(self, x, starts, iterations, seed)

    def estimate_mean_smoothness(
        self, x: Array | None = None, starts: int = 3, iterations: int = 20, sample: int = 64, seed: int = 0
    ) -> Estimate:
        """Returns an estimate of L_+ of a finite sum, the mean over starts with its standard error.

        It is ``mean_smoothness`` if that is known, else the root of the largest eigenvalue at x of the mean square of
        the Hessians of components that are drawn at random: those of another point may be larger.

        Args:
          x: the point, shape (dimension,); the start point by default.
          starts: how often components and a direction are drawn, at least 2.
          iterations: of the power method in each start, four gradients of each component an iteration.
          sample: components of a start, with replacement, at least 2; all once if there are no more.
          seed: of the components and directions.

        Raises:
          InvalidInput: an argument is out of its range, or the problem is not a finite sum.
        """
        if self.mean_smoothness is not None:
            return Estimate(self.mean_smoothness, 0.0)
        return estimate.component_curvature(self, x, False, starts, iterations, sample, seed)

    def estimate_hessian_variance(
        self, x: Array | None = None, starts: int = 3, iterations: int = 20, sample: int = 64, seed: int = 0
    ) -> Estimate:
        """Returns an estimate of L_pm of a finite sum; as :meth:`estimate_mean_smoothness`, of the centred Hessians."""
        if self.hessian_variance is not None:
            return Estimate(self.hessian_variance, 0.0)
        return estimate.component_curvature(self, x, True, starts, iterations, sample, seed)


def points_of_a_pass(point_bytes: int) -> int:
    """Returns at how many points gradients are evaluated together: few, and its begin costs; many, and caches miss."""
    return min(max(PASS_BYTES // point_bytes, 8), 64)


def squared_norm(vectors: Array) -> Any:
    """Returns ||v||^2 of vectors of any type, shape (...,), in float64: sums of float32 depend on where they lie."""
    exact = np.asarray(vectors, dtype=np.float64)
    return np.einsum("...j,...j->...", exact, exact)
