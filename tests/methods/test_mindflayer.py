"""MindFlayer and Vecna: trials, their limits, and the expected number of successes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.core.arrivals import Arrival
from rayopt.problems import Quadratic


class Hand:
    """A fleet that only counts; methods are fed by hand."""

    shard_sizes = None
    expected_times = None

    def __init__(self, n):
        self.n, self.assigned = n, []

    def assign(self, workers, task):
        self.assigned.append(np.atleast_1d(workers).tolist())

    def probability_within(self, seconds):
        return None


def fed(method, answers):
    """Feeds (worker, value or None for a trial that was given up) and returns the method and its fleet."""
    fleet = Hand(2)
    method.prepare(np.zeros(1), 2)
    method.start(fleet)
    for worker, value in answers:
        arrival = Arrival.with_value(worker, [0.0 if value is None else value])
        arrival.ok = value is not None
        method.receive(arrival, fleet)
    return method, fleet


def test_divides_by_the_expected_number_of_successes():
    method, _ = fed(methods.MindFlayer(1.0, [2, 1], 1.0, probability=[0.5, 0.8]), [(0, 3.0), (1, None), (0, 5.0)])
    assert method.x.tolist() == [-8.0 / (2 * 0.5 + 0.8)]
    assert method.updates == 1


def test_waits_for_every_trial_and_goes_on_at_the_same_point():
    method, fleet = fed(methods.MindFlayer(1.0, [2, 1], 1.0, probability=1.0), [(0, 3.0), (1, 1.0)])
    assert method.updates == 0
    assert fleet.assigned == [[0, 1], [0]]


def test_counts_an_update_without_any_success():
    method, fleet = fed(methods.MindFlayer(1.0, 1, 1.0, probability=0.5), [(0, None), (1, None)])
    assert (method.x.tolist(), method.updates) == ([0.0], 1)
    assert fleet.assigned == [[0, 1], [0, 1]]


def test_workers_without_trials_stand_idle():
    _, fleet = fed(methods.MindFlayer(1.0, [0, 3], 1.0, probability=1.0), [])
    assert fleet.assigned == [[1]]


def test_vecna_weighs_workers_equally():
    method, _ = fed(methods.Vecna(1.0, [2, 1], 1.0, probability=[0.5, 0.8]), [(0, 3.0), (1, 4.0), (0, None)])
    assert method.x.tolist() == [-(3.0 / (2 * 0.5) + 4.0 / 0.8) / 2]


def test_trace_with_trials_that_are_given_up(simulate):
    ran = simulate(methods.MindFlayer(0.1, trials=[2, 1, 1], time_limit=3.0), until=ro.Until(time=6.5))
    assert ran.of("used") == [(1.0, 1, 0), (2.0, 1, 0), (2.3, 2, 0), (4.0, 1, 0), (5.0, 1, 0), (5.3, 2, 0)]
    assert ran.of("failed") == [(3.0, 3, 0), (6.0, 3, 0)]
    assert ran.update_times() == [3.0, 6.0]
    assert ran.outcome.counts.failed == 2


def test_without_limits_it_is_minibatch(simulate):
    problem, until = Quadratic(20, noise=0.1), ro.Until(updates=30)
    mindflayer = simulate(methods.MindFlayer(0.3, 1, 100.0), problem, "sqrt(i)", until, n=8)
    minibatch = simulate(methods.Minibatch(0.3), problem, "sqrt(i)", until, n=8)
    vecna = simulate(methods.Vecna(0.3, 1, 100.0), problem, "sqrt(i)", until, n=8)
    np.testing.assert_allclose(mindflayer.method.x, minibatch.method.x, rtol=1e-12)
    np.testing.assert_allclose(vecna.method.x, minibatch.method.x, rtol=1e-12)
    assert mindflayer.events == minibatch.events == vecna.events


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: methods.MindFlayer(0.1, -1, 1.0), "trials"),
        (lambda: methods.MindFlayer(0.1, 1, 0.0), "time_limit"),
        (lambda: methods.MindFlayer(0.1, 1, math.inf), "time_limit"),
        (lambda: methods.MindFlayer(0.1, 1, 1.0, probability=0.0), "probability"),
        (lambda: methods.MindFlayer(0.1, 1, 1.0, probability=1.5).prepare(np.zeros(1), 3), "probability"),
        (lambda: methods.MindFlayer(0.1, 0, 1.0).prepare(np.zeros(1), 3), "trials"),
        (lambda: methods.MindFlayer(0.1, 1.5, 1.0).prepare(np.zeros(1), 3), "trials"),
        (lambda: methods.MindFlayer(0.1, [1, 2], 1.0).prepare(np.zeros(1), 3), "trials"),
        (lambda: methods.Vecna(0.1, [1, 0], 1.0).prepare(np.zeros(1), 2), "trials"),
        (lambda: fed(methods.MindFlayer(0.1, 1, 1.0), []), "probability"),
    ],
)
def test_bad_parameters(make, key):
    with pytest.raises(ro.InvalidInput) as caught:
        make()
    assert caught.value.key == key
    assert caught.value.allowed


def test_limits_that_no_trial_meets_are_an_error(simulate):
    with pytest.raises(ro.InvalidInput, match=r"no trial of worker 0 ends within 0\.5 s"):
        simulate(methods.MindFlayer(0.1, 1, 0.5))
    with pytest.raises(ro.InvalidInput, match="no trial of worker 2 ends within 3 s"):
        simulate(methods.Vecna(0.1, 1, 3.0))
