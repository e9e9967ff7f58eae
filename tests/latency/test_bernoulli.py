"""Durations with two values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latency_cases import N, draws, stream
from scipy import stats

import rayopt as ro
from rayopt import latency as lt
from rayopt.core.errors import FleetStuck, InvalidInput


def test_infinite_bernoulli():
    family = lt.infinite_bernoulli("i", 0.75)
    durations = draws(family, 2, 20_000)
    assert set(durations.tolist()) == {3.0, math.inf}
    assert stats.binomtest(int((durations == 3.0).sum()), 20_000, 0.75).pvalue > 1e-3
    bound = family.bind(N, stream())
    assert bound.least.tolist() == list(range(1, N + 1))
    assert bound.expected.tolist() == [math.inf] * N
    assert bound.probability_within(bound.least).tolist() == [0.75] * N
    assert bound.probability_within(np.full(N, 1e300)).tolist() == [0.75] * N
    assert bound.quantile(0.75).tolist() == bound.least.tolist()
    assert bound.quantile(0.76).tolist() == [math.inf] * N


def test_alpha_bernoulli():
    family = lt.alpha_bernoulli("i", 10, 0.75)
    durations = draws(family, 2, 20_000)
    assert set(durations.tolist()) == {3.0, 30.0}
    assert stats.binomtest(int((durations == 3.0).sum()), 20_000, 0.75).pvalue > 1e-3
    bound = family.bind(3, stream())
    assert bound.expected.tolist() == [3.25, 6.5, 9.75]
    assert bound.probability_within(np.array([1.0, 19.9, 30.0])).tolist() == [0.75, 0.75, 1.0]


def test_certainty():
    assert lt.infinite_bernoulli(2, [0, 1]).bind(2, stream()).expected.tolist() == [math.inf, 2.0]
    assert draws(lt.infinite_bernoulli(2, 1), 0, 500).tolist() == [2.0] * 500
    assert draws(lt.infinite_bernoulli(2, 0), 0, 500).tolist() == [math.inf] * 500
    assert draws(lt.alpha_bernoulli(2, 3, 0), 0, 500).tolist() == [6.0] * 500
    assert lt.alpha_bernoulli([1, math.inf], 3, 0.5).bind(2, stream()).expected.tolist() == [2.0, math.inf]


@pytest.mark.parametrize("probability", [-0.1, 1.5, math.nan, math.inf, [0.5, 2.0], True])
def test_what_is_no_probability(probability):
    for make in (lambda: lt.infinite_bernoulli(1, probability), lambda: lt.alpha_bernoulli(1, 2, probability)):
        with pytest.raises(InvalidInput, match="probability: ") as caught:
            make()
        assert caught.value.key == "probability"
    with pytest.raises(InvalidInput, match=r"probability: 2 for worker 1; allowed: .* at most 1"):
        lt.infinite_bernoulli(1, "i").bind(3, stream())


def test_other_parameters():
    with pytest.raises(InvalidInput, match=r"alpha: 0\.5 for worker 1; allowed: .*at least 1"):
        lt.alpha_bernoulli(1, [1, 0.5], 0.5).bind(2, stream())
    with pytest.raises(InvalidInput, match="base: 0"):
        lt.infinite_bernoulli(0, 0.5)


class TestTasksThatNeverEnd:
    """They never come up as events: a run goes on without their workers, and ends."""

    workers = ro.Workers(20, lt.infinite_bernoulli("sqrt(i)", 0.8))

    def test_a_time_limit_ends_the_run(self, simulate):
        ran = simulate(ro.methods.ASGD(step_size=0.1), times=self.workers.compute, n=20, until=ro.Until(time=500))
        assert ran.outcome.was_stuck
        assert ran.outcome.ended_by == "time"
        assert max(time for time, *_ in ran.events) < 500

    def test_without_a_limit_the_fleet_is_stuck(self, simulate):
        with pytest.raises(FleetStuck) as caught:
            simulate(ro.methods.ASGD(step_size=0.1), times=self.workers.compute, n=20, until=ro.Until(updates=10**6))
        assert caught.value.busy == 20

    def test_workers_that_are_stopped_come_back(self, simulate):
        compute = lt.infinite_bernoulli([1, 2, 3, 4], [1, 0.3, 0.3, 0.3])
        method = ro.methods.Ringmaster(step_size=0.1, threshold=8, interrupt=True)
        ran = simulate(method, times=compute, n=4, until=ro.Until(time=300))
        assert not ran.outcome.was_stuck
        assert {worker for _, worker, *_ in ran.of("used")} == {1, 2, 3, 4}
