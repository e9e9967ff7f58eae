"""The grid of a tuning as a figure: step size against the other parameters, or a line if there are none."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from rayopt.core.file_names import file_name
from rayopt.report.figure import AXIS_TITLES, COLOURS, RESOLUTION
from rayopt.runs.until import Target, larger_is_better
from rayopt.storage.files import write_complete

if TYPE_CHECKING:
    from rayopt.experiments.tuning.result import TuningResult
    from rayopt.experiments.tuning.selection import Choice

Array = NDArray[np.float64]

MOST_CELLS_WITH_TEXT = 150
DIVERGED, NEVER = "////", "...."


def draw(
    medians: pd.DataFrame, metric: str, best: Choice | None, target: Target | None, at_start: float
) -> Figure:  # fmt: skip
    """Returns the medians of one method over its grid, the best marked.

    With a target the colour is the time to it, else the metric at the end. What is worse than the start counts
    as diverged: it may be finite still, and would take all of the scale.

    Args:
      medians: the rows of one label, as ``rayopt.experiments.tuning.selection.medians`` makes them.
      metric: by which the best was chosen.
      best: what was chosen, if anything was.
      target: of the runs.
      at_start: the metric at x^0.
    """
    grows = larger_is_better(metric)
    worse = medians[metric] < at_start if grows else medians[metric] > at_start
    medians = medians.assign(lost=worse | (medians.diverged > 0))
    shows_time = target is not None and bool(np.isfinite(medians.time_to_target).any())
    column = "time_to_target" if shows_time else metric
    title = f"seconds until {target.metric} is {target.reaches:g}" if shows_time and target else _title(metric)
    if medians.combination.nunique() > 1:
        return _heat_map(medians, column, title, best)
    return _line(medians, column, title, best)


def save_heat_maps(result: TuningResult, folder: Path) -> list[Path]:
    """Writes a figure for each method that ran, and returns the paths."""
    paths: list[Path] = []
    for label in dict.fromkeys(result.medians.label):
        path = Path(folder) / f"{file_name(label, (known.stem for known in paths))}.png"
        write_complete(path, partial(result.plot(label).savefig, format="png", dpi=RESOLUTION))
        paths.append(path)
    return paths


def _heat_map(medians: pd.DataFrame, column: str, title: str, best: Choice | None) -> Figure:
    steps = sorted(medians.step_size.unique())
    parameter, rows, names = _rows(list(dict.fromkeys(medians.combination)))
    lost = _cells(medians, "lost", rows, steps) == 1
    values = _cells(medians, column, rows, steps)
    values[lost | ~np.isfinite(values)] = np.nan
    figure = Figure(figsize=(2.8 + 0.72 * len(steps), 1.8 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    colours = "viridis" if larger_is_better(column) else "viridis_r"
    image = axes.imshow(values, aspect="auto", origin="lower", cmap=colours, norm=_norm(values))
    figure.colorbar(image, label=title)
    for row, position in np.argwhere(np.isnan(values)):
        hatch = DIVERGED if lost[row, position] else NEVER
        axes.add_patch(Rectangle((position - 0.5, row - 0.5), 1, 1, facecolor="0.93", edgecolor="0.6", hatch=hatch,
                                 linewidth=0))  # fmt: skip
    if values.size <= MOST_CELLS_WITH_TEXT:
        _write_values(axes, values, image)
    if best is not None:
        place = steps.index(best.values["step_size"]), rows.index(best.combination)
        axes.add_patch(Rectangle((place[0] - 0.5, place[1] - 0.5), 1, 1, fill=False, edgecolor=COLOURS[1],
                                 linewidth=3, zorder=3))  # fmt: skip
    axes.set_xticks(range(len(steps)), [f"{step:.3g}" for step in steps], rotation=45 if len(steps) > 8 else 0)
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel("step size")
    axes.set_ylabel(parameter.replace("_", " "))
    axes.set_title(_heading(medians, best, _legend(values, lost)), fontsize="medium")
    return figure


def _line(medians: pd.DataFrame, column: str, title: str, best: Choice | None) -> Figure:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    own = medians.sort_values("step_size")
    steps, values = own.step_size.to_numpy(float), own[column].to_numpy(float)
    lost = own.lost.to_numpy(dtype=bool)
    shown = ~lost & np.isfinite(values)
    axes.plot(steps[shown], values[shown], "o-", color=COLOURS[0])
    for step in steps[lost]:
        axes.axvline(step, color="0.6", linestyle=":", linewidth=1.2)
    if best is not None:
        axes.plot([best.values["step_size"]], values[steps == best.values["step_size"]], "s", color=COLOURS[1],
                  markersize=14, markerfacecolor="none", markeredgewidth=3)  # fmt: skip
    axes.set_xscale("log")
    if isinstance(_norm(values[shown]), LogNorm):
        axes.set_yscale("log")
    axes.set_xticks(steps, [f"{step:.3g}" for step in steps], rotation=45 if len(steps) > 8 else 0)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("step size")
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        _heading(medians, best, ["dotted: diverged or worse than at the start"] if lost.any() else []),
        fontsize="medium",
    )
    return figure


def _rows(combinations: list[str]) -> tuple[str, list[str], list[str]]:
    """Returns the title of the axis of combinations, and these from below, as they are and as ticks.

    One parameter is the title, its values the ticks, numbers in order; of several every tick says which.
    """
    parameter, _, _ = combinations[0].partition("=")
    values = {row: row.partition("=")[2] for row in combinations}
    if any("," in row for row in combinations):
        return "", combinations, combinations
    with suppress(ValueError):
        combinations = sorted(combinations, key=lambda row: float(values[row]))
    return parameter, combinations, [values[row] for row in combinations]


def _cells(medians: pd.DataFrame, column: str, rows: list[str], steps: list[float]) -> Array:
    """Returns a column by combination and step size, NaN where nothing ran."""
    cells = medians.pivot(index="combination", columns="step_size", values=column)
    return cells.reindex(index=rows, columns=steps).astype("float64").to_numpy(copy=True)


def _write_values(axes: Axes, values: Array, image: AxesImage) -> None:
    for (row, position), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.to_rgba(np.array([value]))[0]
            is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            shown = f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.3g}"
            axes.text(position, row, shown, ha="center", va="center", fontsize=8,
                      color="white" if is_dark else "black")  # fmt: skip


def _norm(values: Array) -> Normalize:
    """Returns a logarithmic scale if the values are positive and span more than an order of magnitude."""
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
        return LogNorm(finite.min(), finite.max())
    return Normalize(*((finite.min(), finite.max()) if finite.size else (0.0, 1.0)))


def _legend(values: Array, lost: NDArray[np.bool_]) -> list[str]:
    notes = ["hatched: diverged or worse than at the start"] if lost.any() else []
    return [*notes, "dots: never"] if (np.isnan(values) & ~lost).any() else notes


def _heading(medians: pd.DataFrame, best: Choice | None, legend: Iterable[str]) -> str:
    seeds = int(medians.seeds.max())
    over = f"median of {seeds} seeds" if seeds > 1 else "one seed"
    marked = "framed: the best" if best is not None else "no combination to choose"
    return f"{medians.label.iloc[0]}\n{'; '.join([over, marked, *legend])}"


def _title(metric: str) -> str:
    return f"{AXIS_TITLES.get(metric, metric.replace('_', ' '))} at the end"
