"""Classification problems: rows with class labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rayopt.problems.base import Array
from rayopt.problems.rows import RowProblem


class Classification(RowProblem):
    """A mean over rows of data, each with a class, with the metric ``accuracy``.

    Attributes:
      source: a sentence that says where the data come from.
      data: the same for a workload file.
      X_test: data on which ``accuracy`` is measured; None for the training data.
      y_test: their labels.
    """

    source: str = ""
    data: Any = "arrays in memory"
    y: NDArray[Any]
    X_test: Any
    y_test: NDArray[Any] | None

    def row_labels(self) -> NDArray[np.intp] | None:
        return self.y

    def _restricted(self, rows: NDArray[np.intp] | None) -> Self:
        local = super()._restricted(rows)
        local.X_test = local.y_test = None
        return local

    @property
    def metric_names(self) -> tuple[str, ...]:
        return (*super().metric_names, "accuracy")

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        names = self.metric_names if names is None else names
        found = super().metrics(x, names)
        if "accuracy" in names:
            found["accuracy"] = self.accuracy(x)
        return {name: found[name] for name in names if name in found}

    def accuracy(self, x: Array) -> Any:
        """Returns the share of correct answers on the test data (training data if none): a float, or shape (G,)."""
        raise NotImplementedError
