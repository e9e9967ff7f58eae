"""What the same number of updates costs: seconds and worker-seconds of each method, as bars."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayopt.report.figure import COLOURS

PANELS = {"time": "fleet seconds", "worker_seconds": "worker-seconds"}


def draw_costs(summary: dict[str, Any]) -> Figure:
    """Returns two panels with a bar for each method: seconds until the end, and worker-seconds of computation.

    Of a step-size grid one row stands for all: the members of a grid share their times.

    Args:
      summary: as ``rayopt.experiments.summary.summarise`` makes it.
    """
    rows = list({row["label"]: row for row in summary["table"]}.values())
    figure = Figure(figsize=(9, 1.4 + 0.42 * len(rows)), layout="constrained")
    updates = {row["updates"] for row in rows}
    if len(updates) == 1:
        figure.suptitle(f"{updates.pop():,.0f} updates", fontsize="medium")
    for axes, (column, title) in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True):
        _draw_bars(axes, rows, column)
        axes.set_xlabel(title)
    return figure


def _draw_bars(axes: Axes, rows: list[dict[str, Any]], column: str) -> None:
    # A horizontal bar chart grows upwards; the first method belongs to the top.
    values = [row[column] or 0.0 for row in reversed(rows)]
    colours = [COLOURS[position % len(COLOURS)] for position in reversed(range(len(rows)))]
    bars = axes.barh([row["label"] for row in reversed(rows)], values, color=colours)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
    axes.margins(x=0.2)
    axes.spines[["top", "right"]].set_visible(False)
