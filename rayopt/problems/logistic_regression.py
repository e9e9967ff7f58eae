"""Multinomial logistic regression over the rows of a data set."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.errors import DataError, InvalidInput, at_least, boolean, nearest, non_negative, positive
from rayopt.keys import Stream, all_below, below, subkey, subkeys
from rayopt.problems.base import Array, Checkpoint, Problem
from rayopt.problems.partition import Homogeneous, Partition, Shards
from rayopt.problems.partition import partition as parse_partition
from rayopt.problems.partition import skew as skew_of

if TYPE_CHECKING:
    from rayopt.problems.mnist import Digits

CHUNK = 1024


class LogisticRegression(Problem):
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

    A stochastic gradient is the mean over ``batch`` rows, drawn with replacement from the rows
    of its worker. X is kept in its own type: bytes stay bytes, and only the rows in hand are
    converted, in chunks of 1024.

    Args:
      X: data, numbers of any real type, shape (rows, features).
      y: integers 0, ..., classes - 1, shape (rows,).
      X_test: data on which ``accuracy`` is measured; the training data by default.
      y_test: its labels.
      l2: lambda, at least 0.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.partition``): a
        name, a mapping or a partition; homogeneous by default.
      classes: number of classes; by default one more than the largest label.
      scale: a row a of the formula is ``scale`` times a row of X (1/255 for bytes).

    Attributes:
      skew: how far the labels of the workers are from those of all rows, 0 if homogeneous.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range.
    """

    name: ClassVar[str] = "logistic_regression"
    source: str = ""
    data: str | dict[str, str] = "arrays in memory"

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
    ) -> None:
        if classes is not None:
            at_least("classes", classes, 2)
        self.X, self.y = _checked(X, y, classes, "")
        if (X_test is None) != (y_test is None):
            raise DataError("X_test and y_test go together; give both or neither")
        self.classes = int(self.y.max()) + 1 if classes is None else int(classes)
        if self.classes < 2:
            raise DataError("y: all labels are 0; expected at least two classes, or give the argument classes")
        self.X_test: NDArray[Any] | None = None
        self.y_test: NDArray[np.intp] | None = None
        if X_test is not None and y_test is not None:
            self.X_test, self.y_test = _checked(X_test, y_test, self.classes, "_test")
            if self.X_test.shape[1] != self.X.shape[1]:
                raise DataError(f"X_test has {self.X_test.shape[1]} features; expected {self.X.shape[1]}, as X has")
        self.l2 = non_negative("l2", l2)
        self.batch = at_least("batch", batch, 1)
        self.scale = positive("scale", scale)
        self.partition = parse_partition(partition)
        self.homogeneous = self.partition.homogeneous
        self.features = self.X.shape[1]
        self.dimension = (self.features + 1) * self.classes
        self._shards: Shards | None = None
        self._row_weights: Array | None = None
        self._local: LogisticRegression | None = None

    # ---- where data come from ----

    @classmethod
    def from_arrays(cls, X: ArrayLike, y: ArrayLike, **arguments: Any) -> LogisticRegression:
        """Returns the problem over arrays in memory; the arguments are those of the class."""
        return cls(X, y, **arguments)

    @classmethod
    def mnist(cls, path: str | Path | None = None, **arguments: Any) -> LogisticRegression:
        """Returns the problem over MNIST, pixels scaled to [0, 1]; dimension 7,850.

        Args:
          path: folder of the IDX files (see ``rayopt.problems.mnist.load`` for where else).
          **arguments: those of the class.

        Raises:
          DataError: a file of the folder is missing or wrong.
        """
        from rayopt.problems import mnist

        return cls._from_digits(mnist.load(path), arguments)

    @classmethod
    def _from_digits(cls, digits: Digits, arguments: Mapping[str, Any]) -> LogisticRegression:
        arguments = {"classes": 10, "scale": 1 / 255, **arguments}
        problem = cls(digits.images, digits.labels, digits.test_images, digits.test_labels, **arguments)
        problem.source, problem.data = digits.source, digits.data
        return problem

    @classmethod
    def digits(cls, seed: int = 0, **arguments: Any) -> LogisticRegression:
        """Returns the problem over the 8 x 8 digits of scikit-learn, scaled to [0, 1]; dimension 650.

        Args:
          seed: of the division into 80 % training and 20 % test rows.
          **arguments: those of the class.
        """
        from sklearn.datasets import load_digits

        found = load_digits()
        order = Stream(seed, "digits").generator().permutation(len(found.target))
        train, test = np.split(order, [len(order) * 8 // 10])
        X, y = found.data.astype(np.uint8), found.target
        problem = cls(X[train], y[train], X[test], y[test], **{"classes": 10, "scale": 1 / 16, **arguments})
        problem.source = f"digits of scikit-learn, {len(train):,} training and {len(test):,} test images"
        problem.data = "digits"
        return problem

    @classmethod
    def from_config(
        cls,
        data: str | Mapping[str, Any] = "mnist",
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        l2: float = 0.0,
        solve: bool = False,
    ) -> LogisticRegression:
        """Returns the problem of a workload file.

        Args:
          data: "mnist", "mnist_subset" (the one in the package), "digits" or {"path": folder of the
            IDX files of MNIST}.
          partition: as for the class.
          batch: as for the class.
          l2: as for the class.
          solve: find the minimum first, so that there is the metric ``gap``; takes 33 s on the
            full MNIST.

        Raises:
          InvalidInput: ``data`` or an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        boolean("solve", solve)
        problem = cls._from_data(data, {"partition": partition, "batch": batch, "l2": l2})
        if solve:
            problem.solve()
        return problem

    @classmethod
    def _from_data(cls, data: str | Mapping[str, Any], arguments: Mapping[str, Any]) -> LogisticRegression:
        from rayopt.problems import mnist

        if data == "mnist":
            return cls.mnist(**arguments)
        if data == "mnist_subset":
            return cls._from_digits(mnist.subset(), arguments)
        if data == "digits":
            return cls.digits(**arguments)
        if isinstance(data, Mapping) and set(data) == {"path"} and isinstance(data["path"], (str, Path)):
            return cls.mnist(data["path"], **arguments)
        names = ("mnist", "mnist_subset", "digits")
        hint = nearest(data, names) if isinstance(data, str) else ""
        allowed = ", ".join([*names, "{path: folder of the IDX files}"])
        raise InvalidInput("data", f"{data!r} is unknown{hint}", allowed)

    def to_config(self) -> dict[str, Any]:
        """Returns what a workload file says of this problem."""
        return {
            "name": self.name,
            "data": self.data,
            "partition": self.partition,
            "batch": self.batch,
            "l2": self.l2,
            "solve": self.minimum is not None,
        }

    # ---- workers ----

    def start_point(self) -> Array:
        return np.zeros(self.dimension)

    def split(self, workers: int, seed: int) -> LogisticRegression:
        """Returns this problem with its rows divided over so many workers.

        Raises:
          DataError: a worker would have no row.
          InvalidInput: the minimum is known, and unequal shards make another one of it.
        """
        at_least("workers", workers, 1)
        bound = copy.copy(self)
        bound._shards = shards = self.partition.assign(self.y, workers, seed)
        bound._local = bound._row_weights = None
        if shards is not None and len(set(shards.sizes.tolist())) > 1:
            if self.minimum is not None:
                raise InvalidInput(
                    "problem.solve",
                    f"{len(self.y):,} rows over {workers:,} workers are unequal shards: "
                    "the minimum over the rows is not that of the mean over the workers",
                    "false, or shards of one size",
                )
            bound._row_weights = 1.0 / (workers * shards.sizes[shards.owners])
            bound.__dict__.pop("smoothness", None)
        return bound

    def shard(self, worker: int) -> LogisticRegression:
        if self.homogeneous:
            if self._local is None:
                self._local = self._restricted(None)
            return self._local
        return self._restricted(self._split_shards().rows(worker))

    def _restricted(self, rows: NDArray[np.intp] | None) -> LogisticRegression:
        """Returns the problem over these rows (all if None) alone, without test data."""
        local = copy.copy(self)
        local.partition = Homogeneous()
        local.homogeneous = True
        local.X_test = local.y_test = local._shards = local._row_weights = local._local = None
        if rows is not None:
            local.X, local.y = self.X[rows], self.y[rows]
            local.minimum = None
            local.__dict__.pop("smoothness", None)
        return local

    def _split_shards(self) -> Shards:
        if self._shards is None:
            raise InvalidInput("partition", f"{self.partition} has no workers yet", "a call of split(workers, seed)")
        return self._shards

    @property
    def shard_sizes(self) -> NDArray[np.integer] | None:
        """Rows of each worker after :meth:`split`, shape (workers,); None if all have the same rows."""
        return None if self._shards is None else self._shards.sizes

    @property
    def skew(self) -> float:
        """Mean total variation distance between a worker's labels and all labels, after :meth:`split`.

        0 if every worker has the mixture of the whole, near 1 - 1/classes if each has one class.
        """
        return 0.0 if self.homogeneous else skew_of(self._split_shards(), self.y)

    # A sample is a row number, or an array of them if batch * count > 1.

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        if self.batch * count > 1:
            return self.draw_many(np.array([worker]), np.array([key], dtype=np.uint64), count)[0]
        if self.homogeneous:
            return below(subkey(key, 0), len(self.y))
        shards = self._split_shards()
        first = int(shards.offsets[worker])
        return int(shards.order[first + below(subkey(key, 0), int(shards.offsets[worker + 1]) - first)])

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        drawn = subkeys(keys, self.batch * count)
        if self.homogeneous:
            rows = all_below(drawn, len(self.y))
        else:
            shards = self._split_shards()
            first = shards.offsets[workers][:, None]
            rows = shards.order[first + all_below(drawn, shards.offsets[workers + 1][:, None] - first)]
        return rows[:, 0] if rows.shape[1] == 1 else rows

    # ---- gradients ----

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if isinstance(sample, np.ndarray):
            g = self._rows_gradient(x, sample, np.full(len(sample), 1.0 / len(sample)), checkpoint)
        else:
            g = self._row_gradient(x, sample)
        if self.l2:
            g += self.l2 * x
        return g

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        rows = np.asarray(samples)
        tasks = len(rows)
        each = rows.size // tasks
        weights = np.ones(tasks) if weights is None else np.asarray(weights, dtype=np.float64)
        g = self._rows_gradient(x, rows.reshape(-1), np.repeat(weights / each, each))
        if self.l2:
            g += (self.l2 * float(weights.sum())) * x
        return g

    def _matrices(self, x: Array) -> Array:
        """Returns the view of x of shape (..., features + 1, classes)."""
        return x.reshape(*x.shape[:-1], self.features + 1, self.classes)

    def _row_gradient(self, x: Array, row: int) -> Array:
        """Returns the gradient of the loss of one row, the shape of x."""
        a = self.X[row].astype(np.float64, copy=False)
        W = self._matrices(x)
        residual = np.matmul(a, W[..., :-1, :])
        residual *= self.scale
        residual += W[..., -1, :]
        _softmax(residual)
        residual[..., self.y[row]] -= 1.0

        g = np.empty(x.shape)
        G = self._matrices(g)
        G[..., -1, :] = residual
        residual *= self.scale
        # A product of a column and a row is four times faster by np.dot than by np.matmul.
        column, classes = a[:, None], self.classes
        for matrix, r in zip(G.reshape(-1, *G.shape[-2:]), residual.reshape(-1, 1, classes), strict=True):
            np.dot(column, r, out=matrix[:-1])
        return g

    def _rows_gradient(
        self, x: Array, rows: NDArray[np.intp], weights: Array, checkpoint: Checkpoint | None = None
    ) -> Array:
        """Returns the weighted sum of the gradients of the losses of rows, the shape of x.

        The products are stacked, one for each point, so that a point has the same bits alone.
        """
        W = self._matrices(x)
        g = np.empty(x.shape)
        G = self._matrices(g)
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            chunk = rows[start : start + CHUNK]
            A = self.X[chunk].astype(np.float64, copy=False)
            residual = np.matmul(A, W[..., :-1, :])
            residual *= self.scale
            residual += W[..., -1:, :]
            _softmax(residual)
            residual[..., np.arange(len(chunk)), self.y[chunk]] -= 1.0
            residual *= weights[start : start + CHUNK, None]
            bias = residual.sum(axis=-2)
            residual *= self.scale
            if start:
                G[..., -1, :] += bias
                G[..., :-1, :] += np.matmul(A.T, residual)
            else:
                G[..., -1, :] = bias
                np.matmul(A.T, residual, out=G[..., :-1, :])
        return g

    # ---- the whole function ----

    @property
    def metric_names(self) -> tuple[str, ...]:
        return (*super().metric_names, "accuracy")

    def value(self, x: Array) -> Any:
        return self._evaluate(x)[0]

    def full_gradient(self, x: Array) -> Array:
        return self._evaluate(x, gradient=True)[1]

    def accuracy(self, x: Array) -> Any:
        """Returns the share of correct answers on the test data (training data if none): a float, or shape (G,)."""
        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        right = np.zeros(x.shape[:-1])
        points = self._columns(x)
        for rows, A in self._chunks(X):
            right += (self._logits(A, points, x.shape[:-1]).argmax(axis=-1) == y[rows]).sum(axis=-1)
        # The answer of a point that is not finite is not the class 0.
        right[~np.isfinite(x).all(axis=-1)] = np.nan
        return _float_or_array(right / len(y))

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        names = self.metric_names if names is None else names
        found: dict[str, Any] = {}
        if {"value", "gap", "grad_norm_sq"} & set(names):
            value, gradient = self._evaluate(x, gradient="grad_norm_sq" in names)
            found["value"] = value
            if self.minimum is not None:
                found["gap"] = value - self.minimum
            found["grad_norm_sq"] = np.einsum("...j,...j->...", gradient, gradient)
        if "accuracy" in names:
            found["accuracy"] = self.accuracy(x)
        return {name: found[name] for name in names if name in found}

    def _chunks(self, X: NDArray[Any]) -> Iterator[tuple[slice, Array]]:
        """Yields slices of rows and these rows as float64, in one buffer that the next one overwrites."""
        buffer = np.empty((min(CHUNK, len(X)), X.shape[1]))
        for start in range(0, len(X), CHUNK):
            rows = slice(start, min(start + CHUNK, len(X)))
            A = buffer[: rows.stop - start]
            A[...] = X[rows]
            yield rows, A

    def _weights(self, rows: slice) -> Array:
        """Returns what each of these rows weighs in f, shape (rows,)."""
        if self._row_weights is None:
            return np.full(rows.stop - rows.start, 1.0 / len(self.y))
        return self._row_weights[rows]

    def _columns(self, x: Array) -> Array:
        """Returns the points side by side, shape (features + 1, G * classes)."""
        matrices = self._matrices(np.atleast_2d(x))
        return np.ascontiguousarray(matrices.transpose(1, 0, 2)).reshape(self.features + 1, -1)

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
            largest, normaliser = _softmax(logits)
            total += ((largest + np.log(normaliser))[..., 0] - right) @ weights
            if gradient:
                logits[..., each, labels] -= 1.0
                logits *= weights[:, None]
                residual = np.moveaxis(logits, -2, 0).reshape(len(labels), -1)
                sums[-1] += residual.sum(axis=0)
                residual *= self.scale
                sums[:-1] += A.T @ residual
        total += 0.5 * self.l2 * np.einsum("...j,...j->...", x, x)
        g = sums.reshape(self.features + 1, -1, self.classes).transpose(1, 0, 2).reshape(x.shape)
        return _float_or_array(total), g + self.l2 * x

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


def _softmax(logits: Array) -> tuple[Array, Array]:
    """Replaces logits by probabilities along the last axis, in place.

    Returns:
      The largest logit m and the sum of exp(logit - m), shape (..., 1) both.
    """
    largest = np.maximum.reduce(logits, axis=-1, keepdims=True)
    logits -= largest
    np.exp(logits, out=logits)
    normaliser = np.add.reduce(logits, axis=-1, keepdims=True)
    logits /= normaliser
    return largest, normaliser


def _float_or_array(values: Array) -> Any:
    return float(values) if values.ndim == 0 else values


def _checked(X: ArrayLike, y: ArrayLike, classes: int | None, suffix: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Returns X with contiguous rows in its own type and y as integers, or raises DataError."""
    X, y = np.ascontiguousarray(X), np.asarray(y)
    X_name, y_name = f"X{suffix}", f"y{suffix}"
    if X.ndim != 2 or X.dtype.kind not in "uifb":
        raise DataError(f"{X_name}: shape {X.shape} of {X.dtype}; expected real numbers of shape (rows, features)")
    if X.size == 0:
        raise DataError(f"{X_name}: shape {X.shape} is empty; expected at least one row and one feature")
    if y.shape != (len(X),):
        raise DataError(f"{y_name}: shape {y.shape}; expected {(len(X),)}, one label for each row of {X_name}")
    if X.dtype.kind == "f":
        for start in range(0, len(X), CHUNK):
            finite = np.isfinite(X[start : start + CHUNK]).all(axis=1)
            if not finite.all():
                raise DataError(f"{X_name}: row {start + finite.argmin()} is NaN or infinite; expected finite numbers")
    if y.dtype.kind not in "uif" or (y.dtype.kind == "f" and not np.array_equal(y, np.rint(y))):
        raise DataError(f"{y_name}: labels of {y.dtype} that are not integers; expected 0, ..., classes - 1")
    outside = np.flatnonzero((y < 0) | (y >= (np.inf if classes is None else classes)))
    if len(outside):
        allowed = "0, 1, ..." if classes is None else f"0, ..., {classes - 1}"
        raise DataError(f"{y_name}: label {y[outside[0]]} at row {outside[0]}; expected {allowed}")
    return X, y.astype(np.intp)
