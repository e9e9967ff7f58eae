"""Medians over seeds, the best of a grid, and values at its edges."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import rayopt as ro
from rayopt.experiments.tuning.edges import Edge
from rayopt.experiments.tuning.grid import Grid
from rayopt.experiments.tuning.selection import Choice, choose, edges, medians

GRID = Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.2], "threshold": {"grid": [2, 4]}})
NEVER = math.nan


def table(*rows: tuple, metric: str = "value") -> pd.DataFrame:
    """Each row: threshold, step size, seed, metric, time to target, diverged at."""
    columns = ["threshold", "step_size", "seed", metric, "time_to_target", "diverged_at"]
    frame = pd.DataFrame(rows, columns=columns).astype({"time_to_target": float, "diverged_at": float})
    return frame.assign(label="R", combination=[f"threshold={row[0]}" for row in rows])


def best(frame: pd.DataFrame, metric: str = "value", seeds: int = 1) -> Choice | None:
    return choose(medians(frame, metric), "R", GRID, metric, seeds)


def test_the_smallest_median_is_the_best():
    one_lucky_seed = [(2, 0.1, seed, value, NEVER, NEVER) for seed, value in enumerate((0.0, 9.0, 9.0))]
    frame = table(*one_lucky_seed, *((4, 0.2, seed, 5.0, NEVER, NEVER) for seed in range(3)))
    assert medians(frame, "value").value.tolist() == [9.0, 5.0]
    chosen = best(frame, seeds=3)
    assert chosen.values == {"step_size": 0.2, "threshold": 4}
    assert repr(chosen.method) == repr(ro.methods.Ringmaster(0.2, 4))
    assert (chosen.tuned, chosen.time_to_target, chosen.combination) == (5.0, None, "threshold=4")


def test_accuracy_is_to_grow():
    frame = table((2, 0.1, 0, 0.7, NEVER, NEVER), (4, 0.1, 0, 0.9, NEVER, NEVER), metric="accuracy")
    assert best(frame, "accuracy").tuned == 0.9
    lost = table((2, 0.1, 0, 0.7, NEVER, NEVER), (2, 0.1, 1, NEVER, NEVER, NEVER), metric="accuracy")
    assert medians(lost, "accuracy").accuracy.tolist() == [-math.inf]


def test_the_soonest_comes_first():
    frame = table((2, 0.1, 0, 1.0, 30.0, NEVER), (4, 0.1, 0, 2.0, 20.0, NEVER), (4, 0.2, 0, 0.5, NEVER, NEVER))
    chosen = best(frame)
    assert (chosen.values, chosen.time_to_target) == ({"step_size": 0.1, "threshold": 4}, 20.0)


def test_a_seed_that_never_meets_the_target_counts_as_never():
    frame = table((2, 0.1, 0, 1.0, 30.0, NEVER), (2, 0.1, 1, 1.0, NEVER, NEVER))
    assert best(frame, seeds=2).time_to_target is None


def test_of_equals_the_smaller_step_size():
    frame = table((2, 0.2, 0, 1.0, NEVER, NEVER), (4, 0.1, 0, 1.0, NEVER, NEVER))
    assert best(frame).values["step_size"] == 0.1


@pytest.mark.parametrize("lost", [(2, 0.1, 1, 0.1, NEVER, 5.0), (2, 0.1, 1, math.inf, NEVER, NEVER), None])
def test_what_diverged_or_failed_on_a_seed_is_never_chosen(lost):
    good = [(4, 0.1, seed, 7.0, NEVER, NEVER) for seed in range(2)]
    frame = table((2, 0.1, 0, 0.1, NEVER, NEVER), *([] if lost is None else [lost]), *good)
    assert best(frame, seeds=2).values["threshold"] == 4
    assert best(frame[frame.threshold == 2], seeds=2) is None


class TestEdges:
    def at(self, grid: Grid, **values: float) -> list[tuple[str, bool, bool]]:
        method = type(grid.combinations[0].method)(**{**grid.combinations[0].method.parameters, **values})
        found = edges(Choice("R", method, "", values, 0.0, None), grid, dimension=3, workers=8)
        assert all(isinstance(edge, Edge) and edge.label == "R" for edge in found)
        return [(edge.parameter, edge.is_largest, edge.goes_on) for edge in found]

    def test_each_end_of_each_grid(self):
        grid = Grid(ro.methods.Ringmaster, {"step_size": [0.1, 0.4, 0.2], "threshold": {"grid": [8, 2, 4]}})
        assert self.at(grid, step_size=0.2, threshold=4) == []
        assert self.at(grid, step_size=0.1, threshold=4) == [("step_size", False, True)]
        assert self.at(grid, step_size=0.4, threshold=8) == [("step_size", True, True), ("threshold", True, True)]
        assert self.at(grid, step_size=0.2, threshold=2) == [("threshold", False, True)]

    def test_beyond_which_nothing_is_allowed(self):
        ring = Grid(ro.methods.Ringmaster, {"step_size": 0.1, "threshold": {"grid": [1, math.inf]}})
        assert self.at(ring, step_size=0.1, threshold=1) == [("threshold", False, False)]
        assert self.at(ring, step_size=0.1, threshold=math.inf) == [("threshold", True, False)]
        fewest = Grid(ro.methods.MSync, {"step_size": 0.1, "batch_size": {"grid": [4, 8]}})
        assert self.at(fewest, step_size=0.1, batch_size=8) == [("batch_size", True, False)]

    def test_what_is_no_number_or_alone_has_no_edge(self):
        grid = Grid(ro.methods.Rennala, {"step_size": 0.1, "batch_size": 2, "interrupt": {"grid": [False, True]}})
        assert self.at(grid, step_size=0.1, interrupt=True) == []


def test_medians_keep_the_order_of_the_table():
    frame = table((4, 0.2, 0, 1.0, NEVER, NEVER), (2, 0.1, 0, np.nan, NEVER, 3.0))
    middle = medians(frame, "value")
    assert middle.combination.tolist() == ["threshold=4", "threshold=2"]
    assert middle.diverged.tolist() == [0, 1]
    assert middle.value.tolist() == [1.0, math.inf]
