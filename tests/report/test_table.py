"""The history frame, the summary and the rendered table."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

import rayopt as ro
from rayopt import Experiment, Record, Result, Target, Until, Workers, methods
from rayopt.experiments.experiment import Run
from rayopt.experiments.summary import history_frame, summarise
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.report.faults import notes_on_faults
from rayopt.report.table import render
from rayopt.runs.outcome import Counts, Outcome

COLUMNS = ["method", "label", "seed", "step_size", "time", "updates", "arrivals", "value", "grad_norm_sq"]
TARGET = Target("grad_norm_sq", 0.01)


@pytest.fixture(scope="module")
def result() -> Result:
    grid = [0.01, 0.1, 1e3]
    return Experiment(
        methods=[methods.Rennala([0.5, 1.0], batch_size=4), methods.ASGD(grid), methods.Hero(1e3)],
        problem=Quadratic(dimension=10, noise=0.01),
        workers=Workers(5, compute="sqrt(i)"),
        until=Until(time=200, target=TARGET),
        seeds=[0, 1, 2],
        config={},
    ).run()


def outcome(rows: list[dict], **changes: object) -> Outcome:
    found = Outcome(
        rows=rows, counts=Counts(arrivals=10, used=7, failed=1, cancelled=2), updates=7, time=rows[-1]["time"],
        diverged_at={}, ended_by="time", was_stuck=False, busy_seconds=30.0, wall_seconds=0.5,
    )  # fmt: skip
    return replace(found, **changes)


def rows(*values: float, metric: str = "value", step_size: float = 0.1, every: float = 10.0) -> list[dict]:
    return [
        {"step_size": step_size, "time": every * row, "updates": row, "arrivals": row, metric: value}
        for row, value in enumerate(values)
    ]


def asgd(seed: int, found: Outcome | None, problem: str = "") -> Run:
    return Run(methods.ASGD(0.1), "ASGD", seed, found, problem)


def table_of(*runs: Run, until: Until | None = None) -> list[dict]:
    return summarise(runs, until or Until(time=20), Quadratic(4))["table"]


def text_of(summary: dict, width: int = 100) -> str:
    written = io.StringIO()
    Console(file=written, width=width, _environ={}).print(render(summary))
    return written.getvalue()


def test_history_has_the_fixed_columns_and_then_the_other_metrics(result):
    history = result.history
    assert list(history.columns) == [*COLUMNS, "gap", "bits_up", "bits_down", "used", "worker_seconds"]
    assert set(history.label) == {"Rennala", "ASGD", "Hero"}
    assert set(history.method) == {"rennala", "asgd", "hero"}
    assert history[["value", "grad_norm_sq", "gap"]].dtypes.eq("float64").all()
    assert history.groupby(["label", "seed", "step_size"]).time.is_monotonic_increasing.all()


def test_history_of_nothing_has_the_same_columns_and_types():
    record = Record(metrics=("accuracy",))
    empty = history_frame([asgd(0, None, "skipped")], record)
    full = history_frame([asgd(0, outcome(rows(0.5, metric="accuracy")))], record)
    assert len(empty) == 0
    assert list(empty.columns) == [*COLUMNS, "accuracy", "bits_up", "bits_down", "used", "worker_seconds"]
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)
    assert full.value.isna().all()


def test_bits_are_shown_where_messages_differ():
    workers = ro.Workers(3, 1.0, upload=ro.Link(per_float=0.1))
    chosen = [ro.methods.Minibatch(0.1), ro.methods.QSGD(0.1, ro.compressors.RandK(2))]
    result = ro.run(chosen, ro.problems.Quadratic(10), workers, until=ro.Until(updates=4))
    text = text_of(result.summary)
    assert "sent" in text
    assert "7,680" in text
    assert "1,536" in text
    same = ro.run(chosen[0], ro.problems.Quadratic(10), workers, until=ro.Until(updates=4))
    assert "sent" not in text_of(same.summary)


def test_summary_is_strict_json(result):
    assert json.loads(json.dumps(result.summary, allow_nan=False)) == result.summary


def test_medians_over_seeds():
    values = [rows(9.0, 4.0, 1.0), rows(9.0, 8.0, 3.0), rows(9.0, 2.0, 2.0)]
    runs = [asgd(seed, outcome(values[seed], updates=(5, 9, 6)[seed])) for seed in range(3)]
    (row,) = table_of(*runs, until=Until(time=20, target=Target("value", 4.0)))
    assert row["value"] == 2.0
    assert row["updates"] == 6
    assert row["time_to_target"] == 10.0
    assert (row["seeds"], row["used"], row["ignored"], row["cancelled"], row["failed"]) == (3, 7, 2, 2, 1)
    assert row["worker_seconds"] == 30.0


def test_a_target_that_the_median_seed_never_meets_has_no_time():
    until = Until(time=20, target=Target("value", 1.0))
    never, soon = rows(9.0, 8.0), rows(9.0, 0.5)
    assert table_of(asgd(0, outcome(never)), asgd(1, outcome(soon)), until=until)[0]["time_to_target"] is None
    late = [asgd(0, outcome(never)), asgd(1, outcome(soon)), asgd(2, outcome(soon))]
    assert table_of(*late, until=until)[0]["time_to_target"] == 10.0


def test_time_to_target_is_the_first_history_time_that_meets_it(result):
    row = next(row for row in result.summary["table"] if row["label"] == "Rennala" and row["step_size"] == 1.0)
    mine = result.history.query("label == 'Rennala' and step_size == 1.0 and grad_norm_sq <= @TARGET.reaches")
    assert row["time_to_target"] == mine.groupby("seed").time.min().median()


def test_best_is_the_soonest_and_never_one_that_diverged(result):
    best = {row["label"]: row["step_size"] for row in result.summary["table"] if row["best"]}
    assert best["ASGD"] == 0.1
    assert "Hero" not in best
    assert sum(row["best"] for row in result.summary["table"]) == len(best)


def test_best_without_a_target_is_the_smallest_final_value():
    grid = methods.ASGD([0.1, 0.2])
    pairs = [*rows(9.0, step_size=0.1), *rows(9.0, step_size=0.2), *rows(9.0, 3.0, step_size=0.1)[1:],
             *rows(9.0, 2.0, step_size=0.2)[1:]]  # fmt: skip
    small, large = table_of(Run(grid, "ASGD", 0, outcome(pairs)))
    assert (small["value"], large["value"]) == (3.0, 2.0)
    assert (small["best"], large["best"]) == (False, True)


def test_divergence_is_counted_with_its_first_time(result):
    row = next(row for row in result.summary["table"] if row["label"] == "Hero")
    assert row["diverged"] == 3
    assert row["value"] is None
    assert 0 < row["diverged_at"] <= 200
    assert f"at {row['diverged_at']:.4g} s" in text_of(result.summary)


def test_a_diverged_seed_counts_as_infinitely_bad():
    lost = outcome(rows(9.0, math.nan), diverged_at={0: 10.0})
    runs = [asgd(0, lost), asgd(1, outcome(rows(9.0, 1.0))), asgd(2, outcome(rows(9.0, 5.0)))]
    summary = summarise(runs, Until(time=20), Quadratic(4))
    assert summary["table"][0]["value"] == 5.0
    assert not summary["table"][0]["best"]
    assert "1 of 3 seeds diverged, the first at 10 s" in text_of(summary)


def test_a_metric_that_is_not_yet_evaluated_leaves_the_one_before():
    last = {"step_size": 0.1, "time": 20.0, "updates": 2, "arrivals": 2}
    assert table_of(asgd(0, outcome([*rows(9.0, 4.0), last])))[0]["value"] == 4.0


def test_problems_are_told_once_for_all_seeds():
    stuck = outcome(rows(9.0), was_stuck=True)
    stopped = outcome(rows(9.0), ended_by="interrupted")
    runs = [asgd(0, None, "skipped: no"), asgd(1, None, "skipped: no"), asgd(2, stuck), asgd(3, stopped)]
    summary = summarise(runs, Until(time=20), Quadratic(4))
    assert summary["problems"][0] == "ASGD (seeds 0, 1): skipped: no"
    assert [problem.split(": ")[0] for problem in summary["problems"]] == [
        "ASGD (seeds 0, 1)",
        "ASGD (seed 2)",
        "ASGD (seed 3)",
    ]
    assert [run["ended_by"] for run in summary["runs"]] == [None, None, "time", "interrupted"]
    assert "skipped: no" in text_of(summary)


def test_a_skipped_method_of_a_real_experiment():
    problem = LogisticRegression.digits(partition="labels")
    result = Experiment(
        methods=[methods.Rennala(0.1, batch_size=2), methods.Malenia(0.1, batch_size=1)],
        problem=problem, workers=Workers(4, compute=1), until=Until(time=3), config={},
    ).run()  # fmt: skip
    assert [row["label"] for row in result.summary["table"]] == ["Malenia"]
    assert "Rennala (seed 0): skipped" in result.summary["problems"][0]
    assert result.summary["problem"] == problem.source
    assert "accuracy" in text_of(result.summary)


def test_rendered_table_fits_in_100_columns(result):
    text = text_of(result.summary)
    assert all(len(line.rstrip()) <= 100 for line in text.splitlines())
    assert any(line.startswith("* ASGD") and " 0.1 " in line for line in text.splitlines())
    assert "never" in text
    assert "fleet seconds until grad_norm_sq is at most 0.01" in text


def test_large_grids_show_the_best_and_its_neighbours():
    steps = [0.01 * (position + 1) for position in range(30)]
    start = [
        {"step_size": step, "time": 0.0, "updates": 0, "arrivals": 0, "value": abs(step - 0.105)} for step in steps
    ]
    summary = summarise([Run(methods.ASGD(steps), "ASGD", 0, outcome(start))], Until(time=20), Quadratic(4))
    text = text_of(summary)
    assert sum("ASGD" in line for line in text.splitlines()) == 3
    assert "27 of 30 rows are not shown" in text


def test_best_at_the_end_of_its_grid_is_said():
    steps = [0.1, 0.2]
    start = [{"step_size": step, "time": 0.0, "updates": 0, "arrivals": 0, "value": 1 / step} for step in steps]
    summary = summarise([Run(methods.ASGD(steps), "ASGD", 0, outcome(start))], Until(time=20), Quadratic(4))
    assert "a larger one may be better" in text_of(summary)


def test_slip_is_a_footnote_in_milliseconds():
    slips = [{"median": 0.001, "p99": 0.004, "largest": 0.01}, {"median": 0.003, "p99": 0.0095, "largest": math.nan}]
    runs = [asgd(seed, outcome(rows(1.0), slip=slip)) for seed, slip in enumerate(slips)]
    summary = summarise(runs, Until(time=20), Quadratic(4))
    json.dumps(summary, allow_nan=False)
    assert "median 2 ms, p99 9.5 ms" in text_of(summary)


def test_runs_without_an_update_are_said():
    runs = [asgd(seed, outcome(rows(1.0), updates=updates)) for seed, updates in enumerate((0, 3, 0))]
    assert "ASGD made no update in seeds 0, 2." in text_of(summarise(runs, Until(time=20), Quadratic(4)))


def test_skew_is_a_footnote():
    runs = [asgd(0, outcome(rows(1.0)))]
    assert "skew" not in text_of(summarise(runs, Until(time=20), Quadratic(4)))
    summary = summarise(runs, Until(time=20), Quadratic(4), skew=0.25)
    assert summary["skew"] == 0.25
    assert "Label skew of the workers' data: 0.25." in text_of(summary)


def test_nothing_ran():
    summary = summarise([asgd(0, None, "not run: interrupted")], Until(time=20), Quadratic(4))
    assert summary["table"] == []
    assert "not run: interrupted" in text_of(summary)


def test_without_metrics_there_is_a_table_of_counts():
    bare = [{"step_size": 0.1, "time": 0.0, "updates": 0, "arrivals": 0}]
    many = outcome(bare, counts=Counts(arrivals=12_345_678, used=12_345_678))
    summary = summarise([asgd(0, many)], Until(time=20), Quadratic(4))
    assert not summary["table"][0]["best"]
    assert "12.35M" in text_of(summary)


def test_runs_that_end_with_updates_show_seconds_and_worker_seconds():
    found = Experiment(
        methods=[methods.Hero(0.1), methods.Minibatch(0.1)],
        problem=Quadratic(4),
        workers=Workers(2, compute=[1.0, 3.0]),
        until=Until(updates=10),
        config={},
    ).run()
    lines = text_of(found.summary).splitlines()
    assert "seconds seconds" in lines[1]
    assert next(line for line in lines if line.startswith("Minibatch")).split()[6:8] == ["30", "40"]


def test_worker_seconds_are_shown_where_workers_stand_idle():
    def columns(*found: methods.Method) -> str:
        experiment = Experiment(found, Quadratic(4), Workers(9, compute=[1.0] * 8 + [2.0]), Until(time=20), config={})
        return text_of(experiment.run().summary)

    assert "worker" in columns(methods.Hero(0.1), methods.ASGD(0.1))
    assert "worker" not in columns(methods.Rennala(0.1, batch_size=4), methods.ASGD(0.1))


def test_without_the_loss_both_other_metrics_are_shown():
    def columns(*metrics: str) -> str:
        experiment = Experiment(
            [methods.Hero(0.1)], Quadratic(4), Workers(2, 1.0), Until(time=4), record=Record(metrics=metrics), config={}
        )
        return text_of(experiment.run().summary)

    assert all(title in columns("grad_norm_sq", "gap") for title in ("f - f*", "||grad||²"))
    assert "||grad||²" not in columns("value", "grad_norm_sq", "gap")


def test_workers_that_failed_have_a_footnote():
    faults = {"restarts": 12, "rejected": {"3": 1, "7": 4}, "late": 2, "recomputed": 1, "missing": [2], "slow": 2,
              "unmeasured": 1}  # fmt: skip
    runs = [{"label": "Rennala", "seed": 1, "faults": faults}, {"label": "ASGD", "seed": 1, "faults": None}]
    assert notes_on_faults(runs) == [
        "Rennala (seed 1): 12 processes of workers died and came back, their tasks were given again; "
        "5 gradients rejected and asked for again (worker 7: 4, worker 3: 1); "
        "1 gradient lost with a node and computed again; "
        "2 gradients took too long to fetch from their node, and were computed again; "
        "1 history row without metrics, which take longer than the time between rows: a larger record.every helps; "
        "without a process at the end: worker 2."
    ]
