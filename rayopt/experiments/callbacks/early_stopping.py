"""Ends a run that has nothing left to gain."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from rayopt.core.errors import InvalidInput, at_least, positive
from rayopt.runs.callbacks import Callback, FollowedRun
from rayopt.runs.outcome import Row
from rayopt.runs.until import PROGRESS_METRICS, larger_is_better


class EarlyStopping(Callback):
    """Ends a run whose metric no longer improves, or that diverges.

    A step-size grid goes on until all its members have stopped.

    Args:
      metric: the name; by default the first of gap, value, grad_norm_sq and accuracy that the rows have.
      patience: history rows without an improvement after which a run ends.
      least_improvement: by how much a row must be better than the best to count, at least 0.
      divergence: a run ends when the metric is not a number or, where smaller is better, is so many times what it was
        in the first row.

    Raises:
      InvalidInput: a value that is not allowed; at the start of a run, the metric is not recorded.
    """

    name: ClassVar[str] = "early_stopping"

    def __init__(
        self,
        metric: str | None = None,
        patience: int = 10,
        least_improvement: float = 0.0,
        divergence: float | None = 1e6,
    ) -> None:
        if metric is not None and not isinstance(metric, str):
            raise InvalidInput("metric", f"{metric!r} is not a name", "a metric of the problem")
        self.metric = metric
        self.patience = at_least("patience", patience, 1)
        if not (isinstance(least_improvement, (int, float)) and 0 <= least_improvement < math.inf):
            raise InvalidInput("least_improvement", f"{least_improvement!r} is not allowed", "a number of at least 0")
        self.least_improvement = float(least_improvement)
        self.divergence = None if divergence is None else positive("divergence", divergence, "null for none")

    def on_start(self, run: FollowedRun) -> None:
        """Forgets the run before."""
        self._best: dict[float, float] = {}
        self._first: dict[float, float] = {}
        self._in_vain: dict[float, int] = {}
        self._stopped: dict[float, str] = {}

    def on_row(self, run: FollowedRun, row: Row, x: Any) -> None:
        """Looks whether the row is better than all before."""
        metric = self.metric or next((name for name in PROGRESS_METRICS if name in row), "")
        if metric not in row:
            recorded = ", ".join(name for name in PROGRESS_METRICS if name in row)
            raise InvalidInput("metric", f"{self.metric!r} is not recorded", recorded or "a metric of record.metrics")
        step, value = row["step_size"], row[metric]
        if step in self._stopped:
            return
        if larger_is_better(metric):
            value = -value
        first = self._first.setdefault(step, value)
        limit = math.inf if self.divergence is None or first <= 0 else self.divergence * first
        if not math.isfinite(value) or value > limit:
            self._stop(run, step, f"{metric} is {row[metric]:.4g}, it diverges")
        elif value < self._best.get(step, math.inf) - self.least_improvement or step not in self._best:
            self._best[step], self._in_vain[step] = value, 0
        else:
            self._in_vain[step] += 1
            if self._in_vain[step] >= self.patience:
                self._stop(run, step, f"{metric} has not improved for {self.patience} rows")

    def _stop(self, run: FollowedRun, step: float, why: str) -> None:
        self._stopped[step] = why
        if len(self._stopped) == len(run.step_sizes):
            run.stop("; ".join(dict.fromkeys(self._stopped.values())))
