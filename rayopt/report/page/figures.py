"""The figures of a page, as plain data that Plotly draws."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd

from rayopt.report.figure import COLOURS, over_seeds, recorded_metrics
from rayopt.report.page.trace_data import IDLE, MOST_COLUMNS, THROWN_AWAY, USEFUL, Activity

MOST_POINTS = 400
"""Of a curve."""
DASHES = ("solid", "dashdot", "dot")
OUTCOME_COLOURS = {"used": "#009E73", "ignored": "#E69F00", "cancelled": "#9A9A9A", "failed": "#CC79A7"}
SPENT_COLOURS = {USEFUL: "#009E73", THROWN_AWAY: "#E69F00", IDLE: "#BDBDBD"}
AXES = {
    "time": "fleet time (seconds)", "updates": "updates", "used": "gradients used", "worker_seconds": "worker-seconds",
    "bits_up": "bits sent",
}  # fmt: skip
TITLES = {"value": "loss f(x)", "gap": "f(x) − f*", "grad_norm_sq": "‖∇f(x)‖²", "accuracy": "test accuracy"}

Figure = dict[str, Any]


def plain(label: str) -> str:
    """Returns a text as Plotly shows it letter by letter: it takes tags for markup."""
    return html.escape(label, quote=False)


def curves(history: pd.DataFrame, table: list[dict[str, Any]], target: dict[str, Any] | None) -> Figure:
    """Returns each metric against each axis: of each method its best step size, median and quartiles over seeds."""
    best = {row["label"]: row["step_size"] for row in table if row["best"]}
    labels = list(dict.fromkeys(row["label"] for row in table))
    metrics = recorded_metrics(history)
    axes = [axis for axis in AXES if axis in history.columns and history[axis].max() > 0]
    rows = [history[(history.label == label) & (history.step_size == best.get(label))] for label in labels]
    data = {metric: {axis: [_curve(own, metric, axis) for own in rows] for axis in axes} for metric in metrics}
    order = sorted(metrics, key=lambda name: 0 if target is not None and target["metric"] == name else 1)
    return {
        "labels": [plain(label) for label in labels],
        "steps": [best.get(label) for label in labels],
        "colours": [COLOURS[place % len(COLOURS)] for place in range(len(labels))],
        "dashes": [DASHES[place // len(COLOURS) % len(DASHES)] for place in range(len(labels))],
        "metrics": [{"name": name, "title": TITLES.get(name, name.replace("_", " "))} for name in order],
        "axes": [{"name": axis, "title": AXES[axis]} for axis in axes],
        "target": target,
        "data": data,
        "bands": history.seed.nunique() > 1,
    }


def _curve(rows: pd.DataFrame, metric: str, axis: str) -> dict[str, Any] | None:
    """Returns the quartiles over seeds at no more than so many places; None if there is none."""
    places, quartiles = over_seeds(rows, metric, axis)
    if not len(places):
        return None
    chosen = _thinned(len(places))
    low, mid, high = quartiles[:, chosen]
    return {"x": _numbers(places[chosen]), "low": _numbers(low), "mid": _numbers(mid), "high": _numbers(high)}


def timeline(activity: dict[str, Activity]) -> Figure:
    """Returns the bars of the shown workers of each method: a line for each outcome, its bars apart."""
    methods = []
    for label, own in activity.items():
        place = {worker: row for row, worker in enumerate(own.workers)}
        lines = {}
        for outcome, colour in OUTCOME_COLOURS.items():
            bars = own.bars[own.bars.outcome == outcome]
            if not len(bars):
                continue
            x = np.full((len(bars), 3), np.nan)
            x[:, 0], x[:, 1] = bars.begin, bars.end
            rows = bars.worker.map(place).to_numpy()
            lines[outcome] = {
                "colour": colour, "x": _numbers(x.ravel()), "y": np.repeat(rows, 3).tolist(),
                "versions": np.repeat(bars.version.to_numpy(), 3).tolist(),
            }  # fmt: skip
        methods.append({"label": plain(label), "lines": lines, "workers": own.workers,
                        "until": float(own.bars.end.max()) if len(own.bars) else 0.0})  # fmt: skip
    return {"methods": methods}


def delays(activity: dict[str, Activity]) -> Figure | None:
    """Returns a histogram of the delays of each method; None if no gradient was late."""
    largest = max((max(own.delays, default=0) for own in activity.values()), default=0)
    if largest <= 0:
        return None
    width = -(-(largest + 1) // 60)
    found = []
    for label, own in activity.items():
        bins: dict[int, int] = {}
        for delay, count in own.delays.items():
            bins[delay // width * width] = bins.get(delay // width * width, 0) + count
        total = sum(own.delays.values())
        mean = sum(delay * count for delay, count in own.delays.items()) / max(total, 1)
        found.append(
            {"label": plain(label), "mean": mean, "x": sorted(bins), "y": [bins[x] / total for x in sorted(bins)]}
        )
    return {"methods": found, "width": width}


def workers(activity: dict[str, Activity]) -> Figure:
    """Returns where the seconds went: of each method as a whole, and of its workers from the fastest to the slowest."""
    found = []
    for label, own in activity.items():
        n = len(own.shares["used"])
        groups = np.array_split(np.arange(n), min(n, MOST_COLUMNS))
        strips: dict[str, list[float]] = {}
        for outcome, seconds in own.shares.items():
            if seconds.any():
                strips[outcome] = [float(seconds[group].sum() / (own.seconds * len(group))) for group in groups]
        busy = np.sum(list(strips.values()), axis=0)
        strips["idle"] = np.clip(1 - busy, 0, None).tolist()
        names = [f"{group[0]}" if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups]
        found.append({"label": plain(label), "spent": own.spent, "strips": strips, "names": names})
    return {"methods": found, "spent_colours": SPENT_COLOURS, "colours": {**OUTCOME_COLOURS, "idle": "#E6E6E6"}}


def grid(table: list[dict[str, Any]], target: dict[str, Any] | None) -> Figure | None:
    """Returns the last value of a metric by method and step size; None where no method has a grid."""
    labels = list(dict.fromkeys(row["label"] for row in table))
    if len(table) == len(labels):
        return None
    metric = "time_to_target" if target is not None else next(
        (name for name in ("gap", "value", "grad_norm_sq", "accuracy") if any(name in row for row in table)), None
    )  # fmt: skip
    if metric is None:
        return None
    steps = sorted({row["step_size"] for row in table})
    cells: list[list[float | None]] = [[None] * len(steps) for _ in labels]
    for row in table:
        cells[labels.index(row["label"])][steps.index(row["step_size"])] = row.get(metric)
    title = "seconds to the target" if metric == "time_to_target" else f"last {TITLES.get(metric, metric)}"
    return {"labels": [plain(label) for label in labels], "steps": [f"{step:.4g}" for step in steps], "cells": cells,
            "title": title, "logarithmic": metric not in ("accuracy", "time_to_target")}  # fmt: skip


def _thinned(length: int) -> Any:
    return np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int))


def _numbers(values: Any) -> list[float | None]:
    """Returns numbers for JSON with six digits, None for what is not finite."""
    found = np.asarray(values, dtype=np.float64)
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in found.tolist()]
