"""Metrics that take longer than the time between two history rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import ray

from rayopt.fleets.ray import evaluation
from rayopt.fleets.ray.evaluation import IN_FLIGHT, Evaluations
from rayopt.runs.faults import Faults


class Slow:
    """An evaluator that the test lets finish, the oldest first."""

    exceptions = ray.exceptions

    def __init__(self):
        self.asked = []
        self.done = 0
        self.metrics = self

    def remote(self, load, x, names):
        self.asked.append(float(x.flat[0]))
        return len(self.asked) - 1

    def wait(self, references, num_returns, timeout):
        return [reference for reference in references if reference < self.done], []

    def get(self, reference):
        return {"gap": self.asked[reference]}


class Rows:
    """A recorder that keeps what it is told."""

    def __init__(self):
        self.found = {}

    def evaluated(self, point, metrics):
        assert point not in self.found
        self.found[point] = metrics["gap"]


class Counting:
    """A supervision that counts, and no more."""

    def __init__(self, faults):
        self.faults = faults


@pytest.fixture
def slow(monkeypatch):
    found = Slow()
    monkeypatch.setattr(evaluation, "ray", found)
    return found


def test_few_points_are_held_and_the_last_row_has_its_metrics(slow):
    faults, rows = Faults(), Rows()
    evaluations = Evaluations(slow, None, ["gap"], Counting(faults))
    for point in range(100):
        evaluations(rows, point, np.array([float(point)]))
    assert slow.asked == [float(point) for point in range(IN_FLIGHT)]
    assert sorted(rows.found) == list(range(IN_FLIGHT, 99))
    assert all(math.isnan(value) for value in rows.found.values())
    assert faults.unmeasured == 99 - IN_FLIGHT
    slow.done = 1000
    evaluations.finish(rows, lambda: False)
    assert sorted(rows.found) == list(range(100))
    assert rows.found[0] == 0.0
    assert rows.found[99] == 99.0


def test_the_row_that_waits_is_next_when_there_is_room(slow):
    faults, rows = Faults(), Rows()
    evaluations = Evaluations(slow, None, ["gap"], Counting(faults))
    for point in range(IN_FLIGHT + 1):
        evaluations(rows, point, np.array([float(point)]))
    slow.done = 1
    evaluations.collect(rows)
    assert slow.asked[-1] == IN_FLIGHT
    assert faults.unmeasured == 0


def test_rows_of_one_point_are_one_evaluation(slow):
    rows, x = Rows(), np.array([7.0])
    faults = Faults()
    evaluations = Evaluations(slow, None, ["gap"], Counting(faults))
    for point in range(3 * IN_FLIGHT):
        evaluations(rows, point, x)
    assert slow.asked == [7.0]
    assert faults.unmeasured == 0


def test_every_member_of_a_grid_goes_without(slow):
    faults, rows = Faults(), Rows()
    evaluations = Evaluations(slow, None, ["gap"], Counting(faults))
    for _ in range(IN_FLIGHT + 2):
        evaluations(rows, len(slow.asked), np.zeros((3, 1)))
    (left_out,) = rows.found.values()
    np.testing.assert_array_equal(left_out, [math.nan] * 3)
