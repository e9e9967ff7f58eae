"""Rows of any shape for a function of a user's: what a workload file names, a data set of PyTorch, arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput
from rayopt.problems.data.classes import classes_of, encoded
from rayopt.problems.data.tables import names_rows, read_rows
from rayopt.problems.labelled_data import LabelledData

Rows = NDArray[Any]


@dataclass(frozen=True)
class Found:
    """Data that a workload file names.

    Attributes:
      arrays: X, y, and X_test, y_test if there are any, by name.
      scale: by which X is to be multiplied.
      source: a sentence that says where they come from.
      data: the same for a workload file.
    """

    arrays: dict[str, Any]
    scale: float
    source: str
    data: Any


def load(data: str | Mapping[str, Any], rows: int | None) -> Found:
    """Returns the data that a workload file names, their first training rows alone if so many are asked.

    Raises:
      InvalidInput: ``data`` is unknown, or there are fewer rows.
      DataError: the data cannot be used.
    """
    if names_rows(data):
        table = read_rows(data, rows)
        named: dict[str, Any] = {"X": table.X, "y": table.y, "X_test": table.X_test, "y_test": table.y_test}
        if table.y.dtype.kind in "OUS":
            # Words are the numbers of their classes, those of the training rows.
            classes = classes_of(table.y)
            named |= {name: encoded(named[name], classes, name) for name in ("y", "y_test") if named[name] is not None}
        return Found(named, 1.0, table.source, table.data)
    known = LabelledData.from_data(data, rows, {})
    named = {"X": known.X, "y": known.y, "X_test": known.X_test, "y_test": known.y_test}
    return Found(named, known.scale, known.source, known.data)


def writable(rows: Rows) -> Rows:
    """Returns rows that PyTorch takes without a warning: it knows no memory that cannot be written."""
    return rows if rows.flags.writeable else rows.copy()


def stacked(dataset: Any) -> tuple[Rows, Rows]:
    """Returns the inputs and the targets of a map-style data set of pairs, a row each."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise InvalidInput("dataset", f"{type(dataset).__name__} has no length or no items", "a map-style data set")
    pairs = [dataset[position] for position in range(len(dataset))]
    if not pairs:
        raise DataError("the data set is empty; expected at least one pair of input and target")
    inputs, targets = zip(*pairs, strict=True)
    return np.stack([np.asarray(row) for row in inputs]), np.stack([np.asarray(row) for row in targets])


def checked_test(X_test: ArrayLike | None, y_test: ArrayLike | None) -> tuple[Rows | None, Rows | None]:
    """Returns :func:`checked` of test data, or None twice if there are none."""
    if (X_test is None) != (y_test is None):
        raise DataError("X_test and y_test go together; give both or neither")
    return (None, None) if X_test is None or y_test is None else checked(X_test, y_test, "_test")


def checked(X: ArrayLike, y: ArrayLike, suffix: str) -> tuple[Rows, Rows]:
    """Returns inputs and targets with contiguous rows, or raises DataError; labels are int64."""
    X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
    for name, values in ((f"X{suffix}", X), (f"y{suffix}", y)):
        if values.ndim == 0 or values.size == 0 or values.dtype.kind not in "uifb":
            problem = f"{name}: shape {values.shape} of {values.dtype}"
            raise DataError(f"{problem}; expected real numbers of shape (rows, ...), at least one row")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
            raise DataError(f"{name}: row {row} is NaN or infinite; expected finite numbers")
    if len(X) != len(y):
        raise DataError(f"y{suffix}: {len(y):,} targets; expected {len(X):,}, one for each row of X{suffix}")
    if y.dtype.kind in "uib":
        y = y.astype(np.int64)
        if y.ndim == 1 and y.min() < 0:
            raise DataError(f"y{suffix}: label {y.min()} at row {y.argmin()}; expected 0, 1, ...")
    return X, y
