"""Multinomial logistic regression over the rows of a data set."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import InvalidInput, at_least, boolean, non_negative, one_of, positive
from rayopt.problems.base import DTYPES, Array, Checkpoint, squared_norm
from rayopt.problems.data.partition import Partition
from rayopt.problems.labelled_data import LabelledData, softmax
from rayopt.problems.rows import CHUNK, float_or_array


class LogisticRegression(LabelledData):
    r"""Multinomial logistic regression (softmax cross-entropy) with l2 regularisation.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n f_i(x), \quad
        f_i(x) = \frac{1}{m_i} \sum_{r} -\log p_{y_r}(a_r; x) + \frac{\lambda}{2} \|x\|^2, \quad
        p(a; x) = \operatorname{softmax}(W' a + w),

    where f_i is over the m_i rows of worker i, and x of shape (dimension,) is the matrix
    [W; w] of shape (features + 1, classes): its last row is the bias, which is regularised
    like the rest. The mean over workers is the mean over the rows if all workers have the
    same rows, or equally many; else a row of worker i has weight 1/(n m_i). Before
    :meth:`split`, all rows weigh the same.

    A stochastic gradient is the mean over ``batch`` rows, drawn from the rows of its worker. X is
    kept in its own type: bytes stay bytes, and only the rows in hand are converted, in chunks of 1024.

    Args:
      X: data, numbers of any real type, shape (rows, features).
      y: integers 0, ..., classes - 1, shape (rows,).
      X_test: data on which ``accuracy`` is measured; the training data by default.
      y_test: its labels.
      l2: lambda, at least 0.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.data.partition``): a
        name, a mapping or a partition; homogeneous by default.
      classes: number of classes; by default one more than the largest label.
      scale: a row a of the formula is ``scale`` times a row of X (1/255 for bytes).
      replacement: whether the rows of one stochastic gradient may repeat.
      block: rows of one component, for methods of finite sums.
      dtype: "float64" or "float32", of x and the gradients; f itself is evaluated in float64.

    Attributes:
      skew: how far the labels of the workers are from those of all rows, 0 if homogeneous.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range.
    """

    name: ClassVar[str] = "logistic_regression"
    convex = True

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        l2: float = 0.0,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        classes: int | None = None,
        scale: float = 1.0,
        replacement: bool = True,
        block: int = 1,
        dtype: str = "float64",
    ) -> None:
        super().__init__(X, y, X_test, y_test, batch, partition, classes, scale, replacement, block)
        self.dtype = one_of("dtype", dtype, DTYPES)
        self.l2 = non_negative("l2", l2)
        self.dimension = (self.features + 1) * self.classes

    @classmethod
    def from_config(
        cls,
        data: str | Mapping[str, Any] = "mnist",
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        l2: float = 0.0,
        solve: bool = False,
        rows: int | None = None,
        replacement: bool = True,
        block: int = 1,
        dtype: str = "float64",
    ) -> Self:
        """Returns the problem of a workload file.

        Args:
          data: "mnist", "mnist_subset" (the one in the package), "digits", {"path": folder of the IDX files of MNIST},
            {"csv" | "parquet" | "feather": file, "target": column, "features": columns or "all"}, {"npz": file},
            {"npy": file, "target": file}, {"libsvm": file}, {"openml": name or id}, {"torchvision": name},
            {"hugging_face": name} or {"function":
            "package.module:name"}; with "standardise": true, and "test_share": 0.2 or "test": file.
          partition: as for the class.
          batch: as for the class.
          l2: as for the class.
          solve: find the minimum first, so that there is the metric ``gap``; takes 33 s on the
            full MNIST.
          rows: train on the first so many rows; on all by default.
          replacement: as for the class.
          block: as for the class.
          dtype: as for the class.

        Raises:
          InvalidInput: ``data`` or an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        boolean("solve", solve)
        arguments = {"partition": partition, "batch": batch, "l2": l2, "replacement": replacement, "block": block,
                     "dtype": dtype}  # fmt: skip
        problem = cls.from_data(data, rows, arguments)
        if solve:
            problem.solve()
        return problem

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        return {
            "name": self.name,
            "data": self.data,
            "partition": self.partition,
            "batch": self.batch,
            "l2": self.l2,
            "solve": self.minimum is not None,
            "rows": self.rows,
            "replacement": self.replacement,
            **({} if self.block == 1 else {"block": self.block}),
            **({} if self.dtype == "float64" else {"dtype": self.dtype}),
        }

    # ---- workers ----

    @property
    def parameter_shapes(self) -> list[list[int]]:
        return [[self.features + 1, self.classes]]

    def start_point(self) -> Array:
        return np.zeros(self.dimension, dtype=self.dtype)

    def split(self, workers: int, seed: int) -> Self:
        """Returns this problem with its rows divided over so many workers.

        Raises:
          DataError: a worker would have no row.
          InvalidInput: the minimum is known, and unequal shards make another one of it.
        """
        bound = super().split(workers, seed)
        if self.minimum is not None and bound._row_weights is not None:
            raise InvalidInput(
                "problem.solve",
                f"{len(self.y):,} rows over {workers:,} workers are unequal shards: "
                "the minimum over the rows is not that of the mean over the workers",
                "false, or shards of one size",
            )
        return bound

    # ---- gradients ----

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if isinstance(sample, np.ndarray):
            return super().gradient(x, sample, checkpoint)
        g = self._row_gradient(x, sample)
        if self.l2:
            g += self.l2 * x
        return g

    def _matrices(self, x: Array) -> Array:
        """Returns the view of x of shape (..., features + 1, classes)."""
        return x.reshape(*x.shape[:-1], self.features + 1, self.classes)

    def _row_gradient(self, x: Array, row: int) -> Array:
        """Returns the gradient of the loss of one row, the shape of x."""
        if x.ndim > 1:
            return self._row_gradients(x, row)
        # Most of a run of single gradients is spent here: indices without axes, and no generality that costs a call.
        a = self.X[row].astype(x.dtype, copy=False)
        g = np.empty(x.shape, x.dtype)
        W, G = self._matrices(x), self._matrices(g)
        residual = np.matmul(a, W[:-1])
        residual *= self.scale
        residual += W[-1]
        residual -= np.maximum.reduce(residual)
        np.exp(residual, out=residual)
        residual /= np.add.reduce(residual)
        residual[self.y[row]] -= 1.0
        G[-1] = residual
        residual *= self.scale
        # A product of a column and a row is four times faster by np.dot than by np.matmul.
        np.dot(a[:, None], residual[None], out=G[:-1])
        return g

    def _row_gradients(self, x: Array, row: int) -> Array:
        """Returns the gradients of the loss of one row at the points of a grid, each to the bit what it is alone."""
        a = self.X[row].astype(x.dtype, copy=False)
        W = self._matrices(x)
        residual = np.matmul(a, W[..., :-1, :])
        residual *= self.scale
        residual += W[..., -1, :]
        softmax(residual)
        residual[..., self.y[row]] -= 1.0

        g = np.empty(x.shape, dtype=x.dtype)
        G = self._matrices(g)
        G[..., -1, :] = residual
        residual *= self.scale
        column, classes = a[:, None], self.classes
        for matrix, r in zip(G.reshape(-1, *G.shape[-2:]), residual.reshape(-1, 1, classes), strict=True):
            np.dot(column, r, out=matrix[:-1])
        return g

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        """Returns the weighted sum of the gradients of rows, the shape of x.

        The products are stacked, one for each point, so that a point has the same bits alone.
        """
        W = self._matrices(x)
        g = np.empty(x.shape, dtype=x.dtype)
        G = self._matrices(g)
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            chunk = rows[start : start + CHUNK]
            A = self.X[chunk].astype(x.dtype, copy=False)
            residual = np.matmul(A, W[..., :-1, :])
            residual *= self.scale
            residual += W[..., -1:, :]
            softmax(residual)
            residual[..., np.arange(len(chunk)), self.y[chunk]] -= 1.0
            residual *= weights[start : start + CHUNK, None].astype(x.dtype, copy=False)
            bias = residual.sum(axis=-2)
            residual *= self.scale
            if start:
                G[..., -1, :] += bias
                G[..., :-1, :] += np.matmul(A.T, residual)
            else:
                G[..., -1, :] = bias
                np.matmul(A.T, residual, out=G[..., :-1, :])
        if self.l2:
            g += float(self.l2 * total) * x
        return g

    # ---- the whole function ----

    def _columns(self, x: Array) -> Array:
        """Returns the points side by side, shape (features + 1, G * classes)."""
        matrices = self._matrices(np.atleast_2d(x))
        return np.ascontiguousarray(matrices.transpose(1, 0, 2)).reshape(self.features + 1, -1)

    def _logits_at(self, x: Array) -> Callable[[Array], Array]:
        points = self._columns(x)
        return lambda A: self._logits(A, points, x.shape[:-1])

    def _logits(self, A: Array, points: Array, leading: tuple[int, ...]) -> Array:
        """Returns the logits of rows at points side by side, one product, shape (*leading, rows, classes)."""
        logits = A @ points[:-1]
        logits *= self.scale
        logits += points[-1]
        return np.moveaxis(logits.reshape(len(A), *leading, self.classes), 0, -2)

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        """Returns f(x) and, if asked, its gradient, from one pass over the data.

        One product for all points: faster than one each, and equal to it up to rounding.
        """
        total = np.zeros(x.shape[:-1])
        points = self._columns(x)
        sums = np.zeros_like(points)
        for rows, A in self._chunks(self.X):
            logits = self._logits(A, points, x.shape[:-1])
            labels = self.y[rows]
            each = np.arange(len(labels))
            weights = self._weights(rows)
            right = logits[..., each, labels]
            largest, normaliser = softmax(logits)
            total += ((largest + np.log(normaliser))[..., 0] - right) @ weights
            if gradient:
                logits[..., each, labels] -= 1.0
                logits *= weights[:, None]
                residual = np.moveaxis(logits, -2, 0).reshape(len(labels), -1)
                sums[-1] += residual.sum(axis=0)
                residual *= self.scale
                sums[:-1] += A.T @ residual
        total += 0.5 * self.l2 * squared_norm(x)
        g = sums.reshape(self.features + 1, -1, self.classes).transpose(1, 0, 2).reshape(x.shape)
        return float_or_array(total), g + self.l2 * x

    # ---- constants ----

    @cached_property
    def smoothness(self) -> float:  # type: ignore[override]
        """An upper bound of L: lambda_max(A'A / N) / 2 + l2, where A has the rows (a, 1).

        The Hessian of a row is (diag(p) - pp') x aa', and the first factor is at most 1/2
        (Böhning, Multinomial logistic regression algorithm, 1992).
        """
        gram = np.zeros((self.features + 1, self.features + 1))
        for rows, A in self._chunks(self.X):
            A *= self.scale
            weights = self._weights(rows)
            weighted = A.T * weights
            gram[:-1, :-1] += weighted @ A
            gram[-1, :-1] += weighted.sum(axis=1)
        gram[:-1, -1] = gram[-1, :-1]
        gram[-1, -1] = 1.0
        return 0.5 * float(np.linalg.eigvalsh(gram)[-1]) + self.l2

    @cached_property
    def lipschitz(self) -> float | None:  # type: ignore[override]
        """M = sqrt(2) max_r ||(a_r, 1)||, which bounds the gradient of every row at every x; None with l2 > 0.

        It is ||p - e_y|| ||(a, 1)||, and the first factor is below sqrt(2).
        """
        if self.l2:
            return None
        largest = max(float(np.einsum("rj,rj->r", A, A).max()) for _, A in self._chunks(self.X))
        return float(np.sqrt(2 * (self.scale**2 * largest + 1)))

    def solve(self, tolerance: float = 1e-6, iterations: int = 10_000) -> float:
        """Minimises f by L-BFGS, sets ``minimum`` to the value reached and returns it.

        With l2 > 0 it is above inf f by at most ||grad f||^2 / (2 l2). With l2 = 0 and data that
        a linear classifier separates, inf f = 0 is not attained and the value is only near it.

        Args:
          tolerance: the largest coordinate of the gradient at which to stop.
          iterations: the most iterations, of one or two passes over the data each.

        Raises:
          InvalidInput: an argument is out of its range.
        """
        from scipy.optimize import minimize

        positive("tolerance", tolerance)
        at_least("iterations", iterations, 1)
        options: Any = {"maxiter": iterations, "maxfun": 2 * iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}

        def evaluate(x: Any) -> Any:
            return self._evaluate(x, gradient=True)

        found: Any = minimize(evaluate, self.start_point(), method="L-BFGS-B", jac=True, options=options)
        largest = float(np.abs(found.jac).max())
        if largest > tolerance:
            warnings.warn(
                f"the minimum {found.fun:g} was reached with a gradient coordinate of {largest:.1g}, "
                f"above the tolerance {tolerance:g}; gaps below this may be wrong",
                stacklevel=2,
            )
        self.minimum = float(found.fun)
        return self.minimum
