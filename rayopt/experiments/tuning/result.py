"""The result of a tuning."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from rayopt.core.errors import one_of
from rayopt.experiments import plots
from rayopt.experiments.result import Result
from rayopt.experiments.tuning.edges import notes_on_edges
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.selection import Choice, edges
from rayopt.latency.workers import Workers
from rayopt.problems.base import Problem
from rayopt.runs.until import Until, larger_is_better


class Tuned(Protocol):
    """The parts of a tuning that its result reads (see ``rayopt.experiments.tuning.tuning.Tuning``)."""

    grids: Sequence[Grid]
    labels: list[str]
    problem: Problem
    workers: Workers
    until: Until
    seeds: Sequence[int]
    confirm: Sequence[int]
    metric: str | None


class TuningResult:
    """The result of a tuning.

    Attributes:
      table: a row per method, combination, step size and tuning seed (see
        :func:`rayopt.experiments.tuning.selection.whole_table`).
      medians: a row per method, combination and step size.
      best: by label, what was chosen; a method of which every combination diverged is missing.
      confirmed: the run of what was chosen on the other seeds; None if nothing was.
      problems: why a method was skipped or a job failed.
      folder: where it is on disk.
    """

    def __init__(
        self,
        tuning: Tuned,
        table: pd.DataFrame,
        medians: pd.DataFrame,
        chosen: Sequence[Choice],
        confirmed: Result | None,
        problems: Mapping[str, str],
        folder: Path,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.tuning = tuning
        self.table = table
        self.medians = medians
        self.best = {choice.label: choice for choice in chosen}
        self.confirmed = confirmed
        self.problems = problems
        self.folder = folder
        self._temporary = temporary

    @property
    def metric(self) -> str:
        """By which the best was chosen."""
        assert self.tuning.metric is not None
        return self.tuning.metric

    @cached_property
    def at_start(self) -> float:
        """The metric at x^0."""
        problem = self.tuning.problem
        return float(problem.metrics(problem.start_point(), [self.metric])[self.metric])

    def confirmed_row(self, label: str) -> dict[str, Any] | None:
        """Returns the row of the confirmed summary of one method."""
        rows = [] if self.confirmed is None else self.confirmed.summary["table"]
        return next((row for row in rows if row["label"] == label), None)

    @property
    def notes(self) -> list[str]:
        """Remarks on the result: best values at an edge, a target out of reach, divergence, failures."""
        tuning = self.tuning
        dimension, workers = tuning.problem.dimension, tuning.workers.count
        at_edges = [
            edge
            for label, grid in zip(tuning.labels, tuning.grids, strict=True)
            if label in self.best
            for edge in edges(self.best[label], grid, dimension, workers)
        ]
        notes = notes_on_edges(at_edges)
        target = tuning.until.target
        if target is not None:
            missed = [label for label, choice in self.best.items() if choice.time_to_target is None]
            if missed:
                notes.append(
                    f"{', '.join(missed)}: no combination has {target.metric} at {target.reaches:g} on the median "
                    f"tuning seed; chosen by {self.metric} at the end."
                )
        grows = larger_is_better(self.metric)
        futile = [label for label, choice in self.best.items()
                  if (choice.tuned < self.at_start if grows else choice.tuned > self.at_start)]  # fmt: skip
        if futile:
            notes.append(f"{', '.join(futile)}: what was chosen ends worse than it started, {self.at_start:.4g}.")
        present = set(self.table.label)
        lost = [label for label in tuning.labels if label in present and label not in self.best]
        if lost:
            notes.append(f"{', '.join(lost)}: every combination diverged or failed on a tuning seed; smaller step "
                         "sizes may not.")  # fmt: skip
        return [*notes, *(f"{place}: {problem}" for place, problem in self.problems.items())]

    def plot(self, label: str | None = None) -> Any:
        """Returns a matplotlib figure of one method: the metric over step size and the other parameters.

        Args:
          label: of the method; it may be left out if there is one.

        Raises:
          InvalidInput: no such label.
        """
        present = list(dict.fromkeys(self.medians.label))
        chosen = one_of("label", present[0] if label is None and len(present) == 1 else label, present)
        own = self.medians[self.medians.label == chosen]
        return plots.tuning(own, self.metric, self.best.get(chosen), self.tuning.until.target, self.at_start)

    def __repr__(self) -> str:
        return f"TuningResult({', '.join(self.tuning.labels)}: {len(self.table)} rows, {self.folder})"
