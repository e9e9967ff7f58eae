"""Rows of any shape for a function of a user's: what a workload file names, a data set of PyTorch, arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput
from rayopt.problems.data.classes import classes_of, encoded, note_on, shown
from rayopt.problems.data.columns import check_finite
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
      places: the file, name or function of each array, by its name.
    """

    arrays: dict[str, Any]
    scale: float
    source: str
    data: Any
    places: Mapping[str, str]


def load(data: str | Mapping[str, Any], rows: int | None) -> Found:
    """Returns the data that a workload file names, their first training rows alone if so many are asked.

    Raises:
      InvalidInput: ``data`` is unknown, or there are fewer rows.
      DataError: the data cannot be used.
    """
    if names_rows(data):
        table = read_rows(data, rows)
        arrays = {"X": table.X, "y": table.y, "X_test": table.X_test, "y_test": table.y_test}
        return Found(arrays, 1.0, table.source, table.data, table.places)
    known = LabelledData.from_data(data, rows, {})
    arrays = {"X": known.X, "y": known.y, "X_test": known.X_test, "y_test": known.y_test}
    return Found(arrays, known.scale, known.source, known.data, {"X": known.source})


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


def checked_test(X_test: ArrayLike | None, y_test: ArrayLike | None, y: Rows) -> tuple[Rows | None, Rows | None]:
    """Returns :func:`checked` of test data whose targets are as those of the training data, or None twice without."""
    if (X_test is None) != (y_test is None):
        raise DataError("X_test and y_test go together; give both or neither")
    if X_test is None or y_test is None:
        return None, None
    found = checked(X_test, y_test, "_test")
    if found[1].shape[1:] != y.shape[1:]:
        raise DataError(f"y_test: targets of shape {found[1].shape[1:]}; expected {y.shape[1:]}, as those of y")
    if (found[1].dtype.kind in "OUS") != (y.dtype.kind in "OUS"):
        raise DataError(f"y_test: targets of {found[1].dtype}; expected {y.dtype}, as those of y")
    return found


def checked(X: ArrayLike, y: ArrayLike, suffix: str) -> tuple[Rows, Rows]:
    """Returns inputs and targets with contiguous rows, or raises DataError; integers are int64, words stay words."""
    X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
    if y.dtype.kind == "O" and y.ndim == 1 and not any(isinstance(value, str) for value in y):
        # Numbers of Python in an array of objects.
        try:
            y = np.array(y.tolist())
        except ValueError:
            raise DataError(f"y{suffix}: targets of several shapes; expected one shape for all") from None
    words = y.ndim == 1 and y.dtype.kind in "OUS"
    for name, values, kinds in ((f"X{suffix}", X, "uifb"), (f"y{suffix}", y, "uifbOUS" if words else "uifb")):
        if values.ndim == 0 or values.size == 0 or values.dtype.kind not in kinds:
            problem = f"{name}: shape {values.shape} of {values.dtype}"
            raise DataError(f"{problem}; expected real numbers of shape (rows, ...), at least one row")
        if values.dtype.kind == "f":
            check_finite(values, name)
    if len(X) != len(y):
        raise DataError(f"y{suffix}: {len(y):,} targets; expected {len(X):,}, one for each row of X{suffix}")
    return X, y.astype(np.int64) if y.dtype.kind in "uib" else y


def numbered(y: Rows, y_test: Rows | None, outputs: int | None) -> tuple[Rows, Rows | None, Rows | None]:
    """Returns labels as the numbers 0, ..., classes - 1, and the classes, or None if they are these numbers already.

    A sentence says so if they are others.

    Args:
      y: shape (rows,).
      y_test: the same, or None.
      outputs: how many classes there may be; None if it is not known. Integers from 0 that are fewer stay as they are,
        though some may not occur.

    Raises:
      DataError: labels that are none, more classes than outputs, or a label of the test rows that no training row has.
    """
    if y.dtype.kind == "i" and y.min() >= 0 and (outputs is None or y.max() < outputs):
        if y_test is not None and outputs is not None:
            encoded(y_test, np.arange(outputs), "y_test")
        return y, y_test, None
    classes = classes_of(y)
    if outputs is not None and len(classes) > outputs:
        problem = f"y: {len(classes)} classes ({shown(classes)})"
        raise DataError(f"{problem}; expected at most {outputs}, as the outputs of a row and the loss allow")
    if len(classes) == 1:
        raise DataError(f"y: all labels are {shown(classes)}; expected at least two classes, or numbers of outputs")
    note_on(classes)
    return encoded(y, classes), None if y_test is None else encoded(y_test, classes, "y_test"), classes


def check_labels(y: Rows, y_test: Rows | None, outputs: int | None, ignored: int) -> None:
    """Raises DataError for the first label that is neither the number of an output nor the one that is ignored."""
    for name, labels in (("y", y), ("y_test", y_test)):
        if labels is None or labels.ndim > 1 or outputs is None:
            continue
        bad = np.flatnonzero((labels != ignored) & ((labels < 0) | (labels >= outputs)))
        if len(bad):
            allowed = f"0 to {outputs - 1}, or {ignored}, which the loss ignores"
            raise DataError(f"{name}: label {labels[bad[0]]} at row {bad[0]}; expected {allowed}")


def classes_by_number(classes: Rows | None, y: Rows) -> Rows | None:
    """Returns the classes: those that were numbered, or else the numbers up to the largest; None without labels."""
    if classes is not None or y.ndim != 1 or y.dtype.kind != "i" or y.min() < 0:
        return classes
    return np.arange(int(y.max()) + 1)


def label_numbers(y: Rows) -> NDArray[np.intp] | None:
    """Returns the labels by which rows are divided, from 0; None if the targets are not integers of shape (rows,)."""
    if y.ndim != 1 or y.dtype.kind != "i":
        return None
    return y if y.min() >= 0 else np.unique(y, return_inverse=True)[1]
