"""Arrays of NumPy, tuples, ranges and Series where a list or a number is allowed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import rayopt as ro

STEPS = [0.001, 0.01, 0.1, 1.0]


def run(step_size, **changes):
    arguments = {"until": ro.Until(time=20), "seed": 0, **changes}
    return ro.run(ro.methods.ASGD(step_size), ro.problems.Quadratic(dimension=5), ro.Workers(3, [1, 2, 3]), **arguments)


@pytest.mark.parametrize(
    "steps",
    [np.logspace(-3, 0, 4), tuple(STEPS), pd.Series(STEPS), pd.Index(STEPS), np.array(STEPS, dtype=object)],
    ids=["array", "tuple", "Series", "Index", "objects"],
)
def test_a_grid_of_step_sizes(steps):
    pd.testing.assert_frame_equal(run(steps).history, run(STEPS).history, rtol=1e-12)


@pytest.mark.parametrize("step", [np.float64(0.5), np.float32(0.5), np.array(0.5)])
def test_one_step_size(step):
    assert ro.methods.ASGD(step).parameters == {"step_size": 0.5}
    pd.testing.assert_frame_equal(run(step).history, run(0.5).history)


def test_a_range_of_step_sizes():
    assert ro.methods.ASGD(range(1, 4)).members() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("steps", [np.ones((2, 2)), [[0.1], [0.2]], np.array([])])
def test_what_is_no_grid(steps):
    with pytest.raises(ro.InvalidInput, match="step_size"):
        ro.methods.ASGD(steps)


@pytest.mark.parametrize("seeds", [np.array([0, 1]), (0, 1), range(2), pd.Series([0, 1])])
def test_seeds(seeds):
    pd.testing.assert_frame_equal(run(0.5, seed=seeds).history, run(0.5, seed=[0, 1]).history)


def test_integers_of_numpy_for_counts():
    method = ro.methods.Rennala(np.float64(0.5), batch_size=np.int64(3))
    assert method.parameters["batch_size"] == 3
    workers = ro.Workers(np.int32(3), np.array([1.0, 2.0, 3.0]))
    until = ro.Until(time=np.float64(20), arrivals=np.int64(50))
    result = ro.run((method,), ro.problems.Quadratic(dimension=np.int64(5)), workers, until=until, seed=np.int64(0),
                    labels=("R",), record=ro.Record(every=np.float32(1), metrics=("value",)))  # fmt: skip
    assert result.table.label.tolist() == ["R"]
    assert ro.load(result.folder.path).config["methods"][0]["batch_size"] == 3
