"""The history of an experiment as a frame, its summary, and the table that a person reads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rayopt.experiment import Run
from rayopt.problems.base import Problem
from rayopt.recording import Outcome, Record, Row
from rayopt.until import Target, Until

Summary = dict[str, Any]
TableRow = dict[str, Any]

RUN_COLUMNS = ("method", "label", "seed", "step_size", "time", "updates", "arrivals")
METRICS = ("value", "grad_norm_sq")
RANKING = ("value", "gap", "grad_norm_sq")
OUTCOMES = ("used", "ignored", "cancelled", "failed")
MANY_ROWS = 24


def history_frame(runs: Sequence[Run], record: Record) -> pd.DataFrame:
    """Returns the history rows of all runs, in the order of the runs.

    Args:
      runs: those without an outcome contribute nothing.
      record: what was recorded, after :meth:`Record.resolve`.

    Returns:
      ``method, label, seed, step_size, time`` (fleet seconds)``, updates, arrivals, value, grad_norm_sq`` and
      the other metrics; a metric that was not recorded, or not yet evaluated, is NaN.
    """
    others = [name for name in record.metrics or () if name not in METRICS]
    metrics = [*METRICS, *others]
    rows = [
        {"method": run.method.name, "label": run.label, "seed": run.seed, **row}
        for run in runs
        if run.outcome is not None
        for row in run.outcome.rows
    ]
    types = {"method": "str", "label": "str", "seed": "int64", "step_size": "float64", "time": "float64",
             "updates": "int64", "arrivals": "int64", **dict.fromkeys(metrics, "float64")}  # fmt: skip
    return pd.DataFrame(rows, columns=[*RUN_COLUMNS, *metrics]).astype(types)


def summarise(runs: Sequence[Run], until: Until, problem: Problem) -> Summary:
    """Returns the summary of an experiment, as ``summary.json`` holds it: numbers that are not finite are None.

    * ``table``: a row per label and step size, medians over the seeds that ran. ``updates``, ``arrivals`` and the
      outcomes count the whole run, which the members of a grid share; ``worker_seconds`` are seconds of
      computation of all workers, ``time`` is the fleet time at the end; ``time_to_target`` is the first history
      time that meets the target (None if the median seed never does); each metric is the last that was
      evaluated; ``diverged`` counts the seeds whose x became non-finite, ``diverged_at`` is the first such
      history time; ``best`` marks one step size of each label: the soonest at the target, or else the one
      with the smallest final value, never one that diverged.
    * ``runs``: how each run ended, its counts, wall seconds and slip (real seconds).
    * ``target``: ``metric`` and ``reaches``, or None.
    * ``problem``: where the data come from, or None.
    * ``problems``: a sentence for each run that was skipped, stuck or interrupted.

    Args:
      runs: after the experiment.
      until: its limits, with its target.
      problem: what was solved.
    """
    labels = list(dict.fromkeys(run.label for run in runs))
    members: dict[tuple[str, float], list[Trial]] = {}
    for run in runs:
        for trial in _trials(run):
            members.setdefault((run.label, trial.step_size), []).append(trial)
    ordered = sorted(members, key=lambda member: (labels.index(member[0]), member[1]))
    table = [_table_row(members[member], until.target) for member in ordered]
    for label in labels:
        _mark_best([row for row in table if row["label"] == label])
    return {
        "table": table,
        "runs": [_run_entry(run) for run in runs],
        "target": None if until.target is None else {"metric": until.target.metric, "reaches": until.target.reaches},
        "problem": getattr(problem, "source", "") or None,
        "problems": _problems(runs),
    }


def render(summary: Summary) -> RenderableType:
    """Returns the summary's table with its footnotes, for a rich console of 100 columns.

    Of a large experiment only the best step size of each method and its two neighbours are shown.
    """
    table = summary["table"]
    shown = _shown(table)
    columns = [column for column in _columns(summary) if any(column.shows(row) for row in table)]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
    for column in columns:
        is_text = column.justify == "left"
        drawn.add_column(column.title, justify=column.justify, no_wrap=not is_text, overflow="fold")
    has_grids = any(len(rows) > 1 for rows in _by_label(table).values())
    for row in shown:
        drawn.add_row(*(column.cell(row) for column in columns), style="bold" if row["best"] and has_grids else None)
    title = [Text(summary["problem"], style="italic")] if summary["problem"] else []
    notes = [
        Padding(Text(note, style="dim"), (0, 0, 0, 2), expand=False)
        for note in _footnotes(summary, hidden=len(table) - len(shown))
    ]
    return Group(*title, drawn, *notes)


@dataclass(frozen=True)
class Trial:
    """One step size of one method on one seed.

    Attributes:
      rows: its own history rows.
      diverged_at: fleet seconds, None if it did not diverge.
    """

    run: Run
    outcome: Outcome
    step_size: float
    rows: list[Row]
    diverged_at: float | None

    def last(self, metric: str) -> float:
        """Returns the metric as it was last evaluated, NaN if it never was."""
        return next((row[metric] for row in reversed(self.rows) if metric in row), math.nan)

    def time_to(self, target: Target) -> float:
        """Returns the first history time that meets the target, infinity if none does."""
        met = (row["time"] for row in self.rows if target.is_met(row.get(target.metric, math.nan)))
        return next(met, math.inf)


def _trials(run: Run) -> list[Trial]:
    outcome = run.outcome
    if outcome is None:
        return []
    steps = run.method.members()
    return [
        Trial(run, outcome, step, outcome.rows[position :: len(steps)], outcome.diverged_at.get(position))
        for position, step in enumerate(steps)
    ]


def _table_row(trials: Sequence[Trial], target: Target | None) -> TableRow:
    run = trials[0].run
    outcomes = [trial.outcome for trial in trials]
    divergences = [trial.diverged_at for trial in trials if trial.diverged_at is not None]
    metrics = dict.fromkeys(name for trial in trials for row in trial.rows for name in row if name not in RUN_COLUMNS)
    return {
        "method": run.method.name,
        "label": run.label,
        "step_size": trials[0].step_size,
        "seeds": len(trials),
        "time": _median(outcome.time for outcome in outcomes),
        "updates": _median(outcome.updates for outcome in outcomes),
        "arrivals": _median(outcome.counts.arrivals for outcome in outcomes),
        **{name: _median(getattr(outcome.counts, name) for outcome in outcomes) for name in OUTCOMES},
        "worker_seconds": _median(outcome.busy_seconds for outcome in outcomes),
        "time_to_target": None if target is None else _median(trial.time_to(target) for trial in trials),
        **{name: _median((trial.last(name) for trial in trials), worst=_worst(name)) for name in metrics},
        "diverged": len(divergences),
        "diverged_at": min(divergences, default=None),
        "best": False,
    }


def _run_entry(run: Run) -> dict[str, Any]:
    entry = {"method": run.method.name, "label": run.label, "seed": run.seed, "step_sizes": run.method.members(),
             "problem": run.problem}  # fmt: skip
    outcome = run.outcome
    if outcome is None:
        return entry | {"ended_by": None}
    counts = {name: getattr(outcome.counts, name) for name in ("arrivals", *OUTCOMES)}
    return entry | {
        "ended_by": outcome.ended_by,
        "was_stuck": outcome.was_stuck,
        "time": outcome.time,
        "updates": outcome.updates,
        **counts,
        "worker_seconds": _finite(outcome.busy_seconds),
        "wall_seconds": _finite(outcome.wall_seconds),
        "slip": {name: _finite(seconds) for name, seconds in outcome.slip.items()},
    }


def _mark_best(rows: Sequence[TableRow]) -> None:
    candidates = [row for row in rows if not row["diverged"] and min(_rank(row)) < math.inf]
    if candidates:
        min(candidates, key=_rank)["best"] = True


def _rank(row: TableRow) -> tuple[float, float]:
    scores = [row[name] for name in RANKING if name in row]
    if not scores and row.get("accuracy") is not None:
        scores = [-row["accuracy"]]
    score = scores[0] if scores and scores[0] is not None else math.inf
    return (math.inf if row["time_to_target"] is None else row["time_to_target"], score)


def _problems(runs: Sequence[Run]) -> list[str]:
    seeds: dict[tuple[str, str], dict[int, None]] = {}
    for run in runs:
        outcome = run.outcome
        texts = [run.problem] if run.problem else []
        if outcome is not None and outcome.ended_by == "interrupted":
            texts.append(f"interrupted at {outcome.time:.4g} s of fleet time; what was recorded until then is kept")
        if outcome is not None and outcome.was_stuck:
            texts.append("stood still before the time limit: nothing would ever have arrived any more")
        for text in texts:
            seeds.setdefault((run.label, text), {})[run.seed] = None
    return [
        f"{label} (seed{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}): {text}"
        for (label, text), found in seeds.items()
    ]


def _median(values: Iterable[float], worst: float = math.inf) -> float | None:
    """Returns the median, counting what is not finite as ``worst``; None if that is the median."""
    return _finite(statistics.median(value if math.isfinite(value) else worst for value in values))


def _worst(metric: str) -> float:
    return -math.inf if metric == "accuracy" else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Column:
    """A column of the rendered table.

    Attributes:
      shows: whether a row has anything for it; a column that no row has anything for is left out.
    """

    title: str
    cell: Callable[[TableRow], str]
    shows: Callable[[TableRow], bool] = lambda row: True
    justify: Literal["left", "right"] = "right"


def _columns(summary: Summary) -> list[Column]:
    def time_to_target(row: TableRow) -> str:
        return "never" if row["time_to_target"] is None else _number(row["time_to_target"])

    def count(name: str) -> Column:
        return Column(name, lambda row: _count(row[name]), lambda row: name != "failed" or row[name] > 0)

    def metric(name: str, title: str) -> Column:
        return Column(title, lambda row: _metric_cell(row, name), lambda row: name in row)

    target = summary["target"]
    aims_at_gradient = target is not None and target["metric"] == "grad_norm_sq"
    has_gap = any("gap" in row for row in summary["table"])
    grids = {label for label, rows in _by_label(summary["table"]).items() if len(rows) > 1}
    return [
        Column("", lambda row: "*" if row["best"] else "", lambda row: row["label"] in grids),
        Column("method", lambda row: row["label"], justify="left"),
        Column("step\nsize", lambda row: _number(row["step_size"])),
        *map(count, ("updates", *OUTCOMES)),
        Column("time to\ntarget", time_to_target, lambda row: target is not None),
        metric("value", "final\nloss"),
        metric("gap", "f - f*") if has_gap and not aims_at_gradient else metric("grad_norm_sq", "||grad||²"),
        metric("accuracy", "accuracy"),
    ]


def _metric_cell(row: TableRow, metric: str) -> str:
    if row[metric] is not None:
        return _number(row[metric])
    if metric == next(name for name in (*RANKING, "accuracy") if name in row) and row["diverged"]:
        return f"diverged\nat {_number(row['diverged_at'])} s"
    return "-" if row["diverged"] else "not finite"


def _shown(table: Sequence[TableRow]) -> list[TableRow]:
    if len(table) <= MANY_ROWS:
        return list(table)
    shown = []
    for rows in _by_label(table).values():
        best = next((position for position, row in enumerate(rows) if row["best"]), 0)
        shown += rows[max(best - 1, 0) : best + 2]
    return shown


def _by_label(table: Sequence[TableRow]) -> dict[str, list[TableRow]]:
    grids: dict[str, list[TableRow]] = {}
    for row in table:
        grids.setdefault(row["label"], []).append(row)
    return grids


def _footnotes(summary: Summary, hidden: int) -> list[str]:
    table, target = summary["table"], summary["target"]
    grids = _by_label(table)
    notes = []
    seeds = max((row["seeds"] for row in table), default=0)
    if seeds > 1:
        notes.append(f"Medians over {seeds} seeds.")
    if target is not None:
        bound = "at least" if target["metric"] == "accuracy" else "at most"
        notes.append(f"Time to target: fleet seconds until {target['metric']} is {bound} {target['reaches']:g}.")
    if any(len(rows) > 1 for rows in grids.values()):
        notes.append("* the best step size of its method.")
    if hidden:
        notes.append(f"{hidden} of {len(table)} rows are not shown: step sizes far from the best of their method.")
    notes += _notes_on_edges(grids)
    notes += [
        f"{row['label']} {_number(row['step_size'])}: {row['diverged']} of {row['seeds']} seeds diverged, "
        f"the first at {_number(row['diverged_at'])} s."
        for row in table
        if 0 < row["diverged"] < row["seeds"]
    ]
    return [*notes, *summary["problems"], *_note_on_slip(summary["runs"])]


def _notes_on_edges(grids: dict[str, list[TableRow]]) -> list[str]:
    notes = []
    for end, extreme, direction in ((0, "smallest", "smaller"), (-1, "largest", "larger")):
        labels = [label for label, rows in grids.items() if len(rows) > 1 and rows[end]["best"]]
        if labels:
            notes.append(
                f"The {extreme} step size that was tried is the best of {', '.join(labels)}: "
                f"a {direction} one may be better."
            )
    return notes


def _note_on_slip(runs: Sequence[dict[str, Any]]) -> list[str]:
    slips = [run["slip"] for run in runs if run.get("slip")]
    medians = [slip["median"] for slip in slips if slip.get("median") is not None]
    tails = [slip["p99"] for slip in slips if slip.get("p99") is not None]
    if not medians or not tails:
        return []
    return [
        f"Slip (how late arrivals were, in real time): median {1e3 * statistics.median(medians):.4g} ms, "
        f"p99 {1e3 * max(tails):.4g} ms in the worst run."
    ]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _count(value: float) -> str:
    """Returns a count, exact below a million."""
    for unit, suffix in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:,.0f}"
