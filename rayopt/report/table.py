"""The table that a person reads at the end of an experiment."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rayopt.experiments.summary import RANKING, Summary, TableRow, ends_with_updates, seeds_text
from rayopt.experiments.tuning.edges import Edge, notes_on_edges
from rayopt.report.faults import notes_on_faults
from rayopt.storage.trace.rows import OUTCOMES

MANY_ROWS = 24
METRIC_TITLES = {"value": "final\nloss", "gap": "f - f*", "grad_norm_sq": "||grad||²"}


def render(summary: Summary) -> RenderableType:
    """Returns the summary's table with its footnotes and the answer, for a rich console of 100 columns.

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
    answer = [Text(summary["answer"], style="bold")] if summary.get("answer") else []
    return Group(*title, drawn, *notes, *answer)


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

    def multiple_of_bound(row: TableRow) -> str:
        return "-" if row["times_lower_bound"] is None else _number(row["times_lower_bound"])

    def count(name: str) -> Column:
        return Column(name, lambda row: _count(row[name]), lambda row: name != "failed" or row[name] > 0)

    def metric(name: str, title: str) -> Column:
        return Column(title, lambda row: _metric_cell(row, name), lambda row: name in row)

    target = summary["target"]
    costs, sizes = shows_costs(summary), shows_bits(summary)
    grids = {label for label, rows in _by_label(summary["table"]).items() if len(rows) > 1}
    return [
        Column("", lambda row: "*" if row["best"] else "", lambda row: row["label"] in grids),
        Column("method", lambda row: row["label"], justify="left"),
        Column("step\nsize", lambda row: _number(row["step_size"])),
        *map(count, ("updates", *OUTCOMES)),
        Column("time to\ntarget", time_to_target, lambda row: target is not None),
        Column("multiple\nof bound", multiple_of_bound, lambda row: row.get("lower_bound") is not None),
        Column("\nseconds", lambda row: _number(row["time"]), lambda row: costs),
        Column("worker\nseconds", lambda row: _number(row["worker_seconds"]), lambda row: costs),
        Column("bits\nsent", lambda row: _count(row["bits_up"]), lambda row: sizes),
        *(metric(name, METRIC_TITLES[name]) for name in _shown_metrics(summary)),
        metric("accuracy", "accuracy"),
    ]


def shows_costs(summary: Summary) -> bool:
    """Whether seconds and worker-seconds distinguish the methods.

    They do where runs end with a number of updates, or where the workers of one method stand idle so much that
    they compute for less than half of the time of another's.
    """
    rates = [row["worker_seconds"] / row["time"] for row in summary["table"] if row["time"] and row["worker_seconds"]]
    return ends_with_updates(summary) or (bool(rates) and 2 * min(rates) < max(rates))


def shows_bits(summary: Summary) -> bool:
    """Whether the messages of one method are smaller than those of another."""
    sizes = {row.get("bits_up", 0) / row["arrivals"] for row in summary["table"] if row["arrivals"]}
    return len(sizes) > 1


def _shown_metrics(summary: Summary) -> list[str]:
    """Returns the recorded ones of three metrics, at most two: the target's stays."""
    found = [name for name in RANKING if any(name in row for row in summary["table"])]
    if len(found) == len(RANKING):
        target = summary["target"]
        found.remove("gap" if target is not None and target["metric"] == "grad_norm_sq" else "grad_norm_sq")
    return found


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
    if summary.get("skew") is not None:
        notes.append(f"Label skew of the workers' data: {_number(summary['skew'])}.")
    if seeds > 1:
        notes.append(f"Medians over {seeds} seeds.")
    if target is not None:
        bound = "at least" if target["metric"] == "accuracy" else "at most"
        notes.append(f"Time to target: fleet seconds until {target['metric']} is {bound} {target['reaches']:g}.")
        notes += _note_on_bound(summary.get("lower_bound"))
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
    notes += [*_notes_on_idle(summary["runs"]), *summary["problems"], *_notes_on_restarts(summary["runs"])]
    notes += [*_note_on_slip(summary["runs"]), *_note_on_bytes(summary["runs"]), *notes_on_faults(summary["runs"])]
    return [*notes, *summary.get("notes", ())]


def _note_on_bound(bound: dict[str, Any] | None) -> list[str]:
    if bound is None:
        return []
    if bound["seconds"] is None:
        return [f"No lower bound of the time to target: {bound['missing']}."]
    seconds, formula = _number(bound["seconds"]), bound["formula"]
    return [
        f"Multiple of bound: time to target over the lower bound {seconds} s: {formula}, with constant 1 and the "
        "workers' expected times. It is of the worst f with these constants: another may be solved in less."
    ]


def _notes_on_idle(runs: Sequence[dict[str, Any]]) -> list[str]:
    seeds: dict[str, dict[int, None]] = {}
    for run in runs:
        if run.get("updates") == 0:
            seeds.setdefault(run["label"], {})[run["seed"]] = None
    return [f"{label} made no update in {seeds_text(found)}." for label, found in seeds.items()]


def _notes_on_edges(grids: dict[str, list[TableRow]]) -> list[str]:
    return notes_on_edges(
        Edge(label, "step_size", is_largest)
        for label, rows in grids.items()
        for end, is_largest in ((0, False), (-1, True))
        if len(rows) > 1 and rows[end]["best"]
    )


def _notes_on_restarts(runs: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"{run['label']} (seed {run['seed']}): the server died {run['server_restarts']} times; each time the run went "
        "on from its last checkpoint."
        for run in runs
        if run.get("server_restarts")
    ]


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


def _note_on_bytes(runs: Sequence[dict[str, Any]]) -> list[str]:
    measured = [run for run in runs if run.get("bytes_received")]
    if not measured:
        return []
    counted = sum(run["bits_up"] for run in measured) / 8e6
    received = sum(run["bytes_received"] for run in measured) / 1e6
    return [f"Sent to the server: {counted:.4g} MB by count, {received:.4g} MB received."]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _count(value: float) -> str:
    """Returns a count, exact below a million."""
    for unit, suffix in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:,.0f}"
