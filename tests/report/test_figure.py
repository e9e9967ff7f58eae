"""Figures: the right lines, over seeds that end at different times."""

from __future__ import annotations

import sys

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from rayopt import Experiment, InvalidInput, Result, Target, Until, Workers, methods
from rayopt.problems import Quadratic
from rayopt.report.figure import COLOURS, draw, over_seeds, recorded_metrics, save_figures


@pytest.fixture(scope="module")
def result() -> Result:
    return Experiment(
        methods=[methods.Rennala([0.5, 1.0], batch_size=4), methods.ASGD([0.1, 1e3]), methods.Hero(1e3)],
        problem=Quadratic(dimension=10, noise=0.01),
        workers=Workers(5, compute="sqrt(i)"),
        until=Until(time=200, target=Target("grad_norm_sq", 0.01)),
        seeds=[0, 1, 2],
        config={},
    ).run()


def frame(values: dict[int, list[tuple[float, float]]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"label": "ASGD", "seed": seed, "step_size": 0.1, "time": time, "value": value}
            for seed, curve in values.items()
            for time, value in curve
        ]
    )


def summary_of(*labels: str, target: dict | None = None) -> dict:
    table = [{"label": label, "step_size": 0.1, "best": True} for label in labels]
    return {"table": table, "target": target, "problem": None}


def test_one_line_and_colour_per_method_with_its_best_step_size(result):
    (axes,) = draw(result.history, result.summary, "gap").axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["Rennala, step size 1", "ASGD, step size 0.1", "Hero: diverged"]
    assert [line.get_color() for line in axes.lines] == list(COLOURS[:3])
    assert len(axes.collections) == 2
    assert matplotlib.colors.same_color(axes.collections[0].get_facecolor()[0, :3], COLOURS[0])
    assert len(axes.lines[2].get_xdata()) == 0
    assert axes.get_xlabel() == "fleet time (seconds)"
    assert axes.get_yscale() == "log"


def test_median_line_is_that_of_the_history(result):
    (axes,) = draw(result.history, result.summary, "gap").axes
    mine = result.history.query("label == 'ASGD' and step_size == 0.1").groupby("time").gap.median()
    np.testing.assert_allclose(axes.lines[1].get_ydata(), mine.to_numpy())


def test_target_is_a_dashed_line_in_its_own_metric(result):
    (axes,) = draw(result.history, result.summary, "grad_norm_sq").axes
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_label() for line in dashed] == ["target 0.01"]


def test_negative_values_have_a_linear_axis(result):
    (axes,) = draw(result.history, result.summary, "value").axes
    assert axes.get_yscale() == "linear"


def test_seeds_that_end_early_keep_their_last_value():
    history = frame({0: [(0, 8.0), (10, 4.0), (15, 2.0)], 1: [(0, 8.0), (10, 6.0), (20, 4.0)], 2: [(0, 8.0), (7, 1.0)]})
    times, (lower, median, upper) = over_seeds(history, "value")
    assert times.tolist() == [0, 7, 10, 15, 20]
    np.testing.assert_allclose(median, [8.0, 5.2, 4.0, 2.0, 2.0])
    assert (lower <= median).all()
    assert (median <= upper).all()


def test_values_that_are_not_finite_are_left_out():
    times, (_, median, _) = over_seeds(frame({0: [(0, 8.0), (10, np.nan), (20, 4.0)]}), "value")
    assert times.tolist() == [0, 20]
    assert median.tolist() == [8.0, 4.0]


def test_one_seed_has_no_band():
    (axes,) = draw(frame({3: [(0, 8.0), (10, 4.0)]}), summary_of("ASGD")).axes
    assert len(axes.collections) == 0
    assert axes.get_title() == "seed 3"


def test_more_methods_than_colours_differ_in_their_dashes():
    labels = [f"method {number}" for number in range(len(COLOURS) + 2)]
    history = pd.concat([frame({0: [(0, 8.0), (10, 4.0)]}).assign(label=label) for label in labels])
    (axes,) = draw(history, summary_of(*labels)).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == len(labels)


def test_a_metric_that_was_not_recorded_is_refused(result):
    with pytest.raises(InvalidInput, match="accuracy"):
        draw(result.history, result.summary, "accuracy")


def test_saves_one_file_per_recorded_metric(result, tmp_path):
    paths = save_figures(result.history, result.summary, tmp_path)
    assert [path.name for path in paths] == ["value.png", "grad_norm_sq.png", "gap.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 10_000


def test_an_empty_history_has_no_figures(result, tmp_path):
    assert recorded_metrics(result.history[:0]) == []
    assert save_figures(result.history[:0], result.summary, tmp_path) == []


def test_no_global_state(result):
    draw(result.history, result.summary)
    assert "matplotlib.pyplot" not in sys.modules
