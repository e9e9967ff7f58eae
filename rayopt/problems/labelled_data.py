"""Dense rows with class labels: MNIST, digits or arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, nearest, positive
from rayopt.core.keys import Stream
from rayopt.problems.base import Array
from rayopt.problems.classification import Classification
from rayopt.problems.data.classes import classes_of, encoded, note_on, shown
from rayopt.problems.data.columns import check_finite
from rayopt.problems.data.partition import Partition
from rayopt.problems.data.tables import FORMS, named, names_rows, read_rows
from rayopt.problems.rows import CHUNK, float_or_array

if TYPE_CHECKING:
    from rayopt.problems.data.mnist import Digits


class LabelledData(Classification):
    """A classification problem over dense rows: the data, without the function.

    X is kept in its own type: bytes stay bytes, and only the rows in hand are converted, in
    chunks of 1024.

    Args:
      X: data, numbers of any real type, shape (rows, features).
      y: labels, shape (rows,): integers, booleans or strings. The classes are the distinct labels in sorted order.
      X_test: data on which ``accuracy`` is measured; the training data by default.
      y_test: its labels.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.data.partition``): a
        name, a mapping or a partition; homogeneous by default.
      classes: number of classes, for labels 0, ..., classes - 1 of which some may not occur; by default the labels
        that occur are the classes.
      scale: a row a of the formula is ``scale`` times a row of X (1/255 for bytes).
      replacement: whether the rows of one stochastic gradient may repeat.
      block: rows of one component, for methods of finite sums.

    Attributes:
      classes_: the label of each class, shape (classes,).

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range.
    """

    rows: int | None = None

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        classes: int | None = None,
        scale: float = 1.0,
        replacement: bool = True,
        block: int = 1,
    ) -> None:
        if classes is not None:
            at_least("classes", classes, 2)
        self.X, labels = _checked(X, y, "")
        if classes is None:
            self.classes_ = classes_of(labels)
            note_on(self.classes_)
        else:
            self.classes_ = np.arange(classes)
        self.y = encoded(labels, self.classes_)
        if (X_test is None) != (y_test is None):
            raise DataError("X_test and y_test go together; give both or neither")
        self.classes = len(self.classes_)
        if self.classes < 2:
            raise DataError(f"y: all labels are {shown(self.classes_)}; expected at least two classes, or give the "
                            "argument classes")  # fmt: skip
        self.X_test: NDArray[Any] | None = None
        self.y_test: NDArray[np.intp] | None = None
        if X_test is not None and y_test is not None:
            self.X_test, labels = _checked(X_test, y_test, "_test")
            self.y_test = encoded(labels, self.classes_, "y_test")
            if self.X_test.shape[1] != self.X.shape[1]:
                raise DataError(f"X_test has {self.X_test.shape[1]} features; expected {self.X.shape[1]}, as X has")
        self.scale = positive("scale", scale)
        self.features = self.X.shape[1]
        self._divide(batch, partition, replacement, block)

    # ---- where data come from ----

    @classmethod
    def from_arrays(cls, X: ArrayLike, y: ArrayLike, **arguments: Any) -> Self:
        """Returns the problem over arrays in memory; the arguments are those of the class."""
        return cls(X, y, **arguments)

    @classmethod
    def mnist(cls, path: str | Path | None = None, rows: int | None = None, **arguments: Any) -> Self:
        """Returns the problem over MNIST, pixels scaled to [0, 1].

        Args:
          path: folder of the IDX files (see ``rayopt.problems.data.mnist.load`` for where else).
          rows: train on the first so many rows; on all by default.
          **arguments: those of the class.

        Raises:
          DataError: a file of the folder is missing or wrong.
          InvalidInput: there are fewer rows.
        """
        from rayopt.problems.data import mnist

        return cls._from_digits(mnist.load(path), rows, arguments)

    @classmethod
    def _from_digits(cls, digits: Digits, rows: int | None, arguments: Mapping[str, Any]) -> Self:
        first = _first(rows, len(digits.labels))
        arguments = {"classes": 10, "scale": 1 / 255, **arguments}
        X, y = digits.images[first], digits.labels[first]
        problem = cls(X, y, digits.test_images, digits.test_labels, **arguments)
        return problem._named(digits.source, digits.data, rows)

    @classmethod
    def digits(cls, seed: int = 0, rows: int | None = None, **arguments: Any) -> Self:
        """Returns the problem over the 8 x 8 digits of scikit-learn, scaled to [0, 1].

        Args:
          seed: of the division into 80 % training and 20 % test rows.
          rows: train on the first so many of the training rows; on all by default.
          **arguments: those of the class.

        Raises:
          InvalidInput: there are fewer rows.
        """
        from sklearn.datasets import load_digits

        found = load_digits()
        order = Stream(seed, "digits").generator().permutation(len(found.target))
        train, test = np.split(order, [len(order) * 8 // 10])
        X, y = found.data.astype(np.uint8), found.target
        used = train[_first(rows, len(train))]
        problem = cls(X[used], y[used], X[test], y[test], **{"classes": 10, "scale": 1 / 16, **arguments})
        source = f"digits of scikit-learn, {len(train):,} training and {len(test):,} test images"
        return problem._named(source, "digits", rows)

    @classmethod
    def from_data(cls, data: str | Mapping[str, Any], rows: int | None, arguments: Mapping[str, Any]) -> Self:
        """Returns the problem over what a workload file calls these data.

        Args:
          data: "mnist", "mnist_subset" (the one in the package), "digits", {"path": folder of the IDX files of MNIST},
            or what :func:`rayopt.problems.data.tables.read_rows` takes: {"csv": file, "target": column} and the like.
          rows: train on the first so many rows; on all if None.
          arguments: those of the class.
        """
        from rayopt.problems.data import mnist

        if data == "mnist":
            return cls.mnist(rows=rows, **arguments)
        if data == "mnist_subset":
            return cls._from_digits(mnist.subset(), rows, arguments)
        if data == "digits":
            return cls.digits(rows=rows, **arguments)
        if isinstance(data, Mapping) and set(data) == {"path"} and isinstance(data["path"], (str, Path)):
            return cls.mnist(data["path"], rows, **arguments)
        if names_rows(data):
            found = read_rows(data, rows)
            # Images are rows of pixels here.
            X_test = None if found.X_test is None else found.X_test.reshape(len(found.X_test), -1)
            with named(found.places):
                problem = cls(found.X.reshape(len(found.X), -1), found.y, X_test, found.y_test, **arguments)
            problem.source, problem.data, problem.rows = found.source, found.data, rows
            return problem
        names = ("mnist", "mnist_subset", "digits")
        hint = nearest(data, names) if isinstance(data, str) else ""
        allowed = ", ".join([*names, "{path: folder of the IDX files}", FORMS])
        raise InvalidInput("data", f"{data!r} is unknown{hint}", allowed)

    def _named(self, source: str, data: str | dict[str, str], rows: int | None) -> Self:
        self.source = source if rows is None else f"{source}, the first {rows:,} of the training images"
        self.data, self.rows = data, rows
        return self

    # ---- rows in hand ----

    def accuracy(self, x: Array) -> Any:
        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        right = np.zeros(x.shape[:-1])
        logits = self._logits_at(x)
        for rows, A in self._chunks(X):
            right += (logits(A).argmax(axis=-1) == y[rows]).sum(axis=-1)
        # The answer of a point that is not finite is not the class 0.
        right[~np.isfinite(x).all(axis=-1)] = np.nan
        return float_or_array(right / len(y))

    def _logits_at(self, x: Array) -> Callable[[Array], Array]:
        """Returns the function from rows of X as float64, which it may overwrite, to their logits at x.

        Logits have the shape (*leading axes of x, rows, classes).
        """
        raise NotImplementedError

    def _chunks(self, X: NDArray[Any]) -> Iterator[tuple[slice, Array]]:
        """Yields slices of rows and these rows as float64, in one buffer that the next one overwrites."""
        buffer = np.empty((min(CHUNK, len(X)), X.shape[1]))
        for start in range(0, len(X), CHUNK):
            rows = slice(start, min(start + CHUNK, len(X)))
            A = buffer[: rows.stop - start]
            A[...] = X[rows]
            yield rows, A


def softmax(logits: Array) -> tuple[Array, Array]:
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


def _first(rows: int | None, available: int) -> slice:
    if rows is not None and at_least("rows", rows, 1) > available:
        raise InvalidInput("rows", f"{rows:,} of {available:,} training rows", f"at most {available:,}")
    return slice(rows)


def _checked(X: ArrayLike, y: ArrayLike, suffix: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns X with contiguous rows in its own type, and the labels, or raises DataError."""
    X_name, y_name = f"X{suffix}", f"y{suffix}"
    if hasattr(X, "tocsr"):
        problem = f"{X_name}: a sparse matrix; expected an array"
        raise DataError(
            f"{problem}: SparseLogisticRegression takes sparse rows, and {X_name}.toarray() makes them dense"
        )
    X, y = np.ascontiguousarray(X), np.asarray(y)
    if X.ndim != 2 or X.dtype.kind not in "uifb":
        raise DataError(f"{X_name}: shape {X.shape} of {X.dtype}; expected real numbers of shape (rows, features)")
    if X.size == 0:
        raise DataError(f"{X_name}: shape {X.shape} is empty; expected at least one row and one feature")
    if y.shape != (len(X),):
        raise DataError(f"{y_name}: shape {y.shape}; expected {(len(X),)}, one label for each row of {X_name}")
    if X.dtype.kind == "f":
        check_finite(X, X_name)
    return X, y
