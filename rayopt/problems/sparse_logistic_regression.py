"""Binary logistic regression over sparse rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput, nearest, non_negative
from rayopt.core.file_names import absolute
from rayopt.problems.base import Array, Checkpoint
from rayopt.problems.classification import Classification
from rayopt.problems.data import sparse as sparse_data
from rayopt.problems.data.partition import Partition
from rayopt.problems.data.sparse import Sparsity
from rayopt.problems.data.tables import FORMS, named, names_rows, read_rows
from rayopt.problems.rows import CHUNK, float_or_array

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class SparseLogisticRegression(Classification):
    r"""Binary logistic regression whose rows have few nonzero features.

    .. math::
        f(x) = \frac1N \sum_{r=1}^N f_r(x), \quad
        f_r(x) = \log\left(1 + e^{-y_r a_r' x}\right) + \frac{\lambda}{2} \sum_{v \in e_r} \frac{x_v^2}{p_v},

    with labels y_r in {-1, +1}, e_r the nonzero features of row r and p_v the share of rows in which
    feature v is nonzero. So f_r depends on x over e_r alone, as Hogwild needs it, and the mean of the
    second terms is (lambda/2) ||x||^2 over the features that occur: l2 is applied to the touched
    coordinates, never to all of them. There is no bias; append a column of ones for one.

    A row of worker i has weight 1/(n m_i) instead of 1/N if the workers have m_i rows and the m_i
    are unequal, in p_v as well. A gradient is a dense array.

    Args:
      X: data, sparse or dense, shape (rows, features); explicit zeros are dropped.
      y: labels of two kinds, the smaller one becomes -1 and the larger +1, shape (rows,).
      X_test: data on which ``accuracy`` is measured; the training data by default.
      y_test: their labels, of the same two kinds.
      l2: lambda, at least 0.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.data.partition``).
      replacement: whether the rows of one stochastic gradient may repeat.
      block: rows of one component, for methods of finite sums.

    Attributes:
      X: the data, ``scipy.sparse.csr_array`` of float64, indices sorted within a row.
      y: the labels -1.0 and 1.0, shape (rows,).
      coordinate_l2: lambda / p_v, 0 for features that do not occur, shape (features,): the stochastic
        gradient of row r is -y_r a_r / (1 + exp(y_r a_r' x)) plus ``coordinate_l2[v] * x[v]`` at v in e_r.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range.

    Examples:
      >>> problem = SparseLogisticRegression.synthetic(rows=1000, features=200, nonzeros_per_row=5)
      >>> problem.sparsity().omega
      5

    References:
      Niu, Recht, Ré, Wright, `Hogwild!: A lock-free approach to parallelizing stochastic gradient
      descent <https://arxiv.org/abs/1106.5730>`_, 2011 (the spread l2 of its sparse SVM, and the constants).
    """

    name: ClassVar[str] = "sparse_logistic_regression"
    paper: ClassVar[str] = "Niu et al. 2011, arXiv:1106.5730"
    convex = True
    row_constants: ClassVar[tuple[str, ...]] = ("minimum", "smoothness", "lipschitz", "_penalty")

    def __init__(
        self,
        X: Any,
        y: ArrayLike,
        X_test: Any = None,
        y_test: ArrayLike | None = None,
        l2: float = 0.0,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        replacement: bool = True,
        block: int = 1,
    ) -> None:
        self.X = sparse_data.checked_rows(X, "X")
        kinds = sparse_data.two_classes(y)
        self.y = sparse_data.signs(y, kinds, self.X.shape[0], "y")
        if (X_test is None) != (y_test is None):
            raise DataError("X_test and y_test go together; give both or neither")
        self.X_test: csr_array | None = None
        self.y_test: Array | None = None
        if X_test is not None and y_test is not None:
            self.X_test = sparse_data.checked_rows(X_test, "X_test")
            self.y_test = sparse_data.signs(y_test, kinds, self.X_test.shape[0], "y_test")
            if self.X_test.shape[1] != self.X.shape[1]:
                raise DataError(f"X_test has {self.X_test.shape[1]} features; expected {self.X.shape[1]}, as X has")
        self.l2 = non_negative("l2", l2)
        self.dimension = int(self.X.shape[1])
        self._divide(batch, partition, replacement, block)
        self._spread_l2()

    # ---- where data come from ----

    @classmethod
    def from_svmlight(
        cls, path: str | Path, test_path: str | Path | None = None, features: int | None = None, **arguments: Any
    ) -> Self:
        """Returns the problem over a file of lines ``label feature:value ...`` (LIBSVM's format).

        Args:
          path: the file, compressed by gzip or bzip2 or not; features count from 0 or 1, as the file shows.
          test_path: a file of test data.
          features: how many there are; by default as many as the files need.
          **arguments: those of the class.

        Raises:
          DataError: a file cannot be read.
        """
        found = sparse_data.read_svmlight([path] if test_path is None else [path, test_path], features)
        problem = cls(*found, **arguments)
        problem.source = f"{path}, {problem.row_count:,} rows of {problem.dimension:,} features"
        problem.data = {
            "path": absolute(path),
            **({} if test_path is None else {"test_path": absolute(test_path)}),
            **({} if features is None else {"features": features}),
        }
        return problem

    @classmethod
    def synthetic(
        cls,
        rows: int = 10_000,
        features: int = 1_000,
        nonzeros_per_row: int = 10,
        seed: int = 0,
        **arguments: Any,
    ) -> Self:
        """Returns the problem over random rows of norm 1 whose labels follow a logistic model.

        Args:
          rows: how many.
          features: how many.
          nonzeros_per_row: features of a row that are not zero, chosen uniformly.
          seed: of everything random.
          **arguments: those of the class.

        Raises:
          InvalidInput: an argument is out of its range.
        """
        X, y = sparse_data.synthetic(rows, features, nonzeros_per_row, seed)
        problem = cls(X, y, **arguments)
        problem.source = f"synthetic, {rows:,} rows of {features:,} features, {nonzeros_per_row:,} nonzero"
        problem.data = {"rows": rows, "features": features, "nonzeros_per_row": nonzeros_per_row, "seed": seed}
        return problem

    @classmethod
    def from_config(
        cls,
        data: str | Mapping[str, Any] = "synthetic",
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        l2: float = 0.0,
        replacement: bool = True,
        block: int = 1,
    ) -> Self:
        """Returns the problem of a workload file.

        Args:
          data: {"path": file, "test_path": file, "features": number} for :meth:`from_svmlight`, the last two
            optional; "synthetic", or arguments of :meth:`synthetic`; or what
            :func:`rayopt.problems.data.tables.read_rows` takes, {"libsvm": file} and the like.
          partition: as for the class.
          batch: as for the class.
          l2: as for the class.
          replacement: as for the class.
          block: as for the class.

        Raises:
          InvalidInput: ``data`` or an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        arguments: dict[str, Any] = {
            "partition": partition,
            "batch": batch,
            "l2": l2,
            "replacement": replacement,
            "block": block,
        }
        if data == "synthetic":
            return cls.synthetic(**arguments)
        if names_rows(data):
            found = read_rows(data, keep_sparse=True)
            with named(found.places):
                problem = cls(found.X, found.y, found.X_test, found.y_test, **arguments)
            problem.source, problem.data = found.source, found.data
            return problem
        files, made = ("path", "test_path", "features"), ("rows", "features", "nonzeros_per_row", "seed")
        if not isinstance(data, Mapping) or not data:
            hint = nearest(data, ["synthetic"]) if isinstance(data, str) else ""
            allowed = f"synthetic, {{path: file in LIBSVM's format}}, or a mapping of {', '.join(made)}; {FORMS}"
            raise InvalidInput("data", f"{data!r} is unknown{hint}", allowed)
        known = files if "path" in data else made
        for key in data:
            if key not in known:
                raise InvalidInput(f"data.{key}", f"unknown key{nearest(str(key), known)}", ", ".join(known))
        make = cls.from_svmlight if "path" in data else cls.synthetic
        try:
            return make(**data, **arguments)
        except InvalidInput as error:
            raise error.within("data") if error.key in known else error from None

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        keys = ("name", "data", "partition", "batch", "l2", "replacement", *(["block"] if self.block > 1 else []))
        return {key: getattr(self, key) for key in keys}

    # ---- workers ----

    def row_labels(self) -> NDArray[np.intp]:
        return (self.y > 0).astype(np.intp)

    def start_point(self) -> Array:
        return np.zeros(self.dimension)

    def split(self, workers: int, seed: int) -> Self:
        bound = super().split(workers, seed)
        if bound._row_weights is not None:
            bound._spread_l2()
        return bound

    def rows_csr(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
        """Returns what a compiled loop reads: (indptr, indices, values, y); row r has indptr[r] to indptr[r + 1]."""
        X = self.X
        return X.indptr.astype(np.int64, copy=False), X.indices.astype(np.int64, copy=False), X.data, self.y

    # ---- gradients ----

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if isinstance(sample, np.ndarray):
            return super().gradient(x, sample, checkpoint)
        start, end = self.X.indptr[sample], self.X.indptr[sample + 1]
        touched, a, y = self.X.indices[start:end], self.X.data[start:end], self.y[sample]
        g = np.zeros(x.shape)
        for point, row in zip(np.atleast_2d(x), np.atleast_2d(g), strict=True):
            near = point[touched]
            part = a * _slope(y * np.dot(a, near), y)
            if self.l2:
                part += self.coordinate_l2[touched] * near
            row[touched] = part
        return g

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        g = np.zeros(x.shape)
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            chunk = rows[start : start + CHUNK]
            A, y, weight = self.X[chunk], self.y[chunk], weights[start : start + CHUNK]
            columns = A.T
            penalty = self.coordinate_l2 * self._touches(A, weight) if self.l2 else None
            for point, row in zip(np.atleast_2d(x), np.atleast_2d(g), strict=True):
                row += columns @ (weight * _slope(y * (A @ point), y))
                if penalty is not None:
                    row += penalty * point
        return g

    def _touches(self, A: csr_array, weights: Array) -> Array:
        """Returns for each feature the weight of the rows in which it is nonzero, shape (features,)."""
        each = np.repeat(weights, np.diff(A.indptr))
        return np.bincount(A.indices, each, minlength=self.dimension).astype(np.float64, copy=False)

    def _spread_l2(self) -> None:
        touches = self._touches(self.X, self._weights(slice(0, self.row_count)))
        self.coordinate_l2 = np.divide(self.l2, touches, out=np.zeros(self.dimension), where=touches > 0)

    # ---- the whole function ----

    @cached_property
    def _penalty(self) -> Array:
        """What l2 weighs at each coordinate in f, shape (features,): lambda where a feature occurs in all shards."""
        return self.coordinate_l2 * self._touches(self.X, self._weights(slice(0, self.row_count)))

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        weights = self._weights(slice(0, self.row_count))
        points = np.atleast_2d(x)
        values, g = np.empty(len(points)), np.zeros(points.shape)
        for k, point in enumerate(points):
            margins = self.y * (self.X @ point)
            values[k] = np.logaddexp(0.0, -margins) @ weights + 0.5 * (self._penalty @ (point * point))
            if gradient:
                g[k] = self.X.T @ (weights * _slope(margins, self.y)) + self._penalty * point
        return float_or_array(values.reshape(x.shape[:-1])), g.reshape(x.shape)

    def accuracy(self, x: Array) -> Any:
        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        points = np.atleast_2d(x)
        right = np.array([np.mean((X @ point > 0) == (y > 0)) for point in points])
        right[~np.isfinite(points).all(axis=1)] = np.nan
        return float_or_array(right.reshape(x.shape[:-1]))

    # ---- constants ----

    @cached_property
    def smoothness(self) -> float:  # type: ignore[override]
        """L up to the bound 1/4 of the curvature of a row: lambda_max(sum_r w_r a_r a_r') / 4 + l2."""
        weights = self._weights(slice(0, self.row_count))
        return 0.25 * sparse_data.largest_eigenvalue(self.X, weights) + float(self._penalty.max())

    @cached_property
    def lipschitz(self) -> float | None:  # type: ignore[override]
        """M = max_r ||a_r||, which bounds the gradient of every row at every x; None with l2 > 0."""
        if self.l2:
            return None
        squares = np.bincount(
            np.repeat(np.arange(self.row_count), np.diff(self.X.indptr)), self.X.data**2, self.row_count
        )
        return float(np.sqrt(squares.max()))

    def sparsity(self, rows: int | None = None) -> Sparsity:
        """Returns Hogwild's constants of the data (see :class:`Sparsity`).

        Args:
          rows: find rho among so many rows, evenly spaced, a lower bound of it; among all by default,
            which takes time in the order of the sum over features of the squared number of rows with it.
        """
        return sparse_data.sparsity(self.X, rows)


def _slope(margins: Any, y: Any) -> Any:
    """Returns the derivative of log(1 + exp(-y z)) in z, where y z are the margins: -y / (1 + exp(y z))."""
    # exp of at most 0 overflows for no margin; two forms of one function.
    small = np.exp(-np.abs(margins))
    return -y * np.where(margins > 0, small, 1.0) / (1.0 + small)
