"""The figure of a tuned grid."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

import rayopt as ro
from rayopt.experiments.tuning.selection import Choice
from rayopt.report.heat_map import DIVERGED, NEVER, draw, save_heat_maps

STEPS = (0.1, 0.2, 0.4)


def medians(cells: dict[str, list[float]], metric: str = "gap", **columns: list) -> pd.DataFrame:
    rows = [(name, step, value) for name, values in cells.items() for step, value in zip(STEPS, values, strict=True)]
    frame = pd.DataFrame(rows, columns=["combination", "step_size", metric])
    return frame.assign(**{"label": "R", "seeds": 3, "diverged": 0, "time_to_target": math.inf, **columns})


def choice(combination: str, step_size: float) -> Choice:
    return Choice("R", ro.methods.ASGD(0.1), combination, {"step_size": step_size}, 0.0, None)


def drawn(*arguments, at_start: float = 50.0, target=None):
    figure = draw(*arguments, target, at_start)
    figure.savefig(io.BytesIO(), format="png")
    return figure.axes[0]


def patches(axes) -> dict[tuple[float, float], Rectangle]:
    return {(patch.get_x() + 0.5, patch.get_y() + 0.5): patch for patch in axes.patches}


CELLS = {"threshold=24": [3.0, 0.03, 0.5], "threshold=6": [2.0, 0.02, 70.0], "threshold=1": [1.0, math.inf, 0.4]}


def test_step_size_against_the_other_parameter_in_order():
    frame = medians(CELLS, diverged=[0] * 7 + [1, 0])
    axes = drawn(frame, "gap", choice("threshold=6", 0.2))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "0.2", "0.4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "6", "24"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step size", "threshold")
    (image,) = axes.images
    assert not any(isinstance(part, QuadMesh) for part in axes.collections)
    np.testing.assert_array_equal(
        np.ma.filled(image.get_array(), np.nan), [[1.0, np.nan, 0.4], [2.0, 0.02, np.nan], [3.0, 0.03, 0.5]]
    )
    assert isinstance(image.norm, LogNorm)


def test_marks_the_best_and_hatches_what_diverged_or_is_worse_than_the_start():
    axes = drawn(medians(CELLS, diverged=[0] * 7 + [1, 0]), "gap", choice("threshold=6", 0.2))
    found = patches(axes)
    assert set(found) == {(1.0, 1.0), (1.0, 0.0), (2.0, 1.0)}
    assert not found[1.0, 1.0].get_fill()
    assert {found[place].get_hatch() for place in ((1.0, 0.0), (2.0, 1.0))} == {DIVERGED}
    assert "framed: the best; hatched: diverged or worse than at the start" in axes.get_title()
    assert {text.get_text() for text in axes.texts} == {"3", "0.03", "0.5", "2", "0.02", "1", "0.4"}


def test_a_target_is_shown_as_the_time_to_it():
    frame = medians(CELLS, time_to_target=[30.0, 20.0, 10.0, 5.0, 4.0, math.inf, 3.0, 2.0, 1.0])
    axes = drawn(frame, "gap", choice("threshold=1", 0.4), target=ro.Target("gap", 0.5), at_start=math.inf)
    assert axes.images[0].get_array()[2].tolist() == [30.0, 20.0, 10.0]
    assert patches(axes)[2.0, 1.0].get_hatch() == NEVER
    assert "dots: never" in axes.get_title()
    assert axes.images[0].colorbar.ax.get_ylabel() == "seconds until gap is 0.5"


def test_seconds_are_written_out():
    axes = drawn(medians({"b=1": [1179.6, 1e7, 30.25], "b=2": [1.0, 1.0, 1.0]}), "gap", None, at_start=math.inf)
    assert [text.get_text() for text in axes.texts][:3] == ["1180", "1e+07", "30.2"]


def test_a_target_that_nothing_meets_leaves_the_metric():
    axes = drawn(medians(CELLS), "gap", None, target=ro.Target("gap", 1e-9), at_start=math.inf)
    assert axes.images[0].get_array()[0, 0] == 1.0
    assert "no combination to choose" in axes.get_title()


def test_several_parameters_are_rows_in_the_order_of_the_grid():
    cells = {"batch_size=4, interrupt=True": [1.0, 2.0, 3.0], "batch_size=1, interrupt=True": [1.0, 2.0, 3.0]}
    axes = drawn(medians(cells), "gap", None)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(cells)
    assert axes.get_ylabel() == ""


@pytest.mark.parametrize(("metric", "start", "lost"), [("accuracy", 0.5, {0.1}), ("gap", 0.5, {0.2, 0.4})])
def test_without_a_second_parameter_a_line(metric, start, lost):
    frame = medians({"": [0.4, 0.6, 0.7]}, metric)
    axes = drawn(frame, metric, choice("", 0.4 if metric == "accuracy" else 0.1), at_start=start)
    shown, *others = axes.lines
    assert set(shown.get_xdata()) == set(STEPS) - lost
    assert {line.get_xdata()[0] for line in others[:-1]} == lost
    assert others[-1].get_marker() == "s"
    assert axes.get_xscale() == "log"
    assert "dotted: diverged" in axes.get_title()


def test_everything_diverged():
    assert drawn(medians(CELLS, diverged=1), "gap", None).images
    assert drawn(medians({"": [1.0, 2.0, 3.0]}, diverged=1), "gap", None).get_xscale() == "log"


def test_a_file_for_each_method(tmp_path):
    grids = [ro.Grid(ro.methods.ASGD, {"step_size": [0.1, 0.2]}, label) for label in ("A/B c", "a-b C", "é")]
    result = ro.tune(grids, ro.problems.Quadratic(dimension=4), ro.Workers(2, compute=1), until=ro.Until(time=4),
                     seeds=[0], confirm=[1])  # fmt: skip
    paths = save_heat_maps(result, tmp_path)
    assert [path.name for path in paths] == ["a-b-c.png", "a-b-c-2.png", "method.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
