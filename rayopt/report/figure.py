"""Figures of an experiment: a metric against fleet time, one colour per method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from rayopt.core.errors import one_of, positive
from rayopt.core.file_names import file_name
from rayopt.experiments.summary import RUN_COLUMNS, SPENT
from rayopt.storage.files import write_complete

Array = NDArray[np.float64]

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow: too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "-.", ":")
AXIS_TITLES = {
    "value": "loss $f(x)$",
    "gap": r"$f(x) - f^*$",
    "grad_norm_sq": r"$\|\nabla f(x)\|^2$",
    "accuracy": "test accuracy",
}
AXES = {
    "time": "fleet time (seconds)",
    "updates": "updates",
    "arrivals": "gradients received",
    "used": "gradients used",
    "worker_seconds": "worker-seconds of computation",
    "bits_up": "bits sent by all workers",
    "bits_down": "bits sent to all workers",
}
"""What a metric is drawn against, by the column of the history."""
RESOLUTION = 150
STYLES: dict[str, dict[str, Any]] = {
    "screen": {"width": 8.0, "font": 10.0, "settings": {}},
    "paper": {
        "width": 3.3, "font": 7.0,
        "settings": {"font.size": 7, "axes.linewidth": 0.6, "lines.linewidth": 1.0, "xtick.major.width": 0.6,
                     "ytick.major.width": 0.6, "pdf.fonttype": 42, "svg.fonttype": "none"},
    },
}  # fmt: skip
"""How a figure is drawn: its width in inches, its type in points, and the settings of matplotlib."""


def draw(
    history: pd.DataFrame,
    summary: dict[str, Any],
    metric: str = "value",
    against: str = "time",
    log: str | None = None,
    methods: Sequence[str] | None = None,
    style: str = "screen",
    width: float | None = None,
) -> Figure:
    """Returns a metric against fleet time or bits: of each method its best step size, median and quartiles over seeds.

    A method of which every step size diverged has its place in the legend and no line.

    Args:
      history: as ``rayopt.experiments.summary.history_frame`` makes it.
      summary: as ``rayopt.experiments.summary.summarise`` makes it; tells the best step sizes and the target.
      metric: a metric that was recorded.
      against: a key of ``AXES``: "time", "updates", "arrivals", "used", "worker_seconds", "bits_up" or "bits_down".
      log: which axes are logarithmic: "", "x", "y" or "xy"; by default y where the values span a power of ten.
      methods: labels of those to draw; by default all.
      style: "screen" or "paper".
      width: inches; by default 8, and 3.3 for a paper.

    Raises:
      InvalidInput: the metric was not recorded, there is no such axis, method or style, or the width is not above 0.
    """
    one_of("metric", metric, recorded_metrics(history))
    one_of("against", against, [axis for axis in AXES if axis in history.columns])
    one_of("style", style, STYLES)
    known = list(dict.fromkeys(row["label"] for row in summary["table"]))
    labels = known if methods is None else [one_of("methods", label, known) for label in methods]
    if log is not None:
        one_of("log", log, ("", "x", "y", "xy"))
    drawn_in = STYLES[style]
    inches = drawn_in["width"] if width is None else positive("width", width)
    legend_columns = 2 if max(map(len, labels), default=0) < 30 else 1
    legend_height = 0.021 * drawn_in["font"] * math.ceil((len(labels) + 1) / legend_columns)
    with rc_context(drawn_in["settings"]):
        figure = Figure(figsize=(inches, 0.6 * inches + legend_height), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, history, summary, metric, against, known, labels)
        if log is not None:
            axes.set_xscale("log" if "x" in log else "linear")
            axes.set_yscale("log" if "y" in log else "linear")
        if style == "screen":
            axes.set_title(_title(history, summary), fontsize="medium", wrap=True)
        figure.legend(loc="outside lower center", ncols=legend_columns, frameon=False)
    return figure


def _draw(
    axes: Axes, history: pd.DataFrame, summary: dict[str, Any], metric: str, against: str,
    known: Sequence[str], labels: Sequence[str],
) -> None:  # fmt: skip
    """Draws the curves; a method has the same colour whether others are drawn or not."""
    bands = []
    best = {row["label"]: row["step_size"] for row in summary["table"] if row["best"]}
    for label in labels:
        position = known.index(label)
        colour = COLOURS[position % len(COLOURS)]
        line_style = LINE_STYLES[position // len(COLOURS) % len(LINE_STYLES)]
        rows = history[(history.label == label) & (history.step_size == best.get(label))]
        times, quartiles = over_seeds(rows, metric, against)
        if not len(times):
            reason = "nothing recorded" if label in best else "diverged"
            axes.plot([], [], line_style, color=colour, label=f"{label}: {reason}")
            continue
        lower, median, upper = quartiles
        axes.plot(times, median, line_style, color=colour, label=f"{label}, step size {best[label]:.4g}")
        if rows.seed.nunique() > 1:
            axes.fill_between(times, lower, upper, color=colour, alpha=0.2, linewidth=0)
        bands.append(quartiles)
    _mark_target(axes, summary["target"], metric)
    if metric != "accuracy" and bands:
        choose_scale(axes, np.concatenate(bands, axis=1))
    axes.set_xlim(left=0)
    axes.set_xlabel(AXES[against])
    axes.set_ylabel(AXIS_TITLES.get(metric, metric.replace("_", " ")))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def save_figures(
    history: pd.DataFrame, summary: dict[str, Any], folder: Path, against_bits: bool = False
) -> list[Path]:
    """Writes ``<metric>.png`` for each metric that was recorded, and returns the paths.

    Args:
      history: as for :func:`draw`.
      summary: likewise.
      folder: where to.
      against_bits: whether ``<metric>-bits.png`` are written too, against the bits that workers have sent.
    """
    paths: list[Path] = []
    for metric in recorded_metrics(history):
        path = Path(folder) / f"{file_name(metric, (known.stem for known in paths), 'metric')}.png"
        figure = draw(history, summary, metric)
        write_complete(path, partial(figure.savefig, format="png", dpi=RESOLUTION))
        paths.append(path)
        if against_bits:
            drawn = draw(history, summary, metric, "bits_up")
            paths.append(path.with_name(f"{path.stem}-bits.png"))
            write_complete(paths[-1], partial(drawn.savefig, format="png", dpi=RESOLUTION))
    return paths


def recorded_metrics(history: pd.DataFrame) -> list[str]:
    """Returns the names of the metrics of which the history has a value."""
    return [name for name in history.columns if name not in (*RUN_COLUMNS, *SPENT) and history[name].notna().any()]


def over_seeds(rows: pd.DataFrame, metric: str, against: str = "time") -> tuple[Array, Array]:
    """Returns the quartiles of a metric over seeds, on the history times (or bits) of all seeds together.

    Runs end at different times, at a target for instance. Between its rows a run is taken as a straight line, as
    it is drawn; after its end it keeps its last value, so that the median does not jump when a run drops out.

    Args:
      rows: the history rows of one step size of one method; those whose metric is not finite are left out.
      metric: a column of the rows.
      against: the column of the times.

    Returns:
      The times in fleet seconds, shape (T,), and the lower quartile, median and upper quartile, shape (3, T).
    """
    rows = rows[np.isfinite(rows[metric])]
    times = np.unique(rows[against].to_numpy())
    curves = [
        np.interp(times, one[against].to_numpy(), one[metric].to_numpy()) for _, one in rows.groupby("seed", sort=False)
    ]
    if not curves:
        return times, np.empty((3, 0))
    return times, np.percentile(curves, [25, 50, 75], axis=0)


def choose_scale(axes: Axes, values: Array) -> None:
    """Makes the y axis logarithmic if the values are positive and span more than an order of magnitude."""
    smallest, largest = values.min(), values.max()
    if smallest <= 0 or largest <= 10 * smallest:
        return
    axes.set_yscale("log")
    if largest < 1000 * smallest:
        # Powers of ten alone would be one or two ticks.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _mark_target(axes: Axes, target: dict[str, Any] | None, metric: str) -> None:
    if target is not None and target["metric"] == metric:
        axes.axhline(
            target["reaches"], color="0.4", linestyle="--", linewidth=1.2, label=f"target {target['reaches']:g}"
        )


def _title(history: pd.DataFrame, summary: dict[str, Any]) -> str:
    seeds = history.seed.unique()
    over = f"median and quartiles over {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"{summary['problem']}\n{over}" if summary.get("problem") else over
