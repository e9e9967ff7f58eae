"""A metric at given times: numbers to compare with those of a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rayopt.core.errors import InvalidInput, one_of
from rayopt.experiments.summary import RANKING
from rayopt.report.figure import recorded_metrics


def values_at(
    history: pd.DataFrame, summary: dict[str, Any], times: Sequence[float], metric: str | None = None
) -> pd.DataFrame:
    """Returns a metric at given times: of each method its best step size, over the seeds.

    A value is that of the last history row until the time; a run that has ended keeps its last one.

    Args:
      history: as ``rayopt.experiments.summary.history_frame`` makes it.
      summary: as ``rayopt.experiments.summary.summarise`` makes it; tells the best step sizes.
      times: fleet seconds, at least 0 and at most the end of the longest run.
      metric: one that was recorded; by default the target's, else the squared gradient norm, else the first.

    Returns:
      A row per method and time: ``label, step_size, time, median, least, largest``.

    Raises:
      InvalidInput: the metric was not recorded, or a time is not within the runs.
    """
    metric = _metric(history, summary, metric)
    end = float(history.time.max())
    for time in times:
        if not 0 <= time <= end:
            raise InvalidInput("at", f"{time:g}", f"fleet seconds from 0 to {end:g}, the end of the runs")
    best = {row["label"]: row["step_size"] for row in summary["table"] if row["best"]}
    rows = []
    for label, step_size in best.items():
        mine = history[(history.label == label) & (history.step_size == step_size)].dropna(subset=[metric])
        for time in times:
            found = mine[mine.time <= time].groupby("seed")[metric].last().to_numpy()
            rows.append((label, step_size, time, np.median(found), found.min(), found.max()))
    return pd.DataFrame(rows, columns=["label", "step_size", "time", "median", "least", "largest"])


def render_values(
    history: pd.DataFrame, summary: dict[str, Any], times: Sequence[float], metric: str | None = None
) -> RenderableType:
    """Returns :func:`values_at` as a table of 100 columns: a row per time, a column per method."""
    metric = _metric(history, summary, metric)
    values = values_at(history, summary, times, metric)
    several = history.seed.nunique() > 1
    title = Text(f"{metric}, median [least, largest] of the seeds" if several else metric, style="italic")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("time", justify="right")
    for label in values.label.unique():
        table.add_column(Text(label), justify="right", overflow="fold")
    for time in times:
        cells = [
            Text(f"{row.median:.3g}\n[{row.least:.2g}, {row.largest:.2g}]" if several else f"{row.median:.4g}")
            for row in values[values.time == time].itertuples()
        ]
        table.add_row(f"{time:g}", *cells)
    return Group(title, table)


def _metric(history: pd.DataFrame, summary: dict[str, Any], metric: str | None) -> str:
    recorded = recorded_metrics(history)
    if not recorded:
        raise InvalidInput("at", "no metric was recorded", "a run with record.metrics")
    if metric is None and summary["target"] is not None:
        metric = summary["target"]["metric"]
    if metric is None:
        metric = next((name for name in reversed(RANKING) if name in recorded), recorded[0])
    return one_of("metric", metric, recorded)
