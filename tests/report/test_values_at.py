"""Values at given times: the rows of the history, over the seeds."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from rayopt import Experiment, InvalidInput, Record, Result, Until, Workers, methods
from rayopt.problems import Quadratic
from rayopt.report.values_at import render_values, values_at


@pytest.fixture(scope="module")
def result() -> Result:
    return Experiment(
        methods=[methods.Rennala([0.5, 1.0], batch_size=4), methods.ASGD(0.1)],
        problem=Quadratic(dimension=10, noise=0.01),
        workers=Workers(5, compute="sqrt(i)"),
        until=Until(time=40),
        record=Record(every=10),
        seeds=[0, 1, 2],
        config={},
    ).run()


def test_median_and_range_are_those_of_the_best_step_size(result):
    found = values_at(result.history, result.summary, [20.0]).set_index("label")
    best = result.table.query("label == 'Rennala' and best").step_size.item()
    rows = result.history.query("label == 'Rennala' and step_size == @best and time == 20").grad_norm_sq
    assert found.loc["Rennala", ["median", "least", "largest"]].tolist() == [rows.median(), rows.min(), rows.max()]
    assert found.loc["Rennala", "step_size"] == best
    assert found.index.tolist() == ["Rennala", "ASGD"]


def test_between_two_rows_stands_the_earlier_one(result):
    values = values_at(result.history, result.summary, [20.0, 29.9, 30.0], "gap").query("label == 'ASGD'")["median"]
    assert values.iloc[0] == values.iloc[1] != values.iloc[2]


@pytest.mark.parametrize("time", [-1.0, 40.1, np.nan])
def test_a_time_outside_the_runs_is_refused(result, time):
    with pytest.raises(InvalidInput, match="from 0 to 40"):
        values_at(result.history, result.summary, [time])


def test_a_metric_that_was_not_recorded_is_refused(result):
    with pytest.raises(InvalidInput, match="accuracy"):
        values_at(result.history, result.summary, [0.0], "accuracy")


def test_rendered_with_its_metric_and_the_brackets_of_its_ranges(result):
    written = io.StringIO()
    Console(file=written, width=100, _environ={}).print(render_values(result.history, result.summary, [0.0, 40.0]))
    text = written.getvalue()
    assert "grad_norm_sq, median [least, largest] of the seeds" in text
    assert "[4, 4]" in text
