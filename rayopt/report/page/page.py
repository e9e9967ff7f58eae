"""Writes the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rayopt.core.version import __version__
from rayopt.experiments.result import Result
from rayopt.experiments.summary import seeds_text
from rayopt.methods import METHODS
from rayopt.report.latex import COLUMNS, latex_table
from rayopt.report.page import figures
from rayopt.report.page.trace_data import Activity, activity_of
from rayopt.storage.files import write_text

PAGE = "report.html"


def write_page(results: Result | Sequence[Result], path: Path | None = None) -> Path:
    """Writes ``report.html`` and returns its path.

    Args:
      results: one run, or several that are compared.
      path: of the file; by default in the folder of the first run.
    """
    found = [results] if isinstance(results, Result) else list(results)
    place = found[0].folder.path / PAGE if path is None else path
    write_text(place, page_of(found))
    return place


def page_of(results: Sequence[Result]) -> str:
    """Returns the page of one run, or of several that are compared: before each method stands its folder's name."""
    import jinja2

    names = _names(results)
    histories, table = [], []
    activity: dict[str, Activity] = {}
    for result, name in zip(results, names, strict=True):
        histories.append(result.history.assign(label=name + result.history.label))
        table += [{**row, "label": name + row["label"]} for row in result.summary["table"]]
        activity |= {name + label: own for label, own in activity_of(result).items()}
    history = pd.concat(histories)
    target = next((result.summary["target"] for result in results if result.summary["target"] is not None), None)
    data = {
        "metric": figures.curves(history, table, target) if len(history) else None,
        "timeline": figures.timeline(activity) if activity else None,
        "delays": figures.delays(activity) if activity else None,
        "workers": figures.workers(activity) if activity else None,
        "grid": figures.grid(table, target),
    }
    shown = [key for key in COLUMNS if any(row.get(key) is not None for row in table)]
    frame = pd.DataFrame([[row.get(key) for key in shown] for row in table], columns=[COLUMNS[key] for key in shown])
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((resources.files(__package__) / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=" and ".join(str(result.folder.path.name) for result in results),
        answers=[(name.removesuffix(": "), result.answer) for result, name in zip(results, names, strict=True)],
        problem=results[0].summary.get("problem") or "",
        columns=[(key, COLUMNS[key]) for key in shown],
        rows=[[_cell(row.get(key)) for key in shown] for row in table],
        best=[bool(row["best"]) for row in table],
        csv=frame.to_csv(index=False), latex=latex_table(frame),
        notes=[note for result in results for note in (*result.summary["notes"], *result.summary["problems"])],
        seeds=[
            f"{name}{seeds_text(result.history.seed.unique().tolist())}"
            for result, name in zip(results, names, strict=True)
        ],
        theory=[
            {**row, "predicted": _predicted(results, row)} for row in table if row.get("lower_bound") and row["best"]
        ],
        bound=next((result.summary["lower_bound"] for result in results if result.summary.get("lower_bound")), None),
        is_cut=any(own.is_cut for own in activity.values()), data_of=data,
        configurations=[(result.folder.path, yaml.safe_dump(result.config, sort_keys=False, allow_unicode=True),
                         result.summary.get("environment") or {}) for result in results],
        data=_script(data), plotly=_plotly(), version=__version__,
    )  # fmt: skip


def _plotly() -> str:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _names(results: Sequence[Result]) -> list[str]:
    """Returns what stands before the labels of each run: nothing if there is one."""
    if len(results) == 1:
        return [""]
    names = [result.folder.path.name for result in results]
    return [
        f"{name if names.count(name) == 1 else result.folder.path}: "
        for name, result in zip(names, results, strict=True)
    ]


def _predicted(results: Sequence[Result], row: Mapping[str, Any]) -> float | None:
    """Returns what theory promises for the method of a row, with constant 1; None if it says nothing."""
    name = METHODS[row["method"]].__name__ if row["method"] in METHODS else ""
    for result in results:
        found = (result.summary.get("lower_bound") or {}).get("predicted", {}).get(name)
        if found is not None:
            return float(found)
    return None


def _cell(value: Any) -> tuple[str, str]:
    """Returns what a cell shows and what it is sorted by."""
    if value is None:
        return "–", "inf"
    if isinstance(value, str):
        return value, value
    text = f"{value:,}" if isinstance(value, int) and abs(value) < 10_000_000 else f"{value:.4g}"
    return text, repr(float(value))


def _script(data: Any) -> str:
    """Returns data as JSON that can stand in a script: nothing in it ends the script."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
