"""The history of an experiment as a frame, and its summary."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from rayopt.experiments.answer import Scores, final_answer, time_answer
from rayopt.experiments.execution import Run
from rayopt.experiments.optimality import Bound
from rayopt.problems.base import Problem
from rayopt.runs.outcome import BY_CALLBACK, INTERRUPTED, Outcome, Row
from rayopt.runs.record import Record
from rayopt.runs.until import Target, Until, larger_is_better
from rayopt.storage.trace.rows import OUTCOMES

Summary = dict[str, Any]
TableRow = dict[str, Any]

ROUND_COLUMNS = ("method", "label", "seed", "time", "updates", "collected")
RUN_COLUMNS = ("method", "label", "seed", "step_size", "time", "updates", "arrivals")
SPENT = ("bits_up", "bits_down", "used", "worker_seconds")
"""Behind the metrics of a history; folders of older versions do not have them all."""
METRICS = ("value", "grad_norm_sq")
RANKING = ("value", "gap", "grad_norm_sq")


def history_frame(runs: Sequence[Run], record: Record) -> pd.DataFrame:
    """Returns the history rows of all runs, in the order of the runs.

    Args:
      runs: those without an outcome contribute nothing.
      record: what was recorded, after :meth:`Record.resolve`.

    Returns:
      ``method, label, seed, step_size, time`` (fleet seconds)``, updates, arrivals, value, grad_norm_sq``, the other
      metrics, and what one member of a grid has spent: ``bits_up, bits_down, used`` (gradients) and
      ``worker_seconds`` of computation; a metric that was not recorded, or not yet
      evaluated, is NaN.
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
             "updates": "int64", "arrivals": "int64", "bits_up": "int64", "bits_down": "int64", "used": "int64",
             "worker_seconds": "float64",
             **dict.fromkeys(metrics, "float64")}  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*RUN_COLUMNS, *metrics, *SPENT])
    # Rows of a checkpoint of an older version do not have them.
    frame[[*SPENT]] = frame[[*SPENT]].fillna(0)
    return frame.astype(types)


def rounds_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns the updates of methods without a server, in the order of the runs.

    Args:
      runs: those without an outcome contribute nothing.

    Returns:
      ``method, label, seed, time`` (fleet seconds)``, updates, collected``, the gradients in the update.
    """
    rows = [
        (run.method.name, run.label, run.seed, *made)
        for run in runs
        if run.outcome is not None
        for made in run.outcome.rounds
    ]
    return pd.DataFrame(rows, columns=[*ROUND_COLUMNS])


def summarise(
    runs: Sequence[Run],
    until: Until,
    problem: Problem,
    *,
    skew: float | None = None,
    bound: Bound | None = None,
    notes: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> Summary:
    """Returns the summary of an experiment, as ``summary.json`` holds it: numbers that are not finite are None.

    * ``table``: a row per label and step size, medians over the seeds that ran. ``updates``, ``arrivals`` and the
      outcomes count the whole run, which the members of a grid share; ``worker_seconds`` are seconds of
      computation of all workers, ``time`` is the fleet time at the end; ``time_to_target`` is the first history
      time that meets the target (None if the median seed never does), ``lower_bound`` are the seconds to the
      target that no method beats, ``times_lower_bound`` is the one over the other; each metric is the last that was
      evaluated; ``diverged`` counts the seeds whose x became non-finite, ``diverged_at`` is the first such
      history time; ``best`` marks one step size of each label: the soonest at the target, or else the one
      with the smallest final value, never one that diverged.
    * ``answer``: which method was soonest or best, by how much, on how many seeds; "" of one method without a target.
    * ``runs``: how each run ended, its counts, wall seconds and slip (real seconds), and the ``faults`` of workers
      that were recovered from, or None; on a network ``edges``, (from, to, messages, bits) of each over which something
      has come, and ``used_by``, how many gradients of each node were used.
    * ``target``: ``metric`` and ``reaches``, or None.
    * ``problem``: where the data come from, or None.
    * ``lower_bound``: its formula and seconds, or what is ``missing``; None if the target has none.
    * ``skew``: how far the workers' data are from one distribution; None if they have one.
    * ``notes``: the fleet's remarks on the runs.
    * ``problems``: a sentence for each run that was skipped, stuck, interrupted or run by force.

    Args:
      runs: after the experiment.
      until: its limits, with its target.
      problem: what was solved.
      skew: of its split over the workers, for the first seed.
      bound: the lower bound of the time to the target.
      notes: the fleet's remarks on the runs.
      skipped: why other methods could not be made, a sentence each.
    """
    labels = list(dict.fromkeys(run.label for run in runs))
    members: dict[tuple[str, float], list[Trial]] = {}
    for run in runs:
        for trial in trials(run):
            members.setdefault((run.label, trial.step_size), []).append(trial)
    ordered = sorted(members, key=lambda member: (labels.index(member[0]), member[1]))
    table = [_table_row(members[member], until.target, bound) for member in ordered]
    for label in labels:
        _mark_best([row for row in table if row["label"] == label])
    return {
        "answer": _answer(members, table, until.target),
        "table": table,
        "runs": [_run_entry(run) for run in runs],
        "target": None if until.target is None else {"metric": until.target.metric, "reaches": until.target.reaches},
        "problem": getattr(problem, "source", "").partition(" (")[0] or None,
        "lower_bound": None if bound is None else bound.to_json(),
        "skew": skew,
        "notes": list(notes),
        "problems": [*_problems(runs), *skipped],
    }


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

    def alone(self, target: Target | None) -> Trial:
        """Returns what this step size leaves in a run of its own, which ends when it meets the target."""
        end = math.inf if target is None else self.time_to(target)
        diverged_at = self.diverged_at if self.diverged_at is not None and self.diverged_at <= end else None
        return replace(self, rows=[row for row in self.rows if row["time"] <= end], diverged_at=diverged_at)


def trials(run: Run) -> list[Trial]:
    """Returns the step sizes of a run, each with its rows; none if there is no outcome."""
    outcome = run.outcome
    if outcome is None:
        return []
    steps = run.method.members()
    return [
        Trial(run, outcome, step, outcome.rows[position :: len(steps)], outcome.diverged_at.get(position))
        for position, step in enumerate(steps)
    ]


def _table_row(trials: Sequence[Trial], target: Target | None, bound: Bound | None) -> TableRow:
    run = trials[0].run
    outcomes = [trial.outcome for trial in trials]
    divergences = [trial.diverged_at for trial in trials if trial.diverged_at is not None]
    seconds = None if target is None else _median(trial.time_to(target) for trial in trials)
    least = None if bound is None else bound.seconds
    metrics = dict.fromkeys(
        name for trial in trials for row in trial.rows for name in row if name not in (*RUN_COLUMNS, *SPENT)
    )
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
        "bits_up": _median(outcome.counts.bits_up for outcome in outcomes),
        "bits_down": _median(outcome.counts.bits_down for outcome in outcomes),
        "time_to_target": seconds,
        "lower_bound": least,
        "times_lower_bound": None if seconds is None or least is None else seconds / least,
        **{name: _median((trial.last(name) for trial in trials), worst=_worst(name)) for name in metrics},
        "diverged": len(divergences),
        "diverged_at": min(divergences, default=None),
        "best": False,
    }


def _answer(
    members: Mapping[tuple[str, float], Sequence[Trial]], table: Sequence[TableRow], target: Target | None
) -> str:
    chosen = {row["label"]: members[row["label"], row["step_size"]] for row in table if row["best"]}
    for row in table:
        chosen.setdefault(row["label"], members[row["label"], row["step_size"]])
    if not chosen:
        return ""
    if target is not None:
        times = {label: [trial.time_to(target) for trial in trials] for label, trials in chosen.items()}
        ends = {label: _median_or_nan(trial.last(target.metric) for trial in own) for label, own in chosen.items()}
        steps = [trial.rows[1]["time"] - trial.rows[0]["time"] for own in chosen.values() for trial in own
                 if len(trial.rows) > 2]  # fmt: skip
        return time_answer([Scores(*found) for found in times.items()], target, max(steps, default=0.0), ends)
    metric = next((name for name in (*RANKING, "accuracy") if any(name in row for row in table)), None)
    if metric is None or len(chosen) == 1:
        return ""
    sign = -1.0 if larger_is_better(metric) else 1.0
    finals = {
        label: [math.inf if math.isnan(last := trial.last(metric)) else sign * last for trial in own]
        for label, own in chosen.items()
    }
    return final_answer(
        [Scores(*found) for found in finals.items()],
        metric,
        [trial.outcome.time for own in chosen.values() for trial in own],
    )


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
        "bits_up": outcome.counts.bits_up,
        "bytes_received": outcome.bytes_received,
        "worker_seconds": _finite(outcome.busy_seconds),
        "wall_seconds": _finite(outcome.wall_seconds),
        "server_restarts": outcome.faults.server_restarts,
        "slip": {name: _finite(seconds) for name, seconds in outcome.slip.items()},
        "faults": outcome.faults.to_json() if outcome.faults else None,
        **({"edges": outcome.edges, "used_by": outcome.used_by} if outcome.edges else {}),
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
        texts = [text for text in (run.problem, run.warning) if text]
        if outcome is not None and outcome.ended_by == INTERRUPTED:
            texts.append(f"interrupted at {outcome.time:.4g} s of fleet time; what was recorded until then is kept")
        if outcome is not None and outcome.ended_by == BY_CALLBACK:
            texts.append(f"ended at {outcome.time:.4g} s of fleet time by {outcome.ended_because}")
        if outcome is not None and outcome.was_stuck:
            texts.append("stood still before the time limit: nothing would ever have arrived any more")
        if outcome is not None and outcome.thinned_to:
            texts.append(f"record.every is much shorter than the time between arrivals: at the end history rows came "
                         f"every {outcome.thinned_to:.4g} s")  # fmt: skip
        for text in texts:
            seeds.setdefault((run.label, text), {})[run.seed] = None
    return [f"{label} ({seeds_text(found)}): {text}" for (label, text), found in seeds.items()]


def ends_with_updates(summary: Summary) -> bool:
    """Whether every run that ran ended with a number of updates, so that methods differ in what these cost."""
    return {run["ended_by"] for run in summary["runs"]} - {None} == {"updates"}


def seeds_text(seeds: Collection[int]) -> str:
    """Returns "seed 0" or "seeds 0, 1"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _median_or_nan(values: Iterable[float]) -> float:
    return statistics.median(value if math.isfinite(value) else math.nan for value in values)


def _median(values: Iterable[float], worst: float = math.inf) -> float | None:
    """Returns the median, counting what is not finite as ``worst``; None if that is the median."""
    return _finite(statistics.median(value if math.isfinite(value) else worst for value in values))


def _worst(metric: str) -> float:
    return -math.inf if larger_is_better(metric) else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
