"""Metrics of history rows, computed where the loop runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.methods.base import Method
from rayopt.problems.base import Problem
from rayopt.runs.record import NODE_METRICS, WORST
from rayopt.runs.recorder import Recorder

Array = NDArray[np.float64]


class Evaluation:
    """Computes the metrics of a history row at once, and those of an unchanged point only once.

    Args:
      problem: split over the workers.
      metrics: their names.
      method: whose nodes may have points of their own.
    """

    def __init__(self, problem: Problem, metrics: Sequence[str], method: Method | None = None) -> None:
        self._problem = problem
        self._method = method
        self._metrics = [name for name in metrics if name not in NODE_METRICS]
        self._of_nodes = [name for name in metrics if name in NODE_METRICS]
        self._point: Array | None = None
        self._found: dict[str, Any] = {}

    def __call__(self, recorder: Recorder, point: int, x: Array) -> None:
        if x is not self._point:
            self._point = x
            self._found = self._problem.metrics(x, self._metrics)
        recorder.evaluated(point, self._found | self._node_metrics())

    def _node_metrics(self) -> dict[str, Any]:
        points = self._method.node_points if self._of_nodes and self._method is not None else None
        if points is None:
            return {}
        found: dict[str, Any] = {}
        if NODE_METRICS[0] in self._of_nodes:
            found[NODE_METRICS[0]] = np.square(points - points.mean(axis=0)).sum(axis=-1).mean(axis=0)
        if WORST in self._of_nodes:
            flat = points.reshape(-1, points.shape[-1])
            found[WORST] = np.asarray(self._problem.value(flat)).reshape(points.shape[:-1]).max(axis=0)
        return found
