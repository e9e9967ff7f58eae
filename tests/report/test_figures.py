"""Figures beside those of the metrics: what updates cost, and the delays that were measured."""

from __future__ import annotations

import pandas as pd

from rayopt import Experiment, Record, Until, Workers, methods
from rayopt.problems import Free
from rayopt.report.costs import draw_costs
from rayopt.report.delays import draw_delays
from rayopt.report.figures import save_all


def test_bars_tell_seconds_and_worker_seconds_with_the_first_method_on_top():
    # One update of 2 gradients: OFTA asks one of each worker, 2 seconds; UTA too; the third worker is never asked.
    result = Experiment(
        methods=[methods.OFTA(1.0, batch_size=2), methods.Hero(1.0)],
        problem=Free(),
        workers=Workers(3, compute=[1.0, 1.5, 50.0]),
        until=Until(updates=10),
        record=Record(metrics=[], trace=False),
        config={"workers": {"count": 3}},
    ).run()
    seconds, worker_seconds = draw_costs(result.summary).axes
    assert [label.get_text() for label in seconds.get_yticklabels()] == ["Hero", "OFTA"]
    assert [bar.get_width() for bar in seconds.patches] == [10.0, 15.0]
    assert [bar.get_width() for bar in worker_seconds.patches] == [10.0, 25.0]
    assert [path.name for path in save_all(result)] == ["costs.png"]


def test_runs_that_end_with_the_time_have_no_bars():
    result = Experiment(
        methods=[methods.Hero(1.0)],
        problem=Free(),
        workers=Workers(3, compute=1.0),
        until=Until(time=10),
        record=Record(metrics=["value"]),
        config={"workers": {"count": 3}},
    ).run()
    assert [path.name for path in save_all(result)] == ["value.png"]


def trace(**delays: list[int]) -> pd.DataFrame:
    rows = [(label, delay, "used") for label, found in delays.items() for delay in found]
    return pd.DataFrame([*rows, ("ASGD", 500, "cancelled")], columns=["label", "delay", "outcome"])


def test_a_histogram_counts_every_arrival_and_no_cancellation():
    (axes,) = draw_delays(trace(ASGD=[0, 1, 1, 3, 90], Minibatch=[0, 0]), workers=4).axes
    assert sum(bar.get_height() for bar in axes.patches) == 5
    assert axes.get_title(loc="left") == "ASGD: mean 19"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["n = 4", "largest 90"]


def test_methods_without_delays_have_no_histogram():
    assert draw_delays(trace(Minibatch=[0, 0, 0]), workers=4) is None
