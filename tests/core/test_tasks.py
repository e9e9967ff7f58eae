"""Tasks of every kind: what they cost, when they are given up, what they compute."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt.core.arrivals import GradientSum
from rayopt.core.tasks import Gradient, LocalSGD, Series, Trial
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.problems import LogisticRegression, Quadratic

X = np.ones(6)


def fleet(compute, n=3, seed=0, problem=None):
    problem = problem or Quadratic(6, noise=0.1)
    return SimulatedWorkers(problem.split(n, seed), ro.Workers(n, compute).times(seed), seed)


def arrivals(workers, count):
    return [workers.wait() for _ in range(count)]


def test_a_trial_is_given_up_at_its_limit_and_equal_is_in_time():
    workers = fleet([1.0, 2.0, 3.0])
    workers.assign(np.arange(3), [Trial(X, 0, 2.0) for _ in range(3)])
    found = [(arrival.worker, arrival.time, arrival.ok) for arrival in arrivals(workers, 3)]
    assert found == [(0, 1.0, True), (1, 2.0, True), (2, 2.0, False)]


def test_one_trial_for_everyone_is_given_up_too():
    workers = fleet([1.0, math.inf, 3.0])
    workers.assign(np.arange(3), Trial(X, 0, 2.0))
    assert [arrival.ok for arrival in arrivals(workers, 3)] == [True, False, False]
    assert workers.busy == 0


def test_a_worker_that_gave_up_answers_its_next_task():
    workers = fleet([3.0], n=1)
    workers.assign(0, Trial(X, 0, 2.0))
    assert not workers.wait().ok
    workers.assign(0, Gradient(X, 0))
    assert workers.wait().ok


def test_what_was_given_up_has_no_value():
    workers = fleet([3.0], n=1)
    workers.assign(0, Trial(X, 0, 2.0))
    arrival = workers.wait()
    with pytest.raises(ValueError, match="worker 0 gave up"):
        _ = arrival.value
    with pytest.raises(ValueError, match="worker 0 gave up"):
        GradientSum().add(arrival)
    assert not arrival.used


def test_a_cancelled_trial_leaves_no_failure_behind():
    workers = fleet([3.0], n=1)
    workers.assign(0, Trial(X, 0, 2.0))
    workers.assign(0, Gradient(X, 0))
    arrival = workers.wait()
    assert (arrival.ok, arrival.time) == (True, 3.0)


def test_a_series_takes_as_long_as_its_gradients_one_by_one():
    times = ro.latency.exponential(mean=2.0, base=1.0)
    one_by_one, series = fleet(times), fleet(times)
    one_by_one.assign(1, Gradient(X, 0))
    for _ in range(4):
        one_by_one.assign(one_by_one.wait().worker, Gradient(X, 0))
    series.assign(1, Series(X, 0, 5))
    assert series.wait().time == pytest.approx(one_by_one.wait().time, rel=1e-15)
    series.assign(1, Gradient(X, 0))
    one_by_one.assign(1, Gradient(X, 0))
    # The numbers of the next tasks, and so their durations, are the same.
    assert series.wait().number == one_by_one.wait().number == 5


def test_a_series_for_everyone_equals_one_each():
    times = ro.latency.half_normal("i", "sqrt(i)")
    together, apart = fleet(times), fleet(times)
    together.assign(np.arange(3), Series(X, 0, 3))
    for worker in range(3):
        apart.assign(worker, Series(X, 0, 3))
    assert [a.time for a in arrivals(together, 3)] == [a.time for a in arrivals(apart, 3)]


def test_the_value_of_a_series_is_a_mean():
    problem = Quadratic(6, noise=0.1)
    workers = fleet([1.0], n=1, problem=problem)
    workers.assign(0, Series(X, 0, 400))
    # One shared z of standard deviation 0.1 / sqrt(400).
    assert np.abs(workers.wait().value - problem.full_gradient(X)).max() < 5 * 0.1 / 20


@pytest.mark.parametrize("x", [np.zeros(650), np.zeros((2, 650))], ids=["single", "grid"])
def test_local_sgd_replies_with_the_way_it_went(x):
    problem = LogisticRegression.digits(batch=4)
    step = 0.1 if x.ndim == 1 else np.array([[0.1], [0.01]])
    task = LocalSGD(x, 0, steps=3, step_size=step)
    sample = task.draw(problem, 0, 7)
    y = x
    for drawn in sample:
        y = y - step * problem.gradient(y, drawn)
    assert len(sample) == 3
    assert task.evaluate(problem, sample).tobytes() == (x - y).tobytes()
    both = task.evaluate_sum(problem, [sample, sample], np.array([0.5, 2.0]))
    np.testing.assert_allclose(both, 2.5 * (x - y), rtol=1e-14)


def test_local_sgd_costs_its_steps():
    workers = fleet([2.0], n=1)
    workers.assign(0, LocalSGD(X, 0, steps=5, step_size=0.1))
    assert workers.wait().time == 10.0


def test_tasks_of_different_kinds_at_one_point_are_summed_apart():
    assert len({task.group for task in (Gradient(X, 0), Trial(X, 0, 1.0), Series(X, 0, 1), Series(X, 0, 2))}) == 4


def test_a_task_without_its_point_is_whole_again_with_it():
    task = Trial(X, 4, 2.5)
    again = task.at(None).at(X)
    assert (again.x is X, again.version, again.time_limit, again.group) == (True, 4, 2.5, task.group)
