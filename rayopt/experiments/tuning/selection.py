"""Selection: from what all jobs found to the best combination of each method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rayopt.core.errors import InvalidInput
from rayopt.experiments.tuning.edges import Edge
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.jobs import Found, TuningJob
from rayopt.methods.base import Method
from rayopt.runs.until import larger_is_better
from rayopt.storage.trace.rows import OUTCOMES

KEYS = ["method", "label", "combination"]
COUNTS = ["time", "updates", "arrivals", *OUTCOMES, "worker_seconds"]


@dataclass(frozen=True)
class Choice:
    """The best step size and combination of one method.

    Attributes:
      label: of the grid.
      method: with the chosen parameters.
      combination: those that were tried as text, step size apart.
      values: those of the parameters that were tried, step size included.
      tuned: the median of the metric over the tuning seeds.
      time_to_target: its median in fleet seconds; None if there is no target or the median seed never meets it.
    """

    label: str
    method: Method
    combination: str
    values: dict[str, Any]
    tuned: float
    time_to_target: float | None


def whole_table(
    found: Sequence[tuple[TuningJob, Found]], labels: Sequence[str], grids: Sequence[Grid], metrics: Sequence[str]
) -> pd.DataFrame:
    """Returns a row per method, combination, step size and seed, in the order of the grids.

    Args:
      found: what the jobs found; a job that failed contributes nothing.
      labels: of the grids.
      grids: as they were given.
      metrics: what was recorded.

    Returns:
      ``method, label, combination`` (text), a column for each parameter that is tried (NaN or None where a
      method has no such parameter; text if not all its values are numbers), ``step_size, seed``, the metrics at
      the end, ``time_to_target`` and ``diverged_at`` (the first history time; NaN: never), ``time, updates, arrivals``,
      the outcomes and ``worker_seconds`` of the whole run, which the step sizes share.
    """
    parameters = list(dict.fromkeys(key for grid in grids for key in grid.tried))
    columns = [*KEYS, *parameters, "step_size", "seed", *metrics, "time_to_target", "diverged_at", *COUNTS]
    rows = [
        {"method": job.run.method.name, "label": job.label, "combination": job.combination.text,
         **job.combination.values, "seed": job.run.seed, **row}
        for job, result in found
        for row in result["rows"]
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    for parameter in parameters:
        if all(_is_number(value) for grid in grids for value in grid.tried.get(parameter, ())):
            table[parameter] = table[parameter].astype("float64")
        else:
            table[parameter] = table[parameter].map(str, na_action="ignore").astype("str")
    floats = ["step_size", *metrics, "time_to_target", "diverged_at", "time", "worker_seconds"]
    table = table.astype({**dict.fromkeys(floats, "float64"), **dict.fromkeys(KEYS, "str"), "seed": "int64"})
    order = {label: position for position, label in enumerate(labels)}
    texts = [combination.text for grid in grids for combination in grid.combinations]
    place = table.assign(label=table.label.map(order), combination=table.combination.map(texts.index))
    return table.loc[place.sort_values(["label", "combination", "step_size", "seed"]).index].reset_index(drop=True)


def medians(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns a row per method, combination and step size: medians over the tuning seeds.

    What is not finite counts as the worst there is. Columns: ``label, combination, step_size, seeds, diverged``
    (how many seeds), the metric and ``time_to_target`` (infinity: never).
    """
    worst = -math.inf if larger_is_better(metric) else math.inf
    filled = table.assign(
        **{metric: table[metric].where(np.isfinite(table[metric]), worst)},
        time_to_target=table.time_to_target.fillna(math.inf),
        diverged=table.diverged_at.notna(),
    )
    groups = filled.groupby(["label", "combination", "step_size"], sort=False)
    return groups.agg(
        seeds=("seed", "size"),
        diverged=("diverged", "sum"),
        **{metric: (metric, "median")},
        time_to_target=("time_to_target", "median"),
    ).reset_index()


def choose(
    middle: pd.DataFrame, label: str, grid: Grid, metric: str, seeds: int
) -> Choice | None:  # fmt: skip
    """Returns the best of one grid, None if every combination diverged or failed on a seed.

    The soonest at the target, then the best metric at the end; of equals the smaller step size.

    Args:
      middle: as :func:`medians` made it.
      label: of the grid.
      grid: its combinations.
      metric: by which to choose.
      seeds: how many a combination must have ended on.
    """
    own = middle[(middle.label == label) & (middle.diverged == 0) & (middle.seeds == seeds)]
    own = own[np.isfinite(own[metric])]
    if own.empty:
        return None
    score = -own[metric] if larger_is_better(metric) else own[metric]
    best = own.assign(score=score).sort_values(["time_to_target", "score", "step_size"], kind="stable").iloc[0]
    combination = next(one for one in grid.combinations if one.text == best["combination"])
    step_size = float(best["step_size"])
    return Choice(
        label,
        combination.method.with_step_size(step_size),
        combination.text,
        {"step_size": step_size, **combination.values},
        float(best[metric]),
        float(best["time_to_target"]) if math.isfinite(best["time_to_target"]) else None,
    )


def edges(choice: Choice, grid: Grid, dimension: int, workers: int) -> list[Edge]:
    """Returns where the chosen values are the smallest or the largest that were tried.

    Args:
      choice: what was chosen.
      grid: from which.
      dimension: of x, for a look at whether a method allows values beyond.
      workers: n, for the same.
    """
    found = []
    for parameter, values in (("step_size", grid.step_sizes), *grid.tried.items()):
        if len(values) < 2 or not all(map(_is_number, values)):
            continue
        best = choice.values[parameter]
        for is_largest, extreme in ((False, min(values)), (True, max(values))):
            if best == extreme:
                beyond = best * 2 if is_largest else (best // 2 if isinstance(best, int) else best / 2)
                allowed = beyond != best and _allows(choice.method, parameter, beyond, dimension, workers)
                found.append(Edge(choice.label, parameter, is_largest, allowed))
    return found


def _allows(method: Method, parameter: str, value: Any, dimension: int, workers: int) -> bool:
    try:
        type(method)(**{**method.parameters, parameter: value}).prepare(np.zeros(dimension), workers)
    except InvalidInput:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
