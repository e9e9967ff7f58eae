"""Each method's predicted time against the number of workers and against the noise ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayopt.report.figure import COLOURS, LINE_STYLES, RESOLUTION
from rayopt.report.theory_table import REGIMES
from rayopt.storage.files import write_complete
from rayopt.theory import MissingConstant, Setting
from rayopt.theory.homogeneous import with_fixed_times

Array = NDArray[np.float64]

POINTS = 41
DECADES = 3


def draw(setting: Setting, regime: str, times: Callable[[int], Array]) -> Figure:
    """Returns two panels: seconds against the number of workers, and against sigma^2 / eps.

    Methods whose formulas agree share a line.

    Args:
      setting: workers, accuracy and constants.
      regime: a name in ``rayopt.report.theory_table.REGIMES``.
      times: the times of a fleet of any size up to that of the setting.
    """
    counts = np.unique(np.geomspace(1, setting.workers, POINTS).round().astype(int))
    fleets = [_with_times(setting, times(int(count))) for count in counts]
    middle = math.log10(setting.noise_ratio) if setting.noise_ratio else 0.0
    ratios = np.logspace(middle - DECADES, middle + DECADES, POINTS)
    noisy = [replace(setting, noise_variance=float(ratio) * setting.eps) for ratio in ratios]
    panels = [_curves(fleets, regime), _curves(noisy, regime)]
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, x, curves in zip(axes, (counts, ratios), panels, strict=True):
        _draw_panel(panel, x, curves, _alike(panels))
    axes[0].set_xlabel("number of workers $n$")
    axes[0].set_ylabel(f"seconds until ${_measure(regime)} \\leq \\varepsilon$, constant 1")
    axes[0].set_title(f"$\\sigma^2/\\varepsilon$ = {setting.noise_ratio:g}", fontsize="medium")
    axes[1].set_xlabel("noise ratio $\\sigma^2/\\varepsilon$")
    axes[1].set_title(f"n = {setting.workers:,}", fontsize="medium")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the file's name, completely or not at all."""
    write_complete(path, partial(figure.savefig, format=path.suffix[1:].lower(), dpi=RESOLUTION))


def _with_times(setting: Setting, times: Array) -> Setting:
    # Links are those of the first workers.
    links: dict[str, Any] = {name: np.asarray(found)[: len(times)] for name in ("upload", "dense_upload")
             if (found := getattr(setting, name)) is not None}  # fmt: skip
    return replace(setting, times=times, **with_fixed_times(times), **links)


def _curves(settings: Sequence[Setting], regime: str) -> dict[str, Array]:
    """Returns the seconds of the lower bound and of each method whose constants are known, over the settings."""
    formulas = {"lower bound": REGIMES[regime].lower_bound, **REGIMES[regime].methods}
    found = {}
    for name, seconds in formulas.items():
        try:
            found[name] = np.array([seconds(setting) for setting in settings])
        except MissingConstant:
            continue
    return found


def _alike(panels: Sequence[dict[str, Array]]) -> dict[str, list[str]]:
    """Returns the methods in groups that agree in all panels, by the first of each."""
    groups: dict[str, list[str]] = {}
    for name in panels[0]:
        first = next(
            (known for known in groups if all(np.allclose(p[name], p[known], rtol=1e-9, atol=0) for p in panels)), name
        )
        groups.setdefault(first, []).append(name)
    return groups


def _draw_panel(axes: Axes, x: Array, curves: dict[str, Array], groups: dict[str, list[str]]) -> None:
    bound, *methods = groups
    label = " = ".join(groups[bound][:1] + ([", ".join(groups[bound][1:])] if groups[bound][1:] else []))
    axes.plot(x, curves[bound], color="black", linewidth=2.4, label=label)
    for position, first in enumerate(methods):
        colour, style = COLOURS[position % 6], LINE_STYLES[position // 6 % len(LINE_STYLES)]
        finite = np.where(np.isfinite(curves[first]), curves[first], np.nan)
        axes.plot(x, finite, style, color=colour, label=", ".join(groups[first]))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _measure(regime: str) -> str:
    return "E f - f^*" if regime == "convex" else r"E\|\nabla f\|^2"
