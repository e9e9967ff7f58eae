"""Linear least squares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, nearest, non_negative
from rayopt.core.keys import Stream
from rayopt.core.memory import check_fits
from rayopt.problems.base import Array, Checkpoint
from rayopt.problems.data.columns import check_finite
from rayopt.problems.data.partition import Partition
from rayopt.problems.data.tables import FORMS, named, names_rows, numbers_of, read_rows
from rayopt.problems.rows import CHUNK, RowProblem, float_or_array


class LeastSquares(RowProblem):
    r"""Linear least squares, f(x) = ||Ax - b||^2 / (2N), with rows drawn at random.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n \frac{1}{m_i} \sum_r \tfrac12 (a_r' x - b_r)^2, \quad x^0 = 0,

    where r runs over the m_i rows of worker i. Everything about it is known: the smoothness is the
    largest eigenvalue of the Hessian, the minimiser the solution of least norm.

    Args:
      A: the rows a_r, shape (rows, features).
      b: the right-hand side, shape (rows,).
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows: homogeneous (by default) or split.
      replacement: whether the rows of one stochastic gradient may repeat.
      block: rows of one component, for methods of finite sums.

    Attributes:
      distance: R_0 = ||x^0 - x*||.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range.

    Examples:
      >>> problem = LeastSquares([[1.0, 0.0], [0.0, 2.0]], [1.0, 4.0])
      >>> problem.smoothness, problem.minimizer().tolist(), problem.minimum
      (2.0, [1.0, 2.0], 0.0)

    References:
      Mishchenko, Bach, Even, Woodworth, `Asynchronous SGD beats minibatch SGD under arbitrary delays
      <https://arxiv.org/abs/2206.07638>`_, 2022 (the synthetic data, from the released code).
    """

    name: ClassVar[str] = "least_squares"
    paper: ClassVar[str] = "Mishchenko et al. 2022, arXiv:2206.07638"
    convex = True
    row_data: ClassVar[tuple[str, ...]] = ("A", "b")
    row_constants: ClassVar[tuple[str, ...]] = ("minimum", "smoothness", "distance", "_solution")
    source: str = ""
    data: Any = "arrays in memory"

    def __init__(
        self,
        A: ArrayLike,
        b: ArrayLike,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        replacement: bool = True,
        block: int = 1,
    ) -> None:
        self.A = _checked(A, "A", 2)
        self.b = _checked(b, "b", 1)
        if len(self.b) != len(self.A):
            raise DataError(f"b: shape {self.b.shape}; expected {(len(self.A),)}, one number for each row of A")
        self.dimension = self.A.shape[1]
        self._divide(batch, partition, replacement, block)

    # ---- where data come from ----

    @classmethod
    def synthetic(
        cls, rows: int = 10_000, features: int = 400, noise: float = 1e-5, seed: int = 0, **arguments: Any
    ) -> Self:
        r"""Returns the problem over random data: A uniform in [0, 1]/sqrt(features), b = A z + noise times N(0, 1).

        That z is standard normal is a choice of rayopt; the defaults are those of Mishchenko et al. [code].

        Args:
          rows: N.
          features: the dimension.
          noise: standard deviation of what is added to b.
          seed: of everything random.
          **arguments: those of the class.

        Raises:
          InvalidInput: an argument is out of its range.
        """
        at_least("rows", rows, 1)
        at_least("features", features, 1)
        check_fits("rows", rows, rows * features * 8)
        non_negative("noise", noise)
        generator = Stream(at_least("seed", seed, 0), "least squares").generator()
        A = generator.random((rows, features))
        A /= math.sqrt(features)
        b = A @ generator.standard_normal(features)
        b += noise * generator.standard_normal(rows)
        problem = cls(A, b, **arguments)
        problem.source = f"synthetic, {rows:,} rows of {features:,} features"
        problem.data = {"rows": rows, "features": features, "noise": noise, "seed": seed}
        return problem

    @classmethod
    def from_config(
        cls,
        data: str | Mapping[str, Any] = "synthetic",
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        replacement: bool = True,
        block: int = 1,
    ) -> Self:
        """Returns the problem of a workload file.

        Args:
          data: "synthetic", or arguments of :meth:`synthetic`; or rows of one's own, {"csv" | "parquet" | "feather":
            file, "target": column, "features": columns or "all"}, {"npz": file}, {"npy": file, "target": file},
            {"libsvm": file}, {"openml": name or id} or {"function": "package.module:name"}; with "standardise": true.
          partition: as for the class.
          batch: as for the class.
          replacement: as for the class.
          block: as for the class.

        Raises:
          InvalidInput: ``data`` or an argument is unknown or out of its range.
        """
        if names_rows(data):
            if test := [key for key in ("test", "test_share") if key in data]:
                raise InvalidInput(f"data.{test[0]}", "least squares has no test data", "training data alone")
            found = read_rows(data)
            with named(found.places):
                b = numbers_of(found.y, "b")
                problem = cls(found.X, b, partition=partition, batch=batch, replacement=replacement, block=block)
            problem.source, problem.data = found.source, found.data
            return problem
        known = ("rows", "features", "noise", "seed")
        if data != "synthetic" and not isinstance(data, Mapping):
            hint = nearest(data, ["synthetic"]) if isinstance(data, str) else ""
            allowed = f"synthetic, or a mapping of {', '.join(known)}; {FORMS}"
            raise InvalidInput("data", f"{data!r} is unknown{hint}", allowed)
        given = data if isinstance(data, Mapping) else {}
        for key in given:
            if key not in known:
                raise InvalidInput(f"data.{key}", f"unknown key{nearest(str(key), known)}", ", ".join(known))
        try:
            return cls.synthetic(**given, partition=partition, batch=batch, replacement=replacement, block=block)
        except InvalidInput as error:
            raise error.within("data") if error.key in known else error from None

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        return {
            key: getattr(self, key)
            for key in ("name", "data", "partition", "batch", "replacement", *(["block"] if self.block > 1 else []))
        }

    def start_point(self) -> Array:
        return np.zeros(self.dimension)

    # ---- gradients ----

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if isinstance(sample, np.ndarray):
            return super().gradient(x, sample, checkpoint)
        a, b = self.A[sample], self.b[sample]
        g = np.empty(x.shape)
        for point, row in zip(np.atleast_2d(x), np.atleast_2d(g), strict=True):
            np.multiply(a, np.dot(a, point) - b, out=row)
        return g

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        g = np.zeros(x.shape)
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            chunk = rows[start : start + CHUNK]
            A = self.A[chunk]
            # Stacked products, one for each point, so that a point has the same bits alone.
            residual = np.matmul(A, x[..., :, None])[..., 0]
            residual -= self.b[chunk]
            residual *= weights[start : start + CHUNK]
            g += np.matmul(residual[..., None, :], A)[..., 0, :]
        return g

    # ---- the whole function ----

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        weights = self._weights(slice(0, self.row_count))
        residual = x @ self.A.T
        residual -= self.b
        value = 0.5 * np.einsum("...r,...r,r->...", residual, residual, weights)
        residual *= weights
        return float_or_array(value), residual @ self.A if gradient else np.zeros(x.shape)

    def gap(self, x: Array) -> Any:
        """Returns f(x) - min f without cancellation: a float, or shape (G,)."""
        steps = (x - self._solution) @ self.A.T
        weights = self._weights(slice(0, self.row_count))
        return float_or_array(0.5 * np.einsum("...r,...r,r->...", steps, steps, weights))

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        names = self.metric_names if names is None else names
        found = super().metrics(x, [name for name in names if name != "gap"])
        if "gap" in names:
            found["gap"] = self.gap(x)
        return {name: found[name] for name in names if name in found}

    @property
    def metric_names(self) -> tuple[str, ...]:
        return ("value", "grad_norm_sq", "gap")

    # ---- constants ----

    def minimizer(self) -> Array:
        """Returns the x* of least norm, shape (dimension,)."""
        return self._solution.copy()

    @cached_property
    def _solution(self) -> Array:
        scale = np.sqrt(self._weights(slice(0, self.row_count)))
        found = np.linalg.lstsq(self.A * scale[:, None], self.b * scale, rcond=None)[0]
        return found.astype(np.float64, copy=False)

    @cached_property
    def minimum(self) -> float:  # type: ignore[override]
        """The value at x*."""
        return self.value(self._solution)

    @cached_property
    def distance(self) -> float:  # type: ignore[override]
        """R_0 = ||x^0 - x*||."""
        return float(np.linalg.norm(self._solution - self.start_point()))

    @cached_property
    def smoothness(self) -> float:  # type: ignore[override]
        """L, the largest eigenvalue of the Hessian sum_r w_r a_r a_r'."""
        weights = self._weights(slice(0, self.row_count))
        return float(np.linalg.eigvalsh((self.A.T * weights) @ self.A)[-1])


def _checked(values: ArrayLike, name: str, axes: int) -> Array:
    """Returns the array as float64, or raises DataError."""
    found = np.asarray(values)
    if found.ndim != axes or found.dtype.kind not in "uifb":
        shape = "(rows, features)" if axes == 2 else "(rows,)"
        raise DataError(f"{name}: shape {found.shape} of {found.dtype}; expected real numbers of shape {shape}")
    if found.size == 0:
        raise DataError(f"{name}: shape {found.shape} is empty; expected at least one row and one feature")
    found = np.ascontiguousarray(found, dtype=np.float64)
    check_finite(found, name)
    return found
