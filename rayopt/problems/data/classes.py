"""Class labels: any values that can be sorted, and the numbers 0, ..., classes - 1 that stand for them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError

MOST_SHOWN = 4


def classes_of(y: ArrayLike, name: str = "y") -> NDArray[Any]:
    """Returns the distinct labels, sorted, as scikit-learn's ``classes_``.

    Raises:
      DataError: labels that are neither integers, booleans nor strings, or that are missing.
    """
    labels = np.asarray(y)
    if labels.dtype.kind == "O":
        if not all(isinstance(label, str) for label in labels.reshape(-1).tolist()):
            raise DataError(f"{name}: labels of mixed types; expected integers, booleans or strings alone")
        labels = labels.astype(str)
    if labels.dtype.kind not in "uifbUS" or (
        labels.dtype.kind == "f" and not (np.isfinite(labels).all() and np.array_equal(labels, np.rint(labels)))
    ):
        raise DataError(
            f"{name}: labels of {labels.dtype} that are not integers; expected integers, booleans or strings, or "
            "least_squares or a loss such as mse_loss for real numbers"
        )
    return np.unique(labels)


def encoded(y: ArrayLike, classes: NDArray[Any], name: str = "y") -> NDArray[np.intp]:
    """Returns the position of each label among the classes, the shape of y.

    Raises:
      DataError: a label is none of the classes.
    """
    labels = np.asarray(y)
    labels = labels.astype(str) if labels.dtype.kind == "O" else labels
    positions = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unknown = np.flatnonzero(classes[positions] != labels)
    if len(unknown):
        first = int(unknown[0])
        raise DataError(f"{name}: label {labels[first].item()!r} at row {first}; expected one of {shown(classes)}")
    return positions.astype(np.intp)


def note_on(classes: NDArray[Any]) -> None:
    """Warns if the labels are not the numbers 0, ..., classes - 1 themselves."""
    if classes.dtype.kind in "uif" and np.array_equal(classes, np.arange(len(classes))):
        return
    warnings.warn(
        f"the labels {shown(classes)} are the classes 0 to {len(classes) - 1} in this order (classes_ has them)",
        UserWarning, stacklevel=4,
    )  # fmt: skip


def shown(classes: NDArray[Any]) -> str:
    """Returns the classes in words, a few of many."""
    words = [repr(label) for label in classes.tolist()]
    if len(words) > MOST_SHOWN:
        words = [*words[: MOST_SHOWN - 1], "...", words[-1]]
    return ", ".join(words)
